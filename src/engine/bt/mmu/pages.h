/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine remembers of each page of guest RAM: whether decoded code comes
 * from it, whether some TLB may hold a writable entry of it, and its dirty bit.
 *
 *	    decoding the first instruction of a page     a write meets PAGE_CODE
 *	          sets PAGE_CODE                            (the slow path)
 *	  plain ------------------------------------> code -------------------> generation + 1
 *
 * Decoded instructions are kept by each vCPU with the page's generation; one whose
 * generation is behind is not executed. A write to a page with PAGE_CODE raises the
 * generation only if it touches one of the 64-byte pieces that code was decoded from.
 * PAGE_CODE and PAGE_WRITABLE are bits of one atomic word: whoever sets the second of
 * the two sees the first. A vCPU that marks a page as code and finds PAGE_WRITABLE has
 * all other vCPUs drop their writable entries before it goes on (runtime/exclusive.h).
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
	_Atomic uint32_t flags;
	_Atomic uint32_t generation;
	_Atomic uint64_t pieces; /* bit n: bytes [64n, 64n + 64) have been decoded */
};

struct pages {
	const struct mem_region *region[MEM_REGIONS_MAX];
	struct page *page[MEM_REGIONS_MAX];       /* one a page of the region, by slot */
	_Atomic uint64_t *dirty[MEM_REGIONS_MAX]; /* a bit a page, written while logging */
	_Atomic bool logging;
};

/* The record of the page that holds gpa; NULL where that is not RAM. Any thread. */
struct page *pages_find(struct pages *p, uint64_t gpa);

/* The host's address of guest physical gpa, whose record is in *page; NULL: not RAM. */
uint8_t *pages_host(struct pages *p, uint64_t gpa, struct page **page);

/* Adds or removes a region. No vCPU runs. 0 or -ENOMEM. */
int pages_map(struct pages *p, const struct mem_region *region);
void pages_unmap(struct pages *p, const struct mem_region *region);

/* [gpa, gpa + len) was written by a vCPU's slow path, or by a device (mem_observer): code decoded
 * from there is stale, the pages are dirty. Any thread. */
void pages_written(struct pages *p, uint64_t gpa, uint64_t len);

#endif
