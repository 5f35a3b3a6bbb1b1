/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's registers as MSRs. The machine has the local APIC; CR8 and the
 * timer's deadline are control.c's and tsc.c's.
 *
 * Source: Intel SDM vol. 3A 11.4.4 (IA32_APIC_BASE), 11.12 (x2APIC).
 */
#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/interp/msr_int.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

bool msr_apic_base_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = cpu->apic_base;
	return true;
}

bool msr_apic_base_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const struct engine_env *env = cpu->vm->env;
	uint64_t defined = APIC_BASE_BSP | APIC_BASE_ENABLE |
			   (APIC_BASE_ADDR & MASK(cpu->phys_bits));

	(void)index;
	if (cpu->msrs->has & BIT(MSR_X2APIC))
		defined |= APIC_BASE_EXTD;
	if (value & ~defined)
		return false;
	if (value == cpu->apic_base)
		return true;
	if (!env->lapic->set_base(env->opaque, cpu->id, value))
		return false;
	cpu->apic_base = value;
	mmu_flush(cpu, true); /* the page may have moved, or gone */
	return true;
}

static bool x2apic_mode(const struct cpu *cpu)
{
	const uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_EXTD;

	return (cpu->apic_base & mode) == mode;
}

bool msr_x2apic_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct engine_env *env = cpu->vm->env;

	return x2apic_mode(cpu) &&
	       env->lapic->x2apic_read(env->opaque, cpu->id, (index - MSR_IA32_X2APIC(0)) * 16,
				       value);
}

bool msr_x2apic_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const struct engine_env *env = cpu->vm->env;

	return x2apic_mode(cpu) &&
	       env->lapic->x2apic_write(env->opaque, cpu->id, (index - MSR_IA32_X2APIC(0)) * 16,
					value);
}
