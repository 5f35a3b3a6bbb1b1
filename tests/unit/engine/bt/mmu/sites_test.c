/* SPDX-License-Identifier: Apache-2.0 */
/* A site is a copy of a TLB entry for as long as that stays as it was. What translated code does
 * to fill one is done here by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/bt/mmu/tlb.h"
#include "mmu_guest.h"

#define RWU (PTE_P | PTE_RW | PTE_US)

#define PAGE_A 0x00010000ULL
#define PAGE_B 0x00011000ULL
#define GLOBAL 0x00012000ULL
#define LARGE  0x00600000ULL
#define ALIAS  (PAGE_A + (uint64_t)TLB_ENTRIES * MG_PAGE) /* of PAGE_A's entry */
#define FRAME  0x00700000ULL
#define SITE   777u

static struct mg *guest(void)
{
	struct mg *g = mg_new();

	mg_mode(g, MG_4LEVEL);
	g->cpu->cr4 |= CR4_PGE;
	mmu_flush(g->cpu, true);
	mg_set(g, PAGE_A, 1, FRAME | RWU);
	mg_set(g, PAGE_B, 1, (FRAME + MG_PAGE) | RWU);
	mg_set(g, GLOBAL, 1, (FRAME + 2 * MG_PAGE) | RWU | PTE_G);
	mg_set(g, ALIAS, 1, (FRAME + 3 * MG_PAGE) | RWU);
	mg_set(g, LARGE, 2, 0x00600000 | RWU | PTE_PS);
	return g;
}

/* The set that an access goes by, in ring 0 without SMAP. */
static struct tlb_set *set(const struct mg *g)
{
	return &g->cpu->tlb->set[TLB_SUPERVISOR_ANY];
}

static void access(struct mg *g, uint64_t linear, bool write)
{
	uint64_t value = 0;

	assert_true(write ? mg_write(g->cpu, linear, 1, value)
			  : mg_read(g->cpu, linear, 1, &value));
}

/* After an access to linear a site is a copy of its entry. */
static struct tlb_site *fill(struct mg *g, uint64_t linear, bool write)
{
	struct tlb_sites *s = g->cpu->tlb->sites;

	access(g, linear, write);
	assert_non_null(tlb_find(g->cpu, linear, 1, write));
	s->site[SITE].page = linear;
	s->site[SITE].limit = MG_PAGE;
	s->filled[set(g) - g->cpu->tlb->set][SITE / TLB_SITES_CHUNK] = 1;
	set(g)->sited[tlb_index(linear)] = 1;
	return &s->site[SITE];
}

static void change_rights(struct mg *g)
{
	struct mmu_control old = {g->cpu->cr0, g->cpu->cr3, g->cpu->cr4, g->cpu->efer};

	g->cpu->cr0 ^= CR0_WP;
	mmu_control_changed(g->cpu, &old, false);
}

static void load_cr3(struct mg *g)
{
	struct mmu_control old = {g->cpu->cr0, g->cpu->cr3, g->cpu->cr4, g->cpu->efer};

	mmu_control_changed(g->cpu, &old, false);
}

static void invlpg_a(struct mg *g)
{
	mmu_invlpg(g->cpu, PAGE_A + 123);
}

static void invlpg_b(struct mg *g)
{
	access(g, PAGE_B, false);
	mmu_invlpg(g->cpu, PAGE_B);
}

static void invlpg_large(struct mg *g)
{
	mmu_invlpg(g->cpu, LARGE + 5 * MG_PAGE);
}

static void other_page_in_entry(struct mg *g)
{
	access(g, ALIAS, false);
}

static void written(struct mg *g)
{
	access(g, PAGE_A, true);
}

static void becomes_code(struct mg *g)
{
	mmu_protect_code(g->cpu, FRAME + 64, 16);
}

static void other_becomes_code(struct mg *g)
{
	access(g, PAGE_B, true);
	mmu_protect_code(g->cpu, FRAME + MG_PAGE, 16);
}

static void log_is_read(struct mg *g)
{
	mmu_drop_writable_all(&g->vm);
}

static const struct {
	const char *name;
	uint64_t linear;
	void (*event)(struct mg *g);
	bool write; /* the site is one of writes */
	bool empty; /* and is so, then */
} cases[] = {
	{"INVLPG", PAGE_A, invlpg_a, false, true},
	{"INVLPG, a write", PAGE_A, invlpg_a, true, true},
	{"INVLPG of another page", PAGE_A, invlpg_b, false, false},
	{"INVLPG in the same large page", LARGE, invlpg_large, false, true},
	{"CR3", PAGE_A, load_cr3, false, true},
	{"CR3, a global page", GLOBAL, load_cr3, false, false},
	{"CR0.WP", GLOBAL, change_rights, false, true},
	{"another page in its entry", PAGE_A, other_page_in_entry, false, true},
	{"the first write to a page read", PAGE_A, written, false, true},
	{"a write to a page written", PAGE_A, written, true, false},
	{"the page becomes code", PAGE_A, becomes_code, true, true},
	{"another page becomes code", PAGE_A, other_becomes_code, true, false},
	{"the dirty log is read", PAGE_A, log_is_read, true, true},
};

static void a_site_goes_with_its_entry(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(cases); n++) {
		struct mg *g = guest();
		const struct tlb_site *site = fill(g, cases[n].linear, cases[n].write);

		cases[n].event(g);
		if (!site->limit != cases[n].empty)
			fail_msg("%s: the site is%s empty", cases[n].name,
				 site->limit ? " not" : "");
		mg_free(g);
	}
}

/* Those of other sets stay, as a kernel's do when processes change. */
static void only_the_sets_own_are_emptied(void **state)
{
	struct mg *g = guest();
	struct tlb_sites *s = g->cpu->tlb->sites;
	unsigned own = (unsigned)(set(g) - g->cpu->tlb->set), other = (own + 1) % TLB_CONTEXTS;
	struct tlb_site *theirs = &s->site[SITE + TLB_SITES_CHUNK];
	const struct tlb_site *site = fill(g, PAGE_A, false);

	(void)state;
	theirs->limit = MG_PAGE;
	s->filled[other][SITE / TLB_SITES_CHUNK + 1] = 1;
	load_cr3(g);
	assert_int_equal(site->limit, 0);
	assert_int_equal(theirs->limit, MG_PAGE);
	sites_empty(s, other);
	assert_int_equal(theirs->limit, 0);
	mg_free(g);
}

static void all_chunks_are_emptied(void **state)
{
	struct mg *g = guest();
	struct tlb_sites *s = g->cpu->tlb->sites;

	(void)state;
	for (unsigned n = 0; n < TLB_SITES; n += 7) {
		s->site[n].limit = 1;
		s->filled[set(g) - g->cpu->tlb->set][n / TLB_SITES_CHUNK] = 1;
	}
	fill(g, PAGE_A, false);
	mmu_invlpg(g->cpu, PAGE_A);
	for (unsigned n = 0; n < TLB_SITES; n++)
		assert_int_equal(s->site[n].limit, 0);
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_site_goes_with_its_entry),
		cmocka_unit_test(only_the_sets_own_are_emptied),
		cmocka_unit_test(all_chunks_are_emptied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
