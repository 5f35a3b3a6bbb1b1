/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading guest code, and looking at its flags.
 *
 * The bytes are copied and decoded first; then, when it is known how far they reach, their
 * pages are marked as code and the bytes compared with the copy: what was written
 * before the mark shows in the comparison, and what is written later makes the block stale
 * (mmu/pages.h).
 *
 * Flags that a block's successors read are not known, but where the successor is in the
 * same page, and so goes stale together with the block, its first instructions are looked
 * at: nearly always they overwrite the flags.
 */
#include "engine/bt/translate/region.h"

#include <string.h>

#include "engine/bt/cpu.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/translate/block.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/translator.h"
#include "engine/bt/vm.h"

#define LOOK_AHEAD 8 /* instructions */

/* NULL: it is not RAM (any more: it may be taken away while others are waited for). */
static const uint8_t *host_of(struct cpu *cpu, uint64_t gpa)
{
	struct page *page;

	return pages_host(&cpu->vm->pages, gpa, &page);
}

static bool ends_region(enum kind kind)
{
	return kind >= KIND_JMP;
}

/* A direct branch that leaves the canonical addresses faults before it is taken. */
static bool branch_reaches(const struct cpu *cpu, const struct region_insn *i)
{
	return i->insn.operand[0].kind != OPERAND_REL ||
	       linear_canonical(cpu, i->linear + i->insn.len + i->insn.imm);
}

bool region_takes(const struct cpu *cpu, struct region_insn *i)
{
	i->kind = (uint8_t)kind_of(cpu, &i->insn);
	return i->kind != KIND_NONE && branch_reaches(cpu, i);
}

/* The region goes on behind this conditional branch, which is in it. */
static bool goes_on(const struct region *r, const struct region_insn *i, unsigned branches)
{
	uint64_t next = i->linear + i->insn.len, target = next + i->insn.imm;

	return i->insn.op == OP_JCC && branches < BLOCK_BRANCHES && target > next &&
	       !((target ^ r->linear) & ~MASK(12));
}

/* Decodes bytes[0..len). */
static void decode_all(struct cpu *cpu, struct region *r, const uint8_t *bytes, unsigned len)
{
	r->count = 0;
	r->bytes = 0;
	r->branches = false;
	r->within = r->turn = 0;
	while (r->count < REGION_MAX && r->bytes < len && !r->branches) {
		struct region_insn *i = &r->insn[r->count];

		if (decode_memo(&cpu->translator->memo, cpu->vm->decoder,
				(enum decode_mode)cpu->decode, bytes + r->bytes, len - r->bytes,
				&i->insn) != DECODE_OK)
			break;
		i->linear = r->linear + r->bytes;
		if (!region_takes(cpu, i))
			break;
		r->bytes += i->insn.len;
		r->branches = ends_region((enum kind)i->kind);
		if (r->branches && goes_on(r, i, r->within)) {
			r->branches = false;
			r->within++;
		}
		r->count++;
	}
}

void region_read(struct cpu *cpu, struct region *r, uint64_t linear, uint64_t gpa)
{
	uint8_t bytes[REGION_MAX * INSN_BYTES_MAX];
	unsigned room = GUEST_PAGE_SIZE - (gpa & MASK(12));
	unsigned len = MIN(room, sizeof(bytes));
	const uint8_t *host;
	unsigned left;

	r->linear = linear;
	r->gpa = gpa;
	r->count = r->bytes = r->generation = 0;
	r->branches = r->crosses = false;
	r->turn = 0;
	while ((host = host_of(cpu, gpa))) {
		memcpy(bytes, host, len);
		decode_all(cpu, r, bytes, len);
		/* With the instruction that ended it, whatever it was. */
		r->generation = mmu_protect_code(cpu, gpa, MIN(r->bytes + INSN_BYTES_MAX, room));
		host = host_of(cpu, gpa);
		if (host && !memcmp(bytes, host, MIN(r->bytes + INSN_BYTES_MAX, len))) {
			left = room - r->bytes;
			if (len == room && left && left < INSN_BYTES_MAX && !r->branches &&
			    r->count < REGION_MAX)
				region_cross(cpu, r, bytes + r->bytes, left);
			return;
		}
		r->count = r->bytes = 0;
	}
}

/* The flags that the code at linear, in the region's page, may read before it writes them. */
static unsigned flags_wanted(struct cpu *cpu, const struct region *r, uint64_t linear)
{
	uint64_t gpa = (r->gpa & ~MASK(12)) | (linear & MASK(12));
	unsigned room = GUEST_PAGE_SIZE - (unsigned)(gpa & MASK(12));
	uint8_t bytes[LOOK_AHEAD * INSN_BYTES_MAX];
	unsigned len = MIN(room, sizeof(bytes)), at = 0;
	unsigned open = FLAGS_STATUS, wanted = 0;
	const uint8_t *host = host_of(cpu, gpa);

	if (!host)
		return FLAGS_STATUS;
	memcpy(bytes, host, len);
	for (unsigned n = 0; n < LOOK_AHEAD && open; n++) {
		const struct insn *insn = decode_memo_look(&cpu->translator->memo, cpu->vm->decoder,
							   (enum decode_mode)cpu->decode,
							   bytes + at, len - at);
		enum kind kind = insn ? kind_of(cpu, insn) : KIND_NONE;

		wanted |= insn ? kind_flags_read(insn) & open : 0;
		if (kind == KIND_NONE || ends_region(kind))
			break;
		open &= ~kind_flags_written(insn);
		at += insn->len;
	}
	wanted |= open;
	if (wanted == FLAGS_STATUS)
		return wanted;
	/* It holds for as long as the bytes are these. */
	if (mmu_protect_code(cpu, gpa, MAX(at, 1)) != r->generation)
		return FLAGS_STATUS;
	host = host_of(cpu, gpa);
	if (!host || memcmp(bytes, host, at) != 0)
		return FLAGS_STATUS;
	return wanted;
}

static unsigned flags_wanted_near(struct cpu *cpu, const struct region *r, uint64_t linear)
{
	return (linear ^ r->linear) & ~MASK(12) ? FLAGS_STATUS : flags_wanted(cpu, r, linear);
}

/* The same where linear may be the region's beginning, before which the flags live are known. */
static unsigned flags_wanted_there(struct cpu *cpu, const struct region *r, uint64_t linear)
{
	return linear == r->linear ? r->live : flags_wanted_near(cpu, r, linear);
}

/* Flags that are live where the region ends. */
static unsigned live_at_end(struct cpu *cpu, const struct region *r)
{
	const struct region_insn *last = &r->insn[r->count - 1];
	uint64_t next = r->linear + r->bytes;
	unsigned live;

	if (!r->branches)
		return r->count == REGION_MAX ? flags_wanted_near(cpu, r, next) : FLAGS_STATUS;
	if (last->kind == KIND_AC)
		return flags_wanted_near(cpu, r, next);
	if (last->insn.operand[0].kind != OPERAND_REL || last->kind == KIND_HANDLER_GO)
		return FLAGS_STATUS;
	live = flags_wanted_there(cpu, r, next + last->insn.imm);
	if (last->insn.op == OP_JCC)
		live |= flags_wanted_near(cpu, r, next);
	return live;
}

unsigned region_live_before(const struct region_insn *i)
{
	return (i->live & ~kind_flags_written(&i->insn)) | kind_flags_read(&i->insn);
}

/* Backwards, from what is known of the region's beginning to what is found out of it. */
static void analyse(struct cpu *cpu, struct region *r)
{
	unsigned live = r->count ? live_at_end(cpu, r) : FLAGS_STATUS;

	for (unsigned n = r->count; n-- > 0;) {
		struct region_insn *i = &r->insn[n];

		if (i->insn.op == OP_JCC && !region_ends(r, i))
			live |= flags_wanted_near(cpu, r, region_way_out(r, i));
		i->live = (uint16_t)live;
		live = region_live_before(i);
	}
	r->live = (uint16_t)live;
}

static bool goes_back(const struct region *r)
{
	const struct region_insn *last;

	if (!r->count || !r->branches)
		return false;
	last = &r->insn[r->count - 1];
	return last->insn.operand[0].kind == OPERAND_REL &&
	       last->linear + last->insn.len + last->insn.imm == r->linear;
}

/* A region may go back to itself: what is live before it is so behind it, too. Flags that pass
 * through it do so in one turn. */
void region_analyse(struct cpu *cpu, struct region *r)
{
	r->live = 0;
	analyse(cpu, r);
	if (r->live && goes_back(r))
		analyse(cpu, r);
}
