/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether much passes a machine's network devices: so much that frames follow each other without
 * anybody waiting for a single one.
 *
 * Where a vCPU and the I/O thread share a processor, the host's scheduler lets the I/O thread,
 * which sleeps most of the time, have it as soon as it wakes. It then serves the one frame that
 * woke it, and goes back to sleep: two exits and two switches for each. While a stream flows it is
 * therefore made patient (thread_set_patient): it waits until the vCPU has nothing more to do, or
 * has had its share, and serves many frames at once. A guest that sends one frame and waits for its
 * answer sees no difference: its vCPU sleeps then. Where there is a processor for each, neither
 * does a stream.
 *
 * Threads: net_stream_count by any, any lock held; all else before vCPUs run, or after the loop.
 */
#ifndef LODGE_VIRTIO_NET_STREAM_H
#define LODGE_VIRTIO_NET_STREAM_H

#include <stdatomic.h>

#include "core/clock.h"

struct net_stream {
	pthread_mutex_t lock; /* guards what follows, but for bytes */
	struct clock *clock;
	struct clock_timer timer;
	uint64_t since;    /* guest ns; while nothing flows: when bytes was 0 */
	bool told;         /* of what flows */
	atomic_bool flows; /* changed with the lock held */
	_Atomic uint64_t bytes;
	/* A stream begins, or has ended. I/O thread, no lock held. */
	void (*changed)(void *opaque, bool flows);
	void *opaque;
};

void net_stream_init(struct net_stream *s, struct clock *clock,
		     void (*changed)(void *opaque, bool flows), void *opaque);
void net_stream_release(struct net_stream *s);

/* As many bytes have passed, in either direction. */
void net_stream_count(struct net_stream *s, uint64_t bytes);

#endif
