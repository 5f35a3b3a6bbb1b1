/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group of x87, MMX, SSE and AVX instructions: what its files share.
 *
 *	vector.c  the checks before an instruction; those that only compute (fpu/fpu.h)
 *	x87.c     the x87's own control and state
 *	fxsave.c  FXSAVE, FXRSTOR, MXCSR
 *	xsave.c   XSAVE and its kin
 *	masked.c  masked moves
 *	gather.c  gathers
 */
#ifndef LODGE_ENGINE_BT_INTERP_VECTOR_H
#define LODGE_ENGINE_BT_INTERP_VECTOR_H

#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/operand.h"

/* The exception, VECTOR_UD or VECTOR_NM, of instructions of this unit as the control registers are;
 * negative: they execute. */
int vector_refused(const struct cpu *cpu, enum insn_unit unit);

/* Raises #UD or #NM where the control registers do not let instructions of this unit execute. */
void vector_require(struct cpu *cpu, enum insn_unit unit);

/* Raises #MF where an x87 exception is pending: before waiting instructions. Without CR0.NE it is
 * raised just so: there is no FERR# pin that would make an interrupt of it. */
static inline void vector_wait(struct cpu *cpu)
{
	if (fpu_pending(&cpu->fpu))
		cpu_raise(cpu, VECTOR_MF);
}

/* Whether alignment is checked: #AC. */
static inline bool vector_aligning(const struct cpu *cpu)
{
	return cpu->rflags & RFLAGS_AC && cpu->cr0 & CR0_AM && cpu->cpl == 3;
}

/* Raises #AC where alignment is checked and linear is not a multiple of align. */
static inline void vector_align(struct cpu *cpu, uint64_t linear, unsigned align)
{
	if (linear & (align - 1) && vector_aligning(cpu))
		cpu_raise_error(cpu, VECTOR_AC, 0);
}

/* The linear address of insn's memory operand, with nothing checked yet: that saved state is not
 * aligned counts before all else that may be wrong with its address. */
static inline uint64_t vector_unchecked(const struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_ea(cpu, insn);

	if (cpu->mode != CPU_LONG)
		return (uint32_t)(linear + cpu->seg[insn->mem.seg].base);
	return insn->mem.seg >= SEG_FS ? linear + cpu->seg[insn->mem.seg].base : linear;
}

/* A YMM register, its upper half apart in the area. Writing 16 bytes clears the upper half, as
 * VEX-encoded instructions do. */
#define VECTOR_MAX 32
void vector_get(const struct cpu *cpu, unsigned reg, uint8_t value[VECTOR_MAX]);
void vector_set(struct cpu *cpu, unsigned reg, const uint8_t *value, unsigned size);

/* Executes an instruction by fpu_run, with its memory operand; the unit's checks have been made. */
void vector_execute(struct cpu *cpu, const struct insn *insn);

/* How many vector registers the mode reaches. */
static inline unsigned vector_registers(const struct cpu *cpu)
{
	return cpu->mode == CPU_LONG ? 16 : 8;
}

/* Each file's handlers; NULL where the operation is not its own. */
interp_fn vector_x87(const struct insn *insn);
interp_fn vector_fxsave(const struct insn *insn);
interp_fn vector_xsave(const struct insn *insn);
interp_fn vector_masked(const struct insn *insn);
interp_fn vector_gather(const struct insn *insn);

#endif
