/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device: the driver's buffers are filled with random bytes.
 *
 * Source: virtio 1.2, 5.4 "Entropy Device".
 */
#ifndef LODGE_VIRTIO_RNG_H
#define LODGE_VIRTIO_RNG_H

#include "virtio/device.h"
#include "virtio/limiter.h"

struct virtio_rng {
	struct virtio_device device;
	void (*random)(void *buf, size_t len);
	struct limiter limiter;
	bool held; /* the device's chain waits for it */
	uint64_t requests, bytes;
};

/* Makes a device that fills buffers by random, which gives len good random bytes each time and
 * does not block. It has no limits (clock may be NULL) until virtio_rng_limit. Before vCPUs run. */
void virtio_rng_init(struct virtio_rng *r, struct mem *mem, void (*random)(void *buf, size_t len),
		     struct clock *clock);
void virtio_rng_limit(struct virtio_rng *r, const struct limiter_config *limits);
void virtio_rng_release(struct virtio_rng *r);

#endif
