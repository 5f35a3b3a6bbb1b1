/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device, on a disk image of the host.
 *
 * Source: virtio 1.2, 5.2 "Block Device".
 */
#ifndef LODGE_VIRTIO_BLK_H
#define LODGE_VIRTIO_BLK_H

#include "host/disk.h"
#include "host/workers.h"
#include "virtio/device.h"

#define VIRTIO_BLK_SERIAL_MAX 20

struct virtio_blk;

struct virtio_blk_config {
	struct disk *disk;       /* the caller's; outlives the device */
	struct workers *workers; /* the same */
	const char *serial;      /* up to VIRTIO_BLK_SERIAL_MAX characters; NULL: none */
	/* optional: told the first error of the host that the guest has got, and no other; any
	 * thread, the device's lock held. */
	void (*failed)(void *opaque, const char *what, int error);
	void *opaque;
};

/* Makes a device; NULL with e set. Before vCPUs run. */
struct virtio_blk *virtio_blk_new(struct mem *mem, const struct virtio_blk_config *config,
				  struct err *e);

/* The device was reset, so that no request is under way; no thread uses it any more. */
void virtio_blk_free(struct virtio_blk *b);

struct virtio_device *virtio_blk_device(struct virtio_blk *b);

#endif
