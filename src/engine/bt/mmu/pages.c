/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things is explained in pages.h. */
#include "engine/bt/mmu/pages.h"

#include <assert.h>
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

static const struct mem_region *region_of(struct pages *p, unsigned slot)
{
	return atomic_load_explicit(&p->region[slot], memory_order_acquire);
}

/* The slot of the region that holds gpa, which may go at any moment, or MEM_SLOTS_MAX; the place of
 * gpa in it. */
static unsigned find_slot(struct pages *p, uint64_t gpa, uint64_t *offset)
{
	unsigned slots = atomic_load_explicit(&p->slots, memory_order_acquire);

	for (unsigned slot = 0; slot < slots; slot++) {
		const struct mem_region *r = region_of(p, slot);

		if (!r || gpa - r->gpa >= r->size)
			continue;
		*offset = gpa - r->gpa;
		return slot;
	}
	return MEM_SLOTS_MAX;
}

struct page *pages_find(struct pages *p, uint64_t gpa)
{
	uint64_t offset;
	unsigned slot = find_slot(p, gpa, &offset);

	return slot == MEM_SLOTS_MAX ? NULL : &p->page[slot][offset >> GUEST_PAGE_SHIFT];
}

uint8_t *pages_host(struct pages *p, uint64_t gpa, struct page **page)
{
	uint64_t offset;
	unsigned slot = find_slot(p, gpa, &offset);

	if (slot == MEM_SLOTS_MAX) {
		*page = NULL;
		return NULL;
	}
	*page = &p->page[slot][offset >> GUEST_PAGE_SHIFT];
	return region_of(p, slot)->host + offset;
}

static void free_records(struct pages *p, unsigned slot)
{
	free(p->page[slot]);
	free(p->dirty[slot]);
	p->page[slot] = NULL;
	p->dirty[slot] = NULL;
	p->count[slot] = 0;
}

/* What the records of a region that comes again say is no harm: no vCPU has anything of it, so that
 * a generation is only a number, and marks are too many at worst. */
static int make_records(struct pages *p, unsigned slot, uint64_t count)
{
	assert(!p->count[slot] || p->count[slot] == count);
	if (p->count[slot])
		return 0;
	p->page[slot] = calloc(count, sizeof(*p->page[slot]));
	p->dirty[slot] = calloc((count + 63) / 64, sizeof(*p->dirty[slot]));
	p->count[slot] = count;
	if (p->page[slot] && p->dirty[slot])
		return 0;
	free_records(p, slot);
	return -ENOMEM;
}

int pages_map(struct pages *p, const struct mem_region *region)
{
	unsigned slots = atomic_load_explicit(&p->slots, memory_order_relaxed);
	int rc = make_records(p, region->slot, pages_of(region));

	if (rc)
		return rc;
	atomic_store_explicit(&p->region[region->slot], region, memory_order_release);
	atomic_store_explicit(&p->slots, MAX(slots, region->slot + 1), memory_order_release);
	return 0;
}

void pages_withdraw(struct pages *p, const struct mem_region *region)
{
	atomic_store_explicit(&p->region[region->slot], NULL, memory_order_release);
}

void pages_unmap(struct pages *p, const struct mem_region *region)
{
	pages_withdraw(p, region);
	free_records(p, region->slot);
}

void pages_release(struct pages *p)
{
	for (unsigned slot = 0; slot < MEM_SLOTS_MAX; slot++) {
		atomic_store_explicit(&p->region[slot], NULL, memory_order_relaxed);
		free_records(p, slot);
	}
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
		slot = find_slot(p, gpa, &offset);
		if (slot == MEM_SLOTS_MAX)
			continue;
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
		uint64_t offset;
		unsigned slot = find_slot(p, gpa, &offset);

		if (slot != MEM_SLOTS_MAX)
			mark_dirty(p, slot, offset >> GUEST_PAGE_SHIFT);
	}
	return true;
}

void pages_dirty_start(struct pages *p)
{
	for (unsigned slot = 0; slot < MEM_SLOTS_MAX; slot++) {
		for (uint64_t i = 0; i < (p->count[slot] + 63) / 64; i++)
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
