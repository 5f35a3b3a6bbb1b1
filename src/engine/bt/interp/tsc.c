/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time stamp counter: the host's, and an offset of the vCPU.
 *
 * Writing IA32_TSC changes the offset and IA32_TSC_ADJUST by the same amount, writing
 * IA32_TSC_ADJUST changes it by the difference; so offset minus TSC_ADJUST is what
 * the machine gave the vCPU, the same for all of a VM.
 *
 * Source: Intel SDM vol. 3B 18.17 (TSC, TSC_ADJUST, RDTSCP), vol. 3A 11.5.4.1 (deadline).
 */
#include "base/bits.h"
#include "engine/bt/interp/msr_int.h"
#include "engine/bt/interp/system_int.h"
#include "engine/bt/vm.h"

#define NS_PER_MS 1000000

uint64_t tsc_guest(const struct cpu *cpu)
{
	return __builtin_ia32_rdtsc() + cpu->tsc_offset;
}

bool msr_tsc_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = tsc_guest(cpu);
	return true;
}

/* The paravirtual clock's page tells of the TSC, and has to follow. */
static void move_tsc(struct cpu *cpu, uint64_t delta)
{
	cpu_publish(&cpu->tsc_offset, cpu->tsc_offset + delta);
	cpu->msrs->clock_epoch = 0;
	kvmclock_refresh(cpu);
}

bool msr_tsc_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	uint64_t delta = value - tsc_guest(cpu);

	(void)index;
	cpu_publish(&cpu->msrs->tsc_adjust, cpu->msrs->tsc_adjust + delta);
	move_tsc(cpu, delta);
	return true;
}

bool msr_tsc_adjust_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	move_tsc(cpu, value - cpu->msrs->tsc_adjust);
	cpu_publish(&cpu->msrs->tsc_adjust, value);
	return true;
}

bool msr_deadline_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct engine_env *env = cpu->vm->env;

	(void)index;
	*value = env->lapic->deadline_armed(env->opaque, cpu->id) ? cpu->msrs->tsc_deadline : 0;
	return true;
}

/* The guest clock's time at which the TSC reaches deadline: not 0, which disarms. */
static uint64_t deadline_ns(struct cpu *cpu, uint64_t deadline)
{
	uint64_t now = clock_now(cpu->vm->env->clock);
	uint64_t tsc = tsc_guest(cpu);
	unsigned __int128 ns;

	if (deadline <= tsc)
		return MAX(now, 1u);
	/* Rounded up: a timer that comes before its deadline makes the guest arm it again. */
	ns = (unsigned __int128)(deadline - tsc) * NS_PER_MS + cpu->vm->tsc_khz - 1;
	ns = ns / cpu->vm->tsc_khz + now;
	return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

bool msr_deadline_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const struct engine_env *env = cpu->vm->env;

	(void)index;
	cpu->msrs->tsc_deadline = value;
	env->lapic->set_deadline(env->opaque, cpu->id, value ? deadline_ns(cpu, value) : 0);
	return true;
}

static void put_edx_eax(struct cpu *cpu, uint64_t value)
{
	cpu->gpr[GPR_RAX] = (uint32_t)value;
	cpu->gpr[GPR_RDX] = value >> 32;
}

static void require_tsc(struct cpu *cpu)
{
	if (cpu->cr4 & CR4_TSD)
		system_require_cpl0(cpu);
}

void system_rdtsc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	require_tsc(cpu);
	put_edx_eax(cpu, tsc_guest(cpu));
}

void system_rdtscp(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	require_tsc(cpu);
	put_edx_eax(cpu, tsc_guest(cpu));
	cpu->gpr[GPR_RCX] = (uint32_t)cpu->msrs->tsc_aux;
}

/* In 64-bit mode the operand is 64 bits wide, whatever the prefixes say. */
void system_rdpid(struct cpu *cpu, const struct insn *insn)
{
	cpu->gpr[insn->operand[0].reg] = (uint32_t)cpu->msrs->tsc_aux;
}

/* There are no counters, so that whoever may read one names one that is not there. */
void system_rdpmc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu_raise_error(cpu, VECTOR_GP, 0);
}
