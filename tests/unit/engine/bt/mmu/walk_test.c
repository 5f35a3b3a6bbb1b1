/* SPDX-License-Identifier: Apache-2.0 */
/* Page walks: where an address leads, accessed and dirty bits, reserved bits, tables in odd
 * places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define RWU  (PTE_P | PTE_RW | PTE_US)
#define WORD 0x1122334455667788ULL

static const uint64_t linears[MG_MODES] = {
	[MG_OFF] = 0x00345678,
	[MG_32BIT] = 0xfedcb678,
	[MG_PAE] = 0xbedcb678,
	[MG_4LEVEL] = 0xffffa123fedcb678,
	[MG_5LEVEL] = 0xffa1b234fedcb678,
};

static void small_pages_lead_where_the_entries_say(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	for (enum mg_mode mode = MG_32BIT; mode < MG_MODES; mode++) {
		uint64_t linear = linears[mode], gpa = 0x00765000 + mode * MG_PAGE;
		uint64_t peeked;

		mg_mode(g, mode);
		mg_assert_fault(g->cpu, mmu_read(g->cpu, linear, 8), linear, 0);
		mg_set(g, linear, 1, gpa | RWU);
		store_le(mg_ram(g, gpa + 0x678), 8, WORD + mode);
		assert_true(mmu_peek(g->cpu, linear, &peeked));
		assert_int_equal(peeked, gpa + 0x678);
		assert_int_equal(mg_get(g, linear, 1), gpa | RWU); /* peek leaves no trace */
		assert_false(MG_RAISES(g->cpu,
				       assert_int_equal(mmu_read(g->cpu, linear, 8), WORD + mode)));
		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, linear, 4, mode)));
		assert_int_equal(mg_ram64(g, gpa + 0x678), (WORD & ~MASK(32)) | mode);
		assert_false(mmu_peek(g->cpu, linear ^ 0x1000, &peeked));
	}
	mg_free(g);
}

static void without_paging_linear_is_physical(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_OFF);
	g->cpu->cpl = 3;
	g->cpu->cr4 |= CR4_SMEP | CR4_SMAP;
	mmu_flush(g->cpu, true);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, linears[MG_OFF], 8, WORD)));
	assert_int_equal(mg_ram64(g, linears[MG_OFF]), WORD);
	assert_false(MG_RAISES(g->cpu, assert_int_equal(mmu_read(g->cpu, MG_NONE, 8), UINT64_MAX)));
	mg_free(g);
}

struct large {
	enum mg_mode mode;
	unsigned level;
	uint64_t entry; /* without rights */
	uint64_t gpa;   /* that linear (below) is to have */
};

#define LARGE_LINEAR 0x40612345ULL

static const struct large larges[] = {
	{MG_32BIT, 2, 0x00800000, 0x00a12345},  /* 22 bits of offset: 0x212345 */
	{MG_32BIT, 2, 0x00002000, 0x100212345}, /* PSE-36: bit 13 is bit 32 */
	{MG_32BIT, 2, 0x00801000, 0x00a12345},  /* bit 12: PAT */
	{MG_PAE, 2, 0x00800000, 0x00812345},    {MG_PAE, 2, 0x100200000, 0x100212345},
	{MG_4LEVEL, 2, 0x00801000, 0x00812345}, {MG_4LEVEL, 3, 0x00000000, 0x00612345},
	{MG_4LEVEL, 3, 0x00001000, 0x00612345}, {MG_5LEVEL, 2, 0x100000000, 0x100012345},
	{MG_5LEVEL, 3, 0x00000000, 0x00612345},
};

static void large_pages_lead_where_the_entries_say(void **state)
{
	struct mg *g = mg_new();
	uint64_t gpa;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(larges); i++) {
		const struct large *l = &larges[i];

		mg_mode(g, l->mode);
		g->cpu->cr4 |= l->mode == MG_32BIT ? CR4_PSE : 0;
		mmu_flush(g->cpu, true);
		mg_set(g, LARGE_LINEAR, l->level, l->entry | PTE_PS | RWU);
		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, LARGE_LINEAR, 1, 0x40 + i)));
		assert_int_equal(*mg_ram(g, l->gpa), 0x40 + i);
		assert_int_equal(mg_get(g, LARGE_LINEAR, l->level),
				 l->entry | PTE_PS | RWU | PTE_A | PTE_D);
		assert_true(mmu_peek(g->cpu, LARGE_LINEAR, &gpa));
		assert_int_equal(gpa, l->gpa);
	}
	mg_free(g);
}

/* Bit 7 of a directory entry is nothing special where CR4.PSE is clear. */
static void without_pse_there_are_no_large_pages(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_32BIT);
	mg_set(g, LARGE_LINEAR, 1, 0x00201000 | RWU);
	mg_set(g, LARGE_LINEAR, 2, mg_get(g, LARGE_LINEAR, 2) | PTE_PS);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, LARGE_LINEAR, 1, 0x77)));
	assert_int_equal(*mg_ram(g, 0x00201345), 0x77);
	mg_free(g);
}

static void gigabyte_pages_where_cpuid_has_them(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_4LEVEL);
	mg_set(g, LARGE_LINEAR, 3, PTE_PS | RWU);
	assert_false(MG_RAISES(g->cpu, mmu_read(g->cpu, LARGE_LINEAR, 1)));
	g->cpu->cpuid.count = 0;
	mmu_flush(g->cpu, true);
	mg_assert_fault(g->cpu, mmu_read(g->cpu, LARGE_LINEAR, 1), LARGE_LINEAR,
			PFERR_P | PFERR_RSVD);
	mg_free(g);
}

/* Accessed and dirty bits of the levels from leaf up, bit n is level n's. */
static void assert_bits_from(struct mg *g, uint64_t linear, unsigned leaf, unsigned accessed,
			     unsigned dirty)
{
	unsigned a = 0, d = 0;

	for (unsigned level = leaf; level <= mg_levels(g->mode); level++) {
		uint64_t entry = mg_get(g, linear, level);

		a |= entry & PTE_A ? 1u << level : 0;
		d |= entry & PTE_D ? 1u << level : 0;
	}
	assert_int_equal(a, accessed);
	assert_int_equal(d, dirty);
}

static void assert_bits(struct mg *g, uint64_t linear, unsigned accessed, unsigned dirty)
{
	assert_bits_from(g, linear, 1, accessed, dirty);
}

static void accessed_and_dirty_bits(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	for (enum mg_mode mode = MG_32BIT; mode < MG_MODES; mode++) {
		uint64_t linear = linears[mode];
		unsigned all = (1u << (mg_levels(mode) + 1)) - 2;
		uint8_t byte;
		uint64_t page;
		bool ram;

		mg_mode(g, mode);
		mg_set(g, linear, 1, 0x00700000 | PTE_P | PTE_US); /* read-only */
		mg_assert_fault(g->cpu, mmu_write(g->cpu, linear, 1, 1), linear, PFERR_P | PFERR_W);
		assert_bits(g, linear, 0, 0);
		mg_set(g, linear, 1, 0x00700000 | RWU);
		assert_false(MG_RAISES(g->cpu, mmu_fetch(g->cpu, linear, &byte, 1, &page, &ram)));
		assert_bits(g, linear, all, 0);
		assert_false(MG_RAISES(g->cpu, mmu_read(g->cpu, linear, 1)));
		assert_bits(g, linear, all, 0);
		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, linear, 1, 1)));
		assert_bits(g, linear, all, 2);
		/* The processor may go on with what it knows, and does not write the bit again. */
		mg_set(g, linear, 1, 0x00700000 | RWU);
		mmu_invlpg(g->cpu, linear);
		assert_false(MG_RAISES(g->cpu, mmu_probe(g->cpu, linear, 1, true)));
		assert_bits(g, linear, all, 2);
	}
	mg_free(g);
}

/* Reserved bits of present entries by SDM vol. 3A tables 4-4 to 4-20 for MAXPHYADDR = 40. */
static uint64_t reserved_of(const struct mg *g, unsigned level, bool large)
{
	uint64_t high = MASK(52) & ~MASK(MG_PHYS_BITS);
	uint64_t nx = g->cpu->efer & EFER_NXE ? 0 : PTE_NX;

	if (g->mode == MG_32BIT)
		return large ? BIT(21) : 0;
	if (g->mode == MG_PAE)
		high = MASK(63) & ~MASK(MG_PHYS_BITS);
	if (large)
		return high | nx | (level == 2 ? MASK(21) & ~MASK(13) : MASK(30) & ~MASK(13));
	if (level >= 4)
		return high | nx | PTE_PS | (g->cpu->amd ? PTE_G : 0);
	return high | nx | (level == 3 && g->cpu->amd ? PTE_G : 0);
}

/* Sets each bit of an entry alone, beside those that make it valid. */
static void try_bits(struct mg *g, uint64_t linear, unsigned level, bool large)
{
	unsigned leaf = large ? level : 1;
	uint64_t valid = mg_get(g, linear, level) & ~(PTE_A | PTE_D);
	uint64_t reserved = reserved_of(g, level, large);
	uint64_t address = MASK(MG_PHYS_BITS) & ~MASK(12) & ~reserved;

	for (unsigned bit = 1; bit < (g->mode == MG_32BIT ? 32 : 64); bit++) {
		if (valid & BIT(bit) || (!large && level > 1 && BIT(bit) & (address | PTE_PS) &&
					 !(BIT(bit) & reserved)))
			continue; /* no change, or one of where it leads to */
		mg_set(g, linear, level, valid | BIT(bit));
		mmu_flush(g->cpu, true);
		if (BIT(bit) & reserved) {
			mg_assert_fault(g->cpu, mmu_read(g->cpu, linear, 1), linear,
					PFERR_P | PFERR_RSVD);
			mg_assert_fault(g->cpu, mmu_write(g->cpu, linear, 1, 0), linear,
					PFERR_P | PFERR_W | PFERR_RSVD);
			assert_bits_from(g, linear, leaf, 0, 0);
		} else {
			assert_false(MG_RAISES(g->cpu, mmu_read(g->cpu, linear, 1)));
		}
		/* Nothing counts in an entry that is not present. */
		mg_set(g, linear, level, (valid | BIT(bit)) & ~PTE_P);
		mmu_flush(g->cpu, true);
		mg_assert_fault(g->cpu, mmu_read(g->cpu, linear, 1), linear, 0);
		for (unsigned i = leaf; i <= mg_levels(g->mode); i++)
			mg_set(g, linear, i, (i == level ? valid : mg_get(g, linear, i)) & ~PTE_A);
	}
	mg_set(g, linear, level, valid);
}

static void reserved_bits(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		for (enum mg_mode mode = MG_32BIT; mode < MG_MODES; mode++) {
			uint64_t linear = linears[mode];

			mg_mode(g, mode);
			g->cpu->cr4 |= CR4_PSE;
			g->cpu->amd = variant & 1;
			g->cpu->efer |= variant & 2 ? EFER_NXE : 0;
			mg_set(g, linear, 1, 0x00700000 | RWU);
			for (unsigned level = 1; level <= mg_levels(mode); level++)
				try_bits(g, linear, level, false);
			mg_set(g, linear, 2, PTE_PS | RWU);
			try_bits(g, linear, 2, true);
			if (mode < MG_4LEVEL)
				continue;
			mg_set(g, linear, 3, PTE_PS | RWU);
			try_bits(g, linear, 3, true);
		}
	}
	mg_free(g);
}

/* PSE-36 has no more address bits than the processor. */
static void pse36_ends_with_the_physical_addresses(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_32BIT);
	g->cpu->cr4 |= CR4_PSE;
	g->cpu->phys_bits = 36;
	for (unsigned bit = 12; bit <= 21; bit++) {
		mg_set(g, LARGE_LINEAR, 2, BIT(bit) | PTE_PS | RWU);
		mmu_flush(g->cpu, true);
		assert_int_equal(MG_RAISES(g->cpu, mmu_read(g->cpu, LARGE_LINEAR, 1)), bit > 16);
	}
	mg_free(g);
}

/* Nothing answers there, which reads as all ones: reserved bits where the mode has some. */
static void tables_where_nothing_is(void **state)
{
	struct mg *g = mg_new();
	uint64_t gpa;

	(void)state;
	mg_mode(g, MG_4LEVEL);
	g->cpu->cr3 = MG_NONE;
	mg_assert_fault(g->cpu, mmu_read(g->cpu, 0x1000, 8), 0x1000, PFERR_P | PFERR_RSVD);
	assert_false(mmu_peek(g->cpu, 0x1000, &gpa));
	mg_mode(g, MG_PAE);
	g->cpu->pdptr[0] = MG_NONE | PTE_P;
	mg_assert_fault(g->cpu, mmu_read(g->cpu, 0x1000, 8), 0x1000, PFERR_P | PFERR_RSVD);
	g->cpu->pdptr[0] = 0;
	mg_assert_fault(g->cpu, mmu_read(g->cpu, 0x1000, 8), 0x1000, 0);
	mg_mode(g, MG_32BIT);
	g->cpu->cr3 = MG_NONE; /* all ones leads to 0xfffff000, where nothing is either */
	assert_false(MG_RAISES(g->cpu, assert_int_equal(mmu_read(g->cpu, 0x1000, 8), UINT64_MAX)));
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0x1000, 8, 0)));
	mg_free(g);
}

static void tables_in_a_device(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_4LEVEL);
	mg_set(g, 0, 2, MG_MMIO | RWU);
	store_le(g->device + 8, 8, 0x00700000 | RWU);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0x1010, 1, 0x5a)));
	assert_int_equal(*mg_ram(g, 0x00700010), 0x5a);
	assert_int_equal(load_le(g->device + 8, 8), 0x00700000 | RWU | PTE_A | PTE_D);
	mg_free(g);
}

/* A table that maps itself is memory like any other. */
static void tables_that_are_written_through_themselves(void **state)
{
	struct mg *g = mg_new();
	uint64_t table;

	(void)state;
	mg_mode(g, MG_32BIT);
	mg_set(g, 0x1000, 1, 0x00700000 | RWU);
	table = mg_get(g, 0x1000, 2) & ~MASK(12);
	mg_set(g, 0x2000, 1, table | RWU);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t to = 0x00700000 + i * MG_PAGE;

		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0x2004, 4, to | RWU)));
		mmu_invlpg(g->cpu, 0x1000);
		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0x1000, 4, i)));
		assert_int_equal((uint32_t)mg_ram64(g, to), i);
	}
	mg_free(g);
}

static void pae_directory_pointers(void **state)
{
	struct mg *g = mg_new();
	uint64_t pdptr[4] = {9, 9, 9, 9};
	uint8_t *table = mg_ram(g, 0x00300020);

	(void)state;
	mg_mode(g, MG_PAE);
	for (unsigned i = 0; i < 4; i++)
		store_le(table + 8 * i, 8, 0x00400000 + i * MG_PAGE + 1);
	assert_true(mmu_load_pdptr(g->cpu, 0x00300020, pdptr));
	assert_true(mmu_load_pdptr(g->cpu, 0x0030003f, pdptr)); /* low bits are not address */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pdptr[i], 0x00400000 + i * MG_PAGE + 1);
	for (unsigned bit = 0; bit < 64; bit++) {
		/* SDM vol. 3A table 4-8: 2:1, 8:5 and MAXPHYADDR up. */
		bool reserved = (bit >= 1 && bit <= 2) || (bit >= 5 && bit <= 8) ||
				bit >= MG_PHYS_BITS;

		store_le(table + 24, 8, BIT(bit) | PTE_P);
		assert_int_equal(mmu_load_pdptr(g->cpu, 0x00300020, pdptr), !reserved);
		store_le(table + 24, 8, BIT(bit) & ~PTE_P); /* not present: anything goes */
		memset(pdptr, 0x55, sizeof(pdptr));
		assert_true(mmu_load_pdptr(g->cpu, 0x00300020, pdptr));
	}
	store_le(table + 24, 8, PTE_P | PTE_RW);
	memset(pdptr, 0x55, sizeof(pdptr));
	assert_false(mmu_load_pdptr(g->cpu, 0x00300020, pdptr));
	assert_int_equal(pdptr[0], 0x5555555555555555);
	assert_false(mmu_load_pdptr(g->cpu, MG_NONE, pdptr));
	assert_false(mmu_load_pdptr(g->cpu, MG_MMIO, pdptr));
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_pages_lead_where_the_entries_say),
		cmocka_unit_test(without_paging_linear_is_physical),
		cmocka_unit_test(large_pages_lead_where_the_entries_say),
		cmocka_unit_test(without_pse_there_are_no_large_pages),
		cmocka_unit_test(gigabyte_pages_where_cpuid_has_them),
		cmocka_unit_test(accessed_and_dirty_bits),
		cmocka_unit_test(reserved_bits),
		cmocka_unit_test(pse36_ends_with_the_physical_addresses),
		cmocka_unit_test(tables_where_nothing_is),
		cmocka_unit_test(tables_in_a_device),
		cmocka_unit_test(tables_that_are_written_through_themselves),
		cmocka_unit_test(pae_directory_pointers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
