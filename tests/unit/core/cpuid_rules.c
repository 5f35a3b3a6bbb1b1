/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the manuals for what a guest is told. The lists of bits are written here anew, so that a
 * slip in the models' table does not hide. */
#include "cpuid_rig.h"

#include "base/bits.h"
#include "core/x86/vcpu_state.h"

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

void check_all(const struct cpuid_table *t, const struct cpuid_table *host, unsigned id,
	       unsigned cpus)
{
	check_features(t, host);
	check_highest(t);
	check_topology(t, id, cpus);
	check_xsave(t);
}
