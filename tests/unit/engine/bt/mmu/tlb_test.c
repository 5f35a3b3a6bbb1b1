/* SPDX-License-Identifier: Apache-2.0 */
/* What the TLB may go on believing, and what it must forget. That it believes something shows in
 * that a changed entry has no effect yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define RWU (PTE_P | PTE_RW | PTE_US)

#define PLAIN  0x00010000ULL /* linear addresses */
#define GLOBAL 0x00011000ULL
#define LARGE  0x00600000ULL
#define BEFORE 0x00700000ULL /* where they lead, with bytes of 1, and ... */
#define AFTER  0x00900000ULL /* ... after the change, with bytes of 2 */

static uint8_t byte(struct mg *g, uint64_t linear)
{
	uint8_t value = 0xee;

	if (MG_RAISES(g->cpu, value = (uint8_t)mmu_read(g->cpu, linear, 1)))
		return 0;
	return value;
}

static void map(struct mg *g, uint64_t to)
{
	uint64_t large = to == BEFORE ? 0x00600000 : 0x00a00000;

	mg_set(g, PLAIN, 1, to | RWU);
	mg_set(g, GLOBAL, 1, (to + MG_PAGE) | RWU | PTE_G);
	mg_set(g, LARGE, 2, large | RWU | PTE_PS);
}

/* Translations known, tables changed. */
static struct mg *known(void)
{
	struct mg *g = mg_new();

	mg_mode(g, MG_4LEVEL);
	g->cpu->cr4 |= CR4_PGE;
	mmu_flush(g->cpu, true);
	for (uint64_t page = 0; page < 2; page++) {
		*mg_ram(g, BEFORE + page * MG_PAGE) = 1;
		*mg_ram(g, AFTER + page * MG_PAGE) = 2;
	}
	for (uint64_t page = 0; page < 512; page++) {
		*mg_ram(g, 0x00600000 + page * MG_PAGE + 8) = 1;
		*mg_ram(g, 0x00a00000 + page * MG_PAGE + 8) = 2;
	}
	map(g, BEFORE);
	assert_int_equal(byte(g, PLAIN), 1);
	assert_int_equal(byte(g, GLOBAL), 1);
	for (uint64_t page = 0; page < 512; page++)
		assert_int_equal(byte(g, LARGE + page * MG_PAGE + 8), 1);
	map(g, AFTER);
	return g;
}

static struct mmu_control control(const struct mg *g)
{
	const struct cpu *cpu = g->cpu;

	return (struct mmu_control){cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer};
}

#define assert_bytes(g, plain, global, large)                                \
	do {                                                                 \
		assert_int_equal(byte(g, PLAIN), plain);                     \
		assert_int_equal(byte(g, GLOBAL), global);                   \
		assert_int_equal(byte(g, LARGE + 8), large);                 \
		assert_int_equal(byte(g, LARGE + 511 * MG_PAGE + 8), large); \
	} while (0)

static void a_flush_keeps_global_pages(void **state)
{
	struct mg *g = known();

	(void)state;
	mmu_flush(g->cpu, false);
	assert_bytes(g, 2, 1, 2);
	mmu_flush(g->cpu, true);
	assert_bytes(g, 2, 2, 2);
	mg_free(g);
}

static void mov_to_cr3(void **state)
{
	struct mg *g = known();
	struct mmu_control old = control(g);

	(void)state;
	mmu_control_changed(g->cpu, &old, false);
	assert_bytes(g, 2, 1, 2);
	mg_free(g);
}

static void without_pge_no_page_is_global(void **state)
{
	struct mg *g = mg_new();
	struct mmu_control old;

	(void)state;
	mg_mode(g, MG_4LEVEL);
	*mg_ram(g, BEFORE + MG_PAGE) = 1;
	*mg_ram(g, AFTER + MG_PAGE) = 2;
	map(g, BEFORE);
	assert_int_equal(byte(g, GLOBAL), 1);
	map(g, AFTER);
	old = control(g);
	mmu_control_changed(g->cpu, &old, false);
	assert_int_equal(byte(g, GLOBAL), 2);
	mg_free(g);
}

/* SDM vol. 3A 4.10.4.1, and what else changes the meaning of entries. */
static void changes_that_flush_everything(void **state)
{
	static const struct {
		uint64_t cr0, cr4, efer; /* bits that change */
	} change[] = {
		{.cr0 = CR0_WP},   {.cr4 = CR4_PGE},   {.cr4 = CR4_PSE},
		{.cr4 = CR4_SMEP}, {.cr4 = CR4_PCIDE}, {.efer = EFER_NXE},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(change); i++) {
		struct mg *g = known();
		struct mmu_control old = control(g);

		g->cpu->cr0 ^= change[i].cr0;
		g->cpu->cr4 ^= change[i].cr4;
		g->cpu->efer ^= change[i].efer;
		mmu_control_changed(g->cpu, &old, false);
		assert_bytes(g, 2, 2, 2);
		mg_free(g);
	}
}

static void paging_off_and_on(void **state)
{
	struct mg *g = known();
	struct mmu_control old = control(g);

	(void)state;
	*mg_ram(g, PLAIN) = 3;
	g->cpu->cr0 &= ~CR0_PG;
	mmu_control_changed(g->cpu, &old, false);
	assert_int_equal(byte(g, PLAIN), 3);
	old = control(g);
	g->cpu->cr0 |= CR0_PG;
	mmu_control_changed(g->cpu, &old, false);
	assert_bytes(g, 2, 2, 2);
	mg_free(g);
}

/* SMAP counts from the next access on, though its entries stay. */
static void smap_switched_on(void **state)
{
	struct mg *g = known();
	struct mmu_control old = control(g);

	(void)state;
	g->cpu->cr4 |= CR4_SMAP;
	mmu_control_changed(g->cpu, &old, false);
	mg_assert_fault(g->cpu, mmu_read(g->cpu, PLAIN, 1), PLAIN, PFERR_P);
	mg_free(g);
}

static void invlpg(void **state)
{
	struct mg *g = known();

	(void)state;
	mmu_invlpg(g->cpu, PLAIN + 5);
	assert_bytes(g, 2, 1, 1);
	mmu_invlpg(g->cpu, GLOBAL);
	assert_bytes(g, 2, 2, 1);
	mmu_invlpg(g->cpu, LARGE + 0x54321); /* anywhere in the large page */
	for (uint64_t page = 0; page < 512; page++)
		assert_int_equal(byte(g, LARGE + page * MG_PAGE + 8), 2);
	mg_free(g);
}

static void invlpg_again_and_again(void **state)
{
	struct mg *g = known();

	(void)state;
	for (unsigned i = 0; i < 70000; i++) {
		mmu_invlpg(g->cpu, PLAIN);
		assert_int_equal(byte(g, PLAIN), 2);
	}
	map(g, BEFORE);
	mmu_flush(g->cpu, true);
	assert_bytes(g, 1, 1, 1);
	map(g, AFTER);
	for (unsigned i = 0; i < 1500; i++) {
		mmu_invlpg(g->cpu, PLAIN);
		assert_int_equal(byte(g, PLAIN), 2);
	}
	mmu_flush(g->cpu, true);
	assert_bytes(g, 2, 2, 2);
	mg_free(g);
}

/* A large page is found by INVLPG also after a flush that kept it. */
static void invlpg_of_a_global_large_page(void **state)
{
	struct mg *g = known();

	(void)state;
	mg_set(g, LARGE, 2, 0x00600000 | RWU | PTE_PS | PTE_G);
	mmu_flush(g->cpu, true);
	assert_bytes(g, 2, 2, 1);
	mg_set(g, LARGE, 2, 0x00a00000 | RWU | PTE_PS | PTE_G);
	mmu_flush(g->cpu, false);
	assert_bytes(g, 2, 2, 1);
	mmu_invlpg(g->cpu, LARGE + 0x100000);
	assert_bytes(g, 2, 2, 2);
	mg_free(g);
}

/* Pages of 4 MiB and 1 GiB, dropped from their far ends. */
static void invlpg_of_other_sizes(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_32BIT);
	g->cpu->cr4 |= CR4_PSE;
	mmu_flush(g->cpu, true);
	*mg_ram(g, 0x00400000) = 1;
	*mg_ram(g, 0x00800000) = 2;
	mg_set(g, 0x40000000, 2, 0x00400000 | RWU | PTE_PS);
	assert_int_equal(byte(g, 0x40000000), 1);
	mg_set(g, 0x40000000, 2, 0x00800000 | RWU | PTE_PS);
	mmu_invlpg(g->cpu, 0x403ff000);
	assert_int_equal(byte(g, 0x40000000), 2);
	mg_mode(g, MG_4LEVEL);
	mg_set(g, 0x40000000, 3, 0x00000000 | RWU | PTE_PS);
	assert_int_equal(byte(g, 0x40400000), 1);
	mg_set(g, 0x40000000, 3, 0);
	mmu_invlpg(g->cpu, 0x7ffff000);
	assert_int_equal(byte(g, 0x40400000), 0); /* raises */
	mg_free(g);
}

static void invlpg_drops_all_ways_of_access(void **state)
{
	struct mg *g = known();

	(void)state;
	g->cpu->cpl = 3;
	assert_int_equal(byte(g, PLAIN), 2); /* user: not known yet */
	map(g, BEFORE);
	assert_int_equal(byte(g, PLAIN), 2);
	mmu_invlpg(g->cpu, PLAIN);
	assert_int_equal(byte(g, PLAIN), 1);
	g->cpu->cpl = 0;
	assert_int_equal(byte(g, PLAIN), 1);
	mg_free(g);
}

static void invpcid(void **state)
{
	static const uint8_t expected[4][3] = {
		{2, 1, 1}, /* an address of a PCID, global pages excepted */
		{2, 1, 2}, /* a PCID, global pages excepted */
		{2, 2, 2}, /* all */
		{2, 1, 2}, /* all but global pages */
	};

	(void)state;
	for (unsigned type = 0; type < 4; type++) {
		struct mg *g = known();

		mmu_invpcid(g->cpu, type, 0, PLAIN);
		assert_bytes(g, expected[type][0], expected[type][1], expected[type][2]);
		mg_free(g);
	}
}

/* SDM vol. 3A 4.10.4.1: a fault forgets what was known of its page, so that a handler that only
 * grants rights need not invalidate anything. */
static void a_fault_forgets_the_page(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_4LEVEL);
	mg_set(g, PLAIN, 1, BEFORE | PTE_P);
	assert_int_equal(byte(g, PLAIN), 0);
	mg_assert_fault(g->cpu, mmu_write(g->cpu, PLAIN, 1, 7), PLAIN, PFERR_P | PFERR_W);
	/* With what is read as well: a fault to one kind of access is one to all. */
	*mg_ram(g, BEFORE) = 1;
	*mg_ram(g, AFTER) = 2;
	assert_int_equal(byte(g, PLAIN), 1);
	mg_set(g, PLAIN, 1, AFTER | PTE_P);
	assert_int_equal(byte(g, PLAIN), 1);
	mg_assert_fault(g->cpu, mmu_write(g->cpu, PLAIN, 1, 7), PLAIN, PFERR_P | PFERR_W);
	assert_int_equal(byte(g, PLAIN), 2);
	mg_set(g, PLAIN, 1, AFTER | PTE_P | PTE_RW);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, PLAIN, 1, 7)));
	assert_int_equal(byte(g, PLAIN), 7);
	assert_int_equal(*mg_ram(g, AFTER), 7);
	mg_free(g);
}

/* More pages than the TLB has entries, and the same again. */
static void many_pages(void **state)
{
	struct mg *g = mg_new();
	uint64_t base = 0xffff800000000000;

	(void)state;
	mg_mode(g, MG_4LEVEL);
	for (uint64_t page = 0; page < 2000; page++) {
		mg_set(g, base + page * MG_PAGE, 1, (0x00400000 + page * MG_PAGE) | RWU);
		store_le(mg_ram(g, 0x00400000 + page * MG_PAGE), 8, page);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t page = 0; page < 2000; page++) {
			uint64_t linear = base + page * MG_PAGE;

			assert_false(MG_RAISES(
				g->cpu, assert_int_equal(mmu_read(g->cpu, linear, 8), page)));
			if (round == 1)
				mmu_invlpg(g->cpu, linear);
		}
		mmu_flush(g->cpu, round);
	}
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_keeps_global_pages),
		cmocka_unit_test(mov_to_cr3),
		cmocka_unit_test(without_pge_no_page_is_global),
		cmocka_unit_test(changes_that_flush_everything),
		cmocka_unit_test(paging_off_and_on),
		cmocka_unit_test(smap_switched_on),
		cmocka_unit_test(invlpg),
		cmocka_unit_test(invlpg_again_and_again),
		cmocka_unit_test(invlpg_of_a_global_large_page),
		cmocka_unit_test(invlpg_of_other_sizes),
		cmocka_unit_test(invlpg_drops_all_ways_of_access),
		cmocka_unit_test(invpcid),
		cmocka_unit_test(a_fault_forgets_the_page),
		cmocka_unit_test(many_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
