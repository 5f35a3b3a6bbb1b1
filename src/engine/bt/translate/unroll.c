/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot loops that are one block, several times in it:
 *
 *	loop: A; B; jcc loop        A; B; jncc out; A; B; jncc out; ...; A; B; jcc loop
 *
 * So accesses of several turns share a look-up (access.h), and of what a block asks when it begins
 * and where it goes back little is left for each turn.
 *
 * Only loops of what is copied: nothing in them calls C but a look-up that misses. A branch out of
 * them is one of the block's exits, which all turns share (lower_jcc). A loop with a branch within
 * itself stays as it is: that may be taken every other time.
 */
#include "engine/bt/interp/operand.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/region.h"

#define TURNS 4u

static uint64_t target_of(const struct region_insn *i)
{
	return i->linear + i->insn.len + i->insn.imm;
}

static bool same_page(const struct region *r, uint64_t linear)
{
	return !((linear ^ r->linear) & ~MASK(12));
}

/* Whether the instruction, not the last, may be in a loop. */
static bool fits(const struct region *r, const struct region_insn *i)
{
	switch (i->kind) {
	case KIND_NOP:
	case KIND_COPY:
	case KIND_LEA:
		return true;
	case KIND_VECTOR:
		return i->insn.op != OP_LDMXCSR;
	case KIND_JCC:
		return target_of(i) - r->linear >= r->bytes;
	default:
		return false;
	}
}

void region_unroll(struct region *r)
{
	const struct region_insn *last = &r->insn[r->count ? r->count - 1 : 0];
	unsigned turns = MIN(TURNS, REGION_MAX / MAX(r->count, 1));

	if (turns < 2 || !r->branches || r->crosses || last->insn.op != OP_JCC ||
	    last->kind != KIND_JCC || target_of(last) != r->linear ||
	    !same_page(r, r->linear + r->bytes))
		return;
	for (unsigned n = 0; n + 1 < r->count; n++)
		if (!fits(r, &r->insn[n]))
			return;
	r->turn = r->count;
	for (unsigned n = r->turn; n < turns * r->turn; n++)
		r->insn[n] = r->insn[n - r->turn];
	r->count = turns * r->turn;
}

uint64_t region_way_out(const struct region *r, const struct region_insn *i)
{
	if (r->turn && (unsigned)(i - r->insn) % r->turn == r->turn - 1)
		return i->linear + i->insn.len;
	return target_of(i);
}
