/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model-specific registers of a vCPU that have no place in struct cpu.
 *
 * The guest sees the same registers as under engine/kvm (msr_filter.c there): what is
 * not in the table of msr.c gives #GP(0).
 *
 * Sources: Intel SDM vol. 4; AMD APM vol. 2 appendix A; Linux
 * Documentation/virt/kvm/x86/msr.rst.
 */
#ifndef LODGE_ENGINE_BT_INTERP_MSR_H
#define LODGE_ENGINE_BT_INTERP_MSR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bt/cpu.h"

#define MSR_MCE_BANKS     10 /* as many as the engine-neutral state has */
#define MSR_MTRR_FIXED    11
#define MSR_MTRR_VARIABLE 8

/* What the guest's processor has, as far as registers depend on it: bits of cpu_msrs.has. */
enum msr_need {
	MSR_ALWAYS,
	MSR_INTEL,
	MSR_AMD,
	MSR_MTRR,
	MSR_PAT,
	MSR_MCA,
	MSR_SYSENTER,
	MSR_SYSCALL,
	MSR_LONG_MODE,
	MSR_TSC_AUX,
	MSR_TSC_ADJUST,
	MSR_TSC_DEADLINE,
	MSR_XSS,
	MSR_CAPABILITIES,
	MSR_X2APIC,
	MSR_KVM_CLOCK_OLD,
	MSR_KVM_CLOCK,
	MSR_NEEDS
};

struct cpu_msrs {
	uint32_t has;           /* bits by enum msr_need; from the CPUID table, as the next three */
	uint64_t cr4_allowed;   /* bits of CR4 that this processor has */
	uint64_t efer_allowed;  /* ... of EFER */
	uint64_t xcr0_allowed;  /* ... of XCR0 */
	uint8_t canonical_bits; /* width of a linear address that an MSR may hold */
	bool stable_clock;      /* the guest is told that all vCPUs' clocks agree */

	uint64_t feature_control, misc_enable, debugctl, tsc_aux, xss, pat;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t tsc_adjust, tsc_deadline;
	uint64_t hwcr, de_cfg;
	uint64_t mtrr_fixed[MSR_MTRR_FIXED];
	uint64_t mtrr_variable[2 * MSR_MTRR_VARIABLE]; /* PHYSBASE, PHYSMASK alternately */
	uint64_t mtrr_def_type;
	uint64_t mcg_status, mcg_ctl;
	uint64_t mc[4 * MSR_MCE_BANKS]; /* CTL, STATUS, ADDR, MISC of each bank */
	uint64_t wall_clock, system_time;
	uint64_t clock_epoch; /* kvmclock.h: for which reference the page was written */
};

/* Allocates cpu->msrs and sets what depends on cpu->cpuid, the registers as at power-on. 0 or
 * -ENOMEM. Any thread, before the vCPU runs. */
int msr_init(struct cpu *cpu);
void msr_release(struct cpu *cpu);

/* RDMSR and WRMSR by the guest, at CPL 0; false: #GP(0), nothing changed. vCPU's thread. */
bool msr_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_write(struct cpu *cpu, uint32_t index, uint64_t value);

/* The same for the engine-neutral state: only registers of vcpu_msr_list, and nothing happens
 * beside storing the value; locked and read-only ones may be set. false: this processor does not
 * have it, or not this value in it. While the vCPU does not run. */
bool msr_get(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_set(struct cpu *cpu, uint32_t index, uint64_t value);

/* Whether cpu's CPUID table has this bit; reg: 0 EAX to 3 EDX. A search: not for every instruction.
 */
bool msr_cpuid_bit(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, unsigned reg,
		   unsigned bit);

/* Whether XCR0 takes this value. */
bool msr_xcr0_valid(const struct cpu *cpu, uint64_t value);

/* Whether a linear address sign-extends from bit bits - 1. */
static inline bool msr_canonical(uint64_t address, unsigned bits)
{
	unsigned shift = 64 - bits;

	return (uint64_t)((int64_t)(address << shift) >> shift) == address;
}

#endif
