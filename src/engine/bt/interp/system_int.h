/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the handlers of system instructions; system.c has their table. */
#ifndef LODGE_ENGINE_BT_INTERP_SYSTEM_INT_H
#define LODGE_ENGINE_BT_INTERP_SYSTEM_INT_H

#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/msr.h"

static inline void system_require_cpl0(struct cpu *cpu)
{
	if (cpu->cpl)
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* The width of linear addresses, as instructions check them. */
static inline unsigned system_linear_bits(const struct cpu *cpu)
{
	return cpu->cr4 & CR4_LA57 ? 57 : 48;
}

/* The guest's time stamp counter now. */
uint64_t tsc_guest(const struct cpu *cpu);

/* control.c */
void system_mov_cr(struct cpu *cpu, const struct insn *insn);
void system_lmsw(struct cpu *cpu, const struct insn *insn);
void system_smsw(struct cpu *cpu, const struct insn *insn);
void system_clts(struct cpu *cpu, const struct insn *insn);
void system_xgetbv(struct cpu *cpu, const struct insn *insn);
void system_xsetbv(struct cpu *cpu, const struct insn *insn);

/* debug.c */
void system_mov_dr(struct cpu *cpu, const struct insn *insn);

/* cpuid.c */
void system_cpuid(struct cpu *cpu, const struct insn *insn);

/* syscall.c */
void system_syscall(struct cpu *cpu, const struct insn *insn);
void system_sysret(struct cpu *cpu, const struct insn *insn);
void system_sysenter(struct cpu *cpu, const struct insn *insn);
void system_sysexit(struct cpu *cpu, const struct insn *insn);
void system_swapgs(struct cpu *cpu, const struct insn *insn);
void system_rdfsbase(struct cpu *cpu, const struct insn *insn);
void system_wrfsbase(struct cpu *cpu, const struct insn *insn);

/* tsc.c */
void system_rdtsc(struct cpu *cpu, const struct insn *insn);
void system_rdtscp(struct cpu *cpu, const struct insn *insn);
void system_rdpid(struct cpu *cpu, const struct insn *insn);
void system_rdpmc(struct cpu *cpu, const struct insn *insn);

/* hypercall.c: what a guest says of its waiting. */
void system_vmcall(struct cpu *cpu, const struct insn *insn);
void system_pause(struct cpu *cpu, const struct insn *insn);

/* interrupt_flag.c */
void system_cli(struct cpu *cpu, const struct insn *insn);
void system_sti(struct cpu *cpu, const struct insn *insn);

/* cache.c: what makes other processors' or this one's caches forget. */
void system_invlpg(struct cpu *cpu, const struct insn *insn);
void system_invpcid(struct cpu *cpu, const struct insn *insn);
void system_wbinvd(struct cpu *cpu, const struct insn *insn);
void system_clflush(struct cpu *cpu, const struct insn *insn);
void system_clzero(struct cpu *cpu, const struct insn *insn);
void system_fence(struct cpu *cpu, const struct insn *insn);

#endif
