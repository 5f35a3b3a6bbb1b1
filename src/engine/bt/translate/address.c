/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How translated code reaches guest memory: an inline look-up in the software TLB
 * (mmu/tlb.h), which has nothing but guest RAM in it.
 *
 *	      lea   r10, [operand]         linear address
 *	      add   r10, segment base      FS and GS
 *	retry:rorx  r11d, r10d, 12      the entry that the page selects
 *	      and   r11d, entries - 1
 *	      sub   r10, [set.read + r11 * 8]   offset in the page, if it is this page's entry
 *	      cmp   r10, 4096 - size
 *	      ja    miss                   another page, or into the next one
 *	      add   r10, [set.host + r11 * 8]
 *
 * The address of [reg] is moved, which costs a processor no time, and the entry found by reg
 * itself. Where BMI2 is missing, MOV and SHR do what RORX does.
 *
 * One look-up may serve several accesses (access.h). The host's address stays in
 * HOST_ADDRESS, and where that will be wanted for other things in between it is
 * kept in memory too, a window. A range that is in two pages leaves to the plain block of
 * the instruction, which has a look-up for each access; so does a read that missed because a
 * later access of its group writes: the page's dirty bit is not to be set for a write that may not
 * come.
 *
 * A miss has the linear address put together again and goes to the runtime, which fills
 * the entry and comes back to retry, or has the interpreter do the instruction.
 */
#include <assert.h>

#include "engine/bt/mmu/tlb.h"
#include "engine/bt/translate/lower.h"

/* The host's register that has a guest's, loaded into its own place if need be. */
static unsigned loaded(struct lower *l, unsigned reg)
{
	if (reg >= MEM_REG_NONE)
		return EMIT_NONE;
	if (is_stolen(reg))
		lower_load(l, reg);
	return reg;
}

/* All bits from the 48-bit linear addresses' sign on are alike in HOST_ADDRESS + disp; else the
 * interpreter looks. */
static void check_half(struct lower *l, int32_t disp)
{
	emit_lea_disp(l->e, 8, HOST_SPARE, HOST_ADDRESS, disp);
	emit_shift(l->e, false, 8, HOST_SPARE, 47); /* 0, or 17 bits set */
	emit_imm(l->e, EMIT_ADD_IMM, 4, HOST_SPARE, 1);
	emit_imm(l->e, EMIT_AND_IMM, 4, HOST_SPARE, 0x1fffe);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
}

static unsigned operand_size(const struct insn *insn)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_MEM)
			return insn->operand[n].size;
	return 1;
}

/* AMD's processors want the offset in FS and GS to be canonical by itself, too. */
static void check_offset(struct lower *l)
{
	unsigned size = operand_size(&l->i->insn);

	check_half(l, 0);
	if (size > 1)
		check_half(l, (int32_t)size - 1);
}

/* FS and GS of 32-bit code, with the offset in HOST_ADDRESS: the segment is written and its limit 4
 * GiB, and the operand does not reach over it; else the interpreter looks. */
static void check_segment(struct lower *l)
{
	static const uint8_t test_byte[] = {0x65, 0xf6, 0x04, 0x25};
	const struct insn *insn = &l->i->insn;
	unsigned size = operand_size(insn);
	bool based = insn->mem.base < GPR_COUNT || insn->mem.index < GPR_COUNT;

	emit_bytes(l->e, test_byte, sizeof(test_byte));
	emit_le(l->e, 4, (uint32_t)CTX(native.whole));
	emit_byte(l->e, (uint8_t)BIT(insn->mem.seg));
	lower_leaves(l, emit_jcc(l->e, EMIT_EQUAL));
	if (based && size > 1) {
		emit_imm(l->e, EMIT_CMP_IMM, 4, HOST_ADDRESS, -(int32_t)size);
		lower_leaves(l, emit_jcc(l->e, EMIT_ABOVE));
	} else if (!based && address_wraps(insn, size)) {
		lower_leaves(l, emit_jmp(l->e));
	}
}

/* A register as an address. The register that has the same: where it stays while the instruction is
 * under way that one, else HOST_ADDRESS. */
static unsigned move(struct lower *l, unsigned size, unsigned reg)
{
	if (reg != HOST_ADDRESS || size < 8)
		emit_reg(l->e, EMIT_MOV, size, HOST_ADDRESS, reg);
	return is_stolen(reg) ? HOST_ADDRESS : reg;
}

/* The linear address of the memory operand, plus more; HOST_SPARE is spoilt, too. Another register
 * that has its lower half, or HOST_ADDRESS. */
static unsigned operand(struct lower *l, int32_t more)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_mem *m = &insn->mem;
	unsigned size = insn->addr_size;
	uint64_t fixed = (uint64_t)m->disp + (uint64_t)(int64_t)more;
	unsigned same = HOST_ADDRESS;

	flags_clobber(l, flags_live_before(l));
	if (m->base == MEM_REG_RIP)
		fixed += l->i->linear + insn->len;
	if (m->index == MEM_REG_NONE && (m->base >= MEM_REG_NONE)) {
		emit_set(l->e, HOST_ADDRESS, size == 4 ? (uint32_t)fixed : fixed);
	} else {
		struct emit_address a = {
			.base = loaded(l, m->base),
			.index = loaded(l, m->index),
			.shift = m->shift,
			.disp = (int32_t)((uint32_t)m->disp + (uint32_t)more),
		};

		if (a.index == EMIT_NONE && !a.disp)
			same = move(l, size, a.base);
		else
			emit_lea(l->e, size, HOST_ADDRESS, &a);
		if (m->seg >= SEG_FS && size == 8 && l->t->cpu->amd)
			check_offset(l);
	}
	l->loaded = 0;
	if (m->seg >= SEG_FS && l->narrow)
		check_segment(l);
	if (m->seg < SEG_FS)
		return same;
	emit_ctx(l->e, EMIT_ADD, l->word, HOST_ADDRESS,
		 (int32_t)(offsetof(struct cpu, seg) + m->seg * sizeof(struct segment) +
			   offsetof(struct segment, base)));
	return HOST_ADDRESS;
}

void address_operand(struct lower *l)
{
	l->held = NULL;
	operand(l, 0);
}

static unsigned stack(struct lower *l, unsigned reg, int32_t disp)
{
	flags_clobber(l, flags_live_before(l));
	l->loaded = 0;
	if (!disp)
		return move(l, l->word, reg);
	emit_lea_disp(l->e, l->word, HOST_ADDRESS, reg, disp);
	return HOST_ADDRESS;
}

void address_stack(struct lower *l, unsigned reg, int32_t disp)
{
	l->held = NULL;
	stack(l, reg, disp);
}

int32_t address_tag(const struct lower *l, bool write)
{
	return l->tlb +
	       (int32_t)(write ? offsetof(struct tlb_set, write) : offsetof(struct tlb_set, read));
}

/* Where the entry of the address is whose lower half is in reg, into HOST_SPARE. */
static void find_entry(struct lower *l, unsigned reg)
{
	if (l->t->bmi2) {
		emit_rorx(l->e, HOST_SPARE, reg, GUEST_PAGE_SHIFT);
	} else {
		emit_reg(l->e, EMIT_MOV, 4, HOST_SPARE, reg);
		emit_shift(l->e, false, 4, HOST_SPARE, GUEST_PAGE_SHIFT);
	}
	emit_imm(l->e, EMIT_AND_IMM, 4, HOST_SPARE, TLB_ENTRIES - 1);
}

uint8_t *address_find_entry(struct lower *l, uint32_t access, unsigned same)
{
	struct emit *e = l->e;
	unsigned size = access & ACCESS_SIZE;

	find_entry(l, same);
	emit_ctx_scaled(e, EMIT_SUB, 8, HOST_ADDRESS, HOST_SPARE,
			address_tag(l, access & ACCESS_WRITE));
	emit_imm(e, EMIT_CMP_IMM, 8, HOST_ADDRESS, (int32_t)(GUEST_PAGE_SIZE - size));
	return emit_jcc(e, EMIT_ABOVE);
}

/* access: as in struct access_site. same: a register whose lower half is HOST_ADDRESS's. */
static void check(struct lower *l, uint32_t access, unsigned same)
{
	struct emit *e = l->e;
	struct missing_access *m = &l->missing[l->missing_count++];

	l->loaded = 0;
	*m = (struct missing_access){
		.retry = emit_here(e),
		.rip = l->i->linear,
		.access = access,
	};
	if (site_take(l, m)) {
		site_look_up(l, m);
		return;
	}
	m->distance = address_find_entry(l, access, same);
	emit_ctx_scaled(e, EMIT_ADD, 8, HOST_ADDRESS, HOST_SPARE,
			l->tlb + (int32_t)offsetof(struct tlb_set, host));
	m->done = emit_here(e);
}

void address_check(struct lower *l, unsigned size, bool write)
{
	check(l, size | (write ? ACCESS_WRITE : 0), HOST_ADDRESS);
}

static int32_t window(const struct access_group *g)
{
	return CTX(native.window) + g->window * (int32_t)sizeof(uint64_t);
}

/* The next access of the instruction. How far the lowest address of its group lies from it: below,
 * or 0. HOST_ADDRESS may have the group's address: true, then. */
static bool next_access(struct lower *l, const struct access **access,
			const struct access_group **group)
{
	const struct access *a = &l->accesses.at[l->accessed++];
	const struct access_group *g = &l->accesses.group[a->group];

	assert(l->accessed <= l->accesses.count && &l->r->insn[a->insn] == l->i);
	*access = a;
	*group = g;
	if (l->held == g)
		return true;
	if (g->window == WINDOW_NONE || !(l->windows & BIT(a->group % 64)) || a->group >= 64)
		return false;
	lower_spoilt(l, HOST_ADDRESS);
	emit_ctx(l->e, EMIT_MOV, 8, HOST_ADDRESS, window(g));
	l->held = g;
	return true;
}

/* The group's look-up, its lowest linear address in HOST_ADDRESS; same: as of check. */
static void look_up(struct lower *l, const struct access *a, const struct access_group *g,
		    unsigned same)
{
	uint32_t access = g->bytes;

	if (g->first != g->last)
		access |= ACCESS_SHARED;
	if (g->write)
		access |= ACCESS_WRITE | (a->write ? 0 : ACCESS_EARLY);
	check(l, access, same);
	l->held = g;
	if (g->window == WINDOW_NONE || &l->accesses.at[g->last] == a || a->group >= 64)
		return;
	emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_ADDRESS, window(g));
	l->windows |= BIT(a->group);
}

int32_t address_reach_operand(struct lower *l)
{
	const struct access_group *g;
	const struct access *a;

	if (!next_access(l, &a, &g)) {
		unsigned same = operand(l, (int32_t)(g->low - a->constant));

		look_up(l, a, g, same);
	}
	return (int32_t)(a->constant - g->low);
}

int32_t address_reach_stack(struct lower *l, unsigned reg, int32_t disp)
{
	const struct access_group *g;
	const struct access *a;

	if (!next_access(l, &a, &g)) {
		unsigned same = stack(l, reg, disp + (int32_t)(g->low - a->constant));

		look_up(l, a, g, same);
	}
	return (int32_t)(a->constant - g->low);
}
