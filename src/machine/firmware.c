/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There is no firmware in this machine, but kernels count on what it does: Linux
 * switches off its page attribute table where the MTRRs are disabled, and a kernel
 * without an APIC driver gets the 8259's interrupts through LINT0.
 *
 * Sources: Intel SDM vol. 3A, 12.11 "Memory Type Range Registers", 11.5.1 "Local
 * Vector Table"; MultiProcessor Specification 1.4, 3.6.2.2 "Virtual Wire Mode".
 */
#include "machine/firmware.h"

#include "base/bits.h"
#include "core/x86/msr.h"
#include "machine/layout.h"

#define CPUID_EDX_MTRR BIT(12)

#define APIC_SVR        0x0f0
#define APIC_LVT_LINT0  0x350
#define APIC_LVT_LINT1  0x360
#define APIC_LVT_NMI    0x400
#define APIC_LVT_EXTINT 0x700

#define APIC_SVR_ENABLED     0x100
#define APIC_SPURIOUS_VECTOR 0x0f

#define PHYS_BITS_DEFAULT 36

void firmware_identify(struct firmware_cpu *cpu, const struct cpuid_table *cpuid)
{
	const struct cpuid_entry *basic = cpuid_find(cpuid, 1, 0);
	const struct cpuid_entry *sizes = cpuid_find(cpuid, 0x80000008, 0);

	*cpu = (struct firmware_cpu){.phys_bits = PHYS_BITS_DEFAULT};
	if (basic) {
		cpu->signature = basic->eax;
		cpu->mtrr = basic->edx & CPUID_EDX_MTRR;
	}
	if (sizes && (sizes->eax & 0xff) >= 32 && (sizes->eax & 0xff) <= 52)
		cpu->phys_bits = sizes->eax & 0xff;
}

/* One variable range makes [LAYOUT_MMIO, 4 GiB) uncacheable: its size is a power of two. */
static void set_memory_types(const struct firmware_cpu *cpu, struct vcpu_state *s)
{
	uint64_t size = LAYOUT_HIGH_RAM - LAYOUT_MMIO;
	uint64_t mask = MASK(cpu->phys_bits) & ~(size - 1);

	vcpu_state_set_msr(s, MSR_IA32_MTRR_PHYSBASE(0), LAYOUT_MMIO | MTRR_TYPE_UC);
	vcpu_state_set_msr(s, MSR_IA32_MTRR_PHYSMASK(0), mask | MTRR_PHYSMASK_VALID);
	vcpu_state_set_msr(s, MSR_IA32_MTRR_DEF_TYPE, MTRR_DEF_TYPE_ENABLE | MTRR_TYPE_WB);
}

/* The 8259s reach the processor through its local APIC, which is software-enabled: a disabled one
 * keeps its LVT masked (SDM 11.4.7.2). */
static void set_virtual_wire(struct vcpu_state *s)
{
	store_le(s->lapic + APIC_SVR, 4, APIC_SVR_ENABLED | APIC_SPURIOUS_VECTOR);
	store_le(s->lapic + APIC_LVT_LINT0, 4, APIC_LVT_EXTINT);
	store_le(s->lapic + APIC_LVT_LINT1, 4, APIC_LVT_NMI);
}

void firmware_set_vcpu(const struct firmware_cpu *cpu, struct vcpu_state *s, bool bootstrap)
{
	s->gpr[GPR_RDX] = cpu->signature;
	if (cpu->mtrr)
		set_memory_types(cpu, s);
	if (bootstrap)
		set_virtual_wire(s);
}
