/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes and goes: a region in blocks, of which the guest plugs as many as it
 * is asked for, and unplugs what is too much.
 *
 * Source: virtio 1.2, 5.15 "Memory Device". What is there is told by the region's blocks
 * (core/mem.h). Requests are served on the I/O thread, with the device's lock released
 * while blocks come or go: the engine then has all vCPUs stand still, and one of them may
 * wait for that lock.
 */
#ifndef LODGE_VIRTIO_MEMORY_H
#define LODGE_VIRTIO_MEMORY_H

#include "virtio/device.h"

struct virtio_memory_config {
	uint64_t start;     /* of a MEM_BLOCKS region of mem */
	uint64_t requested; /* bytes that the guest is asked to plug at first */
	/* Has virtio_memory_serve called, soon, on the I/O thread. Any thread, lock held. */
	void (*wake)(void *opaque);
	/* The blocks of [gpa, gpa + len) come: false if the host cannot; or go. I/O thread, no lock
	 * held. */
	bool (*plug)(void *opaque, uint64_t gpa, uint64_t len);
	void (*unplug)(void *opaque, uint64_t gpa, uint64_t len);
	void *opaque;
};

struct virtio_memory {
	struct virtio_device device;
	struct virtio_memory_config kind;
	const struct mem_region *region;
	uint8_t config[56];
	uint64_t plugged; /* bytes */
	struct virtio_memory_counts {
		uint64_t plugs, plugged_bytes, unplugs, unplugged_bytes, unplug_alls, states;
		uint64_t plugs_refused, unplugs_refused, unplug_alls_refused, states_refused;
		struct virtio_time plug, unplug, unplug_all, state;
	} counts; /* requests; those refused are among them */
};

/* Makes a device of a region none of whose blocks is plugged. Before vCPUs run. */
void virtio_memory_init(struct virtio_memory *m, struct mem *mem,
			const struct virtio_memory_config *config);

/* No thread uses it any more. */
void virtio_memory_release(struct virtio_memory *m);

/* Serves what waits in the queue. I/O thread, no lock held. */
void virtio_memory_serve(struct virtio_memory *m);

/* All blocks go: the machine is reset. I/O thread, vCPUs parked, no lock held. */
void virtio_memory_clear(struct virtio_memory *m);

/* Asks the guest for another size, in whole blocks up to the region's. The device's lock is held.
 * False: it cannot be. */
bool virtio_memory_request(struct virtio_memory *m, uint64_t size);
uint64_t virtio_memory_requested(const struct virtio_memory *m);

#endif
