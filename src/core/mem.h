/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical memory: regions of RAM, each a shared mapping of one memfd.
 *
 * Regions are added while the machine is built and stay until mem_release; the
 * table does not change while vCPUs run, so that look-ups take no lock. A device
 * reaches RAM only through the accessors here: each checks that the whole range
 * lies inside one region, and a write marks its pages dirty and tells the engine
 * (cached translations of those pages are then stale).
 *
 * Guest and host access the same bytes at the same time, as on a real machine.
 * Nothing read from RAM may be trusted to be the same when it is read again.
 */
#ifndef LODGE_CORE_MEM_H
#define LODGE_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define GUEST_PAGE_SHIFT 12
#define GUEST_PAGE_SIZE  (1u << GUEST_PAGE_SHIFT)

#define MEM_REGIONS_MAX 16

struct mem_region {
	uint64_t gpa;       /* first guest physical address, page-aligned */
	uint64_t size;      /* bytes, a multiple of the page size */
	uint8_t *host;      /* where this process maps it */
	uint64_t fd_offset; /* of this region's first byte in the memfd */
	unsigned slot;      /* its number, 0.. in the order of adding: engines name it by this */
	uint64_t *dirty;    /* a bit a page set by device writes; NULL until mem_dirty_start */
};

/* Told of device writes to RAM; called on the writing thread, after the write. */
struct mem_observer {
	void (*written)(void *opaque, uint64_t gpa, uint64_t len);
	void *opaque;
};

struct mem {
	struct mem_region regions[MEM_REGIONS_MAX];
	unsigned count;
	int fd;        /* the memfd behind all regions; shareable with other processes */
	uint64_t size; /* bytes of RAM in all regions, and of the memfd */
	bool huge;     /* transparent huge pages were asked for */
	struct mem_observer observer;
};

/* Makes an empty memory; huge asks the host for transparent huge pages. 0 or -errno with e set.
 * Before vCPUs exist. */
int mem_init(struct mem *m, bool huge, struct err *e);

/* Unmaps all regions and closes the memfd; no vCPU or device may use them any more. */
void mem_release(struct mem *m);

/* Adds size bytes of zeroed RAM at gpa (both page-aligned, no overlap, no wrap). Host pages are
 * taken only when touched. Before vCPUs run. 0, or -errno with e set. */
int mem_add_ram(struct mem *m, uint64_t gpa, uint64_t size, struct err *e);

/* All RAM back to zero, as at power-on, and its pages back to the host. No vCPU may run and no
 * device may be writing. Counts as a write to all of RAM. 0, or -errno with e set. */
int mem_reset(struct mem *m, struct err *e);

/* [gpa, gpa + len) back to zero, its pages back to the host: both page-aligned, in one region. The
 * guest must not be using it. Counts as a write to it. 0, or -errno where the host refuses, the
 * contents then unspecified. */
int mem_discard(struct mem *m, uint64_t gpa, uint64_t len);

/* The region that holds gpa, or NULL. Any thread. */
const struct mem_region *mem_find(const struct mem *m, uint64_t gpa);

/* A pointer to read [gpa, gpa + len) by, or NULL unless the whole range is RAM of one region. Any
 * thread; valid until mem_release. */
const void *mem_ptr(const struct mem *m, uint64_t gpa, uint64_t len);

/* Like mem_ptr, to write by: after the writes the caller calls mem_written on what it wrote. */
void *mem_ptr_rw(struct mem *m, uint64_t gpa, uint64_t len);

/* Marks [gpa, gpa + len) dirty and tells the observer; the range came from mem_ptr_rw. */
void mem_written(struct mem *m, uint64_t gpa, uint64_t len);

/* Copies from and to guest RAM. false, nothing copied, unless the range lies in one region. */
bool mem_read(const struct mem *m, uint64_t gpa, void *buf, uint64_t len);
bool mem_write(struct mem *m, uint64_t gpa, const void *buf, uint64_t len);

/* Starts recording the pages that devices write, for good; a further call changes nothing. One
 * thread (VM control), devices may be writing. 0 or -errno. mem_dirty_take copies region slot's
 * bitmap (a bit a page, region size / page size rounded up to 64) to bitmap by OR and clears it;
 * after mem_dirty_start, any thread. */
int mem_dirty_start(struct mem *m);
void mem_dirty_take(struct mem *m, unsigned slot, uint64_t *bitmap);

#endif
