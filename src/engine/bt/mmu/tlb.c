/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/mmu/tlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/cpuid.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/device.h"
#include "engine/bt/mmu/walk.h"
#include "engine/bt/vm.h"

#define CACHE_LINE 64

/* Whether DR7 has a breakpoint enabled whose type is data written (1), or read or written (3). */
static bool has_data_breakpoints(uint64_t dr7)
{
	for (unsigned n = 0; n < 4; n++)
		if ((dr7 & (DR7_L(n) | DR7_G(n))) && (dr7 >> (16 + 4 * n) & 1))
			return true;
	return false;
}

/* Where the fast path finds its entries, from the registers that govern accesses. */
static void choose_sets(struct cpu *cpu)
{
	struct tlb *tlb = cpu->tlb;

	for (unsigned cpl = 0; cpl < 4; cpl++) {
		for (unsigned ac = 0; ac < 2; ac++) {
			enum tlb_context context = TLB_SUPERVISOR_ANY;

			if (cpl == 3)
				context = TLB_USER;
			else if ((cpu->cr4 & CR4_SMAP) && !ac)
				context = TLB_SUPERVISOR;
			tlb->data[cpl][ac] = &tlb->set[context];
		}
	}
	if (cpu->cr0 & CR0_AM)
		tlb->data[3][1] = tlb->none;
	tlb->watch = has_data_breakpoints(cpu->dr7);
	for (unsigned cpl = 0; (tlb->watch || cpu->journal) && cpl < 4; cpl++)
		tlb->data[cpl][0] = tlb->data[cpl][1] = tlb->none;
}

void mmu_dr7_changed(struct cpu *cpu)
{
	if (cpu->tlb)
		choose_sets(cpu);
}

size_t mmu_room(void)
{
	return (TLB_CONTEXTS + 1) * sizeof(struct tlb_set) + sizeof(struct tlb_sites) + CACHE_LINE;
}

_Static_assert(TLB_CONTEXTS == TLB_SITES_SETS, "each set has its sites");

/* Entry n of the set is about to change: no site is a copy of it any more. */
static void entry_leave_sites(struct tlb *tlb, struct tlb_set *set, size_t n)
{
	if (!set->sited[n])
		return;
	set->sited[n] = 0;
	sites_empty(tlb->sites, (unsigned)(set - tlb->set));
}

/* Nothing known; the place in the list stays. */
static void entry_forget(struct tlb *tlb, struct tlb_set *set, struct tlb_entry *e)
{
	size_t n = (size_t)(e - set->entry);

	entry_leave_sites(tlb, set, n);
	set->read[n] = set->write[n] = tlb_no_tag(n);
	*e = (struct tlb_entry){
		.exec = tlb_no_tag(n),
		.listed = {e->listed[0], e->listed[1]},
	};
}

int mmu_init(struct cpu *cpu)
{
	struct tlb *tlb = calloc(1, sizeof(*tlb));
	void *room = cpu->tlb_room;

	if (!tlb)
		return -ENOMEM;
	/* Zeroes that nobody has touched cost nothing: most of it stays so. */
	if (!room)
		room = tlb->memory = calloc(1, mmu_room());
	if (!room) {
		free(tlb);
		return -ENOMEM;
	}
	tlb->set = (void *)(uintptr_t)align_up((uintptr_t)room, CACHE_LINE);
	tlb->none = tlb->set + TLB_CONTEXTS;
	tlb->sites = (void *)(tlb->none + 1);
	for (unsigned i = 0; i <= TLB_CONTEXTS; i++)
		entry_forget(tlb, &tlb->set[i], &tlb->set[i].entry[0]);
	cpu->tlb = tlb;
	mmu_flush(cpu, true);
	return 0;
}

void mmu_release(struct cpu *cpu)
{
	if (!cpu->tlb)
		return;
	free(cpu->tlb->memory);
	free(cpu->tlb);
	cpu->tlb = NULL;
}

static uint64_t large_bit(uint64_t linear)
{
	return BIT(linear >> 21 & 63);
}

static void note_large(struct tlb *tlb, const struct tlb_entry *e)
{
	uint64_t *large = &tlb->large[e->page >> 63];

	if (e->shift > GUEST_PAGE_SHIFT && e->global && !(e->page >> 63))
		tlb->large_global = true;
	if (e->shift == 21)
		*large |= large_bit(e->page);
	else if (e->shift == 22)
		*large |= large_bit(e->page) | large_bit(e->page ^ BIT(21));
	else if (e->shift > 22)
		*large = UINT64_MAX;
}

/* Empties one of the lists, and the entries in it that are of its kind still. */
static void list_flush(struct tlb *tlb, struct tlb_set *set, bool global)
{
	for (unsigned i = 0; i < set->count[global]; i++) {
		struct tlb_entry *e = &set->entry[set->list[global][i]];

		e->listed[global] = false;
		if (e->global == global)
			entry_forget(tlb, set, e);
	}
	set->count[global] = 0;
}

void mmu_flush(struct cpu *cpu, bool global)
{
	struct tlb *tlb = cpu->tlb;
	const struct cpuid_entry *extended;

	for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
		list_flush(tlb, &tlb->set[i], false);
		if (global)
			list_flush(tlb, &tlb->set[i], true);
	}
	/* Global pages keep what is noted of them; they are of the upper half, nearly always. */
	if (global || !tlb->large_global)
		tlb->large[0] = 0;
	if (global) {
		tlb->large[1] = 0;
		tlb->large_global = false;
	}
	cpu_count(&cpu->stats.tlb_flushes);
	cpu_forget_code(cpu);
	cpu->native.remapped |= global ? REMAPPED_LOWER | REMAPPED_UPPER : REMAPPED_LOCAL;
	if (!global)
		return;
	extended = cpuid_find(&cpu->cpuid, 0x80000001, 0);
	tlb->gigabyte = extended && (extended->edx & BIT(26));
	choose_sets(cpu);
}

/* Drops what a set has of linear's page, and of the large page that it may lie in. */
static void set_drop(struct tlb *tlb, struct tlb_set *set, uint64_t linear, bool large)
{
	struct tlb_entry *e = tlb_entry(set, linear);

	if (e->page == (linear | PAGE_OFFSET))
		entry_forget(tlb, set, e);
	if (!large)
		return;
	for (unsigned i = 0; i < set->count[0] + set->count[1]; i++) {
		bool global = i >= set->count[0];

		e = &set->entry[set->list[global][i - (global ? set->count[0] : 0)]];
		if (e->page && e->page >> e->shift == linear >> e->shift)
			entry_forget(tlb, set, e);
	}
}

/* Tells the runtime that a page's translation is dropped. It remembers one. */
static void remapped_page(struct cpu *cpu, uint64_t linear, bool large)
{
	struct cpu_native *n = &cpu->native;

	linear &= ~PAGE_OFFSET;
	if (large || (n->remapped & REMAPPED_PAGE && n->remapped_page != linear)) {
		n->remapped |= linear >> 63 ? REMAPPED_UPPER : REMAPPED_LOWER;
	} else {
		n->remapped |= REMAPPED_PAGE;
		n->remapped_page = linear;
	}
}

void mmu_invlpg(struct cpu *cpu, uint64_t linear)
{
	bool large = cpu->tlb->large[linear >> 63] & large_bit(linear);

	for (unsigned i = 0; i < TLB_CONTEXTS; i++)
		set_drop(cpu->tlb, &cpu->tlb->set[i], linear, large);
	cpu_forget_code(cpu);
	remapped_page(cpu, linear, large);
}

/* PCIDs are not told apart here: there are only entries of the current one, since MOV to CR3
 * flushes. What is asked of another is done to this one, which is allowed. */
void mmu_invpcid(struct cpu *cpu, unsigned type, uint64_t pcid, uint64_t linear)
{
	(void)pcid;
	if (type == 0)
		mmu_invlpg(cpu, linear);
	else
		mmu_flush(cpu, type == 2);
}

void mmu_control_changed(struct cpu *cpu, const struct mmu_control *old, bool keep)
{
	const uint64_t cr0 = CR0_PE | CR0_PG | CR0_WP;
	const uint64_t cr4 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_SMEP | CR4_PCIDE;
	const uint64_t efer = EFER_NXE | EFER_LMA;
	bool others = cpu->cr0 != old->cr0 || cpu->cr4 != old->cr4 || cpu->efer != old->efer;

	if (((cpu->cr0 ^ old->cr0) & cr0) || ((cpu->cr4 ^ old->cr4) & cr4) ||
	    ((cpu->efer ^ old->efer) & efer))
		mmu_flush(cpu, true);
	else if (cpu->cr3 != old->cr3 || (!others && !keep))
		mmu_flush(cpu, false);
	if (cpu->cr4 != old->cr4)
		cpu->native.remapped |= REMAPPED_CODE;
	choose_sets(cpu);
	cpu_forget_code(cpu);
}

/* Puts a write tag into an entry that has the right, if its page is plain RAM. */
static void allow_writes(struct cpu *cpu, struct tlb_set *set, struct tlb_entry *e)
{
	if (e->record && !tlb_writable(set, e) &&
	    pages_mark_writable(&cpu->vm->pages, e->gpa, e->record))
		set->write[e - set->entry] = e->page & ~PAGE_OFFSET;
}

static void fill(struct cpu *cpu, struct tlb_set *set, uint64_t linear, const struct translation *t)
{
	struct tlb_entry *e = tlb_entry(set, linear);
	uint64_t page = linear & ~PAGE_OFFSET;
	uint8_t *host = NULL;
	struct page *record = NULL;

	cpu_count(&cpu->stats.tlb_fills);
	if (!e->listed[t->global])
		set->list[t->global][set->count[t->global]++] = (uint16_t)(e - set->entry);
	if (!device_is_lapic(cpu, t->gpa))
		host = pages_host(&cpu->vm->pages, t->gpa, &record);
	entry_forget(cpu->tlb, set, e);
	set->host[e - set->entry] = (uintptr_t)host;
	e->page = linear | PAGE_OFFSET;
	e->gpa = t->gpa;
	e->record = record;
	e->rights = t->rights;
	e->shift = t->shift;
	e->global = t->global;
	e->listed[t->global] = true;
	note_large(cpu->tlb, e);
	if (!record)
		return;
	if (t->rights & TLB_READ)
		set->read[e - set->entry] = page;
	if (t->rights & TLB_EXEC)
		e->exec = page;
}

struct tlb_entry *tlb_translate(struct cpu *cpu, enum tlb_context context, uint64_t linear,
				unsigned access)
{
	struct tlb_set *set = &cpu->tlb->set[context];
	struct tlb_entry *e = tlb_entry(set, linear);
	struct translation t;
	uint32_t error;

	if (e->page != (linear | PAGE_OFFSET) || !(e->rights & access)) {
		if (!walk(cpu, context, linear, access, &t, &error)) {
			/* SDM vol. 3A 4.10.4.1: a page fault drops what was known. */
			mmu_invlpg(cpu, linear);
			cpu_raise_page_fault(cpu, linear, error);
		}
		fill(cpu, set, linear, &t);
	}
	if (access == TLB_WRITE)
		allow_writes(cpu, set, e);
	return e;
}

/* The entry with the right to access, walking if need be; NULL: a page fault. */
static struct tlb_entry *find_or_fill(struct cpu *cpu, uint64_t linear, unsigned access)
{
	enum tlb_context context = tlb_context(cpu, cpu->cpl);
	struct tlb_set *set = &cpu->tlb->set[context];
	struct tlb_entry *e = tlb_entry(set, linear);
	struct translation t;
	uint32_t error;

	if (e->page != (linear | PAGE_OFFSET) || !(e->rights & access)) {
		if (!walk(cpu, context, linear, access, &t, &error))
			return NULL;
		fill(cpu, set, linear, &t);
	}
	return e;
}

bool mmu_fill(struct cpu *cpu, uint64_t linear, unsigned size, bool write)
{
	struct tlb_set *set = &cpu->tlb->set[tlb_context(cpu, cpu->cpl)];
	struct tlb_entry *e;

	if ((linear & PAGE_OFFSET) + size > GUEST_PAGE_SIZE || !linear_canonical(cpu, linear))
		return false;
	e = find_or_fill(cpu, linear, write ? TLB_WRITE : TLB_READ);
	if (!e)
		return false;
	if (!write)
		return e->record;
	allow_writes(cpu, set, e);
	return tlb_writable(set, e);
}

const void *mmu_read_place(struct cpu *cpu, uint64_t linear, unsigned size)
{
	if (!mmu_fill(cpu, linear, size, false))
		return NULL;
	return tlb_host(&cpu->tlb->set[tlb_context(cpu, cpu->cpl)], linear);
}

bool mmu_fill_code(struct cpu *cpu, uint64_t linear, uint64_t *gpa)
{
	const struct tlb_entry *e = find_or_fill(cpu, linear, TLB_EXEC);

	if (!e || !e->record)
		return false;
	*gpa = e->gpa;
	return true;
}

bool mmu_peek(struct cpu *cpu, uint64_t linear, uint64_t *gpa)
{
	if (!walk_peek(cpu, linear, gpa))
		return false;
	*gpa |= linear & PAGE_OFFSET;
	return true;
}

void tlb_drop_writable(struct tlb *tlb, const struct page *record)
{
	for (unsigned i = 0; i < 2 * TLB_CONTEXTS; i++) {
		struct tlb_set *set = &tlb->set[i / 2];
		const uint16_t *list = set->list[i % 2];

		for (unsigned n = 0; n < set->count[i % 2]; n++) {
			const struct tlb_entry *e = &set->entry[list[n]];

			if (record && e->record != record)
				continue;
			entry_leave_sites(tlb, set, list[n]);
			set->write[list[n]] = tlb_no_tag(list[n]);
		}
	}
}
