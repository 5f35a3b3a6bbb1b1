/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's TLB: translations that mmu/ remembers. Private to mmu/.
 *
 * One direct-mapped set of entries for each way in which an access can be privileged,
 * so that a change of CPL, STAC and CLAC flush nothing:
 *
 *	TLB_SUPERVISOR       SMAP keeps it from user pages
 *	TLB_SUPERVISOR_ANY   RFLAGS.AC is set, or SMAP off
 *	TLB_USER             CPL 3
 *
 * An entry is of 4 KiB, also within a large page. It has what is known of the page
 * (page, gpa, rights), and three tags by which the fast path asks all at once: "this
 * page, in RAM, may be read (written, fetched from) without further ado". Those for data stand
 * in arrays of their own, so that what a program uses lies close together. A tag is the
 * linear address of the page. What is left when it is subtracted from that of an access is
 * the offset in the page; where it is more than the page's size less the access's, this is
 * another page, or the access crosses into one. An entry without the right has a tag that
 * no address which selects it is near to (tlb_no_tag): 0, but for entry 0.
 *
 * Translated code does the same look-up inline (translate/address.c), in the sets' memory,
 * which for its sake lies beside the struct cpu.
 *
 * An access whose every instance is to be looked at (alignment checks, data
 * breakpoints) finds a set that is always empty in the place of its own.
 */
#ifndef LODGE_ENGINE_BT_MMU_TLB_H
#define LODGE_ENGINE_BT_MMU_TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "core/mem.h"
#include "engine/bt/cpu.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/pages.h"
#include "engine/bt/mmu/sites.h"

#define PAGE_OFFSET ((uint64_t)GUEST_PAGE_SIZE - 1)

#define TLB_ENTRIES 16384u

enum tlb_context { TLB_SUPERVISOR, TLB_SUPERVISOR_ANY, TLB_USER, TLB_CONTEXTS };

/* Rights, and kinds of access. */
#define TLB_READ  1u
#define TLB_WRITE 2u
#define TLB_EXEC  4u

struct tlb_entry {
	uint64_t exec;       /* tag */
	uint64_t page;       /* linear address of the page's last byte; 0: nothing known */
	uint64_t gpa;        /* of the page */
	struct page *record; /* NULL: not RAM */
	uint8_t rights;      /* TLB_*; WRITE only where the dirty bit is set */
	uint8_t shift;       /* size of the page in the guest's tables */
	bool global;
	bool listed[2]; /* in the set's lists */
};

struct tlb_set {
	uint64_t read[TLB_ENTRIES]; /* tags */
	uint64_t write[TLB_ENTRIES];
	uintptr_t host[TLB_ENTRIES]; /* RAM: the host's address of the page */
	struct tlb_entry entry[TLB_ENTRIES];
	/* Entries that may hold something, which is what a flush visits: not global ones, and
	 * global ones. */
	uint16_t list[2][TLB_ENTRIES];
	unsigned count[2];
	uint8_t sited[TLB_ENTRIES]; /* not 0: a site may be a copy of the entry: sites.h */
};

struct tlb {
	/* Where the fast path looks, by CPL and RFLAGS.AC: one of set, or none. */
	struct tlb_set *data[4][2];
	struct tlb_set *set; /* TLB_CONTEXTS of them */
	struct tlb_set *none;
	struct tlb_sites *sites;
	/* Bit n of large[linear >> 63]: there may be entries of large pages with these upper bits
	 * and (linear >> 21) % 64 = n. Spares INVLPG of small pages a search. */
	uint64_t large[2];
	bool large_global; /* ... global ones in the lower half */
	bool watch;        /* DR7 has data breakpoints */
	bool gigabyte;     /* CPUID has pages of 1 GiB */
	void *memory;      /* what set, none and sites were allocated in; NULL: cpu->tlb_room */
};

/* How the vCPU accesses data explicitly at the given CPL. */
static inline enum tlb_context tlb_context(const struct cpu *cpu, unsigned cpl)
{
	if (cpl == 3)
		return TLB_USER;
	return (cpu->cr4 & CR4_SMAP) && !(cpu->rflags & RFLAGS_AC) ? TLB_SUPERVISOR
								   : TLB_SUPERVISOR_ANY;
}

/* ... and how it accesses descriptor tables and task state. */
static inline enum tlb_context tlb_context_system(const struct cpu *cpu)
{
	return cpu->cr4 & CR4_SMAP ? TLB_SUPERVISOR : TLB_SUPERVISOR_ANY;
}

static inline size_t tlb_index(uint64_t linear)
{
	return (linear >> GUEST_PAGE_SHIFT) % TLB_ENTRIES;
}

static inline struct tlb_entry *tlb_entry(struct tlb_set *set, uint64_t linear)
{
	return &set->entry[tlb_index(linear)];
}

/* The tag of entry n that no access finds: of page 1 in the entry of page 0, else of page 0. */
static inline uint64_t tlb_no_tag(size_t n)
{
	return n ? 0 : GUEST_PAGE_SIZE;
}

/* The fast path may write to the entry's page. */
static inline bool tlb_writable(const struct tlb_set *set, const struct tlb_entry *e)
{
	return e->record && set->write[e - set->entry] == (e->page & ~PAGE_OFFSET);
}

/* The host's address of linear, whose entry is there and of RAM. */
static inline void *tlb_host(const struct tlb_set *set, uint64_t linear)
{
	return (void *)(set->host[tlb_index(linear)] + (linear & PAGE_OFFSET));
}

/* The host's address of size bytes at linear for an explicit access with the vCPU's CPL, if the TLB
 * has it; NULL: the slow path. size: not over a page. */
static inline void *tlb_find(const struct cpu *cpu, uint64_t linear, unsigned size, bool write)
{
	struct tlb_set *set = cpu->tlb->data[cpu->cpl][(cpu->rflags & RFLAGS_AC) != 0];
	size_t n = tlb_index(linear);
	uint64_t offset = linear - (write ? set->write[n] : set->read[n]);

	if (__builtin_expect(offset > GUEST_PAGE_SIZE - size, 0))
		return NULL;
	return (void *)(set->host[n] + offset);
}

/* The entry of linear's page with the right to access (one of TLB_*), in this context; walks the
 * page tables where need be, and raises the page fault. A write has its tag if the page is plain
 * RAM. Good until the next call. */
struct tlb_entry *tlb_translate(struct cpu *cpu, enum tlb_context context, uint64_t linear,
				unsigned access);

/* Takes the write tags of one page (record), or of all (NULL), from a vCPU's TLB. On the vCPU's
 * thread, or while it stands still. */
void tlb_drop_writable(struct tlb *tlb, const struct page *record);

#endif
