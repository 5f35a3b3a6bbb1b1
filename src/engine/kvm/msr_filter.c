/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which model-specific registers a guest reaches.
 *
 * What is in the table below goes to KVM, which still refuses what the vCPU's CPUID
 * does not promise. Everything else comes here as an exit: a few registers are
 * answered, the others give #GP, as a processor without them does; both are
 * counted. So a guest sees no register that lodge did not mean it to, whatever this
 * or a later kernel's KVM answers by itself: nothing of the host's identity
 * (PLATFORM_INFO, power and thermal figures, SMI count), no performance counters, no
 * Hyper-V interface, nothing that struct vcpu_state would lose.
 *
 * Linux reads or writes some registers without expecting a fault, and complains in
 * its log if there is one; those of them that a guest can come to are in the table
 * (x86 sources of Linux 6.1: kernel/cpu, kernel/cpu/mtrr and mce, pci/amd_bus.c).
 *
 * KVM never filters the x2APIC's registers (0x800 to 0x8ff), and the ioctls of
 * get_state and set_state are not filtered.
 */
#include "engine/kvm/kvm_int.h"

#include <assert.h>
#include <sys/ioctl.h>

#include "core/x86/msr.h"

#define READ  1u
#define WRITE 2u
#define BOTH  (READ | WRITE)

struct allowed {
	uint32_t first, last;
	unsigned access;
};

/* Not in core/x86/msr.h because no other room names them: registers of old AMD north bridges and
 * processors, which KVM answers with 0. Linux: arch/x86/include/asm/msr-index.h. */
#define MSR_AMD_NB_CFG          0xc001001fu
#define MSR_AMD_INT_PENDING_MSG 0xc0010055u

static const struct allowed allowed[] = {
	{MSR_IA32_TSC, MSR_KVM_SYSTEM_TIME_OLD, BOTH},
	{MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID, READ},
	{MSR_IA32_APIC_BASE, MSR_IA32_APIC_BASE, BOTH},
	{MSR_IA32_FEATURE_CONTROL, MSR_IA32_TSC_ADJUST, BOTH},
	{MSR_IA32_SPEC_CTRL, MSR_IA32_PRED_CMD, BOTH},
	/* Written with 0 before it is read, to have CPUID update it. KVM's own value, not the
	 * host's. */
	{MSR_IA32_BIOS_SIGN_ID, MSR_IA32_BIOS_SIGN_ID, BOTH},
	{MSR_IA32_UMWAIT_CONTROL, MSR_IA32_UMWAIT_CONTROL, BOTH},
	{MSR_IA32_MTRRCAP, MSR_IA32_MTRRCAP, READ},
	{MSR_IA32_ARCH_CAPABILITIES, MSR_IA32_ARCH_CAPABILITIES, READ},
	{MSR_IA32_FLUSH_CMD, MSR_IA32_FLUSH_CMD, WRITE},
	{MSR_IA32_TSX_CTRL, MSR_IA32_TSX_CTRL, BOTH},
	{MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_EIP, BOTH},
	{MSR_IA32_MCG_CAP, MSR_IA32_MCG_CTL, BOTH},
	{MSR_IA32_MISC_ENABLE, MSR_IA32_MISC_ENABLE, BOTH},
	{MSR_IA32_XFD, MSR_IA32_XFD_ERR, BOTH},
	{MSR_IA32_DEBUGCTL, MSR_IA32_DEBUGCTL, BOTH},
	{MSR_IA32_MTRR_PHYSBASE(0), MSR_IA32_MTRR_PHYSMASK(7), BOTH},
	{MSR_IA32_MTRR_FIX64K_00000, MSR_IA32_MTRR_FIX64K_00000, BOTH},
	{MSR_IA32_MTRR_FIX16K_80000, MSR_IA32_MTRR_FIX16K_A0000, BOTH},
	{MSR_IA32_MTRR_FIX4K_C0000, MSR_IA32_MTRR_FIX4K_C0000 + 7, BOTH},
	{MSR_IA32_PAT, MSR_IA32_PAT, BOTH},
	{MSR_IA32_MTRR_DEF_TYPE, MSR_IA32_MTRR_DEF_TYPE, BOTH},
	{MSR_IA32_MC_CTL(0), MSR_IA32_MC_MISC(KVM_MCE_BANKS - 1), BOTH},
	{MSR_IA32_TSC_DEADLINE, MSR_IA32_TSC_DEADLINE, BOTH},
	{MSR_IA32_XSS, MSR_IA32_XSS, BOTH},

	{MSR_IA32_EFER, MSR_IA32_FMASK, BOTH},
	{MSR_IA32_FS_BASE, MSR_IA32_TSC_AUX, BOTH},

	{MSR_AMD_SYSCFG, MSR_AMD_SYSCFG, READ},
	{MSR_AMD_NB_CFG, MSR_AMD_NB_CFG, BOTH},
	{MSR_AMD_INT_PENDING_MSG, MSR_AMD_INT_PENDING_MSG, READ},
	{MSR_AMD_VIRT_SPEC_CTRL, MSR_AMD_VIRT_SPEC_CTRL, BOTH},
	{MSR_AMD_DE_CFG, MSR_AMD_DE_CFG, BOTH},

	{MSR_KVM_WALL_CLOCK, MSR_KVM_ASYNC_PF_ACK, BOTH},
};

/* The stretches of register numbers that the table lies in, each a bitmap for KVM. */
static const struct {
	uint32_t base;
	uint32_t count;
} stretches[] = {
	{0x00000000, 0x1000},
	{0xc0000000, 0x200},
	{0xc0010000, 0x2000},
	{0x4b564d00, 0x40},
};

#define STRETCH_BYTES (0x2000 / 8)

static void fill(uint8_t *bitmap, uint32_t base, uint32_t count, unsigned access)
{
	for (unsigned i = 0; i < ARRAY_LEN(allowed); i++) {
		const struct allowed *a = &allowed[i];

		if (!(a->access & access) || a->first < base || a->first - base >= count)
			continue;
		assert(a->last >= a->first && a->last - base < count);
		for (uint32_t bit = a->first - base; bit <= a->last - base; bit++)
			bitmap[bit / 8] |= (uint8_t)BIT(bit % 8);
	}
}

static int set_filter(struct engine_vm *vm, struct err *e)
{
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	uint8_t bitmaps[2 * ARRAY_LEN(stretches)][STRETCH_BYTES] = {{0}};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(stretches); i++) {
		for (unsigned access = READ; access <= WRITE; access++) {
			fill(bitmaps[n], stretches[i].base, stretches[i].count, access);
			filter.ranges[n] = (struct kvm_msr_filter_range){
				.flags = access == READ ? KVM_MSR_FILTER_READ
							: KVM_MSR_FILTER_WRITE,
				.base = stretches[i].base,
				.nmsrs = stretches[i].count,
				.bitmap = bitmaps[n],
			};
			n++;
		}
	}
	if (ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return kvm_refused(e, "a filter of MSRs");
	return 0;
}

int kvm_msr_protect(struct engine_vm *vm, struct err *e)
{
	struct kvm_enable_cap request = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			 KVM_MSR_EXIT_REASON_FILTER},
	};

	/* Before Linux 5.10 KVM has neither; then it alone decides. */
	if (!(vm->has & KVM_HAS_MSR_EXITS) || !(vm->has & KVM_HAS_MSR_FILTER))
		return 0;
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &request) < 0)
		return kvm_refused(e, "to report accesses to MSRs");
	return set_filter(vm, e);
}

/*
 * AMD's hardware configuration register: Linux takes an invariant TSC for a bug of the firmware
 * unless bit 24 (TscFreqSel: the TSC counts at the rate of P-state 0) is set, and sets bit 18
 * (McStatusWrEn) around some writes. KVM before Linux 6.7 refuses bit 24; it keeps the others.
 */
#define HWCR_TSC_FREQ_SEL BIT(24)

static bool read_hwcr(struct engine_vcpu *v, uint64_t *value)
{
	if (!kvm_msr_read(v, MSR_AMD_HWCR, value))
		return false;
	*value |= HWCR_TSC_FREQ_SEL;
	return true;
}

static bool write_hwcr(struct engine_vcpu *v, uint64_t value)
{
	return kvm_msr_write(v, MSR_AMD_HWCR, value & ~HWCR_TSC_FREQ_SEL);
}

void kvm_msr_exit(struct engine_vcpu *v)
{
	struct kvm_run *run = v->run;
	bool done = false;

	if (run->msr.index == MSR_AMD_HWCR && run->msr.reason == KVM_MSR_EXIT_REASON_FILTER) {
		if (run->exit_reason == KVM_EXIT_X86_WRMSR) {
			done = write_hwcr(v, run->msr.data);
		} else {
			uint64_t value = 0;

			done = read_hwcr(v, &value);
			run->msr.data = value;
		}
	}
	vcpu_count(v, done ? COUNT_MSR_HANDLED : COUNT_MSR_DENIED);
	run->msr.error = !done; /* #GP */
}
