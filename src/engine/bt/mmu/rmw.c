/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-modify-write operands. Where the operand lies in one page of RAM the caller works
 * on it in place, and a host LOCK instruction is what makes it atomic; a page with code
 * is told of the write afterwards, as by any slow write.
 *
 * A copy, made while the others stand still if the access is locked, serves what is left:
 * operands over two pages, devices, and locked operands across a cache line, which the
 * host could do but may punish (split-lock detection).
 */
#include "engine/bt/mmu/device.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/place.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/exclusive.h"
#include "engine/bt/vm.h"

#define CACHE_LINE 64

static bool crosses_line(uint64_t linear, unsigned size)
{
	return (linear ^ (linear + size - 1)) & ~(uint64_t)(CACHE_LINE - 1);
}

/* Where the copy is from and belongs. For whoever may have waited since the places were found:
 * pages may have got code, so that pages_written is called in any case, or been unmapped. */
static void places_again(struct cpu *cpu, const struct mmu_rmw *rmw, struct places *p)
{
	unsigned room = GUEST_PAGE_SIZE - (rmw->linear & PAGE_OFFSET);
	struct page *record;

	p->count = rmw->size > room ? 2 : 1;
	p->part[0].len = MIN(rmw->size, room);
	p->part[1].len = rmw->size - p->part[0].len;
	for (unsigned i = 0; i < p->count; i++) {
		struct place *place = &p->part[i];

		place->gpa = rmw->gpa[i];
		place->host = device_is_lapic(cpu, place->gpa)
				      ? NULL
				      : pages_host(&cpu->vm->pages, place->gpa, &record);
		place->tell = place->host;
	}
}

static __attribute__((noinline)) void begin_slow(struct cpu *cpu, struct mmu_rmw *rmw,
						 enum tlb_context context, bool locked)
{
	struct places p;

	places_find(cpu, &p, context, rmw->linear, rmw->size, TLB_WRITE);
	watch(cpu, rmw->linear, rmw->size, true);
	rmw->gpa[0] = p.part[0].gpa;
	rmw->gpa[1] = p.count == 2 ? p.part[1].gpa : 0;
	rmw->direct = p.count == 1 && p.part[0].host &&
		      !(locked && crosses_line(rmw->linear, rmw->size));
	if (rmw->direct) {
		rmw->ptr = p.part[0].host;
		rmw->tell = p.part[0].tell;
		if (rmw->tell)
			journal_refuse(cpu);
		journal_write(cpu, rmw->ptr, rmw->size);
		return;
	}
	journal_refuse(cpu); /* here, where something may still be raised */
	rmw->exclusive = locked;
	if (locked) {
		exclusive_begin(cpu);
		places_again(cpu, rmw, &p);
	}
	places_read(cpu, &p, rmw->copy);
	rmw->ptr = rmw->copy;
}

static inline void prepare(struct mmu_rmw *rmw, uint64_t linear, unsigned size)
{
	rmw->linear = linear;
	rmw->size = size;
	rmw->tell = false;
	rmw->exclusive = false;
}

void mmu_rmw_begin(struct cpu *cpu, struct mmu_rmw *rmw, uint64_t linear, unsigned size,
		   bool locked)
{
	void *p = tlb_find(cpu, linear, size, true);

	prepare(rmw, linear, size);
	if (__builtin_expect(p && !(locked && crosses_line(linear, size)), 1)) {
		rmw->ptr = p;
		rmw->direct = true;
		return;
	}
	check_alignment(cpu, linear, size);
	begin_slow(cpu, rmw, tlb_context(cpu, cpu->cpl), locked);
}

void mmu_system_rmw_begin(struct cpu *cpu, struct mmu_rmw *rmw, uint64_t linear, unsigned size)
{
	prepare(rmw, linear, size);
	begin_slow(cpu, rmw, tlb_context_system(cpu), true);
}

void mmu_rmw_end(struct cpu *cpu, struct mmu_rmw *rmw)
{
	struct places p;

	if (__builtin_expect(rmw->direct && !rmw->tell, 1))
		return;
	if (rmw->direct) {
		pages_written(&cpu->vm->pages, rmw->gpa[0], rmw->size);
		return;
	}
	places_again(cpu, rmw, &p);
	places_write(cpu, &p, rmw->copy);
	if (rmw->exclusive)
		exclusive_end(cpu);
}
