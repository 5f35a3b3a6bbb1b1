/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLI and STI, with the virtual interrupt flag of virtual-8086 mode (CR4.VME) and of
 * ring 3 (CR4.PVI).
 *
 * Source: Intel SDM vol. 2 CLI table 3-7, STI table 4-20, vol. 3B 21.3 and 21.4.
 */
#include "engine/bt/interp/system_int.h"

enum flag_use { FLAG_IF, FLAG_VIF };

/* Which flag CLI and STI are about; #GP(0) where neither may be touched. */
static enum flag_use flag_of(struct cpu *cpu)
{
	if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= cpu_iopl(cpu))
		return FLAG_IF;
	if (cpu->cpl == 3 && cpu->cr4 & (cpu->mode == CPU_VM86 ? CR4_VME : CR4_PVI))
		return FLAG_VIF;
	cpu_raise_error(cpu, VECTOR_GP, 0);
}

void system_cli(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->rflags &= ~(flag_of(cpu) == FLAG_IF ? RFLAGS_IF : RFLAGS_VIF);
}

void system_sti(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (flag_of(cpu) == FLAG_VIF) {
		if (cpu->rflags & RFLAGS_VIP)
			cpu_raise_error(cpu, VECTOR_GP, 0);
		cpu->rflags |= RFLAGS_VIF;
		return;
	}
	if (cpu->rflags & RFLAGS_IF)
		return;
	cpu->rflags |= RFLAGS_IF;
	cpu->shadow_sti = true;
	cpu_attention(cpu, ATTENTION_SHADOW);
}
