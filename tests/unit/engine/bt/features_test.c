/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine offers, what CPUID makes of it, and what the guest's registers change in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/bt/decode/feature.h"
#include "system_rig.h"

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];

static int setup(void **state)
{
	(void)state;
	system_rig_init(&r);
	rig_long_mode(cpu);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

enum { EAX, EBX, ECX, EDX };

static bool offered(const struct cpuid_table *t, uint32_t leaf, uint32_t subleaf, unsigned reg,
		    unsigned bit)
{
	const struct cpuid_entry *e = cpuid_find(t, leaf, subleaf);

	return e && (const uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx}[reg] & BIT(bit);
}

struct bit {
	uint32_t leaf;
	unsigned reg, bit;
};

/* All that the interpreter does by itself, on any host. */
static const struct bit always[] = {
	{1, ECX, 17},          /* PCID */ {1, ECX, 21},           /* x2APIC */
	{1, ECX, 24},          /* TSC-deadline */ {1, ECX, 26},   /* XSAVE */
	{7, EBX, 0},           /* FSGSBASE */ {7, EBX, 7},        /* SMEP */
	{7, EBX, 10},          /* INVPCID */ {7, EBX, 20},        /* SMAP */
	{7, ECX, 2},           /* UMIP */ {7, ECX, 16},           /* LA57 */
	{7, ECX, 22},          /* RDPID */ {0x80000001, EDX, 11}, /* SYSCALL */
	{0x80000001, EDX, 20}, /* NX */ {0x80000001, EDX, 26},    /* 1 GiB pages */
	{0x80000001, EDX, 27},                                    /* RDTSCP */
	{0x80000001, EDX, 29},                                    /* LM */
};

/* What no guest of this engine has. */
static const struct bit never[] = {
	{1, ECX, 2},           /* DTES64 */ {1, ECX, 3},        /* MONITOR */
	{1, ECX, 5},           /* VMX */ {1, ECX, 15},          /* PDCM */
	{7, EBX, 2},           /* SGX */ {7, EBX, 4},           /* HLE */
	{7, EBX, 11},          /* RTM */ {7, EBX, 14},          /* MPX */
	{7, EBX, 16},          /* AVX512F */ {7, EBX, 25},      /* PT */
	{7, ECX, 3},           /* PKU */ {7, ECX, 7},           /* CET_SS */
	{7, ECX, 5},           /* WAITPKG */ {7, EDX, 20},      /* CET_IBT */
	{7, EDX, 22},          /* AMX-BF16 */ {7, EDX, 26},     /* SPEC_CTRL */
	{0x80000001, ECX, 2},  /* SVM */ {0x80000001, ECX, 11}, /* XOP */
	{0x80000001, ECX, 16},                                  /* FMA4 */
	{0x80000001, ECX, 21},                                  /* TBM */
	{0x80000001, EDX, 31},                                  /* 3DNow! */
	{0x40000001, EAX, 4},                                   /* asynchronous page faults */
	{0x40000001, EAX, 5},                                   /* steal time */
	{0x40000001, EAX, 6},                                   /* PV EOI */
};

static void offers_what_it_can(void **state)
{
	struct cpuid_table t;
	const struct cpuid_entry *e;

	(void)state;
	assert_int_equal(features_supported(&t, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(always); i++)
		if (!offered(&t, always[i].leaf, 0, always[i].reg, always[i].bit))
			fail_msg("0x%x %u.%u", always[i].leaf, always[i].reg, always[i].bit);
	for (unsigned i = 0; i < ARRAY_LEN(never); i++)
		if (offered(&t, never[i].leaf, 0, never[i].reg, never[i].bit))
			fail_msg("0x%x %u.%u", never[i].leaf, never[i].reg, never[i].bit);
	e = cpuid_find(&t, 0x40000000, 0);
	assert_memory_equal(&e->ebx, "KVMKVMKVM\0\0\0", 12); /* EBX, ECX, EDX follow each other */
	/* No weaknesses of speculation: by AMD's bits, or by a register of Intel's. */
	assert_int_equal(offered(&t, 7, 0, EDX, 29), !features_amd());
	assert_int_equal(offered(&t, 0x80000021, 0, EAX, 29), features_amd()); /* SRSO_NO */
	assert_int_equal(offered(&t, 0x80000021, 0, ECX, 1), features_amd());  /* TSA_SQ_NO */
	assert_true(offered(&t, 0x40000001, 0, EAX, 0) && offered(&t, 0x40000001, 0, EAX, 3));
	e = cpuid_find(&t, 0xd, 0);
	assert_int_equal(e->eax & ~7u, 0);
}

/* Every processor of the last 15 years is at least x86-64-v2. */
static void models_can_be_composed(void **state)
{
	struct cpuid_topology topology = {.apic_id = 1, .cpus = 4};
	struct cpuid_table supported, t;

	(void)state;
	assert_int_equal(features_supported(&supported, NULL), 0);
	assert_int_equal(cpuid_compose(&t, "host", &supported, &topology, NULL), 0);
	assert_int_equal(cpuid_compose(&t, "x86-64-v2", &supported, &topology, NULL), 0);
	if (offered(&supported, 7, 0, EBX, 5))
		assert_int_equal(cpuid_compose(&t, "x86-64-v3", &supported, &topology, NULL), 0);
}

/* No instruction is given by CPUID that the host would not execute. */
static void the_vcpu_has_what_cpuid_shows(void **state)
{
	(void)state;
	assert_true(cpu->features[FEATURE_BASE] && cpu->features[FEATURE_SSE2]);
	assert_true(cpu->features[FEATURE_INVPCID] && cpu->features[FEATURE_SMAP]);
	assert_false(cpu->features[FEATURE_PKU] || cpu->features[FEATURE_MONITOR]);
	if (cpu->features[FEATURE_AVX])
		assert_true(cpu->fpu.host.avx);
	assert_true(cpu->phys_bits >= 36 && cpu->phys_bits <= 52);
}

/* SDM vol. 2A CPUID leaf 15H: TSC = ECX * EBX / EAX; Linux computes that in kHz and 32 bits. */
static void rate_of_the_tsc(void **state)
{
	static const uint32_t rates[] = {100000, 999999, 1999999, 2596142, 3700001, 5200003};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rates); i++) {
		const struct cpuid_entry *e;
		struct cpuid_table t = {.count = 0};
		uint64_t product, khz;

		features_put_tsc(&t, rates[i]);
		e = cpuid_find(&t, 0x15, 0);
		assert_non_null(e);
		product = (uint64_t)(e->ecx / 1000) * e->ebx;
		assert_true(e->eax && e->ebx && product <= UINT32_MAX);
		khz = product / e->eax;
		assert_in_range(khz, rates[i] - rates[i] / 500000 - 1,
				rates[i] + rates[i] / 500000 + 1);
	}
}

/* --- CPUID ----------------------------------------------------------------------------------- */

static void cpuid(uint32_t leaf, uint32_t subleaf)
{
	cpu->gpr[GPR_RAX] = 0xffffffff00000000 | leaf;
	cpu->gpr[GPR_RCX] = 0xffffffff00000000 | subleaf;
	assert_int_equal(rig_op(cpu, OP_CPUID), RIG_NO_FAULT);
}

static void bits_that_follow_registers(void **state)
{
	(void)state;
	cpuid(1, 0);
	assert_false(cpu->gpr[GPR_RCX] & BIT(27));
	assert_true(cpu->gpr[GPR_RDX] & BIT(9));
	assert_true(cpu->gpr[GPR_RCX] & BIT(31)); /* a hypervisor */
	assert_int_equal(cpu->gpr[GPR_RBX] >> 24, 0);
	cpu->cr4 |= CR4_OSXSAVE;
	cpu->apic_base &= ~APIC_BASE_ENABLE;
	cpuid(1, 0);
	assert_true(cpu->gpr[GPR_RCX] & BIT(27));
	assert_false(cpu->gpr[GPR_RDX] & BIT(9));
	/* A sub-leaf number does not matter to leaf 1, the upper halves never do. */
	cpuid(1, 5);
	assert_true(cpu->gpr[GPR_RCX] & BIT(27));
}

static void sizes_of_the_xsave_area(void **state)
{
	bool avx = cpu->msrs->xcr0_allowed & XSTATE_AVX;
	unsigned all = avx ? 832 : 576;

	(void)state;
	cpu->xcr0 = XSTATE_X87;
	cpuid(0xd, 0);
	assert_int_equal(cpu->gpr[GPR_RBX], 576);
	assert_int_equal(cpu->gpr[GPR_RCX], all);
	assert_int_equal(cpu->gpr[GPR_RAX], avx ? 7 : 3);
	cpu->xcr0 = cpu->msrs->xcr0_allowed;
	cpuid(0xd, 0);
	assert_int_equal(cpu->gpr[GPR_RBX], all);
	cpuid(0xd, 1);
	assert_int_equal(cpu->gpr[GPR_RAX], 0xf);
	assert_int_equal(cpu->gpr[GPR_RBX], all);
	cpuid(0xd, 2);
	assert_int_equal(cpu->gpr[GPR_RAX], avx ? 256 : 0);
	assert_int_equal(cpu->gpr[GPR_RBX], avx ? 576 : 0);
}

static void leaves_that_are_not_there(void **state)
{
	uint64_t highest[4];

	(void)state;
	cpuid(0, 0);
	cpuid((uint32_t)cpu->gpr[GPR_RAX], 0x77);
	memcpy(highest, cpu->gpr, sizeof(highest));
	cpu->amd = false; /* beyond the highest: its contents */
	cpuid(0x00ffffff, 0x77);
	assert_memory_equal(cpu->gpr, highest, sizeof(highest));
	cpu->amd = true; /* zeroes */
	cpuid(0x00ffffff, 0x77);
	assert_int_equal(cpu->gpr[0] | cpu->gpr[1] | cpu->gpr[2] | cpu->gpr[3], 0);
}

/* Levels beyond the last tell their number and the APIC id. */
static void levels_of_the_topology(void **state)
{
	struct cpu *second = &r.cpu[1];

	(void)state;
	second->gpr[GPR_RAX] = 0xb;
	second->gpr[GPR_RCX] = 9;
	assert_int_equal(rig_op(second, OP_CPUID), RIG_NO_FAULT);
	assert_int_equal(second->gpr[GPR_RAX] | second->gpr[GPR_RBX], 0);
	assert_int_equal(second->gpr[GPR_RCX], 9);
	assert_int_equal(second->gpr[GPR_RDX], 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Intel's processors clear the base of a register that gets a null selector, AMD's kept it until
 * Zen 3 (family 0x19), and those that say so in CPUID Fn8000_0021 EAX bit 6 do not. */
static void null_selectors(void **state)
{
	static const struct {
		bool amd;
		uint32_t signature; /* leaf 1 EAX */
		uint32_t says;
		bool keeps;
	} cases[] = {
		{false, 0x000906ea, 0, false},   {true, 0x00800f12, 0, true},  /* 0x17 */
		{true, 0x00800f12, 0x40, false}, {true, 0x00a00f11, 0, false}, /* 0x19 */
		{true, 0x00800f12, 0xbf, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		cpu->amd = cases[i].amd;
		cpu->cpuid.count = 2;
		cpu->cpuid.entries[0] = (struct cpuid_entry){.leaf = 1, .eax = cases[i].signature};
		cpu->cpuid.entries[1] = (struct cpuid_entry){.leaf = 0x80000021,
							     .eax = cases[i].says};
		features_apply(cpu);
		assert_int_equal(cpu->null_keeps, cases[i].keeps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(offers_what_it_can),
		TEST(models_can_be_composed),
		TEST(the_vcpu_has_what_cpuid_shows),
		TEST(rate_of_the_tsc),
		TEST(bits_that_follow_registers),
		TEST(sizes_of_the_xsave_area),
		TEST(leaves_that_are_not_there),
		TEST(levels_of_the_topology),
		TEST(null_selectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
