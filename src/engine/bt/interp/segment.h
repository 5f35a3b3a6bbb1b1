/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of interp_segment that are not in segment.c, and what they share. */
#ifndef LODGE_ENGINE_BT_INTERP_SEGMENT_H
#define LODGE_ENGINE_BT_INTERP_SEGMENT_H

#include "engine/bt/interp/interp.h"

/* Operand n as a selector: 16 bits of a register or of memory. */
uint16_t selector_operand(struct cpu *cpu, const struct insn *insn, unsigned n);

/* Operand 0 becomes a selector: a register of the operand size, zero-extended, or 16 bits of
 * memory. */
void selector_store(struct cpu *cpu, const struct insn *insn, uint16_t selector);

/* Real and virtual-8086 mode do not have the instruction: #UD. */
static inline void segment_need_protected(struct cpu *cpu)
{
	if (cpu->mode == CPU_REAL || cpu->mode == CPU_VM86)
		cpu_raise(cpu, VECTOR_UD);
}

/* selector.c */
void interp_lar(struct cpu *cpu, const struct insn *insn);
void interp_lsl(struct cpu *cpu, const struct insn *insn);
void interp_verr(struct cpu *cpu, const struct insn *insn);
void interp_verw(struct cpu *cpu, const struct insn *insn);
void interp_arpl(struct cpu *cpu, const struct insn *insn);

/* table.c */
void interp_lgdt(struct cpu *cpu, const struct insn *insn);
void interp_lidt(struct cpu *cpu, const struct insn *insn);
void interp_sgdt(struct cpu *cpu, const struct insn *insn);
void interp_sidt(struct cpu *cpu, const struct insn *insn);
void interp_lldt(struct cpu *cpu, const struct insn *insn);
void interp_ltr(struct cpu *cpu, const struct insn *insn);
void interp_sldt(struct cpu *cpu, const struct insn *insn);
void interp_str(struct cpu *cpu, const struct insn *insn);

#endif
