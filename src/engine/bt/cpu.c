/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/cpu.h"

#include "engine/bt/mmu/mmu.h"

static _Noreturn void raise_exception(struct cpu *cpu, const struct cpu_exception *exception)
{
	cpu->exception = *exception;
	longjmp(cpu->unwind, 1);
}

void cpu_raise(struct cpu *cpu, uint8_t vector)
{
	raise_exception(cpu, &(struct cpu_exception){.pending = true, .vector = vector});
}

void cpu_raise_error(struct cpu *cpu, uint8_t vector, uint32_t error)
{
	raise_exception(cpu, &(struct cpu_exception){
				     .pending = true,
				     .vector = vector,
				     .has_error = true,
				     .error = error,
			     });
}

void cpu_raise_page_fault(struct cpu *cpu, uint64_t linear, uint32_t error)
{
	raise_exception(cpu, &(struct cpu_exception){
				     .pending = true,
				     .vector = VECTOR_PF,
				     .has_error = true,
				     .error = error,
				     .payload = linear,
			     });
}

void cpu_raise_debug(struct cpu *cpu, uint64_t dr6, bool trap)
{
	raise_exception(cpu, &(struct cpu_exception){
				     .pending = true,
				     .vector = VECTOR_DB,
				     .payload = dr6,
				     .trap = trap,
			     });
}

void cpu_restart(struct cpu *cpu)
{
	cpu->exception.pending = false;
	longjmp(cpu->unwind, 1);
}

static enum cpu_mode mode_of(const struct cpu *cpu)
{
	if (!(cpu->cr0 & CR0_PE))
		return CPU_REAL;
	if (cpu->rflags & RFLAGS_VM)
		return CPU_VM86;
	if (!cpu_long_active(cpu))
		return CPU_PROTECTED;
	return cpu->seg[SEG_CS].attr & SEG_ATTR_L ? CPU_LONG : CPU_COMPAT;
}

void cpu_update_mode(struct cpu *cpu)
{
	bool big = cpu->seg[SEG_CS].attr & SEG_ATTR_DB;

	cpu->mode = mode_of(cpu);
	cpu_forget_code(cpu);
	if (cpu->mode == CPU_LONG) {
		cpu->decode = DECODE_64;
		cpu->rip_mask = UINT64_MAX;
		cpu->sp_mask = UINT64_MAX;
		return;
	}
	cpu->rip_mask = UINT32_MAX; /* IP's upper half counts against CS's limit */
	cpu->sp_mask = cpu->seg[SEG_SS].attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	/* Real mode keeps what protected mode left in CS: "unreal" code segments are 32 bits wide
	 * there, too. */
	if (big)
		cpu->decode = DECODE_32;
	else if (cpu->mode == CPU_REAL || cpu->mode == CPU_VM86)
		cpu->decode = DECODE_REAL;
	else
		cpu->decode = DECODE_16;
}

void cpu_update_trace(struct cpu *cpu)
{
	const uint64_t enabled = DR7_L(0) | DR7_G(0) | DR7_L(1) | DR7_G(1) | DR7_L(2) | DR7_G(2) |
				 DR7_L(3) | DR7_G(3);

	if ((cpu->rflags & (RFLAGS_TF | RFLAGS_RF)) || (cpu->dr7 & enabled))
		cpu_attention(cpu, ATTENTION_TRACE);
	else
		atomic_fetch_and(&cpu->attention, ~ATTENTION_TRACE);
}

void cpu_set_dr7(struct cpu *cpu, uint64_t dr7)
{
	cpu->dr7 = dr7;
	cpu_update_trace(cpu);
	mmu_dr7_changed(cpu);
}

void cpu_set_rflags(struct cpu *cpu, uint64_t rflags)
{
	uint64_t changed = cpu->rflags ^ rflags;

	cpu->rflags = (rflags & ~RFLAGS_VM) | (cpu->rflags & RFLAGS_VM) | RFLAGS_FIXED;
	if (changed & (RFLAGS_TF | RFLAGS_RF))
		cpu_update_trace(cpu);
}
