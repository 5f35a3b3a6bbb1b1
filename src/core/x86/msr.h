/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of model-specific registers, by the names of Intel SDM vol. 4 (IA32_*,
 * MSR_*), AMD APM vol. 2 appendix A, and Linux Documentation/virt/kvm/x86/msr.rst.
 */
#ifndef LODGE_CORE_X86_MSR_H
#define LODGE_CORE_X86_MSR_H

#define MSR_IA32_TSC               0x00000010u
#define MSR_IA32_PLATFORM_ID       0x00000017u
#define MSR_IA32_APIC_BASE         0x0000001bu
#define MSR_SMI_COUNT              0x00000034u
#define MSR_IA32_FEATURE_CONTROL   0x0000003au
#define MSR_IA32_TSC_ADJUST        0x0000003bu
#define MSR_IA32_SPEC_CTRL         0x00000048u
#define MSR_IA32_PRED_CMD          0x00000049u
#define MSR_IA32_BIOS_UPDT_TRIG    0x00000079u
#define MSR_IA32_BIOS_SIGN_ID      0x0000008bu /* microcode revision; AMD PATCH_LEVEL */
#define MSR_IA32_SMBASE            0x0000009eu
#define MSR_PLATFORM_INFO          0x000000ceu
#define MSR_IA32_UMWAIT_CONTROL    0x000000e1u
#define MSR_IA32_MPERF             0x000000e7u
#define MSR_IA32_APERF             0x000000e8u
#define MSR_IA32_MTRRCAP           0x000000feu
#define MSR_IA32_ARCH_CAPABILITIES 0x0000010au
#define MSR_IA32_FLUSH_CMD         0x0000010bu
#define MSR_IA32_TSX_CTRL          0x00000122u
#define MSR_MISC_FEATURES_ENABLES  0x00000140u
#define MSR_IA32_SYSENTER_CS       0x00000174u
#define MSR_IA32_SYSENTER_ESP      0x00000175u
#define MSR_IA32_SYSENTER_EIP      0x00000176u
#define MSR_IA32_MCG_CAP           0x00000179u
#define MSR_IA32_MCG_STATUS        0x0000017au
#define MSR_IA32_MCG_CTL           0x0000017bu
#define MSR_IA32_MISC_ENABLE       0x000001a0u
#define MSR_IA32_XFD               0x000001c4u
#define MSR_IA32_XFD_ERR           0x000001c5u
#define MSR_IA32_DEBUGCTL          0x000001d9u
#define MSR_IA32_MTRR_PHYSBASE(n)  (0x00000200u + 2 * (n)) /* n: 0 to 7 */
#define MSR_IA32_MTRR_PHYSMASK(n)  (0x00000201u + 2 * (n))
#define MSR_IA32_MTRR_FIX64K_00000 0x00000250u
#define MSR_IA32_MTRR_FIX16K_80000 0x00000258u
#define MSR_IA32_MTRR_FIX16K_A0000 0x00000259u
#define MSR_IA32_MTRR_FIX4K_C0000  0x00000268u /* to F8000 at 0x26f */
#define MSR_IA32_PAT               0x00000277u
#define MSR_IA32_MTRR_DEF_TYPE     0x000002ffu
#define MSR_IA32_MC_CTL(n)         (0x00000400u + 4 * (n)) /* bank n */
#define MSR_IA32_MC_STATUS(n)      (0x00000401u + 4 * (n))
#define MSR_IA32_MC_ADDR(n)        (0x00000402u + 4 * (n))
#define MSR_IA32_MC_MISC(n)        (0x00000403u + 4 * (n))
#define MSR_IA32_TSC_DEADLINE      0x000006e0u
#define MSR_IA32_X2APIC(reg)       (0x00000800u + (reg) / 16) /* reg: offset on the xAPIC page */
#define MSR_IA32_XSS               0x00000da0u

#define MSR_IA32_EFER           0xc0000080u
#define MSR_IA32_STAR           0xc0000081u
#define MSR_IA32_LSTAR          0xc0000082u
#define MSR_IA32_CSTAR          0xc0000083u
#define MSR_IA32_FMASK          0xc0000084u
#define MSR_IA32_FS_BASE        0xc0000100u
#define MSR_IA32_GS_BASE        0xc0000101u
#define MSR_IA32_KERNEL_GS_BASE 0xc0000102u
#define MSR_IA32_TSC_AUX        0xc0000103u

/* AMD */
#define MSR_AMD_SYSCFG         0xc0010010u
#define MSR_AMD_HWCR           0xc0010015u
#define MSR_AMD_VM_CR          0xc0010114u
#define MSR_AMD_OSVW_ID_LENGTH 0xc0010140u
#define MSR_AMD_OSVW_STATUS    0xc0010141u
#define MSR_AMD_VIRT_SPEC_CTRL 0xc001011fu
#define MSR_AMD_DE_CFG         0xc0011029u

/* KVM's paravirtual interfaces */
#define MSR_KVM_WALL_CLOCK_OLD    0x00000011u
#define MSR_KVM_SYSTEM_TIME_OLD   0x00000012u
#define MSR_KVM_WALL_CLOCK        0x4b564d00u
#define MSR_KVM_SYSTEM_TIME       0x4b564d01u
#define MSR_KVM_ASYNC_PF_EN       0x4b564d02u
#define MSR_KVM_STEAL_TIME        0x4b564d03u
#define MSR_KVM_PV_EOI_EN         0x4b564d04u
#define MSR_KVM_POLL_CONTROL      0x4b564d05u
#define MSR_KVM_ASYNC_PF_INT      0x4b564d06u
#define MSR_KVM_ASYNC_PF_ACK      0x4b564d07u
#define MSR_KVM_MIGRATION_CONTROL 0x4b564d08u

/* Bits */
#define FEATURE_CONTROL_LOCKED (1u << 0)

/* MSR_IA32_DEBUGCTL */
#define DEBUGCTL_LBR             (1ULL << 0) /* record branches */
#define DEBUGCTL_BTF             (1ULL << 1) /* single-step by branches */
#define MISC_ENABLE_FAST_STRING  (1u << 0)
#define MISC_ENABLE_BTS_UNAVAIL  (1u << 11)
#define MISC_ENABLE_PEBS_UNAVAIL (1u << 12)
#define MISC_ENABLE_LIMIT_CPUID  (1u << 22)
#define MTRR_DEF_TYPE_ENABLE     (1u << 11)
#define MTRR_DEF_TYPE_FIXED      (1u << 10)
#define MTRR_PHYSMASK_VALID      (1u << 11)
#define MTRR_TYPE_UC             0u
#define MTRR_TYPE_WC             1u
#define MTRR_TYPE_WT             4u
#define MTRR_TYPE_WP             5u
#define MTRR_TYPE_WB             6u

#endif
