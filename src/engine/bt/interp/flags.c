/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions on single flags and on AH, and those that do nothing.
 * Source: Intel SDM vol. 2 by mnemonic. */
#include "engine/bt/interp/alu.h"

static void lahf(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	reg_write(cpu, GPR_RAX, 1, true, (cpu->rflags & ALU_AH_FLAGS) | RFLAGS_FIXED);
}

static void sahf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t ah = reg_read(cpu, GPR_RAX, 1, true);

	(void)insn;
	cpu->rflags = (cpu->rflags & ~ALU_AH_FLAGS) | (ah & ALU_AH_FLAGS);
}

static void clc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags &= ~RFLAGS_CF;
}

static void stc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags |= RFLAGS_CF;
}

static void cmc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags ^= RFLAGS_CF;
}

static void cld(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags &= ~RFLAGS_DF;
}

static void std(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags |= RFLAGS_DF;
}

/* AL all ones or zeroes, by CF; no flag changes. */
static void salc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	reg_write(cpu, GPR_RAX, 1, false, cpu->rflags & RFLAGS_CF ? 0xff : 0);
}

static void nop(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
}

static const struct interp_entry handlers[] = {
	{OP_LAHF, lahf}, {OP_SAHF, sahf}, {OP_CLC, clc},   {OP_STC, stc}, {OP_CMC, cmc},
	{OP_CLD, cld},   {OP_STD, std},   {OP_SALC, salc}, {OP_NOP, nop},
};

interp_fn interp_flags(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
