/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits of the control, debug and flag registers and of page-table entries, by
 * their architectural names.
 *
 * Sources: Intel SDM vol. 1 3.4.3 (RFLAGS), vol. 3A 2.2.1 (EFER), 2.5 (control
 * registers), 4.5 and 4.7 (paging structures and error codes), 17.2 (debug
 * registers), vol. 1 13.3 (XCR0); AMD APM vol. 2 3.1.
 */
#ifndef LODGE_CORE_X86_REGS_H
#define LODGE_CORE_X86_REGS_H

#include "base/bits.h"

/* RFLAGS */
#define RFLAGS_CF         BIT(0)
#define RFLAGS_FIXED      BIT(1) /* reads as one */
#define RFLAGS_PF         BIT(2)
#define RFLAGS_AF         BIT(4)
#define RFLAGS_ZF         BIT(6)
#define RFLAGS_SF         BIT(7)
#define RFLAGS_TF         BIT(8)
#define RFLAGS_IF         BIT(9)
#define RFLAGS_DF         BIT(10)
#define RFLAGS_OF         BIT(11)
#define RFLAGS_IOPL_SHIFT 12
#define RFLAGS_IOPL       (3ULL << RFLAGS_IOPL_SHIFT)
#define RFLAGS_NT         BIT(14)
#define RFLAGS_RF         BIT(16)
#define RFLAGS_VM         BIT(17)
#define RFLAGS_AC         BIT(18)
#define RFLAGS_VIF        BIT(19)
#define RFLAGS_VIP        BIT(20)
#define RFLAGS_ID         BIT(21)

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4) /* reads as one */
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR3_PWT     BIT(3)
#define CR3_PCD     BIT(4)
#define CR3_PCID    MASK(12) /* where CR4.PCIDE is set */
#define CR3_NOFLUSH BIT(63)  /* in the operand of MOV to CR3 only */

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_SMXE       BIT(14)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_KL         BIT(19)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)
#define CR4_CET        BIT(23)
#define CR4_PKS        BIT(24)

#define EFER_SCE      BIT(0)
#define EFER_LME      BIT(8)
#define EFER_LMA      BIT(10)
#define EFER_NXE      BIT(11)
#define EFER_SVME     BIT(12)
#define EFER_LMSLE    BIT(13)
#define EFER_FFXSR    BIT(14)
#define EFER_TCE      BIT(15)
#define EFER_AUTOIBRS BIT(21)

/* IA32_APIC_BASE */
#define APIC_BASE_BSP    BIT(8)
#define APIC_BASE_EXTD   BIT(10) /* x2APIC mode */
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_ADDR   (MASK(52) & ~MASK(12))

/* Debug status and control: the bits that read as one, and those that a debugger uses. */
#define DR6_RESET 0xffff0ff0ULL /* no breakpoint, not in RTM, no bus lock */
#define DR6_B(n)  BIT(n)
#define DR6_BD    BIT(13)
#define DR6_BS    BIT(14)
#define DR6_BT    BIT(15)
#define DR7_RESET 0x400ULL
#define DR7_L(n)  BIT((n)*2)
#define DR7_G(n)  BIT((n)*2 + 1)
#define DR7_LE    BIT(8)
#define DR7_GE    BIT(9)
#define DR7_RTM   BIT(11)
#define DR7_GD    BIT(13)

/* XCR0, XSTATE_BV and IA32_XSS: the numbers of the XSAVE components. */
#define XSTATE_X87       BIT(0)
#define XSTATE_SSE       BIT(1)
#define XSTATE_AVX       BIT(2)
#define XSTATE_BNDREGS   BIT(3)
#define XSTATE_BNDCSR    BIT(4)
#define XSTATE_OPMASK    BIT(5)
#define XSTATE_ZMM_HI256 BIT(6)
#define XSTATE_HI16_ZMM  BIT(7)
#define XSTATE_PT        BIT(8)
#define XSTATE_PKRU      BIT(9)
#define XSTATE_PASID     BIT(10)
#define XSTATE_CET_U     BIT(11)
#define XSTATE_CET_S     BIT(12)
#define XSTATE_TILECFG   BIT(17)
#define XSTATE_TILEDATA  BIT(18)
#define XSTATE_AVX512    (XSTATE_OPMASK | XSTATE_ZMM_HI256 | XSTATE_HI16_ZMM)

/* Offsets in the XSAVE area, which begins like the FXSAVE area (SDM vol. 1, 10.5.1 and 13.4.1). */
#define XSAVE_FCW         0   /* 2 bytes */
#define XSAVE_FSW         2   /* 2 bytes */
#define XSAVE_FTW         4   /* 1 byte, abridged: a set bit is a register in use */
#define XSAVE_FOP         6   /* 2 bytes */
#define XSAVE_FIP         8   /* 8 bytes */
#define XSAVE_FDP         16  /* 8 bytes */
#define XSAVE_MXCSR       24  /* 4 bytes */
#define XSAVE_MXCSR_MASK  28  /* 4 bytes */
#define XSAVE_ST          32  /* 8 registers, 10 bytes each in 16 */
#define XSAVE_XMM         160 /* 16 registers, 16 bytes each */
#define XSAVE_XSTATE_BV   512 /* 8 bytes: the header begins here */
#define XSAVE_XCOMP_BV    520 /* 8 bytes, 0 in the standard format */
#define XSAVE_LEGACY_SIZE 512
#define XSAVE_HEADER_SIZE 64
#define XSAVE_MIN_SIZE    (XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE)

#define MXCSR_RESET 0x1f80u

/* Page-table entries, 4-level, 5-level and PAE paging; 32-bit paging shares the low ones. */
#define PTE_P    BIT(0)
#define PTE_RW   BIT(1)
#define PTE_US   BIT(2)
#define PTE_PWT  BIT(3)
#define PTE_PCD  BIT(4)
#define PTE_A    BIT(5)
#define PTE_D    BIT(6)
#define PTE_PS   BIT(7) /* in a directory entry: maps a large page */
#define PTE_PAT  BIT(7) /* in a last-level entry */
#define PTE_G    BIT(8)
#define PTE_NX   BIT(63)
#define PTE_ADDR (MASK(52) & ~MASK(12))

/* Page-fault error code. */
#define PFERR_P    BIT(0)
#define PFERR_W    BIT(1)
#define PFERR_U    BIT(2)
#define PFERR_RSVD BIT(3)
#define PFERR_I    BIT(4)
#define PFERR_PK   BIT(5)

enum { /* exception vectors, SDM vol. 3A table 6-1 */
       VECTOR_DE = 0,
       VECTOR_DB = 1,
       VECTOR_NMI = 2,
       VECTOR_BP = 3,
       VECTOR_OF = 4,
       VECTOR_BR = 5,
       VECTOR_UD = 6,
       VECTOR_NM = 7,
       VECTOR_DF = 8,
       VECTOR_TS = 10,
       VECTOR_NP = 11,
       VECTOR_SS = 12,
       VECTOR_GP = 13,
       VECTOR_PF = 14,
       VECTOR_MF = 16,
       VECTOR_AC = 17,
       VECTOR_MC = 18,
       VECTOR_XM = 19,
       VECTOR_VE = 20,
       VECTOR_CP = 21,
};

#endif
