/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How translated code reaches guest memory: an inline look-up in the software TLB
 * (mmu/tlb.h), which has nothing but guest RAM in it.
 *
 *	      lea   r10, [operand]         linear address
 *	      add   r10, segment base      FS and GS
 *	retry:pext  r11, r10, [page bits]  the entry that the page selects
 *	      sub   r10, [set.read + r11 * 8]   offset in the page, if it is this page's entry
 *	      cmp   r10, 4096 - size
 *	      ja    miss                   another page, or into the next one
 *	      add   r10, [set.host + r11 * 8]
 *
 * Processors that have no fast PEXT shift and mask.
 *
 * A miss has the linear address put together again and goes to the runtime, which fills
 * the entry and comes back to retry, or has the interpreter do the instruction.
 */
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/translate/lower.h"

/* The host's register that has a guest's, loaded into its own place if need be. */
static unsigned loaded(struct lower *l, unsigned reg)
{
	if (reg >= MEM_REG_NONE)
		return EMIT_NONE;
	if (is_stolen(reg))
		emit_ctx(l->e, EMIT_MOV, 8, reg, ctx_gpr(reg));
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

/* AMD's processors want the offset in FS and GS to be canonical by itself, too. */
static void check_offset(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	unsigned size = 1;

	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_MEM)
			size = insn->operand[n].size;
	check_half(l, 0);
	if (size > 1)
		check_half(l, (int32_t)size - 1);
}

void address_operand(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_mem *m = &insn->mem;
	unsigned size = insn->addr_size;
	uint64_t fixed = (uint64_t)m->disp;

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
			.disp = (int32_t)m->disp,
		};

		emit_lea(l->e, size, HOST_ADDRESS, &a);
		if (m->seg >= SEG_FS && size == 8 && l->t->cpu->amd)
			check_offset(l);
	}
	if (m->seg >= SEG_FS)
		emit_ctx(l->e, EMIT_ADD, 8, HOST_ADDRESS,
			 (int32_t)(offsetof(struct cpu, seg) + m->seg * sizeof(struct segment) +
				   offsetof(struct segment, base)));
}

void address_stack(struct lower *l, unsigned reg, int32_t disp)
{
	flags_clobber(l, flags_live_before(l));
	emit_lea_disp(l->e, 8, HOST_ADDRESS, reg, disp);
}

int32_t address_tag(const struct lower *l, bool write)
{
	return l->tlb +
	       (int32_t)(write ? offsetof(struct tlb_set, write) : offsetof(struct tlb_set, read));
}

void address_check(struct lower *l, unsigned size, bool write)
{
	struct emit *e = l->e;
	const uint8_t *retry = emit_here(e);

	if (l->t->fast_pext) {
		emit_pext_ctx(e, HOST_SPARE, HOST_ADDRESS, CTX(native.page_bits));
	} else {
		emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
		emit_shift(e, false, 4, HOST_SPARE, GUEST_PAGE_SHIFT);
		emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, TLB_ENTRIES - 1);
	}
	emit_ctx_scaled(e, EMIT_SUB, 8, HOST_ADDRESS, HOST_SPARE, address_tag(l, write));
	emit_imm(e, EMIT_CMP_IMM, 8, HOST_ADDRESS, (int32_t)(GUEST_PAGE_SIZE - size));
	l->missing[l->missing_count++] = (struct missing_access){
		.distance = emit_jcc(e, EMIT_ABOVE),
		.retry = retry,
		.rip = l->i->linear,
		.access = size | (write ? ACCESS_WRITE : 0),
	};
	emit_ctx_scaled(e, EMIT_ADD, 8, HOST_ADDRESS, HOST_SPARE,
			l->tlb + (int32_t)offsetof(struct tlb_set, host));
}
