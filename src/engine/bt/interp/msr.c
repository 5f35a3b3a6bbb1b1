/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RDMSR and WRMSR: a table of the registers that there are.
 *
 * A row is a stretch of registers of one kind: what the processor must have, where
 * the values are kept, and what is done beside loading and storing. Without a read
 * function the value is loaded; without a write function it is stored; a register
 * whose row does not permit an access gives #GP(0). A check function says whether
 * the processor takes a value, and may change it (bits that are ignored); it also
 * holds for msr_set, write functions do not.
 */
#include "engine/bt/interp/msr.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/interp/msr_int.h"

#define READ  1u
#define WRITE 2u
#define BOTH  (READ | WRITE)
#define STATE 4u /* part of the engine-neutral state */

struct msr_row {
	uint32_t first;
	uint16_t count;
	uint8_t access;
	uint8_t need;  /* enum msr_need */
	uint16_t kept; /* offset of the first value in struct cpu_msrs; 0: it is not kept there */
	bool (*check)(const struct cpu *cpu, uint32_t index, uint64_t *value);
	bool (*read)(struct cpu *cpu, uint32_t index, uint64_t *value);
	bool (*write)(struct cpu *cpu, uint32_t index, uint64_t value);
};

#define KEPT(field) offsetof(struct cpu_msrs, field)

/* Not in core/x86/msr.h because only the engines name them: see engine/kvm/msr_filter.c. */
#define MSR_AMD_NB_CFG          0xc001001fu
#define MSR_AMD_INT_PENDING_MSG 0xc0010055u

/* --- values that a register takes ------------------------------------------------------------ */

static bool canonical(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	return msr_canonical(*value, cpu->msrs->canonical_bits);
}

/* AMD's processors have 32 bits in SYSENTER_ESP and EIP, and no objection to what stands above. */
static bool sysenter_address(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	unsigned shift = 64 - cpu->msrs->canonical_bits;

	if (!cpu->amd)
		return canonical(cpu, index, value);
	*value = (uint64_t)((int64_t)(*value << shift) >> shift);
	return true;
}

static bool low_half(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value = (uint32_t)*value;
	return true;
}

/* Reserved above bit 31: AMD ignores what is written there. */
static bool tsc_aux(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	if (!cpu->amd && *value >> 32)
		return false;
	return low_half(cpu, index, value);
}

static bool zero(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	return *value == 0;
}

static bool feature_control(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	return !(*value & ~(uint64_t)FEATURE_CONTROL_LOCKED);
}

/* LBR, BTF. Branches are not recorded: that bit is dropped, as by KVM, whose guests find no
 * registers with the records either. */
static bool debugctl(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	if (*value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF))
		return false;
	*value &= DEBUGCTL_BTF;
	return true;
}

#define HWCR_IGNORED      (BIT(3) | BIT(6) | BIT(8)) /* cache and error handling of real hardware */
#define HWCR_MC_STATUS_WR BIT(18)
#define HWCR_TSC_FREQ_SEL BIT(24) /* shown as set: core/x86/cpuid.h, cpuid_compose */

static bool hwcr(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value &= ~(HWCR_IGNORED | HWCR_TSC_FREQ_SEL);
	return !(*value & ~HWCR_MC_STATUS_WR);
}

#define DE_CFG_LFENCE_SERIALIZE BIT(1)

static bool de_cfg(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	return !(*value & ~DE_CFG_LFENCE_SERIALIZE);
}

/* CTL: all events of a bank or none. Banks here never report, so which events is no matter. */
static bool mc_bank(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	switch (index & 3) {
	case 0: /* Linux leaves bit 10 of bank 4 out on old AMD processors */
		return *value == 0 || (*value | BIT(10) | BIT(0)) == UINT64_MAX;
	case 1: /* STATUS: cleared by writing zeroes; anything else is for tests, on AMD */
		return *value == 0 || (cpu->amd && cpu->msrs->hwcr & HWCR_MC_STATUS_WR);
	default:
		return true;
	}
}

static bool mcg_ctl(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	return *value == 0 || *value == UINT64_MAX;
}

/* --- registers that are more than a value ---------------------------------------------------- */

static bool read_zero(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value = 0;
	return true;
}

static bool write_ignored(struct cpu *cpu, uint32_t index, uint64_t value)
{
	(void)cpu;
	(void)index;
	(void)value;
	return true;
}

static bool write_feature_control(struct cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	if (cpu->msrs->feature_control & FEATURE_CONTROL_LOCKED)
		return false;
	cpu->msrs->feature_control = value;
	return true;
}

/* What is said there to be missing cannot be made to be there. */
static bool write_misc_enable(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const uint64_t fixed = MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL;

	(void)index;
	if ((cpu->msrs->misc_enable ^ value) & fixed)
		return false;
	cpu->msrs->misc_enable = value;
	return true;
}

/* The revision that KVM gives its guests: none of the host's. */
static bool read_microcode(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = cpu->amd ? 0x01000065 : 0x100000000ULL;
	return true;
}

/* RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
 * PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: features.c says why. */
#define CAPABILITIES                                                                         \
	(BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | \
	 BIT(20) | BIT(24) | BIT(26) | BIT(27) | BIT(62))

static bool read_capabilities(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value = CAPABILITIES;
	return true;
}

#define MCG_CTL_P BIT(8)

static bool read_mcg_cap(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value = MSR_MCE_BANKS | MCG_CTL_P;
	return true;
}

static bool read_hwcr(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = cpu->msrs->hwcr | HWCR_TSC_FREQ_SEL;
	return true;
}

static bool read_fs_base(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	*value = cpu->seg[index == MSR_IA32_FS_BASE ? SEG_FS : SEG_GS].base;
	return true;
}

static bool write_fs_base(struct cpu *cpu, uint32_t index, uint64_t value)
{
	cpu->seg[index == MSR_IA32_FS_BASE ? SEG_FS : SEG_GS].base = value;
	return true;
}

static bool write_system_time(struct cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	kvmclock_set_system_time(cpu, value);
	return true;
}

static bool write_wall_clock(struct cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	kvmclock_set_wall_clock(cpu, value);
	return true;
}

/* --- the table ------------------------------------------------------------------------------- */

/* clang-format off */
static const struct msr_row rows[] = {
	{MSR_IA32_TSC, 1, BOTH, MSR_ALWAYS, 0, NULL, msr_tsc_read, msr_tsc_write},
	{MSR_KVM_WALL_CLOCK_OLD, 1, BOTH, MSR_KVM_CLOCK_OLD, KEPT(wall_clock),
	 NULL, NULL, write_wall_clock},
	{MSR_KVM_SYSTEM_TIME_OLD, 1, BOTH, MSR_KVM_CLOCK_OLD, KEPT(system_time),
	 NULL, NULL, write_system_time},
	{MSR_IA32_PLATFORM_ID, 1, READ, MSR_ALWAYS, 0, NULL, read_zero, NULL},
	{MSR_IA32_APIC_BASE, 1, BOTH, MSR_ALWAYS, 0, NULL, msr_apic_base_read, msr_apic_base_write},
	{MSR_IA32_FEATURE_CONTROL, 1, BOTH | STATE, MSR_INTEL, KEPT(feature_control),
	 feature_control, NULL, write_feature_control},
	{MSR_IA32_TSC_ADJUST, 1, BOTH | STATE, MSR_TSC_ADJUST, KEPT(tsc_adjust),
	 NULL, NULL, msr_tsc_adjust_write},
	{MSR_IA32_BIOS_SIGN_ID, 1, BOTH, MSR_ALWAYS, 0, NULL, read_microcode, write_ignored},
	{MSR_IA32_MTRRCAP, 1, READ, MSR_MTRR, 0, NULL, msr_mtrrcap_read, NULL},
	{MSR_IA32_ARCH_CAPABILITIES, 1, READ, MSR_CAPABILITIES, 0, NULL, read_capabilities, NULL},
	{MSR_IA32_SYSENTER_CS, 1, BOTH | STATE, MSR_SYSENTER, KEPT(sysenter_cs),
	 low_half, NULL, NULL},
	{MSR_IA32_SYSENTER_ESP, 2, BOTH | STATE, MSR_SYSENTER, KEPT(sysenter_esp),
	 sysenter_address, NULL, NULL},
	{MSR_IA32_MCG_CAP, 1, READ, MSR_MCA, 0, NULL, read_mcg_cap, NULL},
	{MSR_IA32_MCG_STATUS, 1, BOTH | STATE, MSR_MCA, KEPT(mcg_status), NULL, NULL, NULL},
	{MSR_IA32_MCG_CTL, 1, BOTH | STATE, MSR_MCA, KEPT(mcg_ctl), mcg_ctl, NULL, NULL},
	{MSR_IA32_MISC_ENABLE, 1, BOTH | STATE, MSR_ALWAYS, KEPT(misc_enable),
	 NULL, NULL, write_misc_enable},
	{MSR_IA32_DEBUGCTL, 1, BOTH | STATE, MSR_ALWAYS, KEPT(debugctl), debugctl, NULL, NULL},
	{MSR_IA32_MTRR_PHYSBASE(0), 2 * MSR_MTRR_VARIABLE, BOTH | STATE, MSR_MTRR,
	 KEPT(mtrr_variable), msr_mtrr_variable_check, NULL, NULL},
	{MSR_IA32_MTRR_FIX64K_00000, 1, BOTH | STATE, MSR_MTRR, KEPT(mtrr_fixed[0]),
	 msr_mtrr_fixed_check, NULL, NULL},
	{MSR_IA32_MTRR_FIX16K_80000, 2, BOTH | STATE, MSR_MTRR, KEPT(mtrr_fixed[1]),
	 msr_mtrr_fixed_check, NULL, NULL},
	{MSR_IA32_MTRR_FIX4K_C0000, 8, BOTH | STATE, MSR_MTRR, KEPT(mtrr_fixed[3]),
	 msr_mtrr_fixed_check, NULL, NULL},
	{MSR_IA32_PAT, 1, BOTH | STATE, MSR_PAT, KEPT(pat), msr_pat_check, NULL, NULL},
	{MSR_IA32_MTRR_DEF_TYPE, 1, BOTH | STATE, MSR_MTRR, KEPT(mtrr_def_type),
	 msr_mtrr_def_type_check, NULL, NULL},
	{MSR_IA32_MC_CTL(0), 4 * MSR_MCE_BANKS, BOTH | STATE, MSR_MCA, KEPT(mc),
	 mc_bank, NULL, NULL},
	{MSR_IA32_TSC_DEADLINE, 1, BOTH | STATE, MSR_TSC_DEADLINE, KEPT(tsc_deadline),
	 NULL, msr_deadline_read, msr_deadline_write},
	{MSR_IA32_X2APIC(0), 0x100, BOTH, MSR_X2APIC, 0, NULL, msr_x2apic_read, msr_x2apic_write},
	{MSR_IA32_XSS, 1, BOTH | STATE, MSR_XSS, KEPT(xss), zero, NULL, NULL},

	{MSR_IA32_EFER, 1, BOTH, MSR_ALWAYS, 0, NULL, msr_efer_read, msr_efer_write},
	{MSR_IA32_STAR, 1, BOTH | STATE, MSR_SYSCALL, KEPT(star), NULL, NULL, NULL},
	{MSR_IA32_LSTAR, 2, BOTH | STATE, MSR_LONG_MODE, KEPT(lstar), canonical, NULL, NULL},
	{MSR_IA32_FMASK, 1, BOTH | STATE, MSR_LONG_MODE, KEPT(fmask), low_half, NULL, NULL},
	{MSR_IA32_FS_BASE, 2, BOTH, MSR_LONG_MODE, 0, canonical, read_fs_base, write_fs_base},
	{MSR_IA32_KERNEL_GS_BASE, 1, BOTH | STATE, MSR_LONG_MODE, KEPT(kernel_gs_base),
	 canonical, NULL, NULL},
	{MSR_IA32_TSC_AUX, 1, BOTH | STATE, MSR_TSC_AUX, KEPT(tsc_aux), tsc_aux, NULL, NULL},

	{MSR_AMD_SYSCFG, 1, READ, MSR_AMD, 0, NULL, read_zero, NULL},
	{MSR_AMD_HWCR, 1, BOTH | STATE, MSR_AMD, KEPT(hwcr), hwcr, read_hwcr, NULL},
	{MSR_AMD_NB_CFG, 1, BOTH, MSR_AMD, 0, NULL, read_zero, write_ignored},
	{MSR_AMD_INT_PENDING_MSG, 1, READ, MSR_AMD, 0, NULL, read_zero, NULL},
	{MSR_AMD_DE_CFG, 1, BOTH | STATE, MSR_AMD, KEPT(de_cfg), de_cfg, NULL, NULL},

	{MSR_KVM_WALL_CLOCK, 1, BOTH | STATE, MSR_KVM_CLOCK, KEPT(wall_clock),
	 NULL, NULL, write_wall_clock},
	{MSR_KVM_SYSTEM_TIME, 1, BOTH | STATE, MSR_KVM_CLOCK, KEPT(system_time),
	 NULL, NULL, write_system_time},
};
/* clang-format on */

static const struct msr_row *find(const struct cpu *cpu, uint32_t index)
{
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		const struct msr_row *row = &rows[i];

		if (index - row->first < row->count)
			return cpu->msrs->has & BIT(row->need) ? row : NULL;
	}
	return NULL;
}

static uint64_t *kept(struct cpu *cpu, const struct msr_row *row, uint32_t index)
{
	uint64_t *first = (uint64_t *)(void *)((char *)cpu->msrs + row->kept);

	return first + (index - row->first);
}

bool msr_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct msr_row *row = find(cpu, index);

	if (!row || !(row->access & READ))
		return false;
	if (row->read)
		return row->read(cpu, index, value);
	*value = *kept(cpu, row, index);
	return true;
}

bool msr_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const struct msr_row *row = find(cpu, index);

	if (!row || !(row->access & WRITE) || (row->check && !row->check(cpu, index, &value)))
		return false;
	if (row->write)
		return row->write(cpu, index, value);
	*kept(cpu, row, index) = value;
	return true;
}

bool msr_get(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct msr_row *row = find(cpu, index);

	if (!row || !(row->access & STATE))
		return false;
	if (index == MSR_IA32_TSC_DEADLINE)
		return row->read(cpu, index, value);
	*value = *kept(cpu, row, index);
	return true;
}

bool msr_set(struct cpu *cpu, uint32_t index, uint64_t value)
{
	const struct msr_row *row = find(cpu, index);

	/* What a bank recorded may be put back, whoever may write it in the guest. */
	bool any = row && row->check == mc_bank && (index & 3) == 1;

	if (!row || !(row->access & STATE) ||
	    (row->check && !any && !row->check(cpu, index, &value)))
		return false;
	*kept(cpu, row, index) = value;
	return true;
}

void msr_release(struct cpu *cpu)
{
	free(cpu->msrs);
	cpu->msrs = NULL;
}
