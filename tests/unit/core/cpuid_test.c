/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every model is held against rules of the manuals, on tables like those of real
 * hosts and on random ones. The lists of the psABI levels are written here anew, so
 * that a slip in the models' table does not hide.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/x86/cpuid.h"
#include "core/x86/vcpu_state.h"

static void put(struct cpuid_table *t, uint32_t leaf, uint32_t a, uint32_t b, uint32_t c,
		uint32_t d)
{
	assert_true(cpuid_put(t, &(struct cpuid_entry){leaf, 0, false, a, b, c, d}));
}

/* Leaf and subleaf, then EAX, EBX, ECX and EDX. */
#define put_sub(t, leaf, sub, ...) \
	assert_true(cpuid_put(t, &(struct cpuid_entry){leaf, sub, true, __VA_ARGS__}))

static void put_text(struct cpuid_table *t, uint32_t leaf, const char *text)
{
	char padded[48] = "";
	uint32_t r[12];

	memcpy(padded, text, strlen(text));
	memcpy(r, padded, sizeof(r));
	for (unsigned i = 0; i < 3; i++)
		put(t, leaf + i, r[i * 4], r[i * 4 + 1], r[i * 4 + 2], r[i * 4 + 3]);
}

static void put_vendor(struct cpuid_table *t, const char *vendor, uint32_t highest)
{
	uint32_t r[3];

	memcpy(r, vendor, sizeof(r));
	put(t, 0, highest, r[0], r[2], r[1]);
}

/* A host that supports everything there is, so that what is masked is masked by lodge. */
static void host_all(struct cpuid_table *t, const char *vendor)
{
	t->count = 0;
	put_vendor(t, vendor, 0x24);
	put(t, 1, 0x000806f8, 0x12345678, ~0u, ~0u);
	put(t, 3, 0, 0, 0xdead, 0xbeef);
	put_sub(t, 4, 0, 0xfc004121, 0x01c0003f, 0x3f, 0);
	put(t, 5, 0x40, 0x40, 3, 0x2020);
	put(t, 6, ~0u, ~0u, ~0u, ~0u);
	put_sub(t, 7, 0, 2, ~0u, ~0u, ~0u);
	put_sub(t, 7, 1, ~0u, ~0u, ~0u, ~0u);
	put_sub(t, 7, 2, ~0u, ~0u, ~0u, ~0u);
	put(t, 0xa, 0x08300805, 0, 0, 0x8603);
	put_sub(t, 0xd, 0, 0x000602ff, 11008, 11008, 0);
	put_sub(t, 0xd, 1, 0x1f, 11008, 0x1900, 0);
	put_sub(t, 0xd, 2, 256, 576, 0, 0);
	put_sub(t, 0xd, 3, 64, 960, 0, 0);
	put_sub(t, 0xd, 4, 64, 1024, 0, 0);
	put_sub(t, 0xd, 5, 64, 1088, 0, 0);
	put_sub(t, 0xd, 6, 512, 1152, 0, 0);
	put_sub(t, 0xd, 7, 1024, 1664, 0, 0);
	put_sub(t, 0xd, 8, 128, 0, 1, 0);
	put_sub(t, 0xd, 9, 8, 2688, 0, 0);
	put_sub(t, 0xd, 17, 64, 2752, 2, 0);
	put_sub(t, 0xd, 18, 8192, 2816, 6, 0);
	put_sub(t, 0x12, 0, 3, 1, 0, 0x241f);
	put_sub(t, 0x14, 0, 1, 0xf, 7, 0);
	put(t, 0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(t, 0x40000001, ~0u, 0, 0, 1);
	put(t, 0x80000000, 0x80000021, 0, 0, 0);
	put(t, 0x80000001, 0x000806f8, 0x40000000, ~0u, ~0u);
	put_text(t, 0x80000002, "  Some Vendor(R) CPU 1234 @ 3.00GHz");
	put(t, 0x80000007, 0, ~0u, 0, ~0u);
	put(t, 0x80000008, 0x00003934, ~0u, 0xf0ff, ~0u);
	put(t, 0x8000000a, 1, 8, 0, ~0u);
	put(t, 0x8000001f, ~0u, ~0u, ~0u, ~0u);
	put(t, 0x80000021, ~0u, ~0u, ~0u, ~0u);
	put(t, 0xc0000000, 0xc0000004, 0, 0, 0);
	put(t, 0xc0000001, 0, 0, 0, ~0u);
}

/* Nehalem's features as KVM would report them. */
static void host_nehalem(struct cpuid_table *t)
{
	t->count = 0;
	put_vendor(t, "GenuineIntel", 0xb);
	put(t, 1, 0x000106a5, 0, 0x00bae209 & ~8u, 0x078bfbff);
	put(t, 0x80000001, 0, 0, 1, 0x28100800);
	put(t, 0x80000008, 0x3024, 0, 0, 0);
}

/* A reader that follows the rule "absent is zero". */
static struct cpuid_entry leaf(const struct cpuid_table *t, uint32_t number, uint32_t sub)
{
	const struct cpuid_entry *e = cpuid_find(t, number, sub);

	return e ? *e : (struct cpuid_entry){0};
}

static void compose(struct cpuid_table *out, const char *model, const struct cpuid_table *host,
		    unsigned id, unsigned cpus)
{
	struct cpuid_topology topology = {.apic_id = id, .cpus = cpus};
	struct err e = ERR_INIT;

	if (cpuid_compose(out, model, host, &topology, &e))
		fail_msg("%s: %s", model, e.text);
}

/* Every feature register: leaf, subleaf, register; bits that lodge gives by itself; bits that may
 * never be shown. */
static const struct {
	uint32_t leaf, sub;
	unsigned reg;
	uint32_t own, never;
} registers[] = {
	/* never: DTES64 MONITOR DS-CPL VMX SMX EIST TM2 CNXT SDBG xTPR PDCM DCA OSXSAVE */
	{1, 0, 2, BIT(31), 0x0804cdfc},
	/* never: PSN DS ACPI TM IA64 PBE */
	{1, 0, 3, BIT(28), 0xe0740400},
	{6, 0, 0, 0, ~4u},
	/* never: SGX CQM MPX RDT PT */
	{7, 0, 1, 0, 0x0240d004},
	/* never: OSPKE CET_SS TME MAWAU KL BUS_LOCK ENQCMD SGX_LC PKS */
	{7, 0, 2, 0, 0xe1be2090},
	/* never: UINTR SRBDS_CTRL FORCE_ABORT HYBRID PCONFIG ARCH_LBR IBT AMX CORE_CAPS */
	{7, 0, 3, 0, 0x437ea223},
	{7, 1, 0, 0, BIT(21) | BIT(17)},                    /* AMX_FP16 FRED */
	{7, 1, 3, 0, BIT(8) | BIT(18) | BIT(19) | BIT(21)}, /* AMX_COMPLEX CET_SSS AVX10 APX */
	{7, 2, 3, 0, ~0x3fu},
	{0xd, 1, 0, 0, ~0xfu}, /* XFD */
	/* never: SVM EXTAPIC OSVW IBS SKINIT WDT LWP TCE NODEID PERFCTR BPEXT PTSC LLC MWAITX */
	{0x80000001, 0, 2, BIT(22) | BIT(1), 0x3d8ab60c},
	{0x80000001, 0, 3, 0x0183f3ff, 0},
	{0x80000007, 0, 1, 0, ~0u},
	{0x80000007, 0, 3, 0, ~0x100u},
	{0x80000008, 0, 1, 0, BIT(1) | BIT(3) | BIT(4) | BIT(8) | BIT(23) | BIT(27) | BIT(31)},
	{0x80000021, 0, 0, 0, BIT(1) | BIT(13) | BIT(17)},
	{0x80000021, 0, 1, 0, ~0u},
	{0xc0000001, 0, 3, 0, ~0x3fccu},
};

static uint32_t reg(const struct cpuid_table *t, uint32_t number, uint32_t sub, unsigned r)
{
	struct cpuid_entry e = leaf(t, number, sub);

	return (const uint32_t[4]){e.eax, e.ebx, e.ecx, e.edx}[r];
}

static void check_features(const struct cpuid_table *t, const struct cpuid_table *host)
{
	for (unsigned i = 0; i < ARRAY_LEN(registers); i++) {
		uint32_t got = reg(t, registers[i].leaf, registers[i].sub, registers[i].reg);
		uint32_t had = reg(host, registers[i].leaf, registers[i].sub, registers[i].reg);

		if (got & ~registers[i].own & ~had)
			fail_msg("leaf %x.%u register %u invents %x", registers[i].leaf,
				 registers[i].sub, registers[i].reg,
				 got & ~registers[i].own & ~had);
		if (got & registers[i].never)
			fail_msg("leaf %x.%u register %u shows %x", registers[i].leaf,
				 registers[i].sub, registers[i].reg, got & registers[i].never);
	}
	assert_true(leaf(t, 1, 0).ecx & BIT(31));
	/* What no guest is told. */
	for (unsigned i = 0; i < t->count; i++) {
		uint32_t n = t->entries[i].leaf;

		assert_true(n != 3 && n != 5 && n != 9 && n != 0xa && n != 0xf && n != 0x10 &&
			    n != 0x12 && n != 0x14 && !(n > 0x16 && n < 0x40000000) &&
			    n != 0x8000000a && n != 0x8000001f && n != 0x80000020);
	}
}

static void check_highest(const struct cpuid_table *t)
{
	uint32_t basic = leaf(t, 0, 0).eax, extended = leaf(t, 0x80000000, 0).eax;

	assert_non_null(cpuid_find(t, basic, 0));
	assert_non_null(cpuid_find(t, extended, 0));
	assert_true(basic >= 0xb && extended >= 0x80000008);
	for (unsigned i = 0; i < t->count; i++) {
		const struct cpuid_entry *e = &t->entries[i];

		if (e->leaf < 0x40000000)
			assert_true(e->leaf <= basic);
		else if (e->leaf >= 0x80000000 && e->leaf < 0xc0000000)
			assert_true(e->leaf <= extended);
		else if (e->leaf < 0x80000000)
			assert_true(e->leaf <= leaf(t, 0x40000000, 0).eax);
		else
			assert_true(e->leaf <= leaf(t, 0xc0000000, 0).eax);
		for (unsigned j = 0; j < i; j++) /* one answer to each question */
			assert_false(t->entries[j].leaf == e->leaf &&
				     (!e->indexed || !t->entries[j].indexed ||
				      t->entries[j].subleaf == e->subleaf));
	}
	/* Leaf 7 says how many subleaves it has. */
	assert_true(leaf(t, 7, 0).eax <= 2);
	for (uint32_t sub = 0; sub <= 3; sub++)
		assert_int_equal(cpuid_find(t, 7, sub) != NULL, sub <= leaf(t, 7, 0).eax);
}

static bool amd_like(const struct cpuid_table *t)
{
	uint32_t ebx = leaf(t, 0, 0).ebx;

	return ebx == 0x68747541 || ebx == 0x6f677948; /* Auth, Hygo */
}

static void check_topology(const struct cpuid_table *t, unsigned id, unsigned cpus)
{
	uint32_t shift = leaf(t, 0xb, 1).eax, caches = amd_like(t) ? 0x8000001d : 4;
	struct cpuid_entry one = leaf(t, 1, 0);

	assert_int_equal(one.ebx >> 24, id & 0xff);
	assert_int_equal(one.ebx >> 8 & 0xff, 8); /* CLFLUSH of 64 bytes */
	assert_int_equal(one.ebx & 0xff, 0);
	assert_true((one.ebx >> 16 & 0xff) >= cpus);
	assert_int_equal(!!(one.edx & BIT(28)), cpus > 1);
	/* 0xB: thread, core, end; each with this vCPU's id. */
	assert_int_equal(leaf(t, 0xb, 0).ecx, 0x100);
	assert_int_equal(leaf(t, 0xb, 0).ebx, 1);
	assert_int_equal(leaf(t, 0xb, 0).eax, 0);
	assert_int_equal(leaf(t, 0xb, 1).ecx, 0x201);
	assert_int_equal(leaf(t, 0xb, 1).ebx, cpus);
	assert_int_equal(leaf(t, 0xb, 2).ebx, 0);
	assert_int_equal(leaf(t, 0xb, 2).ecx, 2);
	for (uint32_t sub = 0; sub < 3; sub++)
		assert_int_equal(leaf(t, 0xb, sub).edx, id);
	assert_true((1u << shift) >= cpus && (shift == 0 || (1u << (shift - 1)) < cpus));
	assert_int_equal(id >> shift, 0); /* one package */
	/* Caches: the last is shared by all, the others by none; then a null one. */
	for (uint32_t sub = 0; sub < 4; sub++) {
		struct cpuid_entry c = leaf(t, caches, sub);

		assert_true(c.eax & 0x1f);
		assert_int_equal((c.eax >> 14 & 0xfff) + 1, sub == 3 ? 1u << shift : 1);
		assert_int_equal((c.ebx & 0xfff) + 1, 64);
		if (caches == 4)
			assert_int_equal((c.eax >> 26) + 1, 1u << shift);
	}
	assert_int_equal(leaf(t, caches, 4).eax & 0x1f, 0);
	if (amd_like(t)) {
		assert_int_equal(leaf(t, 0x8000001e, 0).eax, id);
		assert_int_equal(leaf(t, 0x8000001e, 0).ebx, id);
		assert_int_equal(leaf(t, 0x8000001e, 0).ecx, 0);
		assert_int_equal((leaf(t, 0x80000008, 0).ecx & 0xff) + 1, cpus);
		assert_int_equal(leaf(t, 0x80000008, 0).ecx >> 12 & 0xf, shift);
		assert_true(leaf(t, 0x80000001, 0).ecx & BIT(22));
		assert_int_equal(leaf(t, 0x80000001, 0).edx & 0x0183f3ff, one.edx & 0x0183f3ff);
		/* The old form of the last cache's size agrees with the new. */
		assert_int_equal((leaf(t, 0x80000006, 0).edx >> 18) * 512,
				 (leaf(t, caches, 3).ecx + 1) * 16 * 64 / 1024);
	} else {
		assert_int_equal(leaf(t, 0x80000008, 0).ecx, 0);
		assert_int_equal(leaf(t, 2, 0).eax & 0xff, 1);
	}
}

static void check_xsave(const struct cpuid_table *t)
{
	struct cpuid_entry d = leaf(t, 0xd, 0);
	uint32_t need = 576, f7b = leaf(t, 7, 0).ebx;
	bool xsave = leaf(t, 1, 0).ecx & BIT(26), avx = leaf(t, 1, 0).ecx & BIT(28);

	assert_int_equal(cpuid_find(t, 0xd, 0) != NULL, xsave);
	assert_int_equal(d.edx, 0);
	assert_int_equal(d.eax & 3, xsave ? 3 : 0);
	assert_int_equal(!!(d.eax & 4), avx);
	assert_true((d.eax & 0xe0) == 0 || (d.eax & 0xe0) == 0xe0);
	assert_int_equal(!!(d.eax & 0xe0), !!(f7b & BIT(16)));
	assert_int_equal(!!(d.eax & BIT(9)), !!(leaf(t, 7, 0).ecx & BIT(3)));
	if (d.eax & 0xe0)
		assert_true(avx);
	if (!avx) /* nothing that works on YMM registers */
		assert_false(f7b & BIT(5) || leaf(t, 1, 0).ecx & (BIT(12) | BIT(29)) ||
			     leaf(t, 7, 0).ecx & (BIT(9) | BIT(10)));
	if (!(f7b & BIT(16))) /* nor, without AVX512F, on ZMM registers */
		assert_false(f7b & 0xdc220000 & ~BIT(29) & ~BIT(27));
	for (unsigned i = 2; i < 64; i++) {
		struct cpuid_entry c = leaf(t, 0xd, i);

		assert_int_equal(cpuid_find(t, 0xd, i) != NULL, i < 32 && d.eax & BIT(i));
		if (!c.eax)
			continue;
		assert_true(c.ebx >= 576 && (uint64_t)c.ebx + c.eax <= VCPU_XSAVE_SIZE);
		assert_int_equal(c.ecx & ~2u, 0);
		need = MAX(need, c.ebx + c.eax);
	}
	if (xsave) {
		assert_int_equal(d.ecx, need);
		assert_int_equal(d.ebx, 576);
		assert_int_equal(leaf(t, 0xd, 1).ecx, 0);
		assert_int_equal(leaf(t, 0xd, 1).edx, 0);
	}
}

static void check_all(const struct cpuid_table *t, const struct cpuid_table *host, unsigned id,
		      unsigned cpus)
{
	check_features(t, host);
	check_highest(t);
	check_topology(t, id, cpus);
	check_xsave(t);
}

static const char *const vendors[] = {"GenuineIntel", "AuthenticAMD", "HygonGenuine",
				      "CentaurHauls", "SomethingNew"};

static void every_model_keeps_the_rules_on_every_vendor(void **state)
{
	static const unsigned counts[] = {1, 2, 3, 8, 9, 63, 64};
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned v = 0; v < ARRAY_LEN(vendors); v++) {
		host_all(&host, vendors[v]);
		for (unsigned m = 0; cpuid_model_name(m); m++) {
			for (unsigned c = 0; c < ARRAY_LEN(counts); c++) {
				for (unsigned id = 0; id < counts[c]; id += MAX(counts[c] / 3, 1)) {
					compose(&t, cpuid_model_name(m), &host, id, counts[c]);
					check_all(&t, &host, id, counts[c]);
				}
			}
		}
	}
}

static void model_names_begin_with_host_and_end(void **state)
{
	(void)state;
	assert_string_equal(cpuid_model_name(0), "host");
	assert_string_equal(cpuid_model_name(1), "x86-64-v2");
	assert_string_equal(cpuid_model_name(2), "x86-64-v3");
	assert_null(cpuid_model_name(3));
	assert_null(cpuid_model_name(~0u));
}

/* The psABI's table 3.1, as bits. */
#define V1_EDX1 (BIT(0) | BIT(8) | BIT(15) | BIT(23) | BIT(24) | BIT(25) | BIT(26))
#define V2_ECX1 (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
#define V3_ECX1 (V2_ECX1 | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))
#define V3_EBX7 (BIT(3) | BIT(5) | BIT(8))
#define ECX1_V3 (BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))

static void named_models_have_the_psabi_lists(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned v = 0; v < 2; v++) {
		host_all(&host, vendors[v]);
		compose(&t, "x86-64-v2", &host, 0, 1);
		assert_int_equal(leaf(&t, 1, 0).edx & V1_EDX1, V1_EDX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & V2_ECX1, V2_ECX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & ECX1_V3, 0);
		assert_int_equal(leaf(&t, 7, 0).ebx & V3_EBX7, 0);
		assert_int_equal(leaf(&t, 0x80000001, 0).ecx & (BIT(0) | BIT(5)), BIT(0));
		assert_int_equal(leaf(&t, 0x80000001, 0).edx & (BIT(11) | BIT(20) | BIT(29)),
				 BIT(11) | BIT(20) | BIT(29));
		compose(&t, "x86-64-v3", &host, 0, 1);
		assert_int_equal(leaf(&t, 1, 0).edx & V1_EDX1, V1_EDX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & V3_ECX1, V3_ECX1);
		assert_int_equal(leaf(&t, 7, 0).ebx & V3_EBX7, V3_EBX7);
		assert_int_equal(leaf(&t, 0x80000001, 0).ecx & (BIT(0) | BIT(5)), BIT(0) | BIT(5));
		assert_int_equal(leaf(&t, 0xd, 0).eax, 7);
		assert_int_equal(leaf(&t, 0xd, 0).ecx, 832);
		/* No AVX-512, and no XSAVE area for it. */
		assert_int_equal(leaf(&t, 7, 0).ebx & 0xdc230000 & ~BIT(29), 0);
	}
}

static void what_protects_the_guest_is_offered(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned m = 0; cpuid_model_name(m); m++) {
		host_all(&host, "GenuineIntel");
		compose(&t, cpuid_model_name(m), &host, 0, 1);
		/* MD_CLEAR SPEC_CTRL STIBP FLUSH_L1D ARCH_CAPABILITIES SSBD; SMEP SMAP; UMIP */
		assert_int_equal(leaf(&t, 7, 0).edx & 0xbc000400, 0xbc000400);
		assert_int_equal(leaf(&t, 7, 0).ebx & (BIT(7) | BIT(20)), BIT(7) | BIT(20));
		assert_true(leaf(&t, 7, 0).ecx & BIT(2));
		assert_int_equal(leaf(&t, 0x80000008, 0).ebx & BIT(12), 0);
		assert_true(leaf(&t, 0x80000007, 0).edx & BIT(8));
		/* x2APIC, TSC deadline, PCID with INVPCID, 1 GiB pages */
		assert_int_equal(leaf(&t, 1, 0).ecx & 0x01220000, 0x01220000);
		assert_true(leaf(&t, 7, 0).ebx & BIT(10));
		assert_true(leaf(&t, 0x80000001, 0).edx & BIT(26));
		host_all(&host, "AuthenticAMD");
		compose(&t, cpuid_model_name(m), &host, 0, 1);
		assert_int_equal(leaf(&t, 7, 0).edx & 0xbc000400, 0);
		assert_int_equal(leaf(&t, 0x80000008, 0).ebx & 0x6100d000, 0x6100d000);
		assert_true(leaf(&t, 0x80000007, 0).edx & BIT(8));
	}
}

static void brand_of(const struct cpuid_table *t, char brand[49])
{
	for (unsigned i = 0; i < 3; i++) {
		struct cpuid_entry e = leaf(t, 0x80000002 + i, 0);

		memcpy(brand + i * 16, (uint32_t[4]){e.eax, e.ebx, e.ecx, e.edx}, 16);
	}
	brand[48] = '\0';
}

static void named_models_hide_the_host_and_host_shows_it(void **state)
{
	static struct cpuid_table host, t;
	char brand[49];

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "x86-64-v3", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "lodge x86-64-v3");
	assert_int_equal(leaf(&t, 1, 0).eax, 0x50654);
	assert_memory_equal(&t.entries[0].ebx, &host.entries[0].ebx, 12); /* vendor */
	compose(&t, "host", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "  Some Vendor(R) CPU 1234 @ 3.00GHz");
	assert_int_equal(leaf(&t, 1, 0).eax, 0x806f8);
	assert_int_equal(leaf(&t, 0x80000001, 0).eax, 0);
	host_all(&host, "AuthenticAMD");
	compose(&t, "x86-64-v2", &host, 0, 1);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x00830f10);
	assert_int_equal(leaf(&t, 0x80000001, 0).eax, 0x00830f10);
	assert_int_equal(leaf(&t, 0x80000000, 0).ebx, leaf(&t, 0, 0).ebx);
	/* A vendor of whose family numbers lodge knows nothing keeps its own. */
	host_all(&host, "HygonGenuine");
	compose(&t, "x86-64-v2", &host, 0, 1);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x806f8);
	/* KVM does not hand on the brand: then there is still one. */
	host_nehalem(&host);
	compose(&t, "host", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "lodge host");
}

static void two_hosts_give_a_named_model_the_same_caches(void **state)
{
	static struct cpuid_table a, b, ta, tb;

	(void)state;
	host_all(&a, "GenuineIntel");
	host_all(&b, "GenuineIntel");
	put_sub(&b, 4, 0, 0x7c004121, 0x02c0003f, 0x7f, 4);
	put(&b, 1, 0x000a06d1, 0x87654321, ~0u, ~0u);
	put_text(&b, 0x80000002, "another");
	compose(&ta, "x86-64-v3", &a, 5, 8);
	compose(&tb, "x86-64-v3", &b, 5, 8);
	assert_int_equal(ta.count, tb.count);
	for (unsigned i = 0; i < ta.count; i++)
		assert_memory_equal(&ta.entries[i].eax, &tb.entries[i].eax, 16);
}

static void the_paravirtual_leaves_can_be_left_out(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	const uint32_t clock = BIT(0) | BIT(3) | BIT(24);

	(void)state;
	host_all(&host, "GenuineIntel");
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_int_equal(leaf(&t, 0x40000000, 0).eax, 0x40000001);
	assert_int_equal(leaf(&t, 0x40000000, 0).ebx, 0x4b4d564b);
	assert_int_equal(leaf(&t, 0x40000001, 0).eax, clock | 0x7ef2);
	assert_int_equal(leaf(&t, 0x40000001, 0).edx, 0);
	topology.paravirt = CPUID_PARAVIRT_NO_CLOCK;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_int_equal(leaf(&t, 0x40000001, 0).eax, 0x7ef2);
	topology.paravirt = CPUID_PARAVIRT_NONE;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_null(cpuid_find(&t, 0x40000000, 0));
	assert_null(cpuid_find(&t, 0x40000001, 0));
	assert_true(leaf(&t, 1, 0).ecx & BIT(31));
	/* An engine without them: none, and no trouble. */
	host_nehalem(&host);
	topology.paravirt = CPUID_PARAVIRT_ALL;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_null(cpuid_find(&t, 0x40000000, 0));
}

static void frequencies_are_handed_on_only_if_known(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_null(cpuid_find(&t, 0x15, 0));
	put(&host, 0x15, 2, 200, 25000000, 0);
	put(&host, 0x16, 0, 0, 0, 0);
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_int_equal(leaf(&t, 0x15, 0).ecx, 25000000);
	assert_null(cpuid_find(&t, 0x16, 0));
	assert_int_equal(leaf(&t, 0, 0).eax, 0x15);
}

/* SDM vol. 3A 4.1.4: CPUID.80000008:EAX[15:8] is 57 on a processor with LA57, else 48. */
static void linear_addresses_are_as_wide_as_paging(void **state)
{
	struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 0x3934);
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_int_equal(leaf(&t, 7, 0).ecx & BIT(16), 0);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 0x3034);
}

static void a_model_that_the_host_lacks_is_refused_with_a_way_out(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	struct err e = ERR_INIT;

	(void)state;
	host_nehalem(&host);
	compose(&t, "x86-64-v2", &host, 0, 1);
	check_all(&t, &host, 0, 1);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, &e), -ENOTSUP);
	assert_int_equal(e.code, -ENOTSUP);
	assert_string_equal(e.text, "no CPU model x86-64-v3 here: this host lacks FMA, MOVBE, "
				    "XSAVE, AVX and 5 more: use host or x86-64-v2");
	/* One missing feature is named; AVX cannot be had without a place to save it. */
	host_all(&host, "AuthenticAMD");
	put_sub(&host, 7, 0, 2, ~0x100u, ~0u, ~0u);
	err_clear(&e);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, &e), -ENOTSUP);
	assert_string_equal(e.text, "no CPU model x86-64-v3 here: this host lacks BMI2: use host "
				    "or x86-64-v2");
	host_all(&host, "AuthenticAMD");
	put_sub(&host, 0xd, 2, 256, VCPU_XSAVE_SIZE - 255, 0, 0);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, NULL), -ENOTSUP);
	/* Not even v2. */
	host.count = 0;
	err_clear(&e);
	assert_int_equal(cpuid_compose(&t, "x86-64-v2", &host, &topology, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, ": use host"));
	assert_null(strstr(e.text, "use host or"));
}

static void an_unknown_model_is_refused_with_the_known(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	struct err e = ERR_INIT;

	(void)state;
	host_all(&host, "GenuineIntel");
	assert_int_equal(cpuid_compose(&t, "x86-64-v9", &host, &topology, &e), -EINVAL);
	assert_string_equal(e.text,
			    "no CPU model 'x86-64-v9': there are host, x86-64-v2, x86-64-v3");
}

static void xsave_areas_that_do_not_fit_are_left_out(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 0x2e7);
	assert_int_equal(leaf(&t, 0xd, 0).ecx, 2696);
	put_sub(&host, 0xd, 7, 1024, VCPU_XSAVE_SIZE - 1023, 0, 0);
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 0x207);
	check_all(&t, &host, 0, 1);
	put_sub(&host, 0xd, 9, ~0u, ~0u, 0, 0);
	put_sub(&host, 0xd, 2, 256, 576, 1, 0);
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 3);
	check_all(&t, &host, 0, 1);
}

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Mostly ones, mostly zeroes, or anything. */
static uint32_t random_bits(uint64_t *s)
{
	uint32_t a = (uint32_t)random_next(s), b = (uint32_t)(random_next(s) >> 8);

	switch (random_next(s) % 5) {
	case 0:
		return a | b;
	case 1:
		return a & b;
	case 2:
		return ~0u;
	case 3:
		return 0;
	default:
		return a;
	}
}

static void random_hosts_give_sound_tables_or_a_clear_refusal(void **state)
{
	static struct cpuid_table host, t;
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	unsigned composed = 0, refused = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct cpuid_topology topology = {.cpus = 1 + random_next(&seed) % 64};
		struct err e = ERR_INIT;
		int rc;

		host_all(&host, vendors[random_next(&seed) % ARRAY_LEN(vendors)]);
		for (unsigned i = 1; i < host.count; i++) {
			struct cpuid_entry *entry = &host.entries[i];

			if (random_next(&seed) % 8 == 0)
				entry->eax = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->ebx = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->ecx = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->edx = random_bits(&seed);
		}
		if (random_next(&seed) % 16 == 0)
			host.count = 1 + random_next(&seed) % host.count;
		topology.apic_id = random_next(&seed) % topology.cpus;
		rc = cpuid_compose(&t, cpuid_model_name(random_next(&seed) % 3), &host, &topology,
				   &e);
		if (rc) {
			assert_int_equal(rc, -ENOTSUP);
			assert_non_null(strstr(e.text, ": use host"));
			refused++;
			continue;
		}
		check_all(&t, &host, topology.apic_id, topology.cpus);
		composed++;
	}
	assert_true(composed > 5000 && refused > 500);
}

static void a_table_replaces_finds_and_fills_up(void **state)
{
	static struct cpuid_table t;
	struct cpuid_entry e = {.leaf = 7, .indexed = true};

	(void)state;
	t.count = 0;
	for (unsigned i = 0; i < CPUID_ENTRIES_MAX; i++) {
		e.subleaf = i;
		e.eax = i;
		assert_true(cpuid_put(&t, &e));
	}
	e.subleaf = CPUID_ENTRIES_MAX;
	assert_false(cpuid_put(&t, &e));
	e.subleaf = 5;
	e.eax = 1000;
	assert_true(cpuid_put(&t, &e));
	assert_int_equal(cpuid_find(&t, 7, 5)->eax, 1000);
	assert_int_equal(cpuid_find(&t, 7, 6)->eax, 6);
	assert_null(cpuid_find(&t, 7, CPUID_ENTRIES_MAX));
	assert_null(cpuid_find(&t, 8, 5));
	t.count = 0;
	put(&t, 1, 42, 0, 0, 0);
	assert_int_equal(cpuid_find(&t, 1, 99)->eax, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_model_keeps_the_rules_on_every_vendor),
		cmocka_unit_test(model_names_begin_with_host_and_end),
		cmocka_unit_test(named_models_have_the_psabi_lists),
		cmocka_unit_test(what_protects_the_guest_is_offered),
		cmocka_unit_test(named_models_hide_the_host_and_host_shows_it),
		cmocka_unit_test(two_hosts_give_a_named_model_the_same_caches),
		cmocka_unit_test(the_paravirtual_leaves_can_be_left_out),
		cmocka_unit_test(frequencies_are_handed_on_only_if_known),
		cmocka_unit_test(linear_addresses_are_as_wide_as_paging),
		cmocka_unit_test(a_model_that_the_host_lacks_is_refused_with_a_way_out),
		cmocka_unit_test(an_unknown_model_is_refused_with_the_known),
		cmocka_unit_test(xsave_areas_that_do_not_fit_are_left_out),
		cmocka_unit_test(random_hosts_give_sound_tables_or_a_clear_refusal),
		cmocka_unit_test(a_table_replaces_finds_and_fills_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
