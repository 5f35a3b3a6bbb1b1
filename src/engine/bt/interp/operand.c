/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation in full.
 *
 * In 64-bit mode only FS and GS have a base, and the one check is that the first and
 * the last byte are canonical. In all other modes the cached limit and type decide,
 * whatever mode they were loaded in: so "unreal" mode is nothing special. The type is
 * not looked at in real and virtual-8086 mode, where code segments are written through
 * CS, too.
 */
#include "engine/bt/interp/operand.h"

static _Noreturn void refuse(struct cpu *cpu, unsigned seg)
{
	cpu_raise_error(cpu, seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
}

static bool type_allows(const struct segment *s, enum seg_use use)
{
	if (use == SEG_ANY)
		return true;
	if (s->attr & SEG_TYPE_CODE)
		return use == SEG_READ && (s->attr & SEG_TYPE_READABLE);
	return use == SEG_READ || (use == SEG_WRITE && (s->attr & SEG_TYPE_WRITABLE));
}

/* SDM vol. 3A, 5.3. The end of a segment of 4 GiB is an end, too: whether accesses wrap there the
 * manual leaves open, and on an AMD EPYC they do not. */
bool seg_limit_allows(const struct segment *s, uint64_t offset, unsigned len)
{
	bool down = (s->attr & (SEG_TYPE_CODE | SEG_TYPE_EXPAND_DOWN)) == SEG_TYPE_EXPAND_DOWN;

	return offset + len - 1 <= seg_last(s) && (!down || offset > s->limit);
}

uint64_t seg_linear_checked(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len,
			    enum seg_use use)
{
	const struct segment *s = &cpu->seg[seg];

	if (cpu->mode == CPU_LONG) {
		uint64_t linear = seg >= SEG_FS ? offset + s->base : offset;

		/* AMD's processors want the offset to be canonical by itself, too. */
		if (cpu->amd &&
		    (!linear_canonical(cpu, offset) || !linear_canonical(cpu, offset + len - 1)))
			refuse(cpu, seg);
		if (!linear_canonical(cpu, linear) || !linear_canonical(cpu, linear + len - 1))
			refuse(cpu, seg);
		return linear;
	}
	if (s->attr & SEG_ATTR_UNUSABLE)
		refuse(cpu, seg);
	if (cpu->mode >= CPU_PROTECTED && !type_allows(s, use))
		refuse(cpu, seg);
	if (!seg_limit_allows(s, offset, len))
		refuse(cpu, seg);
	return (uint32_t)(s->base + offset);
}

uint64_t operand_read(struct cpu *cpu, const struct insn *insn, unsigned n)
{
	const struct insn_operand *o = &insn->operand[n];

	switch (o->kind) {
	case OPERAND_GPR:
		return reg_read(cpu, o->reg, o->size, o->high);
	case OPERAND_MEM:
		return mmu_read(cpu, operand_linear(cpu, insn, o->size, SEG_READ), o->size);
	default:
		return n > 0 && insn->operand[n - 1].kind == OPERAND_IMM ? insn->imm2 : insn->imm;
	}
}

void operand_write(struct cpu *cpu, const struct insn *insn, unsigned n, uint64_t value)
{
	const struct insn_operand *o = &insn->operand[n];

	if (o->kind == OPERAND_GPR)
		reg_write(cpu, o->reg, o->size, o->high, value);
	else
		mmu_write(cpu, operand_linear(cpu, insn, o->size, SEG_WRITE), o->size, value);
}

void operand_rmw_begin(struct cpu *cpu, const struct insn *insn, struct mmu_rmw *rmw, unsigned size,
		       bool locked)
{
	mmu_rmw_begin(cpu, rmw, operand_linear(cpu, insn, size, SEG_WRITE), size, locked);
}
