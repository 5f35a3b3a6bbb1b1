/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent memory: a file of the host that lies in guest physical memory, and a queue to
 * ask that it be made durable.
 *
 * Source: virtio 1.2, 5.19 "PMEM Device". The memory is not the device's affair: it tells
 * where that is. A flush waits for the host's disk, on a worker's thread; requests that
 * come meanwhile wait for the next one together, and the limits count each flush that is
 * made, as one operation of as many bytes as the file has.
 */
#ifndef LODGE_VIRTIO_PMEM_H
#define LODGE_VIRTIO_PMEM_H

#include "host/workers.h"
#include "virtio/device.h"
#include "virtio/limiter.h"

#define VIRTIO_PMEM_QUEUE 128u

struct virtio_pmem_config {
	uint64_t start, size; /* where the memory is */
	uint64_t length;      /* bytes of it that are durable, for the limits */
	struct workers *workers;
	struct clock *clock;
	/* Makes all that was written durable: 0 or -errno. A worker's thread. */
	int (*flush)(void *opaque);
	/* optional: a flush failed; called for the first one. A worker's thread, no lock held. */
	void (*failed)(void *opaque, int error);
	void *opaque;
};

struct virtio_pmem {
	struct virtio_device device;
	struct virtio_pmem_config kind;
	uint8_t config[16];
	struct limiter limiter;
	pthread_cond_t idle;
	struct work work;
	bool flushing; /* a worker is at it */
	bool told;     /* failed() was called */
	/* Requests that wait for a flush, and those that the one under way is for. */
	struct virtio_pmem_list {
		struct virtio_pmem_request {
			struct virtq_ticket ticket;
			uint8_t *status;
			uint64_t status_gpa;
		} requests[VIRTIO_PMEM_QUEUE];
		unsigned count;
	} waiting, running;
	uint64_t flushes, errors; /* of the host's file; errors: those that failed */
};

/* Makes a device. Before vCPUs run. */
void virtio_pmem_init(struct virtio_pmem *p, struct mem *mem,
		      const struct virtio_pmem_config *config);

/* No thread uses it any more, its workers have ended. */
void virtio_pmem_release(struct virtio_pmem *p);

/* Sets limits, as limiter_set. Any thread, no lock held. */
void virtio_pmem_limit(struct virtio_pmem *p, const struct limiter_bucket *bandwidth,
		       const struct limiter_bucket *ops);

#endif
