/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical memory: regions of RAM, each a mapping of its own: private memory
 * of the process, or windows of one memfd that other processes can map too; and regions
 * that are a file's, or RAM that comes and goes in blocks.
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

#define MEM_REGIONS_MAX 24

/* What engines map has a number below this: regions by theirs, and from MEM_REGIONS_MAX on the
 * pieces that a MEM_BLOCKS region is mapped in. */
#define MEM_SLOTS_MAX (MEM_REGIONS_MAX + 32)

/* A huge page of the host. In each region host and guest physical addresses are the same modulo
 * this, so that a huge page here can be one in the guest's page tables as well. */
#define MEM_HUGE_SIZE (2u << 20)

/* How RAM is backed: flags of mem_init. */
enum {
	MEM_SHARED = 1 << 0, /* by a memfd, which other processes may map: vhost-user, twins */
	MEM_HUGE = 1 << 1,   /* with transparent huge pages, if the host has them for the asking */
};

enum mem_kind {
	MEM_RAM,
	MEM_FILE,   /* a file's bytes, which are not ours to clear; the mapping is its owner's */
	MEM_BLOCKS, /* RAM in blocks, which are there or not: mem_plug */
};

struct mem_region {
	uint64_t gpa;       /* first guest physical address, page-aligned */
	uint64_t size;      /* bytes, a multiple of the page size */
	uint8_t *host;      /* where this process maps it */
	uint64_t fd_offset; /* of this region's first byte in the memfd; without one in all RAM */
	unsigned slot;      /* its number, 0.. in the order of adding: engines name it by this */
	uint64_t *dirty;    /* a bit a page set by device writes; NULL until mem_dirty_start */
	enum mem_kind kind;
	uint64_t block;    /* MEM_BLOCKS: bytes of a block */
	uint64_t *plugged; /* MEM_BLOCKS: a bit a block */
};

/* Told of device writes to RAM; called on the writing thread, after the write. */
struct mem_observer {
	void (*written)(void *opaque, uint64_t gpa, uint64_t len);
	void *opaque;
};

struct mem {
	struct mem_region regions[MEM_REGIONS_MAX];
	unsigned count;
	unsigned flags;
	int fd;           /* MEM_SHARED: the memfd behind all regions but files'; else -1 */
	uint64_t size;    /* bytes of RAM in all regions of MEM_RAM */
	uint64_t fd_size; /* bytes of the memfd, were there one */
	struct mem_observer observer;
	bool recording; /* mem_dirty_start was called; set and read atomically */
};

/* Makes an empty memory, backed as flags (MEM_SHARED, MEM_HUGE) say. 0 or -errno with e set. Before
 * vCPUs exist. */
int mem_init(struct mem *m, unsigned flags, struct err *e);

/* Unmaps all regions and closes a memfd; no vCPU or device may use them any more. */
void mem_release(struct mem *m);

/* Adds size bytes of zeroed RAM at gpa (both page-aligned, no overlap, no wrap). Host pages are
 * taken only when touched. Before vCPUs run. 0, or -errno with e set. */
int mem_add_ram(struct mem *m, uint64_t gpa, uint64_t size, struct err *e);

/* Adds RAM in blocks of that many bytes (a power of two, MEM_HUGE_SIZE or more), none of which is
 * there yet: accesses by the functions here find no RAM. As mem_add_ram. */
int mem_add_blocks(struct mem *m, uint64_t gpa, uint64_t size, uint64_t block, struct err *e);

/* Adds size bytes that lie at host, the caller's, mapped until after mem_release. As
 * mem_add_ram. */
int mem_add_file(struct mem *m, uint64_t gpa, uint64_t size, uint8_t *host, struct err *e);

/* Blocks of a MEM_BLOCKS region are there from now on, zeroed; or are no more, and their memory is
 * the host's again: pointers into them stay good, and read zeroes. [gpa, gpa + len) is whole blocks
 * of one region. One thread at a time. */
void mem_plug(struct mem *m, uint64_t gpa, uint64_t len);
void mem_unplug(struct mem *m, uint64_t gpa, uint64_t len);

/* Whether all blocks that [gpa, gpa + len) touches are there, or all are not. Any thread; the range
 * lies in that region. */
bool mem_all_plugged(const struct mem_region *r, uint64_t gpa, uint64_t len, bool plugged);

/* All RAM, not files', back to zero, as at power-on, and its pages back to the host. No vCPU may
 * run and no device may be writing. Counts as a write to all of RAM. 0, or -errno with e set. */
int mem_reset(struct mem *m, struct err *e);

/* [gpa, gpa + len), in one region, back to zero. Pages wholly inside go back to the host, but a
 * huge page is not split for it. The guest must not be using the range. Counts as a write to it. */
void mem_discard(struct mem *m, uint64_t gpa, uint64_t len);

/* Pages [gpa, gpa + len) go back to the host, read as zero until they are written again, and stay
 * where they are mapped. Counts as a write to them. False, with nothing done, unless they are whole
 * pages of one region's RAM, and the host takes them. The guest may be using them. Any thread. */
bool mem_give_back(struct mem *m, uint64_t gpa, uint64_t len);

/* The region that holds gpa, or NULL. Any thread. */
const struct mem_region *mem_find(const struct mem *m, uint64_t gpa);

/* A pointer to read [gpa, gpa + len) by, or NULL unless the whole range is RAM of one region. Any
 * thread; valid until mem_release. */
const void *mem_ptr(const struct mem *m, uint64_t gpa, uint64_t len);

/* Like mem_ptr, to write by: after the writes the caller calls mem_written on what it wrote. */
void *mem_ptr_rw(struct mem *m, uint64_t gpa, uint64_t len);

/* Whether anybody is told of writes now: else mem_written does nothing. After the write. */
static inline bool mem_heard(const struct mem *m)
{
	return m->observer.written || __atomic_load_n(&m->recording, __ATOMIC_ACQUIRE);
}

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
