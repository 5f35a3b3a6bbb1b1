/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page walks, for all modes in one loop: a mode is a row of the table below.
 *
 * A walk reads an entry a level, checks it for presence and reserved bits, and ends at
 * an entry that maps a page. Only then are the rights checked, which every level has a
 * say in, and only if they suffice are accessed and dirty bits set: a walk that faults
 * changes nothing. The bits are set with a compare-and-exchange against the value that
 * was judged; when another processor changed the entry meanwhile the walk begins anew.
 *
 * Tables may lie anywhere. What is not RAM is read and written over the bus, where
 * nothing answers with all ones.
 *
 * Sources: Intel SDM vol. 3A 4.3 to 4.7, AMD APM vol. 2 5.2 to 5.6.
 */
#include "engine/bt/mmu/walk.h"

#include "engine/bt/mmu/journal.h"

#include <string.h>

#include "core/bus.h"
#include "core/engine.h"
#include "engine/bt/vm.h"

#define LEVELS_MAX 5

/* A paging mode. Levels are numbered as in their entries' names: 1 PTE, 2 PDE, 3 PDPTE, ... */
struct mode {
	uint8_t levels;
	uint8_t index_bits; /* of the linear address that each level takes */
	uint8_t entry_size;
	bool nx;           /* bit 63 is NX where EFER.NXE is set */
	uint64_t reserved; /* bits that are always reserved, beside those over MAXPHYADDR */
};

static const struct mode mode_32bit = {2, 10, 4, false, 0};
static const struct mode mode_pae = {2, 9, 8, true, MASK(63) & ~MASK(52)};
static const struct mode mode_4level = {4, 9, 8, true, 0};
static const struct mode mode_5level = {5, 9, 8, true, 0};

/* An entry that was used. */
struct step {
	uint64_t gpa;
	uint8_t *host; /* NULL: not RAM */
	uint64_t value;
};

struct walker {
	struct cpu *cpu;
	const struct mode *mode;
	uint64_t linear;
	bool peek;
	struct step step[LEVELS_MAX + 1]; /* by level */
	unsigned leaf;                    /* level of the entry that maps the page */
	bool user, writable, nx;          /* of all levels together */
};

static const struct mode *mode_of(const struct cpu *cpu)
{
	if (cpu->efer & EFER_LMA)
		return cpu->cr4 & CR4_LA57 ? &mode_5level : &mode_4level;
	return cpu->cr4 & CR4_PAE ? &mode_pae : &mode_32bit;
}

static bool read_entry(struct walker *w, struct step *step, uint64_t gpa)
{
	struct vm *vm = w->cpu->vm;
	struct page *record;

	step->gpa = gpa;
	step->host = pages_host(&vm->pages, gpa, &record);
	if (!step->host) {
		step->value = w->peek ? 0 : bus_read(vm->env->mmio, gpa, w->mode->entry_size);
		return !w->peek;
	}
	if (w->mode->entry_size == 8)
		step->value = __atomic_load_n((uint64_t *)(void *)step->host, __ATOMIC_ACQUIRE);
	else
		step->value = __atomic_load_n((uint32_t *)(void *)step->host, __ATOMIC_ACQUIRE);
	return true;
}

static bool is_large(const struct walker *w, unsigned level, uint64_t entry)
{
	if (!(entry & PTE_PS))
		return false;
	if (w->mode == &mode_32bit)
		return level == 2 && (w->cpu->cr4 & CR4_PSE);
	return level == 2 || (level == 3 && w->cpu->tlb->gigabyte);
}

static unsigned level_shift(const struct walker *w, unsigned level)
{
	return GUEST_PAGE_SHIFT + (level - 1) * w->mode->index_bits;
}

/* The bits that must be zero in a present entry. */
static uint64_t reserved_bits(const struct walker *w, unsigned level, uint64_t entry)
{
	const struct cpu *cpu = w->cpu;
	uint64_t reserved = w->mode->reserved;

	if (w->mode == &mode_32bit) {
		/* PSE-36: bits 20 to 13 of a 4 MiB entry are bits 39 to 32 of the address. */
		if (!is_large(w, level, entry))
			return 0;
		return MASK(22) & ~MASK(13 + MIN(cpu->phys_bits, 40) - 32);
	}
	reserved |= PTE_ADDR & ~MASK(cpu->phys_bits);
	if (!(cpu->efer & EFER_NXE))
		reserved |= PTE_NX;
	if (is_large(w, level, entry))
		reserved |= MASK(level_shift(w, level)) & ~MASK(13);
	else if (level > 2)
		reserved |= PTE_PS | (cpu->amd ? PTE_G : 0);
	return reserved;
}

/* Where the table of the highest level is; false: PAE's directory pointer is not present. */
static bool first_table(const struct walker *w, uint64_t *table)
{
	const struct cpu *cpu = w->cpu;
	uint64_t pdpte;

	if (w->mode == &mode_pae) {
		pdpte = cpu->pdptr[w->linear >> 30 & 3];
		*table = pdpte & PTE_ADDR & MASK(cpu->phys_bits);
		return pdpte & PTE_P;
	}
	*table = cpu->cr3 & (w->mode == &mode_32bit ? MASK(32) & ~MASK(12) : PTE_ADDR);
	return true;
}

/* Goes down to the leaf. False with the bits of the error code that the tables decide. */
static bool descend(struct walker *w, uint32_t *error)
{
	unsigned index;
	uint64_t table, entry;

	w->user = w->writable = true;
	w->nx = false;
	*error = 0;
	if (!first_table(w, &table))
		return false;
	for (unsigned level = w->mode->levels;; level--) {
		index = w->linear >> level_shift(w, level) & MASK(w->mode->index_bits);
		if (!read_entry(w, &w->step[level], table + index * w->mode->entry_size))
			return false;
		entry = w->step[level].value;
		if (!(entry & PTE_P))
			return false;
		if (entry & reserved_bits(w, level, entry)) {
			*error = PFERR_P | PFERR_RSVD;
			return false;
		}
		w->user &= !!(entry & PTE_US);
		w->writable &= !!(entry & PTE_RW);
		w->nx |= w->mode->nx && (entry & PTE_NX);
		if (level == 1 || is_large(w, level, entry)) {
			w->leaf = level;
			return true;
		}
		table = entry & PTE_ADDR;
	}
}

/* The guest physical address of linear's 4 KiB page. */
static uint64_t leaf_gpa(const struct walker *w)
{
	uint64_t entry = w->step[w->leaf].value;
	uint64_t inside = MASK(level_shift(w, w->leaf));
	uint64_t base = entry & PTE_ADDR;

	if (w->mode == &mode_32bit && w->leaf == 2)
		base = (entry & MASK(32)) | (entry >> 13 & MASK(8)) << 32;
	return ((base & ~inside) | (w->linear & inside)) & ~PAGE_OFFSET;
}

/* SDM vol. 3A 4.6.1: what a context may do with such a page. */
static unsigned rights_of(const struct walker *w, enum tlb_context context)
{
	const struct cpu *cpu = w->cpu;
	unsigned rights = 0;

	if (context == TLB_USER) {
		if (!w->user)
			return 0;
		return TLB_READ | (w->writable ? TLB_WRITE : 0) | (w->nx ? 0 : TLB_EXEC);
	}
	if (!w->user || context == TLB_SUPERVISOR_ANY) {
		rights |= TLB_READ;
		if (w->writable || !(cpu->cr0 & CR0_WP))
			rights |= TLB_WRITE;
	}
	if (!w->nx && !(w->user && (cpu->cr4 & CR4_SMEP)))
		rights |= TLB_EXEC;
	return rights;
}

/* Sets bits in an entry; false: it is no longer what was read. */
static bool set_bits(struct walker *w, struct step *step, uint64_t bits)
{
	struct vm *vm = w->cpu->vm;
	uint64_t set = step->value | bits;
	bool done;

	if (set == step->value)
		return true;
	if (!step->host) {
		bus_write(vm->env->mmio, step->gpa, w->mode->entry_size, set);
		return true;
	}
	if (w->mode->entry_size == 8) {
		done = __atomic_compare_exchange_n((uint64_t *)(void *)step->host, &step->value,
						   set, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		uint32_t expected = (uint32_t)step->value;

		done = __atomic_compare_exchange_n((uint32_t *)(void *)step->host, &expected,
						   (uint32_t)set, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	}
	if (done) {
		step->value = set;
		if (w->cpu->journal)
			w->cpu->journal->disturbed = true;
		pages_written(&vm->pages, step->gpa, w->mode->entry_size);
	}
	return done;
}

static bool set_accessed_dirty(struct walker *w, bool write)
{
	for (unsigned level = w->mode->levels; level > w->leaf; level--)
		if (!set_bits(w, &w->step[level], PTE_A))
			return false;
	return set_bits(w, &w->step[w->leaf], write ? PTE_A | PTE_D : PTE_A);
}

/* The bits of the error code that the access decides. SDM vol. 3A 4.7. */
static uint32_t access_error(const struct cpu *cpu, enum tlb_context context, unsigned access)
{
	uint32_t error = context == TLB_USER ? PFERR_U : 0;

	if (access == TLB_WRITE)
		error |= PFERR_W;
	if (access == TLB_EXEC &&
	    ((cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE))))
		error |= PFERR_I;
	return error;
}

/* Without paging linear addresses are physical, and everything is allowed. */
static void identity(uint64_t linear, struct translation *t)
{
	*t = (struct translation){.gpa = linear & MASK(32) & ~PAGE_OFFSET,
				  .shift = GUEST_PAGE_SHIFT,
				  .rights = TLB_READ | TLB_WRITE | TLB_EXEC};
}

bool walk(struct cpu *cpu, enum tlb_context context, uint64_t linear, unsigned access,
	  struct translation *t, uint32_t *error)
{
	struct walker w = {.cpu = cpu, .linear = linear};
	unsigned rights;

	if (!(cpu->cr0 & CR0_PG)) {
		identity(linear, t);
		return true;
	}
	w.mode = mode_of(cpu);
	do {
		if (!descend(&w, error)) {
			*error |= access_error(cpu, context, access);
			return false;
		}
		rights = rights_of(&w, context);
		if (!(rights & access)) {
			*error = PFERR_P | access_error(cpu, context, access);
			return false;
		}
	} while (!set_accessed_dirty(&w, access == TLB_WRITE));
	if (!(w.step[w.leaf].value & PTE_D))
		rights &= ~TLB_WRITE;
	*t = (struct translation){
		.gpa = leaf_gpa(&w),
		.shift = level_shift(&w, w.leaf),
		.rights = rights,
		.global = (w.step[w.leaf].value & PTE_G) && (cpu->cr4 & CR4_PGE),
	};
	return true;
}

bool walk_peek(struct cpu *cpu, uint64_t linear, uint64_t *gpa)
{
	struct walker w = {.cpu = cpu, .linear = linear, .peek = true};
	struct translation t;
	uint32_t error;

	if (!(cpu->cr0 & CR0_PG)) {
		identity(linear, &t);
		*gpa = t.gpa;
		return true;
	}
	w.mode = mode_of(cpu);
	if (!descend(&w, &error))
		return false;
	*gpa = leaf_gpa(&w);
	return true;
}

bool mmu_load_pdptr(struct cpu *cpu, uint64_t cr3, uint64_t pdptr[4])
{
	const uint64_t reserved = (MASK(9) & ~MASK(5)) | PTE_RW | PTE_US | ~MASK(cpu->phys_bits);
	struct page *record;
	const void *host = pages_host(&cpu->vm->pages, cr3 & MASK(32) & ~MASK(5), &record);
	uint64_t entry[4];

	if (!host)
		return false; /* all ones would have reserved bits */
	for (unsigned i = 0; i < 4; i++) {
		entry[i] = __atomic_load_n((const uint64_t *)host + i, __ATOMIC_RELAXED);
		if ((entry[i] & PTE_P) && (entry[i] & reserved))
			return false;
	}
	memcpy(pdptr, entry, sizeof(entry));
	return true;
}
