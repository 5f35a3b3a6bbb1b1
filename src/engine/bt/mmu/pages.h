/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine remembers of each page of guest RAM: whether decoded code comes
 * from it, whether some TLB may hold a writable entry of it, and its dirty bit.
 *
 *	                 decoding in the page
 *	    plain ---------------------------------> PAGE_CODE
 *	          <---------------------------------
 *	              a write to what was decoded:
 *	                  generation + 1
 *
 * Decoded instructions are kept by each vCPU with the page's generation, read before
 * pages_mark_code (mmu_protect_code returns it); one whose generation is behind is not
 * executed. A write to a page with PAGE_CODE takes the slow path and ends in
 * pages_written. That raises the generation, and makes the page plain again, if the
 * write touched one of the 64-byte pieces that code was decoded from: the generation
 * and PAGE_CODE change in one atomic step, so that marks never vanish from under
 * instructions that are current. (Pieces are never taken back: stale ones cost a
 * needless generation, nothing else.)
 *
 * Why no write is missed:
 *
 * - PAGE_CODE and PAGE_WRITABLE are bits of one atomic word, set by atomic OR. Who puts a
 *   writable entry into a TLB sets PAGE_WRITABLE first, and then does not if the OR gave
 *   PAGE_CODE. Who decodes sets PAGE_CODE first, and if the OR gave PAGE_WRITABLE has all
 *   vCPUs' writable entries of the page dropped while they stand still, before it reads
 *   the bytes (mmu_protect_code). Whoever is second in the word's order of changes sees
 *   the first.
 * - A slow write stores, passes a full fence, and looks for PAGE_CODE; who decodes sets
 *   PAGE_CODE and the pieces by atomic OR, a full fence, and then reads the bytes. So the
 *   one sees the mark, or the other the new bytes.
 *
 * The dirty bit of a page is set before a writable entry of it is put into a TLB, and by
 * every slow write, while logging is on. Whoever takes the bits stops the vCPUs, and has
 * them drop their writable entries before they go on.
 */
#ifndef LODGE_ENGINE_BT_MMU_PAGES_H
#define LODGE_ENGINE_BT_MMU_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/mem.h"

#define PAGE_CODE     1u /* instructions were decoded from it */
#define PAGE_WRITABLE 2u /* some TLB may hold an entry that writes to it */

struct page {
	_Atomic uint32_t flags; /* these two are also changed as one word: pages.c */
	_Atomic uint32_t generation;
	_Atomic uint64_t pieces; /* bit n: bytes [64n, 64n + 64) have been decoded */
};

struct pages {
	/* By slot; NULL: none, or one that has gone, whose records remain: a device's thread may be
	 * looking at them. */
	const struct mem_region *_Atomic region[MEM_SLOTS_MAX];
	struct page *page[MEM_SLOTS_MAX];       /* one a page of the region */
	_Atomic uint64_t *dirty[MEM_SLOTS_MAX]; /* a bit a page, written while logging */
	uint64_t count[MEM_SLOTS_MAX];          /* of those */
	_Atomic unsigned slots;                 /* all regions are below this */
	_Atomic bool logging;
	/* Told of each page of code that was written, on the writing thread, after its generation
	 * was raised. NULL: nobody asks. */
	void (*stale)(void *opaque, uint64_t gpa);
	void *opaque;
};

/* The record of the page that holds gpa; NULL where that is not RAM. Any thread. */
struct page *pages_find(struct pages *p, uint64_t gpa);

/* The host's address of guest physical gpa, whose record is in *page; NULL: not RAM. */
uint8_t *pages_host(struct pages *p, uint64_t gpa, struct page **page);

/* Adds a region; or the one again that was withdrawn from its slot, of the same size. No vCPU runs,
 * devices' threads may; the caller flushes the vCPUs' TLBs. 0 or -ENOMEM. */
int pages_map(struct pages *p, const struct mem_region *region);

/* Takes it away; in the same way. Its records stay, since pages_written may be at them. */
void pages_withdraw(struct pages *p, const struct mem_region *region);

/* Takes a region away, or all of them, with their records. No other thread looks any more. */
void pages_unmap(struct pages *p, const struct mem_region *region);
void pages_release(struct pages *p);

/* [gpa, gpa + len) was written by a vCPU's slow path, or by a device (mem_observer): code decoded
 * from there is stale, the pages are dirty. What is not RAM is passed over. Any thread, after the
 * write. */
void pages_written(struct pages *p, uint64_t gpa, uint64_t len);

/* [gpa, gpa + len), within one page of RAM, is about to be read for decoding. True: some TLB may
 * hold a writable entry of the page, and all have to drop it first. Any thread; vCPUs call
 * mmu_protect_code (mmu/mmu.h). */
bool pages_mark_code(struct pages *p, uint64_t gpa, unsigned len);

/* A writable entry of the page at gpa, whose record is given, is to be put into a TLB. False: it
 * must not be, the page has code. Notes the page as dirty while logging. */
bool pages_mark_writable(struct pages *p, uint64_t gpa, struct page *record);

/*
 * The dirty log. start and take are called while no vCPU executes guest code
 * (exclusive_begin_outside) and followed by mmu_drop_writable_all before any does. start: all pages
 * are clean. take: ORs the region's bits (a bit a page, as mem_dirty_take) into bitmap and clears
 * them; the region is mapped.
 */
void pages_dirty_start(struct pages *p);
void pages_dirty_stop(struct pages *p);
void pages_dirty_take(struct pages *p, const struct mem_region *region, uint64_t *bitmap);

#endif
