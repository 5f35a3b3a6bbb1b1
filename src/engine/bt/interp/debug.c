/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOV from and to debug registers. Breakpoints themselves are the loop's (run.c) and
 * the memory accesses'.
 *
 * Source: Intel SDM vol. 2 "MOV - Move to/from Debug Registers", vol. 3B 18.2.
 */
#include "base/bits.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/system_int.h"

#define DR6_WRITABLE (DR6_B(0) | DR6_B(1) | DR6_B(2) | DR6_B(3) | DR6_BD | DR6_BS | DR6_BT)
#define DR7_WRITABLE (0xffff0000ULL | DR7_GD | MASK(10))

/* DR4 and DR5 are other names of DR6 and DR7, where CR4.DE does not say that they are not. */
static unsigned number(struct cpu *cpu, unsigned n)
{
	if (n > 7 || ((n == 4 || n == 5) && cpu->cr4 & CR4_DE))
		cpu_raise(cpu, VECTOR_UD);
	return n == 4 || n == 5 ? n + 2 : n;
}

static void set_dr(struct cpu *cpu, unsigned n, uint64_t value)
{
	if (n < 4) {
		cpu->dr[n] = value;
		return;
	}
	if (value >> 32)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (n == 6)
		cpu->dr6 = (value & DR6_WRITABLE) | DR6_RESET;
	else
		cpu_set_dr7(cpu, (value & DR7_WRITABLE) | DR7_RESET);
}

static uint64_t get_dr(const struct cpu *cpu, unsigned n)
{
	if (n < 4)
		return cpu->dr[n];
	return n == 6 ? cpu->dr6 : cpu->dr7;
}

void system_mov_dr(struct cpu *cpu, const struct insn *insn)
{
	bool to = insn->operand[0].kind == OPERAND_DR;
	unsigned dr = number(cpu, insn->operand[!to].reg), gpr = insn->operand[to].reg;
	unsigned size = cpu->mode == CPU_LONG ? 8 : 4;

	system_require_cpl0(cpu);
	/* A debugger guards its registers: it is called, and finds DR6.BD. */
	if (cpu->dr7 & DR7_GD)
		cpu_raise_debug(cpu, DR6_BD, false);
	if (to)
		set_dr(cpu, dr, reg_read(cpu, gpr, size, false));
	else
		reg_write(cpu, gpr, size, false, get_dr(cpu, dr));
}
