/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things is explained in pages.h. */
#include "engine/bt/mmu/pages.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/bits.h"

#define PIECE_SHIFT 6 /* 64 pieces a page */

/* flags and generation as one word: flags is its low half. */
static _Atomic uint64_t *whole(struct page *page)
{
	_Static_assert(offsetof(struct page, flags) == 0, "the low half");
	_Static_assert(offsetof(struct page, generation) == 4, "the high half");
	return (_Atomic uint64_t *)(void *)&page->flags;
}

static uint64_t pages_of(const struct mem_region *region)
{
	return region->size >> GUEST_PAGE_SHIFT;
}

/* The slot of the region that holds gpa, or MEM_SLOTS_MAX. */
static unsigned slot_of(const struct pages *p, uint64_t gpa)
{
	unsigned slot = 0;

	for (; slot < p->slots; slot++)
		if (p->region[slot] && gpa - p->region[slot]->gpa < p->region[slot]->size)
			return slot;
	return MEM_SLOTS_MAX;
}

struct page *pages_find(struct pages *p, uint64_t gpa)
{
	unsigned slot = slot_of(p, gpa);

	if (slot == MEM_SLOTS_MAX)
		return NULL;
	return &p->page[slot][(gpa - p->region[slot]->gpa) >> GUEST_PAGE_SHIFT];
}

uint8_t *pages_host(struct pages *p, uint64_t gpa, struct page **page)
{
	unsigned slot = slot_of(p, gpa);
	uint64_t offset;

	if (slot == MEM_SLOTS_MAX) {
		*page = NULL;
		return NULL;
	}
	offset = gpa - p->region[slot]->gpa;
	*page = &p->page[slot][offset >> GUEST_PAGE_SHIFT];
	return p->region[slot]->host + offset;
}

int pages_map(struct pages *p, const struct mem_region *region)
{
	uint64_t count = pages_of(region);
	struct page *page = calloc(count, sizeof(*page));
	_Atomic uint64_t *dirty = calloc((count + 63) / 64, sizeof(*dirty));

	if (!page || !dirty) {
		free(page);
		free(dirty);
		return -ENOMEM;
	}
	p->page[region->slot] = page;
	p->dirty[region->slot] = dirty;
	p->region[region->slot] = region;
	p->slots = MAX(p->slots, region->slot + 1);
	return 0;
}

void pages_unmap(struct pages *p, const struct mem_region *region)
{
	p->region[region->slot] = NULL;
	free(p->page[region->slot]);
	free(p->dirty[region->slot]);
	p->page[region->slot] = NULL;
	p->dirty[region->slot] = NULL;
}

static void mark_dirty(struct pages *p, unsigned slot, uint64_t index)
{
	_Atomic uint64_t *word = &p->dirty[slot][index / 64];

	if (!(atomic_load_explicit(word, memory_order_relaxed) & BIT(index % 64)))
		atomic_fetch_or(word, BIT(index % 64));
}

/* The pieces of a page that [offset, offset + len) touches; len is not 0, the end in the page. */
static uint64_t pieces_of(unsigned offset, unsigned len)
{
	unsigned first = offset >> PIECE_SHIFT, last = (offset + len - 1) >> PIECE_SHIFT;

	return MASK(last + 1) & ~MASK(first);
}

/* Makes a page of code plain, and what was decoded from it stale. False: it was plain. */
static bool outdate(struct page *page)
{
	uint64_t old = atomic_load(whole(page)), new;

	do {
		if (!(old & PAGE_CODE))
			return false; /* another writer did it since our write */
		new = (old & ~(uint64_t)PAGE_CODE) + BIT(32);
	} while (!atomic_compare_exchange_weak(whole(page), &old, new));
	return true;
}

static void page_written(struct pages *p, struct page *page, uint64_t gpa, unsigned len)
{
	unsigned offset = gpa % GUEST_PAGE_SIZE;

	if (!(atomic_load_explicit(&page->flags, memory_order_relaxed) & PAGE_CODE))
		return;
	if (atomic_load(&page->pieces) & pieces_of(offset, len) && outdate(page) && p->stale)
		p->stale(p->opaque, gpa);
}

void pages_written(struct pages *p, uint64_t gpa, uint64_t len)
{
	bool logging;
	uint64_t offset, index;
	unsigned slot, part;

	atomic_thread_fence(memory_order_seq_cst);
	logging = atomic_load_explicit(&p->logging, memory_order_relaxed);
	for (; len; gpa += part, len -= part) {
		part = MIN(len, GUEST_PAGE_SIZE - gpa % GUEST_PAGE_SIZE);
		slot = slot_of(p, gpa);
		if (slot == MEM_SLOTS_MAX)
			continue;
		offset = gpa - p->region[slot]->gpa;
		index = offset >> GUEST_PAGE_SHIFT;
		page_written(p, &p->page[slot][index], gpa, part);
		if (logging)
			mark_dirty(p, slot, index);
	}
}

bool pages_mark_code(struct pages *p, uint64_t gpa, unsigned len)
{
	struct page *page = pages_find(p, gpa);
	uint64_t pieces;
	uint32_t flags;

	if (!page || !len)
		return false;
	pieces = pieces_of(gpa % GUEST_PAGE_SIZE,
			   MIN(len, GUEST_PAGE_SIZE - gpa % GUEST_PAGE_SIZE));
	if (pieces & ~atomic_load(&page->pieces))
		atomic_fetch_or(&page->pieces, pieces);
	flags = atomic_load(&page->flags);
	if (!(flags & PAGE_CODE))
		flags = atomic_fetch_or(&page->flags, PAGE_CODE);
	return flags & PAGE_WRITABLE;
}

bool pages_mark_writable(struct pages *p, uint64_t gpa, struct page *record)
{
	uint32_t flags = atomic_load(&record->flags);

	if (!(flags & (PAGE_CODE | PAGE_WRITABLE)))
		flags = atomic_fetch_or(&record->flags, PAGE_WRITABLE);
	if (flags & PAGE_CODE)
		return false;
	if (atomic_load_explicit(&p->logging, memory_order_relaxed)) {
		unsigned slot = slot_of(p, gpa);

		mark_dirty(p, slot, (gpa - p->region[slot]->gpa) >> GUEST_PAGE_SHIFT);
	}
	return true;
}

void pages_dirty_start(struct pages *p)
{
	for (unsigned slot = 0; slot < MEM_SLOTS_MAX; slot++) {
		if (!p->region[slot])
			continue;
		for (uint64_t i = 0; i < (pages_of(p->region[slot]) + 63) / 64; i++)
			atomic_store_explicit(&p->dirty[slot][i], 0, memory_order_relaxed);
	}
	atomic_store(&p->logging, true);
}

void pages_dirty_stop(struct pages *p)
{
	atomic_store(&p->logging, false);
}

void pages_dirty_take(struct pages *p, const struct mem_region *region, uint64_t *bitmap)
{
	_Atomic uint64_t *dirty = p->dirty[region->slot];

	for (uint64_t i = 0; i < (pages_of(region) + 63) / 64; i++)
		if (atomic_load_explicit(&dirty[i], memory_order_relaxed))
			bitmap[i] |= atomic_exchange(&dirty[i], 0);
}
