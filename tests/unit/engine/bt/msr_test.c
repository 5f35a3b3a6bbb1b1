/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 4 and vol. 3A 11.4.4, 11.5.4.1, 12.11, 12.12, 18.17; AMD APM vol. 2 appendix A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "system_rig.h"

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];

static int setup_vendor(bool amd)
{
	rig_init_vendor(&r, amd);
	rig_long_mode(cpu);
	return 0;
}

static int setup_intel(void **state)
{
	(void)state;
	return setup_vendor(false);
}

static int setup_amd(void **state)
{
	(void)state;
	return setup_vendor(true);
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

static uint64_t msr(uint32_t index)
{
	uint64_t value = 0;

	if (rig_rdmsr(cpu, index, &value) != RIG_NO_FAULT)
		fail_msg("RDMSR 0x%x", index);
	return value;
}

static void takes(uint32_t index, uint64_t value, uint64_t reads)
{
	if (rig_wrmsr(cpu, index, value) != RIG_NO_FAULT)
		fail_msg("WRMSR 0x%x refuses 0x%llx", index, (unsigned long long)value);
	assert_int_equal(msr(index), reads);
}

static void refuses(uint32_t index, uint64_t value)
{
	if (rig_wrmsr(cpu, index, value) != VECTOR_GP)
		fail_msg("WRMSR 0x%x takes 0x%llx", index, (unsigned long long)value);
	assert_int_equal(cpu->exception.error, 0);
}

#define LOW      0x00007fffffffffffULL
#define HIGH     0xffff800000000000ULL
#define NO_PLACE 0x0200000000000000ULL /* canonical for no paging */

static void addresses_are_canonical(void **state)
{
	static const uint32_t list[] = {
		MSR_IA32_LSTAR,   MSR_IA32_CSTAR,          MSR_IA32_FS_BASE,
		MSR_IA32_GS_BASE, MSR_IA32_KERNEL_GS_BASE,
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(list); i++) {
		takes(list[i], LOW, LOW);
		takes(list[i], HIGH, HIGH);
		refuses(list[i], NO_PLACE);
		assert_int_equal(msr(list[i]), HIGH);
	}
	assert_int_equal(cpu->seg[SEG_FS].base, HIGH);
	takes(MSR_IA32_STAR, NO_PLACE, NO_PLACE);
	takes(MSR_IA32_FMASK, 0x47700, 0x47700);
}

static void efer_has_the_bits_of_the_model(void **state)
{
	const uint64_t now = EFER_SCE | EFER_LME | EFER_LMA;

	(void)state;
	takes(MSR_IA32_EFER, EFER_SCE | EFER_LME | EFER_NXE, now | EFER_NXE);
	takes(MSR_IA32_EFER, EFER_SCE | EFER_LME, now);
	if (features_amd()) {
		takes(MSR_IA32_EFER, now | EFER_AUTOIBRS, now | EFER_AUTOIBRS);
		takes(MSR_IA32_EFER, now, now);
		refuses(MSR_IA32_ARCH_CAPABILITIES, 0);
	} else {
		uint64_t value;

		refuses(MSR_IA32_EFER, now | EFER_AUTOIBRS);
		assert_true(msr_read(cpu, MSR_IA32_ARCH_CAPABILITIES, &value));
		assert_true(value & BIT(0)); /* RDCL_NO */
	}
	refuses(MSR_IA32_EFER, now | EFER_SVME);
	refuses(MSR_IA32_EFER, now | EFER_FFXSR);
	refuses(MSR_IA32_EFER, now | BIT(1));
	refuses(MSR_IA32_EFER, now | BIT(63));
}

static void memory_types_are_checked(void **state)
{
	uint64_t beyond = BIT(cpu->phys_bits);

	(void)state;
	takes(MSR_IA32_PAT, 0x0007040600070406, 0x0007040600070406);
	refuses(MSR_IA32_PAT, 0x0007040600070402);
	refuses(MSR_IA32_PAT, 0x0300000000000000);
	refuses(MSR_IA32_PAT, 0x0800000000000000);
	assert_int_equal(msr(MSR_IA32_MTRRCAP), 0x508);
	refuses(MSR_IA32_MTRRCAP, 0x508);
	takes(MSR_IA32_MTRR_FIX64K_00000, 0x0605040100060606, 0x0605040100060606);
	refuses(MSR_IA32_MTRR_FIX4K_C0000 + 7, 0x07);
	takes(MSR_IA32_MTRR_PHYSBASE(7), 0xc0000000, 0xc0000000);
	refuses(MSR_IA32_MTRR_PHYSBASE(7), 0xc0000000 | 2);
	refuses(MSR_IA32_MTRR_PHYSBASE(7), 0xc0000000 | BIT(8));
	refuses(MSR_IA32_MTRR_PHYSBASE(0), beyond);
	takes(MSR_IA32_MTRR_PHYSMASK(0), 0xc0000000 | BIT(11), 0xc0000000 | BIT(11));
	refuses(MSR_IA32_MTRR_PHYSMASK(0), BIT(10));
	refuses(MSR_IA32_MTRR_PHYSMASK(0), beyond);
	refuses(MSR_IA32_MTRR_PHYSBASE(8), 0); /* there are 8 */
	takes(MSR_IA32_MTRR_DEF_TYPE, 0xc06, 0xc06);
	refuses(MSR_IA32_MTRR_DEF_TYPE, 0x102);
	refuses(MSR_IA32_MTRR_DEF_TYPE, 0x02);
}

static void machine_check(void **state)
{
	(void)state;
	assert_int_equal(msr(MSR_IA32_MCG_CAP), 10 | BIT(8));
	refuses(MSR_IA32_MCG_CAP, 0);
	takes(MSR_IA32_MCG_CTL, UINT64_MAX, UINT64_MAX);
	refuses(MSR_IA32_MCG_CTL, 1);
	takes(MSR_IA32_MC_CTL(9), UINT64_MAX, UINT64_MAX);
	refuses(MSR_IA32_MC_CTL(9), 2);
	takes(MSR_IA32_MC_STATUS(9), 0, 0);
	refuses(MSR_IA32_MC_STATUS(9), 1);
	refuses(MSR_IA32_MC_CTL(10), 0); /* there are 10 */
}

static void what_is_not_there(void **state)
{
	static const uint32_t list[] = {
		0x2,
		MSR_SMI_COUNT,
		MSR_IA32_SPEC_CTRL,
		MSR_PLATFORM_INFO,
		MSR_IA32_UMWAIT_CONTROL,
		MSR_IA32_MPERF,
		MSR_IA32_ARCH_CAPABILITIES,
		MSR_IA32_TSX_CTRL,
		0x186, /* PERFEVTSEL0 */
		MSR_IA32_XFD,
		0x480, /* VMX_BASIC */
		0x6a0, /* U_CET */
		0xc0000104,
		0xc0010117, /* VM_HSAVE_PA */
		0x40000000, /* Hyper-V */
		MSR_KVM_ASYNC_PF_EN,
		MSR_KVM_STEAL_TIME,
		MSR_KVM_PV_EOI_EN,
		0x4b564d09,
		UINT32_MAX,
	};
	uint64_t value;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(list); i++) {
		if (rig_rdmsr(cpu, list[i], &value) != VECTOR_GP)
			fail_msg("RDMSR 0x%x", list[i]);
		refuses(list[i], 0);
	}
	/* XSAVES without supervisor components. */
	takes(MSR_IA32_XSS, 0, 0);
	refuses(MSR_IA32_XSS, 1);
	takes(MSR_IA32_DEBUGCTL, DEBUGCTL_LBR | DEBUGCTL_BTF, DEBUGCTL_BTF);
	refuses(MSR_IA32_DEBUGCTL, BIT(6));
	/* BTS and PEBS stay unavailable. */
	takes(MSR_IA32_MISC_ENABLE, 0x1801, 0x1801);
	refuses(MSR_IA32_MISC_ENABLE, 1);
}

static void of_intel(void **state)
{
	(void)state;
	refuses(MSR_IA32_SYSENTER_EIP, NO_PLACE);
	refuses(MSR_IA32_TSC_AUX, BIT(32));
	takes(MSR_IA32_TSC_AUX, 7, 7);
	refuses(MSR_AMD_HWCR, 0);
	refuses(MSR_AMD_DE_CFG, 0);
	refuses(MSR_IA32_FEATURE_CONTROL, 5); /* no VMX to be enabled */
	takes(MSR_IA32_FEATURE_CONTROL, 1, 1);
	refuses(MSR_IA32_FEATURE_CONTROL, 1); /* locked */
	takes(MSR_IA32_BIOS_SIGN_ID, 0, 0x100000000);
}

static void of_amd(void **state)
{
	(void)state;
	takes(MSR_IA32_SYSENTER_EIP, 0x0000800000000000,
	      cpu->msrs->canonical_bits == 57 ? 0x0000800000000000 : HIGH);
	takes(MSR_IA32_TSC_AUX, BIT(32) | 7, 7);
	refuses(MSR_IA32_FEATURE_CONTROL, 1);
	/* TscFreqSel is always shown; McStatusWrEn opens the banks' status. */
	takes(MSR_AMD_HWCR, 0, BIT(24));
	refuses(MSR_IA32_MC_STATUS(1), 5);
	takes(MSR_AMD_HWCR, BIT(18), BIT(18) | BIT(24));
	takes(MSR_IA32_MC_STATUS(1), 5, 5);
	refuses(MSR_AMD_HWCR, BIT(0));
	takes(MSR_AMD_DE_CFG, 2, 2);
	refuses(MSR_AMD_DE_CFG, 1);
	assert_int_equal(msr(MSR_AMD_SYSCFG), 0);
	refuses(MSR_AMD_SYSCFG, 0);
}

/* Between two readings of the TSC some time passes. */
static void assert_near(uint64_t value, uint64_t wanted)
{
	assert_true(value - wanted < 10000000000ULL);
}

static void time_stamp_counter(void **state)
{
	(void)state;
	assert_int_equal(rig_wrmsr(cpu, MSR_IA32_TSC, 5ULL << 40), RIG_NO_FAULT);
	assert_near(msr(MSR_IA32_TSC), 5ULL << 40);
	/* What was written is what TSC_ADJUST tells of, and taking it back undoes it. */
	assert_true(msr(MSR_IA32_TSC_ADJUST) > 4ULL << 40);
	takes(MSR_IA32_TSC_ADJUST, 0, 0);
	assert_true(msr(MSR_IA32_TSC) < 1ULL << 40);
	takes(MSR_IA32_TSC_ADJUST, 3ULL << 40, 3ULL << 40);
	assert_near(msr(MSR_IA32_TSC), 3ULL << 40);
	assert_int_equal(rig_op(cpu, OP_RDTSC), RIG_NO_FAULT);
	assert_near(cpu->gpr[GPR_RAX] | cpu->gpr[GPR_RDX] << 32, 3ULL << 40);
	takes(MSR_IA32_TSC_AUX, 0x12, 0x12);
	assert_int_equal(rig_op(cpu, OP_RDTSCP), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RCX], 0x12);
	cpu->cr4 |= CR4_TSD;
	assert_int_equal(rig_op(cpu, OP_RDTSC), RIG_NO_FAULT);
	rig_ring3(cpu);
	assert_int_equal(rig_op(cpu, OP_RDTSC), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_RDTSCP), VECTOR_GP);
	cpu->cr4 &= ~CR4_TSD;
	assert_int_equal(rig_op(cpu, OP_RDTSC), RIG_NO_FAULT);
	assert_int_equal(rig_op(cpu, OP_RDPMC), VECTOR_GP);
}

static void deadline(void **state)
{
	uint64_t tsc, ticks = (uint64_t)r.vm.tsc_khz * 1000; /* a second */

	(void)state;
	clock_advance(&r.clock, 1000);
	tsc = msr(MSR_IA32_TSC);
	takes(MSR_IA32_TSC_DEADLINE, tsc + 100 * ticks, tsc + 100 * ticks);
	/* 100 s from now, less what has passed since the TSC was read. */
	assert_true(r.lapic[0].deadline <= 100000001001ULL);
	assert_true(r.lapic[0].deadline > 90000000000ULL);
	r.lapic[0].armed = false;
	assert_int_equal(msr(MSR_IA32_TSC_DEADLINE), 0); /* it has been */
	takes(MSR_IA32_TSC_DEADLINE, 1, 1);              /* long past: at once */
	assert_int_equal(r.lapic[0].deadline, 1000);
	takes(MSR_IA32_TSC_DEADLINE, 0, 0);
	assert_int_equal(r.lapic[0].deadline, 0);
	takes(MSR_IA32_TSC_DEADLINE, UINT64_MAX, UINT64_MAX);
	assert_true(r.lapic[0].deadline > 100000000000ULL);
}

static void local_apic(void **state)
{
	uint64_t value, base = 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_BSP;

	(void)state;
	assert_int_equal(msr(MSR_IA32_APIC_BASE), base);
	assert_int_equal(rig_rdmsr(cpu, MSR_IA32_X2APIC(0x80), &value), VECTOR_GP);
	refuses(MSR_IA32_APIC_BASE, base | BIT(9));
	refuses(MSR_IA32_APIC_BASE, base | BIT(cpu->phys_bits));
	r.lapic[0].refuses = true;
	refuses(MSR_IA32_APIC_BASE, base | APIC_BASE_EXTD);
	assert_int_equal(msr(MSR_IA32_APIC_BASE), base);
	r.lapic[0].refuses = false;
	takes(MSR_IA32_APIC_BASE, base | APIC_BASE_EXTD, base | APIC_BASE_EXTD);
	assert_int_equal(r.lapic[0].base, base | APIC_BASE_EXTD);
	assert_int_equal(rig_rdmsr(cpu, MSR_IA32_X2APIC(0x80), &value), RIG_NO_FAULT);
	assert_int_equal(value, 0x1234567890);
	assert_int_equal(rig_wrmsr(cpu, 0x83f, 0x55), RIG_NO_FAULT);
	assert_int_equal(r.lapic[0].offset, 0x3f0);
	assert_int_equal(r.lapic[0].value, 0x55);
	r.lapic[0].refuses = true;
	refuses(0x83f, 0x55);
	assert_int_equal(rig_rdmsr(cpu, 0x83f, &value), VECTOR_GP);
}

#define INTEL(f) cmocka_unit_test_setup_teardown(f, setup_intel, teardown)
#define AMD(f)   cmocka_unit_test_setup_teardown(f, setup_amd, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INTEL(addresses_are_canonical),
		INTEL(efer_has_the_bits_of_the_model),
		INTEL(memory_types_are_checked),
		INTEL(machine_check),
		INTEL(what_is_not_there),
		INTEL(of_intel),
		AMD(of_amd),
		INTEL(time_stamp_counter),
		INTEL(deadline),
		INTEL(local_apic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
