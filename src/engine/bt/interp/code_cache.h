/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoded instructions of one vCPU, kept with the guest physical page and the mode
 * that they were decoded in.
 */
#ifndef LODGE_ENGINE_BT_INTERP_CODE_CACHE_H
#define LODGE_ENGINE_BT_INTERP_CODE_CACHE_H

#include <stdatomic.h>

#include "base/bits.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/mmu/pages.h"

/* An instruction with its handler. */
struct code {
	interp_fn fn;
	struct insn insn;
};

#define CODE_PAGE_SIZE 4096

/* The instructions of one page in one mode. */
struct code_page {
	uint64_t gpa;           /* of the page */
	uint8_t mode;           /* enum decode_mode */
	uint32_t generation;    /* of the page when what is here was decoded */
	struct page *page;      /* the page's record */
	struct code_page *next; /* in its hash chain */
	unsigned count, room;   /* in code */
	struct code *code;
	uint16_t slot[CODE_PAGE_SIZE]; /* by offset: index in code + 1; 0: not decoded */
};

#define CODE_HASH_SIZE 1024

/* What a guest that executes everywhere can have us keep. A kernel's and its programs' code that is
 * in use takes some 20 MiB. */
#define CODE_MEMORY_MAX MIB(64)

struct code_cache {
	/* The page that the last instruction came from, as long as cpu->code_linear is its linear
	 * address. */
	struct code_page *current;
	struct code_page *hash[CODE_HASH_SIZE];
	size_t memory;      /* bytes that the pages take */
	size_t memory_max;  /* CODE_MEMORY_MAX, or what its owner sets */
	bool stale;         /* to be emptied before the next look-up: code_cache_forget */
	struct code single; /* one that is not cached: it crosses a page, or is not in RAM */
	uint64_t decoded;   /* instructions decoded, for statistics */
};

/* Allocates and frees a vCPU's cache; 0 or -ENOMEM. While it does not run. */
int code_cache_init(struct cpu *cpu);
void code_cache_release(struct cpu *cpu);

/* RAM goes away: what was decoded will not be looked at again, nor the pages' records (struct page)
 * that it was kept with. While the vCPU does not execute guest code (exclusive.h); it may stand in
 * the middle of an instruction, which stays valid. The caller flushes the vCPU's TLB. */
void code_cache_forget(struct cpu *cpu);

/* Instructions that were decoded so far; any thread. */
uint64_t code_cache_decoded(const struct cpu *cpu);

/* The instruction at cpu->rip, found by its linear address; raises what the fetch or the decoding
 * raises. Valid until the next call. */
const struct code *code_fetch_slow(struct cpu *cpu, uint64_t linear);

/* The same, at once where it is known. */
static inline const struct code *code_fetch(struct cpu *cpu)
{
	uint64_t linear = cpu->rip + cpu->seg[SEG_CS].base;
	const struct code_page *p = cpu->code->current;

	if (cpu->mode == CPU_LONG)
		linear = cpu->rip;
	else
		linear = (uint32_t)linear;
	if ((linear & ~MASK(12)) == cpu->code_linear) {
		unsigned slot = p->slot[linear & MASK(12)];

		if (slot && p->generation == atomic_load_explicit(&p->page->generation,
								  memory_order_relaxed))
			return &p->code[slot - 1];
	}
	return code_fetch_slow(cpu, linear);
}

#endif
