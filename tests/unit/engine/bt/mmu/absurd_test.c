/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with noise for page tables, which changes its mode at random and accesses whatever it
 * likes: every access ends with a value or an exception that it may have, and reads give what is
 * where a walk by the book leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define STEPS  100000
#define TABLES 16 /* pages of noise, from address 0 */

static uint64_t seed;

static uint64_t noise(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}

/* An entry: mostly present, mostly leading to another table, a device or where nothing is. */
static uint64_t entry(bool wide)
{
	static const uint64_t odd[] = {MG_MMIO,  MG_NONE,          MG_HIGH,
				       MG_LAPIC, MG_RAM - MG_PAGE, MG_RAM};
	uint64_t random = noise();
	uint64_t address = random % 8 ? (random >> 8) % TABLES * MG_PAGE
				      : odd[(random >> 8) % ARRAY_LEN(odd)];
	uint64_t value = address | (random >> 40 & 0x17f) | PTE_P;

	if (random >> 60 == 0)
		value ^= BIT(random >> 32 & 63);
	if (random >> 56 == 1)
		value = random;
	return wide ? value : value & MASK(32);
}

static void fill_tables(struct mg *g, bool wide)
{
	unsigned size = wide ? 8 : 4;

	for (unsigned at = 0; at < TABLES * MG_PAGE; at += size)
		store_le(mg_ram(g, at), size, entry(wide));
}

static void random_mode(struct mg *g)
{
	struct cpu *cpu = g->cpu;
	struct mmu_control old = {cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer};
	uint64_t random = noise();
	bool wide = random & 1, longmode = wide && random & 2;

	cpu->cr0 = CR0_PE | (random & 4 ? CR0_WP : 0) | (random & 8 ? CR0_AM : 0) |
		   (random >> 4 & 7 ? CR0_PG : 0);
	cpu->cr4 = (wide ? CR4_PAE : 0) | (random & BIT(8) ? CR4_PSE : 0) |
		   (random & BIT(9) ? CR4_PGE : 0) | (random & BIT(10) ? CR4_SMEP : 0) |
		   (random & BIT(11) ? CR4_SMAP : 0) |
		   (longmode && random & BIT(12) ? CR4_LA57 : 0);
	cpu->efer = (longmode ? EFER_LME | EFER_LMA : 0) | (random & BIT(13) ? EFER_NXE : 0);
	cpu->cr3 = (random >> 16) % (TABLES + 1) * MG_PAGE;
	cpu->mode = longmode ? CPU_LONG : CPU_PROTECTED;
	cpu->cpl = random >> 32 & 3;
	cpu->rflags = RFLAGS_FIXED | (random & BIT(34) ? RFLAGS_AC : 0);
	for (unsigned i = 0; i < 4; i++)
		cpu->pdptr[i] = noise() % TABLES * MG_PAGE | (i != 3);
	fill_tables(g, wide);
	mmu_control_changed(cpu, &old, false);
	mmu_flush(cpu, true);
}

/* An address whose pages others are likely to have met. */
static uint64_t random_linear(const struct mg *g)
{
	uint64_t linear = noise() & ~MASK(12);

	linear |= noise() % 4 ? noise() & MASK(12) : MG_PAGE - noise() % 16;
	return g->cpu->mode == CPU_LONG ? linear : linear & MASK(32);
}

static void access_somehow(struct mg *g, uint64_t linear)
{
	struct cpu *cpu = g->cpu;
	uint64_t random = noise(), page;
	uint8_t bytes[64] = {0}, *host;
	unsigned size = 1u << (random >> 8 & 3);
	bool ram;

	switch (random % 12) {
	case 0:
		mmu_write(cpu, linear, size, random);
		break;
	case 1:
		mmu_write_bytes(cpu, linear, bytes, random >> 16 & 63);
		break;
	case 2:
		mmu_read_bytes(cpu, linear, bytes, random >> 16 & 63);
		break;
	case 3:
		mmu_probe(cpu, linear, random >> 16 & 0x1fff, random >> 40 & 1);
		break;
	case 4:
		mmu_system_write(cpu, linear, size, random);
		break;
	case 5:
		mg_add(cpu, linear, size, random >> 16 & 1, random);
		break;
	case 6:
		mmu_fetch(cpu, linear, bytes, 15, &page, &ram);
		if (ram)
			mmu_protect_code(cpu, page | (linear & 0xfff), 1);
		break;
	case 7:
		mmu_invlpg(cpu, linear);
		break;
	case 8:
		mmu_invpcid(cpu, random >> 16 & 3, 0, linear);
		break;
	case 9:
		mmu_write_as(cpu, random >> 16 & 3, linear, size, random);
		break;
	case 10:
		if (mmu_span(cpu, linear, 100, random >> 16 & 1, &host))
			bytes[0] = *host;
		break;
	default:
		mmu_read(cpu, linear, size);
		break;
	}
}

static void assert_exception(const struct cpu *cpu)
{
	if (cpu->exception.vector == VECTOR_AC)
		return;
	assert_int_equal(cpu->exception.vector, VECTOR_PF);
	assert_false(cpu->exception.error & ~(PFERR_P | PFERR_W | PFERR_U | PFERR_RSVD | PFERR_I));
}

static bool act(struct mg *g, uint64_t linear)
{
	return !MG_RAISES(g->cpu, access_somehow(g, linear));
}

static void every_access_ends(void **state)
{
	struct mg *g = mg_new();
	unsigned good = 0, compared = 0;

	(void)state;
	seed = 0x123456789abcdef;
	mg_mode(g, MG_OFF);
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t linear, value, gpa;

		if (i % 200 == 0)
			random_mode(g);
		linear = random_linear(g);
		if (act(g, linear))
			good++;
		else
			assert_exception(g->cpu);
		/* What is read of one page is what is there. */
		linear &= ~MASK(3);
		mmu_invlpg(g->cpu, linear);
		if (!mg_read(g->cpu, linear, 8, &value)) {
			assert_exception(g->cpu);
			continue;
		}
		assert_int_equal(g->cpu->exception.pending, false);
		if (!mmu_peek(g->cpu, linear, &gpa) || !mem_find(&g->mem, gpa))
			continue;
		assert_int_equal(value, mg_ram64(g, gpa));
		compared++;
	}
	/* The noise is such that all of it happens. */
	assert_in_range(good, STEPS / 10, STEPS - STEPS / 10);
	assert_in_range(compared, STEPS / 20, STEPS);
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_access_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
