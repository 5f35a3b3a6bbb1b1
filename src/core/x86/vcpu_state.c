/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power-on state and the MSRs that belong to a vCPU's state.
 *
 * The list below names what a guest can write and read back, or what steers the
 * processor; identity (MCG_CAP, PLATFORM_INFO, ARCH_CAPABILITIES, microcode
 * revision) is configuration, not state, and comes with the CPU model. Its order
 * is the order of setting: TSC_ADJUST and the clocks after what they build on,
 * ASYNC_PF_INT before ASYNC_PF_EN, and the APIC timer's deadline last, since it
 * may fire as soon as it is set.
 */
#include "core/x86/vcpu_state.h"

#include <string.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"

#define MTRR_VARIABLE(n) MSR_IA32_MTRR_PHYSBASE(n), MSR_IA32_MTRR_PHYSMASK(n)
#define MCE_BANK(n) \
	MSR_IA32_MC_CTL(n), MSR_IA32_MC_STATUS(n), MSR_IA32_MC_ADDR(n), MSR_IA32_MC_MISC(n)

static const uint32_t state_msrs[] = {
	MSR_IA32_FEATURE_CONTROL,
	MSR_IA32_MISC_ENABLE,
	MSR_MISC_FEATURES_ENABLES,
	MSR_IA32_SMBASE,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
	MSR_IA32_STAR,
	MSR_IA32_LSTAR,
	MSR_IA32_CSTAR,
	MSR_IA32_FMASK,
	MSR_IA32_KERNEL_GS_BASE,
	MSR_IA32_TSC_AUX,
	MSR_IA32_DEBUGCTL,
	MSR_IA32_SPEC_CTRL,
	MSR_AMD_VIRT_SPEC_CTRL,
	MSR_IA32_TSX_CTRL,
	MSR_IA32_UMWAIT_CONTROL,
	MSR_IA32_XSS,
	MSR_AMD_HWCR,
	MSR_AMD_DE_CFG,
	/* Memory types; the default type, which enables them, after the ranges. */
	MSR_IA32_PAT,
	MSR_IA32_MTRR_FIX64K_00000,
	MSR_IA32_MTRR_FIX16K_80000,
	MSR_IA32_MTRR_FIX16K_A0000,
	MSR_IA32_MTRR_FIX4K_C0000 + 0,
	MSR_IA32_MTRR_FIX4K_C0000 + 1,
	MSR_IA32_MTRR_FIX4K_C0000 + 2,
	MSR_IA32_MTRR_FIX4K_C0000 + 3,
	MSR_IA32_MTRR_FIX4K_C0000 + 4,
	MSR_IA32_MTRR_FIX4K_C0000 + 5,
	MSR_IA32_MTRR_FIX4K_C0000 + 6,
	MSR_IA32_MTRR_FIX4K_C0000 + 7,
	MTRR_VARIABLE(0),
	MTRR_VARIABLE(1),
	MTRR_VARIABLE(2),
	MTRR_VARIABLE(3),
	MTRR_VARIABLE(4),
	MTRR_VARIABLE(5),
	MTRR_VARIABLE(6),
	MTRR_VARIABLE(7),
	MSR_IA32_MTRR_DEF_TYPE,
	/* Machine check; only as many banks as a KVM guest is commonly given are state. */
	MSR_IA32_MCG_STATUS,
	MSR_IA32_MCG_CTL,
	MCE_BANK(0),
	MCE_BANK(1),
	MCE_BANK(2),
	MCE_BANK(3),
	MCE_BANK(4),
	MCE_BANK(5),
	MCE_BANK(6),
	MCE_BANK(7),
	MCE_BANK(8),
	MCE_BANK(9),
	/* Paravirtual. The system time's page is written as soon as its MSR is set. */
	MSR_IA32_TSC_ADJUST,
	MSR_KVM_WALL_CLOCK,
	MSR_KVM_SYSTEM_TIME,
	MSR_KVM_ASYNC_PF_INT,
	MSR_KVM_ASYNC_PF_EN,
	MSR_KVM_STEAL_TIME,
	MSR_KVM_PV_EOI_EN,
	MSR_KVM_POLL_CONTROL,
	MSR_KVM_MIGRATION_CONTROL,
	MSR_IA32_TSC_DEADLINE,
};

_Static_assert(ARRAY_LEN(state_msrs) <= VCPU_MSRS_MAX, "struct vcpu_state is too small");

/* Power-on values that are not 0. */
static const struct vcpu_msr reset_values[] = {
	{.index = MSR_IA32_MISC_ENABLE,
	 .value = MISC_ENABLE_FAST_STRING | MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL},
	{.index = MSR_IA32_SMBASE, .value = 0x30000},
	{.index = MSR_IA32_PAT, .value = 0x0007040600070406ULL},
	{.index = MSR_KVM_POLL_CONTROL, .value = 1}, /* the host may poll */
};

const uint32_t *vcpu_msr_list(unsigned *count)
{
	*count = ARRAY_LEN(state_msrs);
	return state_msrs;
}

uint64_t vcpu_msr_reset_value(uint32_t index)
{
	for (unsigned i = 0; i < ARRAY_LEN(reset_values); i++)
		if (reset_values[i].index == index)
			return reset_values[i].value;
	return 0;
}

bool vcpu_state_get_msr(const struct vcpu_state *s, uint32_t index, uint64_t *value)
{
	for (unsigned i = 0; i < s->msr_count; i++) {
		if (s->msrs[i].index == index) {
			*value = s->msrs[i].value;
			return true;
		}
	}
	return false;
}

bool vcpu_state_set_msr(struct vcpu_state *s, uint32_t index, uint64_t value)
{
	for (unsigned i = 0; i < s->msr_count; i++) {
		if (s->msrs[i].index == index) {
			s->msrs[i].value = value;
			return true;
		}
	}
	return false;
}

/* SDM vol. 3A table 9-1: F000:FFF0 with the base at the top of the first 4 GiB. The table calls CS
 * a read/write segment; it is given the type of code, which VM entry checks and which executes the
 * same in real mode. */
static void reset_segments(struct vcpu_state *s)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment_real(0);
	s->seg[SEG_CS] = segment_real(0xf000);
	s->seg[SEG_CS].attr = SEG_TYPE_CODE_RX | SEG_ATTR_S | SEG_ATTR_P;
	s->seg[SEG_CS].base = 0xffff0000;
	s->ldtr = (struct segment){.attr = SEG_TYPE_LDT | SEG_ATTR_P, .limit = 0xffff};
	s->tr = (struct segment){.attr = SEG_TYPE_TSS_BUSY | SEG_ATTR_P, .limit = 0xffff};
	s->gdt.limit = 0xffff;
	s->idt.limit = 0xffff;
}

/* x87 and SSE: FCW 0040H, tag word 5555H (every register in use, holding +0), MXCSR 1F80H. This
 * is not what FNINIT gives, so XSTATE_BV says that the x87 component is not in its initial state.
 */
static void reset_xsave(struct vcpu_state *s)
{
	store_le(s->xsave + XSAVE_FCW, 2, 0x40);
	store_le(s->xsave + XSAVE_FTW, 1, 0xff);
	store_le(s->xsave + XSAVE_MXCSR, 4, MXCSR_RESET);
	store_le(s->xsave + XSAVE_XSTATE_BV, 8, XSTATE_X87);
}

#define LAPIC_ID      0x020
#define LAPIC_VERSION 0x030
#define LAPIC_DFR     0x0e0
#define LAPIC_SVR     0x0f0
#define LAPIC_LVT     0x320 /* timer, thermal, performance, LINT0, LINT1, error: 16 bytes apart */
#define LAPIC_LVTS    6

/* SDM vol. 3A 11.4.7.1: all LVT entries masked, software-disabled by the SVR. */
static void reset_lapic(struct vcpu_state *s, unsigned apic_id)
{
	store_le(s->lapic + LAPIC_ID, 4, (uint64_t)apic_id << 24);
	store_le(s->lapic + LAPIC_VERSION, 4, 0x14 | (LAPIC_LVTS - 1) << 16);
	store_le(s->lapic + LAPIC_DFR, 4, 0xffffffff);
	store_le(s->lapic + LAPIC_SVR, 4, 0xff);
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		store_le(s->lapic + LAPIC_LVT + i * 16, 4, BIT(16));
}

void vcpu_state_reset(struct vcpu_state *s, unsigned apic_id)
{
	memset(s, 0, sizeof(*s));
	s->gpr[GPR_RDX] = 0x600; /* a processor of family 6; the exact number is CPUID's */
	s->rip = 0xfff0;
	s->rflags = RFLAGS_FIXED;
	reset_segments(s);
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->apic_base = 0xfee00000 | APIC_BASE_ENABLE | (apic_id ? 0 : APIC_BASE_BSP);
	s->xcr0 = XSTATE_X87;
	s->dr6 = DR6_RESET;
	s->dr7 = DR7_RESET;
	for (unsigned i = 0; i < ARRAY_LEN(state_msrs); i++) {
		s->msrs[i].index = state_msrs[i]; /* what lies between the two stays 0 */
		s->msrs[i].value = vcpu_msr_reset_value(state_msrs[i]);
	}
	s->msr_count = ARRAY_LEN(state_msrs);
	s->activity = apic_id ? VCPU_WAIT_INIT : VCPU_RUNNING;
	reset_xsave(s);
	reset_lapic(s, apic_id);
}

/* What INIT resets beside the registers: the deadline, with the local APIC, and what KVM resets of
 * the vCPU's paravirtual interfaces: their pages are the operating system's that is gone. */
static const uint32_t init_msrs[] = {
	MSR_KVM_SYSTEM_TIME, MSR_KVM_ASYNC_PF_INT, MSR_KVM_ASYNC_PF_EN,
	MSR_KVM_STEAL_TIME,  MSR_KVM_PV_EOI_EN,    MSR_IA32_TSC_DEADLINE,
};

void vcpu_state_init(struct vcpu_state *s)
{
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[GPR_RDX] = 0x600;
	s->rip = 0xfff0;
	s->rflags = RFLAGS_FIXED;
	reset_segments(s);
	s->gdt.base = 0;
	s->idt.base = 0;
	s->cr0 = (s->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
	s->cr2 = 0;
	s->cr3 = 0;
	s->cr4 = 0;
	s->cr8 = 0;
	s->efer = 0;
	s->pdptr_valid = false;
	memset(s->dr, 0, sizeof(s->dr));
	s->dr6 = DR6_RESET;
	s->dr7 = DR7_RESET;
	for (unsigned i = 0; i < ARRAY_LEN(init_msrs); i++)
		vcpu_state_set_msr(s, init_msrs[i], vcpu_msr_reset_value(init_msrs[i]));
	memset(&s->events, 0, sizeof(s->events));
	s->activity = s->apic_base & APIC_BASE_BSP ? VCPU_RUNNING : VCPU_WAIT_SIPI;
}

void vcpu_state_start_up(struct vcpu_state *s, uint8_t vector)
{
	s->seg[SEG_CS].selector = (uint16_t)(vector << 8);
	s->seg[SEG_CS].base = (uint64_t)vector << 12;
	s->rip = 0;
	s->activity = VCPU_RUNNING;
}
