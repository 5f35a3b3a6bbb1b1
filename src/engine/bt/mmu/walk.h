/* SPDX-License-Identifier: Apache-2.0 */
/* Walks of the guest's page tables. Private to mmu/. */
#ifndef LODGE_ENGINE_BT_MMU_WALK_H
#define LODGE_ENGINE_BT_MMU_WALK_H

#include "engine/bt/mmu/tlb.h"

/* What the tables say of a linear address. */
struct translation {
	uint64_t gpa;   /* of its 4 KiB page */
	uint8_t shift;  /* of the page that maps it: 12, 21, 22 or 30 */
	uint8_t rights; /* TLB_* of the context, TLB_WRITE only where the dirty bit is set */
	bool global;
};

/* Translates for an access (one of TLB_*) in a context, and sets accessed and dirty bits. False:
 * a page fault, with the given error code. */
bool walk(struct cpu *cpu, enum tlb_context context, uint64_t linear, unsigned access,
	  struct translation *t, uint32_t *error);

/* The same without rights and without changing anything; tables only in RAM. */
bool walk_peek(struct cpu *cpu, uint64_t linear, uint64_t *gpa);

#endif
