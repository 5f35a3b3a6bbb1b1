/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: how a driver's notification reaches its device.
 *
 * Where the engine can ring an eventfd in the device's place (KVM's ioeventfd), the
 * guest goes on at once and the I/O thread serves the queue. Where it cannot, the
 * write reaches the transport's register, and the queue is served right there on
 * the vCPU's thread. Both end in virtio_notify with the device's lock held.
 */
#ifndef LODGE_VIRTIO_TRANSPORT_DOORBELL_H
#define LODGE_VIRTIO_TRANSPORT_DOORBELL_H

#include "base/event.h"
#include "core/bus.h"
#include "virtio/device.h"

/* A register of guest memory whose writes are to ring. */
struct virtio_bell {
	uint64_t addr;
	unsigned size;
	bool matching; /* only a write of match */
	uint32_t match;
	int eventfd;
};

/* What the machine gives to transports; lives as long as they. */
struct virtio_env {
	struct event_loop *loop;
	struct bus *mmio;
	/* optional (NULL: no engine that rings): has bell ring, or no more. False where that
	 * fails: the writes then reach the device. Any thread, locks may be held. */
	bool (*ring)(void *opaque, const struct virtio_bell *bell, bool on);
	void *opaque;
};

struct virtio_doorbell {
	struct event_wake wake;
	struct virtio_device *device;
	unsigned queue;
	struct virtio_bell bell;
	bool on;
};

struct virtio_doorbells {
	const struct virtio_env *env;
	unsigned count;
	struct virtio_doorbell bells[VIRTIO_QUEUES_MAX];
};

/* Makes a doorbell for each queue, none of them placed. Before the loop runs. 0 or -errno with e
 * set and nothing made. */
int virtio_doorbells_init(struct virtio_doorbells *b, const struct virtio_env *env,
			  struct virtio_device *d, struct err *e);

/* After the loop. */
void virtio_doorbells_release(struct virtio_doorbells *b);

/* Has queue served on the I/O thread, soon. Any thread. */
void virtio_doorbell_ring(struct virtio_doorbells *b, unsigned queue);

/* Queue's doorbell rings where at says (its eventfd is filled in), and no more where it did; NULL:
 * nowhere. Any thread, one at a time. */
void virtio_doorbell_place(struct virtio_doorbells *b, unsigned queue,
			   const struct virtio_bell *at);

#endif
