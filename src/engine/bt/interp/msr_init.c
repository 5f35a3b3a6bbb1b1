/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the control and model-specific registers a vCPU has, by its CPUID: found
 * out once, so that an access need not search the table.
 *
 * Sources: Intel SDM vol. 2A CPUID, vol. 3A 2.5 (CR4); AMD APM vol. 2 3.1.7 (EFER);
 * Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/interp/msr.h"

enum { EAX, EBX, ECX, EDX };

#define EXTENDED   0x80000001
#define EXTENDED_2 0x80000021
#define KVM_LEAF   0x40000001

/* A CPUID bit, and what comes with it. */
struct cpuid_row {
	uint32_t leaf;
	uint8_t subleaf;
	uint8_t reg;
	uint8_t bit;
	uint64_t gives;
};

static const struct cpuid_row cr4_rows[] = {
	{1, 0, EDX, 1, CR4_VME | CR4_PVI},
	{1, 0, EDX, 4, CR4_TSD},
	{1, 0, EDX, 2, CR4_DE},
	{1, 0, EDX, 3, CR4_PSE},
	{1, 0, EDX, 6, CR4_PAE},
	{1, 0, EDX, 7, CR4_MCE},
	{1, 0, EDX, 13, CR4_PGE},
	{1, 0, EDX, 24, CR4_OSFXSR},
	{1, 0, EDX, 25, CR4_OSXMMEXCPT},
	{7, 0, ECX, 2, CR4_UMIP},
	{7, 0, ECX, 16, CR4_LA57},
	{7, 0, EBX, 0, CR4_FSGSBASE},
	{1, 0, ECX, 17, CR4_PCIDE},
	{1, 0, ECX, 26, CR4_OSXSAVE},
	{7, 0, EBX, 7, CR4_SMEP},
	{7, 0, EBX, 20, CR4_SMAP},
};

static const struct cpuid_row efer_rows[] = {
	{EXTENDED, 0, EDX, 11, EFER_SCE},
	{EXTENDED, 0, EDX, 20, EFER_NXE},
	{EXTENDED, 0, EDX, 29, EFER_LME | EFER_LMA},
	{EXTENDED_2, 0, EAX, 8, EFER_AUTOIBRS},
};

static const struct cpuid_row msr_rows[] = {
	{1, 0, EDX, 12, BIT(MSR_MTRR)},
	{1, 0, EDX, 16, BIT(MSR_PAT)},
	{1, 0, EDX, 14, BIT(MSR_MCA)},
	{1, 0, EDX, 11, BIT(MSR_SYSENTER)},
	{EXTENDED, 0, EDX, 11, BIT(MSR_SYSCALL)},
	{EXTENDED, 0, EDX, 29, BIT(MSR_LONG_MODE)},
	{EXTENDED, 0, EDX, 27, BIT(MSR_TSC_AUX)},
	{7, 0, ECX, 22, BIT(MSR_TSC_AUX)},
	{7, 0, EBX, 1, BIT(MSR_TSC_ADJUST)},
	{1, 0, ECX, 24, BIT(MSR_TSC_DEADLINE)},
	{1, 0, ECX, 21, BIT(MSR_X2APIC)},
	{0xd, 1, EAX, 3, BIT(MSR_XSS)},
	{7, 0, EDX, 29, BIT(MSR_CAPABILITIES)},
	{KVM_LEAF, 0, EAX, 0, BIT(MSR_KVM_CLOCK_OLD)},
	{KVM_LEAF, 0, EAX, 3, BIT(MSR_KVM_CLOCK)},
};

bool msr_cpuid_bit(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, unsigned reg,
		   unsigned bit)
{
	const struct cpuid_entry *e = cpuid_find(&cpu->cpuid, leaf, subleaf);

	return e && (const uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx}[reg] & BIT(bit);
}

static uint64_t given(const struct cpu *cpu, const struct cpuid_row *rows, unsigned count)
{
	uint64_t gives = 0;

	for (unsigned i = 0; i < count; i++)
		if (msr_cpuid_bit(cpu, rows[i].leaf, rows[i].subleaf, rows[i].reg, rows[i].bit))
			gives |= rows[i].gives;
	return gives;
}

#define GIVEN(cpu, rows) given(cpu, rows, ARRAY_LEN(rows))

bool msr_xcr0_valid(const struct cpu *cpu, uint64_t value)
{
	return value & XSTATE_X87 && !(value & ~cpu->msrs->xcr0_allowed) &&
	       (!(value & XSTATE_AVX) || value & XSTATE_SSE);
}

int msr_init(struct cpu *cpu)
{
	const struct cpuid_entry *xsave = cpuid_find(&cpu->cpuid, 0xd, 0);
	struct cpu_msrs *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->has = (uint32_t)GIVEN(cpu, msr_rows) | BIT(MSR_ALWAYS) |
		 (cpu->amd ? BIT(MSR_AMD) : BIT(MSR_INTEL));
	m->cr4_allowed = GIVEN(cpu, cr4_rows) | CR4_PCE;
	m->efer_allowed = GIVEN(cpu, efer_rows);
	m->xcr0_allowed = xsave ? xsave->eax | (uint64_t)xsave->edx << 32 : 0;
	m->xcr0_allowed |= XSTATE_X87;
	m->canonical_bits = m->cr4_allowed & CR4_LA57 ? 57 : 48;
	m->stable_clock = msr_cpuid_bit(cpu, KVM_LEAF, 0, EAX, 24);
	m->misc_enable = vcpu_msr_reset_value(MSR_IA32_MISC_ENABLE);
	m->pat = vcpu_msr_reset_value(MSR_IA32_PAT);
	cpu->msrs = m;
	return 0;
}
