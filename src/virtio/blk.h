/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device, on a disk image of the host.
 *
 * Source: virtio 1.2, 5.2 "Block Device".
 */
#ifndef LODGE_VIRTIO_BLK_H
#define LODGE_VIRTIO_BLK_H

#include "core/clock.h"
#include "host/disk.h"
#include "host/workers.h"
#include "virtio/device.h"
#include "virtio/limiter.h"

#define VIRTIO_BLK_SERIAL_MAX 20

struct virtio_blk;

struct virtio_blk_config {
	struct disk *disk;       /* the caller's; outlives the device */
	struct workers *workers; /* the same */
	struct clock *clock;     /* the same; NULL: there will be no limits */
	const char *serial;      /* up to VIRTIO_BLK_SERIAL_MAX characters; NULL: none */
	unsigned queues;         /* 1 to VIRTIO_QUEUES_MAX */
	unsigned block_size;     /* what the guest is told is the unit: 512 or 4096 */
	/* optional: told the first error of the host that the guest has got, and no other; any
	 * thread, the device's lock held. */
	void (*failed)(void *opaque, const char *what, int error);
	void *opaque;
};

/* Makes a device without limits; NULL with e set. Before vCPUs run. */
struct virtio_blk *virtio_blk_new(struct mem *mem, const struct virtio_blk_config *config,
				  struct err *e);

/* The device was reset, so that no request is under way; no thread uses it any more. */
void virtio_blk_free(struct virtio_blk *b);

struct virtio_device *virtio_blk_device(struct virtio_blk *b);

/* Sets rate limits, see limiter_set; what waits goes on by them. Any thread, no lock. */
void virtio_blk_limit(struct virtio_blk *b, const struct limiter_bucket *bandwidth,
		      const struct limiter_bucket *ops);

/* The disk has another size (disk_measure): the driver is told, and requests beyond it are refused
 * from now on. Any thread, no lock. */
void virtio_blk_resize(struct virtio_blk *b);

/*
 * Has another disk, which is read-only if the first was, take the place of the disk: requests under
 * way end on the old one, which is flushed, and the driver is told the new one's size. -errno: the
 * flush failed, and the old one stays. Blocks. I/O thread, no lock.
 */
int virtio_blk_swap(struct virtio_blk *b, struct disk *disk);

#endif
