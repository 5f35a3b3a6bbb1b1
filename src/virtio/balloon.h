/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon: memory that the guest gives back to the host, as much as it is
 * asked for (inflating), and what it has free, while it has it free (reporting).
 *
 * Source: virtio 1.2, 5.5 "Traditional Memory Balloon Device". Without statistics, free
 * page hinting and page poison: a guest that poisons its free pages does not report
 * them then.
 */
#ifndef LODGE_VIRTIO_BALLOON_H
#define LODGE_VIRTIO_BALLOON_H

#include "virtio/device.h"

struct virtio_balloon_config {
	uint64_t size;       /* bytes that the guest is asked for at first, whole pages */
	bool deflate_on_oom; /* it may take them back rather than end a program */
	bool reporting;
};

struct virtio_balloon {
	struct virtio_device device;
	uint8_t config[8];
	uint64_t returned; /* bytes given back, ever */
	uint64_t ignored;  /* pages named that are none of the guest's RAM */
};

/* Makes a device. Before vCPUs run. */
void virtio_balloon_init(struct virtio_balloon *b, struct mem *mem,
			 const struct virtio_balloon_config *config);

/* No thread uses it any more. */
void virtio_balloon_release(struct virtio_balloon *b);

/* Asks the guest for another size, in bytes, cut to pages. The device's lock is held. */
void virtio_balloon_resize(struct virtio_balloon *b, uint64_t size);

/* Bytes that the guest says to have given. The device's lock is held. */
uint64_t virtio_balloon_actual(const struct virtio_balloon *b);

#endif
