/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The features that a guest may see, and what each CPU model makes of them.
 *
 * This list allows: a bit that is not in it is never shown, so a feature of a
 * future host, whose state a snapshot would not hold, does not leak in. Absent on
 * purpose are nested virtualization (VMX, SVM), SGX, SEV and TDX, processor trace,
 * AMX, MPX, APX, CET, FRED, key locker, LWP, MONITOR and MWAIT(X), the performance
 * counters, debug store, resource control, power and thermal management, machine
 * check extensions of AMD (their MSRs are not emulated), and what depends on
 * hidden configuration MSRs (IBS, OSVW, node id, core capabilities).
 *
 * Model "host" offers all of the list. The named models are the levels of the
 * x86-64 psABI (section 3.1.1) for user programs: the level's list is demanded,
 * and a few instructions beside it that are not part of any level but make
 * cryptography and copying fast are offered. For the kernel they have what every
 * 64-bit processor has (demanded), and what protects or speeds up a kernel
 * (offered, so that the models also run on older hosts).
 *
 * Bits that are about speculation or that change how a common instruction behaves
 * are offered in each model: hiding them makes the guest less safe or wrong.
 *
 * Sources: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E.
 */
#include "base/bits.h"
#include "core/x86/cpuid_int.h"
#include "core/x86/regs.h"

const struct cpuid_model cpuid_models[CPUID_MODELS] = {
	[MODEL_HOST] = {"host", NULL},
	[MODEL_V2] = {"x86-64-v2", "lodge x86-64-v2"},
	[MODEL_V3] = {"x86-64-v3", "lodge x86-64-v3"},
};

/* clang-format off */

/* Which models have it. */
#define HOST   {USE_OFFER, USE_NO, USE_NO}
#define OFFER  {USE_OFFER, USE_OFFER, USE_OFFER}
#define BASE   {USE_OFFER, USE_DEMAND, USE_DEMAND}
#define V3     {USE_OFFER, USE_NO, USE_DEMAND}
#define V3_MAY {USE_OFFER, USE_NO, USE_OFFER}

#define F(name, word, bit, use)       {name, word, bit, VENDORS_ALL, use, 0}
#define F_INTEL(name, word, bit, use) {name, word, bit, VENDORS_INTEL, use, 0}
#define F_AMD(name, word, bit, use)   {name, word, bit, VENDORS_AMD, use, 0}
#define F_CENTAUR(name, word, bit)    {name, word, bit, VENDOR_CENTAUR, HOST, 0}
#define F_XSAVE(name, word, bit, use) {name, word, bit, VENDORS_ALL, use, XSTATE_X87 | XSTATE_SSE}
#define F_AVX(name, word, bit, use)   {name, word, bit, VENDORS_ALL, use, XSTATE_AVX}
#define F_512(name, word, bit)        {name, word, bit, VENDORS_ALL, HOST, XSTATE_AVX512}
#define F_PKRU(name, word, bit)       {name, word, bit, VENDORS_ALL, HOST, XSTATE_PKRU}

const struct cpuid_feature cpuid_features[] = {
	F("FPU", W_1_EDX, 0, BASE),
	F("VME", W_1_EDX, 1, OFFER),
	F("DE", W_1_EDX, 2, OFFER),
	F("PSE", W_1_EDX, 3, BASE),
	F("TSC", W_1_EDX, 4, BASE),
	F("MSR", W_1_EDX, 5, BASE),
	F("PAE", W_1_EDX, 6, BASE),
	F("MCE", W_1_EDX, 7, OFFER),
	F("CX8", W_1_EDX, 8, BASE),
	F("APIC", W_1_EDX, 9, BASE),
	F("SEP", W_1_EDX, 11, OFFER),
	F("MTRR", W_1_EDX, 12, OFFER),
	F("PGE", W_1_EDX, 13, BASE),
	F("MCA", W_1_EDX, 14, OFFER),
	F("CMOV", W_1_EDX, 15, BASE),
	F("PAT", W_1_EDX, 16, BASE),
	F("PSE36", W_1_EDX, 17, OFFER),
	F("CLFLUSH", W_1_EDX, 19, BASE),
	F("MMX", W_1_EDX, 23, BASE),
	F("FXSR", W_1_EDX, 24, BASE),
	F("SSE", W_1_EDX, 25, BASE),
	F("SSE2", W_1_EDX, 26, BASE),
	F("SS", W_1_EDX, 27, OFFER),

	F("SSE3", W_1_ECX, 0, BASE),
	F("PCLMULQDQ", W_1_ECX, 1, OFFER),
	F("SSSE3", W_1_ECX, 9, BASE),
	F_AVX("FMA", W_1_ECX, 12, V3),
	F("CMPXCHG16B", W_1_ECX, 13, BASE),
	F("PCID", W_1_ECX, 17, OFFER),
	F("SSE4.1", W_1_ECX, 19, BASE),
	F("SSE4.2", W_1_ECX, 20, BASE),
	F("X2APIC", W_1_ECX, 21, OFFER),
	F("MOVBE", W_1_ECX, 22, V3),
	F("POPCNT", W_1_ECX, 23, BASE),
	F("TSC-DEADLINE", W_1_ECX, 24, OFFER),
	F("AES", W_1_ECX, 25, OFFER),
	F_XSAVE("XSAVE", W_1_ECX, 26, V3),
	F_AVX("AVX", W_1_ECX, 28, V3),
	F_AVX("F16C", W_1_ECX, 29, V3),
	F("RDRAND", W_1_ECX, 30, OFFER),

	F("ARAT", W_6_EAX, 2, OFFER),

	F("FSGSBASE", W_7_EBX, 0, OFFER),
	F("TSC_ADJUST", W_7_EBX, 1, OFFER),
	F("BMI1", W_7_EBX, 3, V3),
	F_INTEL("HLE", W_7_EBX, 4, HOST),
	F_AVX("AVX2", W_7_EBX, 5, V3),
	F("FDP_EXCPTN_ONLY", W_7_EBX, 6, OFFER),
	F("SMEP", W_7_EBX, 7, OFFER),
	F("BMI2", W_7_EBX, 8, V3),
	F("ERMS", W_7_EBX, 9, OFFER),
	F("INVPCID", W_7_EBX, 10, OFFER),
	F_INTEL("RTM", W_7_EBX, 11, HOST),
	F("ZERO_FCS_FDS", W_7_EBX, 13, OFFER),
	F_512("AVX512F", W_7_EBX, 16),
	F_512("AVX512DQ", W_7_EBX, 17),
	F("RDSEED", W_7_EBX, 18, OFFER),
	F("ADX", W_7_EBX, 19, V3_MAY),
	F("SMAP", W_7_EBX, 20, OFFER),
	F_512("AVX512IFMA", W_7_EBX, 21),
	F("CLFLUSHOPT", W_7_EBX, 23, V3_MAY),
	F("CLWB", W_7_EBX, 24, V3_MAY),
	F_512("AVX512PF", W_7_EBX, 26),
	F_512("AVX512ER", W_7_EBX, 27),
	F_512("AVX512CD", W_7_EBX, 28),
	F("SHA", W_7_EBX, 29, V3_MAY),
	F_512("AVX512BW", W_7_EBX, 30),
	F_512("AVX512VL", W_7_EBX, 31),

	F_512("AVX512VBMI", W_7_ECX, 1),
	F("UMIP", W_7_ECX, 2, OFFER),
	F_PKRU("PKU", W_7_ECX, 3),
	F("WAITPKG", W_7_ECX, 5, HOST),
	F_512("AVX512_VBMI2", W_7_ECX, 6),
	F("GFNI", W_7_ECX, 8, HOST),
	F_AVX("VAES", W_7_ECX, 9, HOST),
	F_AVX("VPCLMULQDQ", W_7_ECX, 10, HOST),
	F_512("AVX512_VNNI", W_7_ECX, 11),
	F_512("AVX512_BITALG", W_7_ECX, 12),
	F_512("AVX512_VPOPCNTDQ", W_7_ECX, 14),
	F("LA57", W_7_ECX, 16, HOST),
	F("RDPID", W_7_ECX, 22, HOST),
	F("CLDEMOTE", W_7_ECX, 25, HOST),
	F("MOVDIRI", W_7_ECX, 27, HOST),
	F("MOVDIR64B", W_7_ECX, 28, HOST),

	F_512("AVX512_4VNNIW", W_7_EDX, 2),
	F_512("AVX512_4FMAPS", W_7_EDX, 3),
	F("FSRM", W_7_EDX, 4, OFFER),
	F_512("AVX512_VP2INTERSECT", W_7_EDX, 8),
	F_INTEL("MD_CLEAR", W_7_EDX, 10, OFFER),
	F_INTEL("RTM_ALWAYS_ABORT", W_7_EDX, 11, HOST),
	F("SERIALIZE", W_7_EDX, 14, HOST),
	F_INTEL("TSXLDTRK", W_7_EDX, 16, HOST),
	F_512("AVX512_FP16", W_7_EDX, 23),
	F_INTEL("SPEC_CTRL", W_7_EDX, 26, OFFER),
	F_INTEL("STIBP", W_7_EDX, 27, OFFER),
	F_INTEL("FLUSH_L1D", W_7_EDX, 28, OFFER),
	F_INTEL("ARCH_CAPABILITIES", W_7_EDX, 29, OFFER),
	F_INTEL("SSBD", W_7_EDX, 31, OFFER),

	F("SHA512", W_71_EAX, 0, HOST),
	F("SM3", W_71_EAX, 1, HOST),
	F("SM4", W_71_EAX, 2, HOST),
	F_AVX("AVX_VNNI", W_71_EAX, 4, HOST),
	F_512("AVX512_BF16", W_71_EAX, 5),
	F("CMPCCXADD", W_71_EAX, 7, HOST),
	F("FZRM", W_71_EAX, 10, HOST),
	F("FSRS", W_71_EAX, 11, HOST),
	F("FSRC", W_71_EAX, 12, HOST),
	F_AVX("AVX_IFMA", W_71_EAX, 23, HOST),
	F("LAM", W_71_EAX, 26, HOST),
	F_AVX("AVX_VNNI_INT8", W_71_EDX, 4, HOST),
	F_AVX("AVX_NE_CONVERT", W_71_EDX, 5, HOST),
	F_AVX("AVX_VNNI_INT16", W_71_EDX, 10, HOST),
	F("PREFETCHITI", W_71_EDX, 14, HOST),

	F_INTEL("PSFD", W_72_EDX, 0, OFFER),
	F_INTEL("IPRED_CTRL", W_72_EDX, 1, OFFER),
	F_INTEL("RRSBA_CTRL", W_72_EDX, 2, OFFER),
	F_INTEL("DDPD_U", W_72_EDX, 3, OFFER),
	F_INTEL("BHI_CTRL", W_72_EDX, 4, OFFER),
	F_INTEL("MCDT_NO", W_72_EDX, 5, OFFER),

	F_XSAVE("XSAVEOPT", W_D1_EAX, 0, V3_MAY),
	F_XSAVE("XSAVEC", W_D1_EAX, 1, V3_MAY),
	F_XSAVE("XGETBV1", W_D1_EAX, 2, V3_MAY),
	F_XSAVE("XSAVES", W_D1_EAX, 3, V3_MAY),

	F("LAHF", W_81_ECX, 0, BASE),
	F_AMD("CR8_LEGACY", W_81_ECX, 4, OFFER),
	F("LZCNT", W_81_ECX, 5, V3),
	F_AMD("SSE4A", W_81_ECX, 6, HOST),
	F_AMD("MISALIGNSSE", W_81_ECX, 7, HOST),
	F("PREFETCHW", W_81_ECX, 8, OFFER),
	F_AVX("XOP", W_81_ECX, 11, HOST),
	F_AVX("FMA4", W_81_ECX, 16, HOST),
	F_AMD("TBM", W_81_ECX, 21, HOST),

	F("SYSCALL", W_81_EDX, 11, BASE),
	F("NX", W_81_EDX, 20, BASE),
	F_AMD("MMXEXT", W_81_EDX, 22, OFFER),
	F_AMD("FXSR_OPT", W_81_EDX, 25, OFFER),
	F("1GB-PAGES", W_81_EDX, 26, OFFER),
	F("RDTSCP", W_81_EDX, 27, OFFER),
	F("LM", W_81_EDX, 29, BASE),
	F_AMD("3DNOWEXT", W_81_EDX, 30, HOST),
	F_AMD("3DNOW", W_81_EDX, 31, HOST),

	F("INVARIANT-TSC", W_87_EDX, 8, OFFER),

	F_AMD("CLZERO", W_88_EBX, 0, HOST),
	F_AMD("XSAVEERPTR", W_88_EBX, 2, OFFER),
	F("WBNOINVD", W_88_EBX, 9, HOST),
	F_AMD("IBPB", W_88_EBX, 12, OFFER),
	F_AMD("IBRS", W_88_EBX, 14, OFFER),
	F_AMD("STIBP", W_88_EBX, 15, OFFER),
	F_AMD("STIBP_ALWAYS_ON", W_88_EBX, 17, OFFER),
	F_AMD("SSBD", W_88_EBX, 24, OFFER),
	F_AMD("VIRT_SSBD", W_88_EBX, 25, OFFER),
	F_AMD("SSB_NO", W_88_EBX, 26, OFFER),
	F_AMD("PSFD", W_88_EBX, 28, OFFER),
	F_AMD("BTC_NO", W_88_EBX, 29, OFFER),
	F_AMD("IBPB_RET", W_88_EBX, 30, OFFER),

	F_AMD("NO_NESTED_DATA_BP", W_821_EAX, 0, OFFER),
	F_AMD("LFENCE_SERIALIZING", W_821_EAX, 2, OFFER),
	F_AMD("VERW_CLEAR", W_821_EAX, 5, OFFER),
	F_AMD("NULL_SEL_CLR_BASE", W_821_EAX, 6, OFFER),
	F_AMD("AUTOIBRS", W_821_EAX, 8, OFFER),
	F_AMD("NO_SMM_CTL_MSR", W_821_EAX, 9, OFFER),
	F_AMD("SBPB", W_821_EAX, 27, OFFER),
	F_AMD("IBPB_BRTYPE", W_821_EAX, 28, OFFER),
	F_AMD("SRSO_NO", W_821_EAX, 29, OFFER),
	F_AMD("SRSO_USER_KERNEL_NO", W_821_EAX, 30, OFFER),
	F_AMD("TSA_SQ_NO", W_821_ECX, 1, OFFER),
	F_AMD("TSA_L1_NO", W_821_ECX, 2, OFFER),

	F_CENTAUR("XSTORE", W_C1_EDX, 2),
	F_CENTAUR("XSTORE_EN", W_C1_EDX, 3),
	F_CENTAUR("XCRYPT", W_C1_EDX, 6),
	F_CENTAUR("XCRYPT_EN", W_C1_EDX, 7),
	F_CENTAUR("ACE2", W_C1_EDX, 8),
	F_CENTAUR("ACE2_EN", W_C1_EDX, 9),
	F_CENTAUR("PHE", W_C1_EDX, 10),
	F_CENTAUR("PHE_EN", W_C1_EDX, 11),
	F_CENTAUR("PMM", W_C1_EDX, 12),
	F_CENTAUR("PMM_EN", W_C1_EDX, 13),
};
/* clang-format on */

const unsigned cpuid_feature_count = ARRAY_LEN(cpuid_features);
