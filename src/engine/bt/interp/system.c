/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions: their table, and those that are a line or two.
 *
 * VMX, SVM, SMX and RSM are not there, nor are MONITOR and MWAIT (CPUID does not show
 * them): they have no handler, which gives #UD.
 *
 * Source: Intel SDM vol. 2.
 */
#include <immintrin.h>

#include "base/bits.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/system_int.h"

static void hlt(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	system_require_cpl0(cpu);
	if (atomic_exchange(&cpu->unhalted, false))
		return;
	cpu->halted = true;
	cpu_attention(cpu, ATTENTION_HALT);
}

static void rdmsr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value;

	(void)insn;
	system_require_cpl0(cpu);
	if (!msr_read(cpu, (uint32_t)cpu->gpr[GPR_RCX], &value))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	cpu->gpr[GPR_RAX] = (uint32_t)value;
	cpu->gpr[GPR_RDX] = value >> 32;
}

static void wrmsr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = (uint32_t)cpu->gpr[GPR_RAX] | cpu->gpr[GPR_RDX] << 32;

	(void)insn;
	system_require_cpl0(cpu);
	if (!msr_write(cpu, (uint32_t)cpu->gpr[GPR_RCX], value))
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* CLAC and STAC give #UD outside ring 0, not #GP. */
static void stac(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl)
		cpu_raise(cpu, VECTOR_UD);
	if (insn->op == OP_STAC)
		cpu->rflags |= RFLAGS_AC;
	else
		cpu->rflags &= ~RFLAGS_AC;
}

/* Nothing is left undone between two instructions. */
static void serialize(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
}

/* --- random numbers -------------------------------------------------------------------------- */

__attribute__((target("rdrnd"))) static bool host_rdrand(unsigned long long *value)
{
	return _rdrand64_step(value);
}

__attribute__((target("rdseed"))) static bool host_rdseed(unsigned long long *value)
{
	return _rdseed64_step(value);
}

/* CF: whether there was one; the destination is 0 where there was none. */
static void rdrand(struct cpu *cpu, const struct insn *insn)
{
	const uint64_t flags = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF |
			       RFLAGS_OF;
	unsigned long long value = 0;
	bool got = insn->op == OP_RDRAND ? host_rdrand(&value) : host_rdseed(&value);

	operand_write(cpu, insn, 0, size_cut(got ? value : 0, insn->operand[0].size));
	cpu->rflags = (cpu->rflags & ~flags) | (got ? RFLAGS_CF : 0);
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct interp_entry handlers[] = {
	{OP_MOV_CR, system_mov_cr},
	{OP_MOV_DR, system_mov_dr},
	{OP_CLTS, system_clts},
	{OP_LMSW, system_lmsw},
	{OP_SMSW, system_smsw},
	{OP_XGETBV, system_xgetbv},
	{OP_XSETBV, system_xsetbv},
	{OP_RDMSR, rdmsr},
	{OP_WRMSR, wrmsr},
	{OP_CPUID, system_cpuid},
	{OP_RDTSC, system_rdtsc},
	{OP_RDTSCP, system_rdtscp},
	{OP_RDPID, system_rdpid},
	{OP_RDPMC, system_rdpmc},
	{OP_SYSCALL, system_syscall},
	{OP_SYSRET, system_sysret},
	{OP_SYSENTER, system_sysenter},
	{OP_SYSEXIT, system_sysexit},
	{OP_SWAPGS, system_swapgs},
	{OP_RDFSBASE, system_rdfsbase},
	{OP_RDGSBASE, system_rdfsbase},
	{OP_WRFSBASE, system_wrfsbase},
	{OP_WRGSBASE, system_wrfsbase},
	{OP_CLI, system_cli},
	{OP_STI, system_sti},
	{OP_HLT, hlt},
	{OP_CLAC, stac},
	{OP_STAC, stac},
	{OP_INVLPG, system_invlpg},
	{OP_INVPCID, system_invpcid},
	{OP_INVD, system_wbinvd},
	{OP_WBINVD, system_wbinvd},
	{OP_WBNOINVD, system_wbinvd},
	{OP_CLFLUSH, system_clflush},
	{OP_CLFLUSHOPT, system_clflush},
	{OP_CLWB, system_clflush},
	{OP_CLZERO, system_clzero},
	{OP_LFENCE, system_fence},
	{OP_MFENCE, system_fence},
	{OP_SFENCE, system_fence},
	{OP_SERIALIZE, serialize},
	{OP_PAUSE, system_pause},
	{OP_VMCALL, system_vmcall},
	{OP_VMMCALL, system_vmcall},
	{OP_RDRAND, rdrand},
	{OP_RDSEED, rdrand},
};

interp_fn interp_system(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
