/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUID leaves that the software engine can give.
 *
 * A feature is given for one of two reasons: the engine does it by itself (modes,
 * paging, the interrupt controller, integer instructions), on any host; or the
 * engine hands the instruction to the host's processor, which must have it. The
 * lists below say which. What is in neither is not given: AVX-512, PKU, CET, AMX,
 * MPX, TSX, SGX, VMX, SVM, MONITOR, performance counters, and registers that
 * govern the silicon's speculation.
 *
 * What a guest's kernel does against speculation is of no use here: its returns and indirect jumps
 * are not the host's, nor does VERW reach the host's processor, and it is far from cheap. So the
 * model says of the weaknesses that it has none (as of AMD's: indirect branches by AUTOIBRS, which
 * is a bit of EFER that stays as it is set).
 *
 * Sources: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "engine/bt/features.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/regs.h"
#include "engine/bt/cpu.h"
#include "engine/bt/decode/feature.h"
#include "engine/bt/fpu/fpu.h"

#define EXTENDED   0x80000001u
#define POWER      0x80000007u
#define SIZES      0x80000008u
#define EXTENDED_2 0x80000021u
#define BRAND      0x80000002u /* to 4 */
#define XSAVE      0xdu
#define TSC_RATIO  0x15u
#define PARAVIRT   0x40000000u

#define LAPIC_HZ         1000000000u
#define HZ_PER_KHZ       1000u
#define LINEAR_BITS_LA57 57u
#define PHYS_BITS_MIN    36u
#define PHYS_BITS_MAX    52u
#define FAMILY_ZEN3      0x19u

/* Bits of one register: by the engine itself, and by the host. */
struct word {
	uint32_t leaf;
	uint8_t subleaf;
	uint8_t reg; /* enum cpuid_register */
	uint32_t own;
	uint32_t host;
	uint32_t amd; /* by the engine itself, for AMD's processors */
	uint32_t intel;
};

#define B(n) ((uint32_t)BIT(n))

static const struct word words[] = {
	/* SSE3, PCLMULQDQ, SSSE3, FMA, CX16, PCID, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT,
	 * TSC-deadline, AES, XSAVE, AVX, F16C, RDRAND */
	{1, 0, CPUID_ECX, B(17) | B(21) | B(22) | B(24) | B(26),
	 B(0) | B(1) | B(9) | B(12) | B(13) | B(19) | B(20) | B(23) | B(25) | B(28) | B(29) | B(30),
	 0, 0},
	/* FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36,
	 * CLFLUSH, MMX, FXSR, SSE, SSE2 */
	{1, 0, CPUID_EDX, 0x078bfbff, 0, 0, 0},
	{6, 0, CPUID_EAX, B(2), 0, 0, 0}, /* ARAT: the APIC timer never stops */
	/* FSGSBASE, TSC_ADJUST, BMI1, AVX2, FDP_EXCPTN_ONLY, SMEP, BMI2, ERMS, INVPCID,
	 * ZERO_FCS_FDS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA */
	{7, 0, CPUID_EBX, B(0) | B(1) | B(7) | B(9) | B(10) | B(20) | B(23) | B(24),
	 B(3) | B(5) | B(6) | B(8) | B(13) | B(18) | B(19) | B(29), 0, 0},
	/* UMIP, GFNI, VAES, VPCLMULQDQ, LA57, RDPID, CLDEMOTE, MOVDIRI, MOVDIR64B */
	{7, 0, CPUID_ECX, B(2) | B(16) | B(22) | B(25) | B(27) | B(28), B(8) | B(9) | B(10), 0, 0},
	/* FSRM, SERIALIZE; ARCH_CAPABILITIES */
	{7, 0, CPUID_EDX, B(4) | B(14), 0, 0, B(29)},
	{7, 1, CPUID_EAX, 0, B(4), 0, 0}, /* AVX_VNNI */
	/* XSAVEOPT, XSAVEC, XGETBV1, XSAVES */
	{XSAVE, 1, CPUID_EAX, B(0) | B(1) | B(2) | B(3), 0, 0, 0},
	/* LAHF, PREFETCHW; LZCNT, SSE4A */
	{EXTENDED, 0, CPUID_ECX, B(0) | B(8), B(5) | B(6), 0, 0},
	/* SYSCALL, NX, 1GB-PAGES, RDTSCP, LM; MMXEXT */
	{EXTENDED, 0, CPUID_EDX, B(11) | B(20) | B(26) | B(27) | B(29), B(22), 0, 0},
	{POWER, 0, CPUID_EDX, 0, B(8), 0, 0}, /* the TSC's rate is constant */
	/* WBNOINVD; XSAVEERPTR; CLZERO, SSB_NO, BTC_NO */
	{SIZES, 0, CPUID_EBX, B(9), B(2), B(0) | B(26) | B(29), 0},
	/* NULL_SEL_CLR_BASE; LFENCE_SERIALIZING, AUTOIBRS, NO_SMM_CTL_MSR, SRSO_NO */
	{EXTENDED_2, 0, CPUID_EAX, 0, B(6), B(2) | B(8) | B(9) | B(29), 0},
	{EXTENDED_2, 0, CPUID_ECX, 0, 0, B(1) | B(2), 0}, /* TSA_SQ_NO, TSA_L1_NO */
};

/* KVM's features: the clock at both places of its MSRs, no delay after port accesses, and that
 * all vCPUs' clocks agree. */
#define KVM_CLOCK        (B(0) | B(3))
#define KVM_NO_IO_DELAY  B(1)
#define KVM_PV_UNHALT    B(7)
#define KVM_CLOCK_STABLE B(24)

static bool host_leaf(uint32_t leaf, uint32_t subleaf, struct cpuid_entry *e)
{
	*e = (struct cpuid_entry){.leaf = leaf, .subleaf = subleaf};
	return __get_cpuid_count(leaf, subleaf, &e->eax, &e->ebx, &e->ecx, &e->edx);
}

static uint32_t *reg_of(struct cpuid_entry *e, unsigned reg)
{
	uint32_t *const regs[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	return regs[reg];
}

/* Whether the kernel here lets programs use AVX. */
static bool host_avx(void)
{
	const uint64_t needed = XSTATE_SSE | XSTATE_AVX;
	struct cpuid_entry e;
	uint32_t eax, edx;

	if (!host_leaf(1, 0, &e) || !(e.ecx & BIT(27)))
		return false;
	__asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return (eax & needed) == needed;
}

/* The host's leaf, without the features that need AVX where that may not be used. */
static struct cpuid_entry host_features(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_entry e;

	if (!host_leaf(leaf, subleaf, &e) || host_avx())
		return e;
	for (unsigned f = 0; f < FEATURE_COUNT; f++) {
		const struct insn_feature_bit *b = insn_feature_cpuid(f);

		if (b->leaf == leaf && b->subleaf == subleaf &&
		    (f == FEATURE_AVX || f == FEATURE_VAES || f == FEATURE_VPCLMUL ||
		     (b->with == FEATURE_AVX && f != FEATURE_AVX_AES && f != FEATURE_AVX_PCLMUL &&
		      f != FEATURE_AVX_GFNI)))
			*reg_of(&e, b->reg) &= ~(uint32_t)BIT(b->bit);
	}
	return e;
}

static void put(struct cpuid_table *t, const struct cpuid_entry *e)
{
	bool done = cpuid_put(t, e);

	assert(done);
	(void)done;
}

static void put_word(struct cpuid_table *t, const struct word *w, bool amd)
{
	const struct cpuid_entry *old = cpuid_find(t, w->leaf, w->subleaf);
	struct cpuid_entry host = host_features(w->leaf, w->subleaf);
	struct cpuid_entry e = {
		.leaf = w->leaf,
		.subleaf = w->subleaf,
		.indexed = w->leaf == 7 || w->leaf == XSAVE,
	};

	if (old)
		e = *old;
	*reg_of(&e, w->reg) |= w->own | (amd ? w->amd : w->intel) |
			       (*reg_of(&host, w->reg) & w->host);
	put(t, &e);
}

/* Vendor, signature, brand: of the host. Features follow. */
static void put_identity(struct cpuid_table *t)
{
	struct cpuid_entry e;

	host_leaf(0, 0, &e);
	put(t, &e);
	host_leaf(1, 0, &e);
	put(t, &(struct cpuid_entry){.leaf = 1, .eax = e.eax});
	for (uint32_t leaf = BRAND; leaf < BRAND + 3; leaf++)
		if (host_leaf(leaf, 0, &e))
			put(t, &e);
}

/* Physical addresses are as wide as the host's; linear ones as LA57 makes them. */
static void put_sizes(struct cpuid_table *t)
{
	unsigned phys = PHYS_BITS_MIN;
	struct cpuid_entry e;

	if (host_leaf(SIZES, 0, &e) && (e.eax & 0xff) >= PHYS_BITS_MIN &&
	    (e.eax & 0xff) <= PHYS_BITS_MAX)
		phys = e.eax & 0xff;
	put(t, &(struct cpuid_entry){.leaf = SIZES, .eax = LINEAR_BITS_LA57 << 8 | phys});
}

/* x87, SSE and, with AVX, the upper halves of YMM, in the standard places. */
static void put_xsave(struct cpuid_table *t)
{
	const struct cpuid_entry *basic = cpuid_find(t, 1, 0);
	bool avx = basic->ecx & BIT(28);
	uint32_t components = (uint32_t)(XSTATE_X87 | XSTATE_SSE | (avx ? XSTATE_AVX : 0));
	uint32_t size = avx ? FPU_AREA_SIZE : XSAVE_MIN_SIZE;

	put(t, &(struct cpuid_entry){XSAVE, 0, true, components, XSAVE_MIN_SIZE, size, 0});
	if (avx)
		put(t, &(struct cpuid_entry){XSAVE, 2, true, FPU_AREA_SIZE - FPU_YMM_HI, FPU_YMM_HI,
					     0, 0});
}

static void put_paravirt(struct cpuid_table *t)
{
	const struct cpuid_entry *power = cpuid_find(t, POWER, 0);
	struct cpuid_entry e = {.leaf = PARAVIRT, .eax = PARAVIRT + 1};
	char name[12] = "KVMKVMKVM";

	memcpy(&e.ebx, name, 4);
	memcpy(&e.ecx, name + 4, 4);
	memcpy(&e.edx, name + 8, 4);
	put(t, &e);
	e = (struct cpuid_entry){.leaf = PARAVIRT + 1,
				 .eax = KVM_CLOCK | KVM_NO_IO_DELAY | KVM_PV_UNHALT};
	if (power->edx & BIT(8)) /* the host's processors agree about the TSC */
		e.eax |= KVM_CLOCK_STABLE;
	put(t, &e);
}

/*
 * What Linux asks on Intel's processors instead of measuring: the crystal is what the machine's
 * local APIC timers count (core/x86/cpuid.h). Linux multiplies the crystal's kHz by the numerator
 * in 32 bits, so that the ratio is the nearest with small numbers, to about a millionth.
 */
void features_put_tsc(struct cpuid_table *t, uint32_t khz)
{
	const uint64_t crystal = LAPIC_HZ / HZ_PER_KHZ;
	struct cpuid_entry e = {.leaf = TSC_RATIO, .ecx = LAPIC_HZ};
	uint64_t best = UINT64_MAX;

	for (uint64_t den = 1; khz * den / crystal < UINT32_MAX / crystal; den++) {
		uint64_t num = (khz * den + crystal / 2) / crystal;
		uint64_t product = num * crystal, wanted = khz * den;
		uint64_t apart = product > wanted ? product - wanted : wanted - product;

		/* apart / den is the error in kHz, kept in millionths. */
		if (num && apart * 1000000 / den < best) {
			best = apart * 1000000 / den;
			e.eax = (uint32_t)den;
			e.ebx = (uint32_t)num;
		}
	}
	if (e.eax)
		put(t, &e);
}

bool features_amd(void)
{
	static const char names[][13] = {"AuthenticAMD", "HygonGenuine"};
	struct cpuid_entry e;
	uint32_t name[3];

	host_leaf(0, 0, &e);
	name[0] = e.ebx;
	name[1] = e.edx;
	name[2] = e.ecx;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!memcmp(name, names[i], sizeof(name)))
			return true;
	return false;
}

int features_supported(struct cpuid_table *t, struct err *e)
{
	bool amd = features_amd();

	(void)e; /* every x86-64 host will do */
	t->count = 0;
	put_identity(t);
	put_sizes(t);
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		put_word(t, &words[i], amd);
	put_xsave(t);
	put_paravirt(t);
	return 0;
}

/* AMD processors keep base and limit of a register that is loaded with a null selector, but the
 * newer ones that say otherwise (CPUID Fn8000_0021 EAX bit 6), and all since Zen 3, where a
 * hypervisor may have hidden that bit. */
static bool null_keeps(const struct cpu *cpu)
{
	const struct cpuid_entry *leaf = cpuid_find(&cpu->cpuid, EXTENDED_2, 0);
	const struct cpuid_entry *signature = cpuid_find(&cpu->cpuid, 1, 0);
	unsigned family = signature ? (signature->eax >> 8 & 15) + (signature->eax >> 20 & 255) : 0;

	return cpu->amd && !(leaf && (leaf->eax & BIT(6))) && family < FAMILY_ZEN3;
}

void features_apply(struct cpu *cpu)
{
	const struct cpuid_entry *sizes = cpuid_find(&cpu->cpuid, SIZES, 0);

	insn_features_of(&cpu->cpuid, cpu->features);
	cpu->phys_bits = PHYS_BITS_MIN;
	if (sizes && (sizes->eax & 0xff) >= 32 && (sizes->eax & 0xff) <= PHYS_BITS_MAX)
		cpu->phys_bits = sizes->eax & 0xff;
	cpu->null_keeps = null_keeps(cpu);
}
