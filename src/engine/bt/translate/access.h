/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accesses of a region share one look-up.
 *
 * A linear address is written as the values of two registers at some moment, and a
 * constant:
 *
 *	base + (index << shift) + offset
 *
 * "The value at some moment" is a number, which a register gets anew when an instruction writes it,
 * other than by adding a constant or by a move. Accesses with the same numbers differ in the
 * constant alone. If their constants are close they make a group: the look-up of the first
 * is of the whole range, with the right to write if one of them writes, and gives the host's
 * address for all.
 *
 * That is right because a block is straight: if its first access is done, the others will be, or
 * the block is left. (A write behind a conditional branch does not ask for the right before it.)
 * And a range within one page asks nothing of the guest that each of its accesses would not ask;
 * a range that is not is done access by access in other code ("plain", block.h).
 */
#ifndef LODGE_ENGINE_BT_TRANSLATE_ACCESS_H
#define LODGE_ENGINE_BT_TRANSLATE_ACCESS_H

#include "engine/bt/translate/region.h"

#define ACCESSES_MAX (2 * REGION_MAX)
#define ACCESS_RANGE 256 /* bytes, at most, that one look-up is of */
#define WINDOW_NONE  0xffu

/* Accesses by one look-up. */
struct access_group {
	uint64_t low;        /* lowest constant */
	uint16_t bytes;      /* from there */
	uint8_t first, last; /* accesses */
	bool write;
	uint8_t window; /* of cpu->native, where the address is kept for accesses behind others; or
			 * WINDOW_NONE */
};

struct access {
	uint8_t insn; /* in the region */
	uint8_t group;
	uint8_t size; /* bytes; 0: not a look-up that can be shared */
	bool write;
	uint64_t constant;
};

struct accesses {
	unsigned count, groups;
	struct access at[ACCESSES_MAX]; /* in the order in which they are done */
	struct access_group group[ACCESSES_MAX];
};

struct cpu;

/* plain: each by itself. Reads nothing but the region. */
void access_analyse(const struct cpu *cpu, const struct region *r, bool plain, struct accesses *a);

/* Whether instruction n of the region changes HOST_ADDRESS, other than by a look-up. */
bool access_disturbs(const struct region *r, unsigned n);

#endif
