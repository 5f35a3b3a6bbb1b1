/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system device: a directory of the host, served by a daemon of its own
 * (host/vhost_user.h).
 *
 * Source: virtio 1.2, 5.11 "File System Device", without notifications and without a
 * DAX window; the messages are those of FUSE (linux/fuse.h), of which only the heads
 * matter here.
 */
#ifndef LODGE_VIRTIO_FS_H
#define LODGE_VIRTIO_FS_H

#include "base/err.h"
#include "virtio/device.h"

#define VIRTIO_FS_TAG_MAX 36

struct vhost_user;
struct virtio_fs;

struct virtio_fs_config {
	const char *tag;           /* by which the guest mounts it: 1 to VIRTIO_FS_TAG_MAX bytes */
	struct vhost_user *daemon; /* with VIRTIO_FS_QUEUES queues; the caller's, outlives it */
	/* optional: told once that the daemon is lost, and why; the device's lock is held. */
	void (*lost)(void *opaque, const char *why);
	void *opaque;
};

#define VIRTIO_FS_QUEUES 2u

/* Makes a device; NULL with e set. Before vCPUs run. */
struct virtio_fs *virtio_fs_new(struct mem *mem, const struct virtio_fs_config *config,
				struct err *e);

/* No thread uses it any more. */
void virtio_fs_free(struct virtio_fs *f);

struct virtio_device *virtio_fs_device(struct virtio_fs *f);

#endif
