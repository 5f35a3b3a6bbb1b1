/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about selectors: LAR, LSL, VERR, VERW, ARPL. They answer by ZF, never by
 * a fault of the selector.
 *
 * Source: Intel SDM vol. 2 (tables 3-53 and 3-55 for the types), vol. 3A 5.10.
 */
#include "engine/bt/interp/descriptor.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/segment.h"

static void answer(struct cpu *cpu, bool yes)
{
	cpu_set_rflags(cpu, (cpu->rflags & ~RFLAGS_ZF) | (yes ? RFLAGS_ZF : 0));
}

/* CPL and RPL allow access; a conforming code segment allows all. */
static bool privileged(const struct cpu *cpu, const struct descriptor *d)
{
	unsigned rpl = d->selector & SELECTOR_RPL;

	return descriptor_conforming(d) || descriptor_dpl(d) >= MAX(rpl, (unsigned)cpu->cpl);
}

/* The system types that an instruction knows, a bit each; in IA-32e mode those of 16 bits are not
 * there. */
static bool type_known(const struct cpu *cpu, const struct descriptor *d, uint32_t types)
{
	const uint32_t only_legacy = BIT(SYSTEM_TSS16) | BIT(SYSTEM_TSS16_BUSY) |
				     BIT(SYSTEM_CALL16) | BIT(SYSTEM_TASK_GATE);

	if (descriptor_is_segment(d))
		return true;
	if (cpu_long_active(cpu))
		types &= ~only_legacy;
	return types & BIT(descriptor_type(d));
}

static bool find_known(struct cpu *cpu, const struct insn *insn, uint32_t types,
		       struct descriptor *d)
{
	segment_need_protected(cpu);
	return descriptor_find(cpu, selector_operand(cpu, insn, 1), d) &&
	       type_known(cpu, d, types) && privileged(cpu, d);
}

#define TYPES_TSS                                                                              \
	(BIT(SYSTEM_TSS16) | BIT(SYSTEM_TSS16_BUSY) | BIT(SYSTEM_TSS) | BIT(SYSTEM_TSS_BUSY) | \
	 BIT(SYSTEM_LDT))

void interp_lar(struct cpu *cpu, const struct insn *insn)
{
	const uint32_t types = TYPES_TSS | BIT(SYSTEM_CALL16) | BIT(SYSTEM_CALL) |
			       BIT(SYSTEM_TASK_GATE);
	struct descriptor d;
	bool known = find_known(cpu, insn, types, &d);

	/* Bits 19 to 16, which the manuals leave open, hold the limit's. */
	if (known)
		reg_write(cpu, insn->operand[0].reg, insn->op_size, false,
			  d.low >> 32 & 0x00ffff00);
	answer(cpu, known);
}

void interp_lsl(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor d;
	bool known = find_known(cpu, insn, TYPES_TSS, &d);

	if (known)
		reg_write(cpu, insn->operand[0].reg, insn->op_size, false,
			  segment_from_descriptor(0, d.low).limit);
	answer(cpu, known);
}

void interp_verr(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor d;

	segment_need_protected(cpu);
	answer(cpu, descriptor_find(cpu, selector_operand(cpu, insn, 0), &d) &&
			    descriptor_readable(&d) && privileged(cpu, &d));
}

void interp_verw(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor d;

	segment_need_protected(cpu);
	answer(cpu, descriptor_find(cpu, selector_operand(cpu, insn, 0), &d) &&
			    descriptor_writable(&d) && privileged(cpu, &d));
}

/* Raises the RPL of operand 0 to that of operand 1. */
static uint16_t adjust(uint16_t selector, uint16_t other)
{
	if ((selector & SELECTOR_RPL) >= (other & SELECTOR_RPL))
		return selector;
	return (selector & ~SELECTOR_RPL) | (other & SELECTOR_RPL);
}

void interp_arpl(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *o = &insn->operand[0];
	uint16_t other = cpu->gpr[insn->operand[1].reg];
	uint16_t old, selector;

	segment_need_protected(cpu);
	if (o->kind == OPERAND_GPR) {
		old = cpu->gpr[o->reg];
		selector = adjust(old, other);
		reg_write(cpu, o->reg, 2, false, selector);
	} else {
		/* Written only where it changes: so a fault is mostly that of a read. */
		old = mmu_read(cpu, operand_linear(cpu, insn, 2, SEG_READ), 2);
		selector = adjust(old, other);
		if (selector != old)
			mmu_write(cpu, operand_linear(cpu, insn, 2, SEG_WRITE), 2, selector);
	}
	answer(cpu, selector != old);
}
