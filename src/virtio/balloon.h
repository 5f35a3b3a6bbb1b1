/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon: memory that the guest gives back to the host, as much as it is
 * asked for (inflating), and what it has free: while it has it free (reporting), or when
 * it is asked what that is (hinting). And what the guest tells of its memory, when asked
 * or at an interval (statistics).
 *
 * Source: virtio 1.2, 5.5 "Traditional Memory Balloon Device".
 */
#ifndef LODGE_VIRTIO_BALLOON_H
#define LODGE_VIRTIO_BALLOON_H

#include "core/clock.h"
#include "virtio/device.h"

/* 5.5.6.3 "Memory Statistics Tags". */
enum virtio_balloon_stat {
	BALLOON_SWAP_IN, /* bytes */
	BALLOON_SWAP_OUT,
	BALLOON_MAJOR_FAULTS,
	BALLOON_MINOR_FAULTS,
	BALLOON_FREE, /* bytes, as the three that follow */
	BALLOON_TOTAL,
	BALLOON_AVAILABLE,
	BALLOON_CACHES,
	BALLOON_HUGE_ALLOCATIONS,
	BALLOON_HUGE_FAILURES,
	BALLOON_OOM_KILLS, /* this and those after it: Linux 6.12 */
	BALLOON_ALLOC_STALLS,
	BALLOON_ASYNC_SCANS,
	BALLOON_DIRECT_SCANS,
	BALLOON_ASYNC_RECLAIMS,
	BALLOON_DIRECT_RECLAIMS,
	BALLOON_STATS
};

struct virtio_balloon_config {
	uint64_t size;       /* bytes that the guest is asked for at first, whole pages */
	bool deflate_on_oom; /* it may take them back rather than end a program */
	bool reporting;
	bool hinting;
	unsigned stats_s;    /* seconds between two statistics; 0: there are none */
	struct clock *clock; /* outlives the device; stats_s 0: may be NULL */
};

/* The last statistics of the guest; bit n of `known`: value[n] is there. */
struct virtio_balloon_stats {
	uint64_t value[BALLOON_STATS];
	uint32_t known;
};

struct virtio_balloon {
	struct virtio_device device;
	uint8_t config[16];
	uint64_t returned; /* bytes given back, ever */
	uint64_t ignored;  /* pages named that are none of the guest's RAM */
	uint64_t inflations, deflations, updates, reports, hints; /* buffers of each kind */
	uint64_t reported_bytes, hinted_bytes;                    /* of what was given back */

	struct clock *clock;
	struct clock_timer timer;
	unsigned stats_s;
	struct virtio_balloon_stats stats;
	bool holding; /* the driver's buffer for statistics, until new ones are wanted */
	unsigned stats_queue;
	struct virtq_ticket held;

	uint32_t host_command, last_command; /* of hints: the device's, and the last of a run */
	uint32_t guest_command;              /* the driver's */
	bool guest_commanded;                /* there was one */
	bool acknowledge;                    /* the end of a run is the device's affair */
};

/* Makes a device. Before vCPUs run. */
void virtio_balloon_init(struct virtio_balloon *b, struct mem *mem,
			 const struct virtio_balloon_config *config);

/* No thread uses it any more, nor runs the clock's timers. */
void virtio_balloon_release(struct virtio_balloon *b);

/* Asks the guest for another size, in bytes, cut to pages. The device's lock is held. */
void virtio_balloon_resize(struct virtio_balloon *b, uint64_t size);

/* Bytes that the guest is asked for, and says to have given. The device's lock is held. */
uint64_t virtio_balloon_target(const struct virtio_balloon *b);
uint64_t virtio_balloon_actual(const struct virtio_balloon *b);

/* Statistics are asked for at once, and then at that interval. The device's lock is held. False:
 * the device has none. */
bool virtio_balloon_poll(struct virtio_balloon *b, unsigned seconds);

/*
 * Has the guest tell what it has free, all of which goes back to the host. The guest keeps what it
 * told until the run is stopped; acknowledge: as soon as it has told all. The device's lock is
 * held. False: the device has no hints.
 */
bool virtio_balloon_hint(struct virtio_balloon *b, bool acknowledge);
bool virtio_balloon_stop_hints(struct virtio_balloon *b);

#endif
