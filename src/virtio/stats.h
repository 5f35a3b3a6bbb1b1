/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of a device for the machine's owner: how much it has done since it was made, how often
 * it failed. A kind of device has them as fields of its struct, guarded by the device's lock as all
 * else there, and names them in a table, which its struct virtio_device_ops points to. So counting
 * costs the addition, and reading takes the lock for as long as copying takes.
 *
 *	static const struct virtio_stat stats[] = {
 *		VIRTIO_STAT(struct virtio_rng, "bytes", bytes),
 *		{NULL, 0},
 *	};
 *
 * Names are of lodge_vm_device_stats (lodge.h), which says what each means.
 */
#ifndef LODGE_VIRTIO_STATS_H
#define LODGE_VIRTIO_STATS_H

#include <stddef.h>
#include <stdint.h>

struct engine_stat;
struct virtio_device;

struct virtio_stat {
	const char *name;
	size_t at; /* of a uint64_t in the kind's struct, which begins with its virtio_device */
};

#define VIRTIO_STAT(type, name, member)      \
	{                                    \
		name, offsetof(type, member) \
	}

/* The three of a struct virtio_time. */
#define VIRTIO_STAT_TIME(type, name, member)                                                      \
	VIRTIO_STAT(type, name "_ns", member.sum), VIRTIO_STAT(type, name "_ns_min", member.min), \
		VIRTIO_STAT(type, name "_ns_max", member.max)

/* What many operations took, in nanoseconds; all 0 while there was none. */
struct virtio_time {
	uint64_t min, max, sum;
};

static inline void virtio_time_add(struct virtio_time *t, uint64_t ns)
{
	if (!t->sum || ns < t->min)
		t->min = ns;
	if (ns > t->max)
		t->max = ns;
	t->sum += ns;
}

/* All numbers of a device: those that every device has, and its kind's. Fills up to max, returns
 * how many there are. Takes the device's lock. Any thread. */
size_t virtio_device_stats(struct virtio_device *d, struct engine_stat *stats, size_t max);

#endif
