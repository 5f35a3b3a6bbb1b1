/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver's side of a virtio device without a transport, for fuzz programs: split queues in the
 * first memory, each with its area, and chains of buffers.
 */
#ifndef LODGE_TESTS_FUZZ_QUEUE_GUEST_H
#define LODGE_TESTS_FUZZ_QUEUE_GUEST_H

#include <string.h>

#include "base/bits.h"
#include "virtio/device.h"

#define QUEUE_SIZE    64u
#define QUEUE_AREA    0x1000u /* of the first queue, unless the caller says otherwise */
#define QUEUE_LEN     0x2000u
#define CHAIN_BUFFERS 4u /* at most: a chain has so many descriptors of the table for itself */
#define QUEUE_CHAINS  (QUEUE_SIZE / CHAIN_BUFFERS)
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define USED_AT       0x1000u /* the rings in an area */
#define AVAIL_AT      0x800u

struct queue_buffer {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct queue_guest {
	struct virtio_device *device;
	uint8_t *host; /* of the area */
	uint64_t gpa;
	uint16_t avail;
	unsigned number;
};

/* Where its rings are; the device has that queue, stopped. */
static inline void queue_place(struct queue_guest *q, struct virtio_device *d, unsigned number,
			       uint64_t gpa, uint8_t *host)
{
	*q = (struct queue_guest){.device = d, .host = host, .gpa = gpa, .number = number};
	memset(host, 0, QUEUE_LEN);
	virtio_queue(d, number)->place = (struct virtq_place){QUEUE_SIZE, gpa, gpa + AVAIL_AT,
							      gpa + USED_AT};
}

/* The device's steps to where its queues are enabled. The lock is held. */
static inline void queue_features(struct virtio_device *d, uint64_t features)
{
	features = (features & d->offered & ~(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX)) |
		   VIRTIO_F_VERSION_1;
	virtio_set_status(d, 0);
	virtio_accept(d, 0, (uint32_t)features);
	virtio_accept(d, 1, (uint32_t)(features >> 32));
	virtio_set_status(d, VIRTIO_FEATURES_OK);
}

/* Makes a chain available, without a notification. */
static inline void queue_offer(struct queue_guest *q, const struct queue_buffer *buffers,
			       unsigned count)
{
	unsigned first = q->avail % QUEUE_CHAINS * CHAIN_BUFFERS;
	uint8_t *ring = q->host + AVAIL_AT;

	for (unsigned i = 0; i < count; i++) {
		uint8_t *desc = q->host + 16u * (first + i);

		store_le(desc, 8, buffers[i].gpa);
		store_le(desc + 8, 4, buffers[i].len);
		store_le(desc + 12, 2,
			 (buffers[i].write ? DESC_WRITE : 0) | (i + 1 < count ? DESC_NEXT : 0));
		store_le(desc + 14, 2, first + i + 1);
	}
	store_le(ring + 4 + q->avail % QUEUE_SIZE * 2, 2, first);
	store_le(ring + 2, 2, ++q->avail);
}

/* How many chains the device has given back. */
static inline uint16_t queue_used(const struct queue_guest *q)
{
	return (uint16_t)load_le(q->host + USED_AT + 2, 2);
}

#endif
