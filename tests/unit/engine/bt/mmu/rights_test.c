/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what with a page: every combination, against the rules of SDM vol. 3A 4.6.1 and the
 * error codes of 4.7, written down again as the manual has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define LINEAR 0x00654000ULL
#define GPA    0x00200000ULL

enum access { DATA_READ, DATA_WRITE, FETCH };

/* One row of the truth table. */
struct row {
	enum mg_mode mode;
	bool user, writable, nx;  /* what the entries together say */
	bool upper;               /* said by the highest level rather than by the lowest */
	bool wp, smep, smap, nxe; /* control bits */
	bool ac;                  /* RFLAGS.AC */
	bool user_mode;           /* CPL is 3 */
	bool implicit;            /* a system access */
	enum access access;
};

/* "For supervisor-mode accesses" */
static bool supervisor_may(const struct row *r)
{
	switch (r->access) {
	case DATA_READ:
		/* from a user-mode address: if SMAP = 0, or AC = 1 and the access is explicit */
		return !r->user || !r->smap || (r->ac && !r->implicit);
	case DATA_WRITE:
		if (r->user && r->smap && !(r->ac && !r->implicit))
			return false;
		return !r->wp || r->writable;
	default:
		if (r->user && r->smep)
			return false;
		return !(r->nxe && r->nx);
	}
}

/* "For user-mode accesses" */
static bool user_may(const struct row *r)
{
	if (!r->user)
		return false;
	if (r->access == DATA_WRITE)
		return r->writable;
	return r->access == DATA_READ || !(r->nxe && r->nx);
}

static uint32_t error_of(const struct row *r, bool reserved)
{
	uint32_t error = PFERR_P;

	if (r->access == DATA_WRITE)
		error |= PFERR_W;
	if (r->user_mode && !r->implicit)
		error |= PFERR_U;
	if (reserved)
		error |= PFERR_RSVD;
	if (r->access == FETCH && (r->smep || (r->mode >= MG_PAE && r->nxe)))
		error |= PFERR_I;
	return error;
}

static void map(struct mg *g, const struct row *r)
{
	uint64_t rights = PTE_P | (r->user ? PTE_US : 0) | (r->writable ? PTE_RW : 0) |
			  (r->nx ? PTE_NX : 0);
	unsigned top = mg_levels(r->mode);
	uint64_t address = mg_get(g, LINEAR, top) & MASK(40) & ~MASK(12);

	mg_set(g, LINEAR, top, address | (r->upper ? rights : PTE_P | PTE_US | PTE_RW));
	mg_set(g, LINEAR, 1, GPA | (r->upper ? PTE_P | PTE_US | PTE_RW : rights));
}

static void act(struct cpu *cpu, const struct row *r)
{
	uint8_t byte;
	uint64_t page;
	bool ram;

	if (r->access == FETCH)
		mmu_fetch(cpu, LINEAR, &byte, 1, &page, &ram);
	else if (r->access == DATA_READ && r->implicit)
		mmu_system_read(cpu, LINEAR, 4);
	else if (r->access == DATA_READ)
		mmu_read(cpu, LINEAR, 4);
	else if (r->implicit)
		mmu_system_write(cpu, LINEAR, 4, 1);
	else
		mmu_write(cpu, LINEAR, 4, 1);
}

static bool raises(struct cpu *cpu, const struct row *r)
{
	return MG_RAISES(cpu, act(cpu, r));
}

static void try(struct mg *g, const struct row *r)
{
	struct cpu *cpu = g->cpu;
	bool reserved = r->nx && !r->nxe && r->mode != MG_32BIT;
	bool may = !reserved && (r->user_mode && !r->implicit ? user_may(r) : supervisor_may(r));

	map(g, r);
	cpu->cr0 = (cpu->cr0 & ~CR0_WP) | (r->wp ? CR0_WP : 0);
	cpu->cr4 = (cpu->cr4 & ~(CR4_SMEP | CR4_SMAP)) | (r->smep ? CR4_SMEP : 0) |
		   (r->smap ? CR4_SMAP : 0);
	cpu->efer = (cpu->efer & ~EFER_NXE) | (r->nxe ? EFER_NXE : 0);
	cpu->rflags = RFLAGS_FIXED | (r->ac ? RFLAGS_AC : 0);
	cpu->cpl = r->user_mode ? 3 : 0;
	mmu_flush(cpu, true);
	for (unsigned again = 0; again < 2; again++) { /* the second time from the TLB */
		bool raised = raises(cpu, r);

		if (raised == may)
			fail_msg("mode %u user %u writable %u nx %u upper %u wp %u smep %u smap %u"
				 " nxe %u ac %u cpl %u implicit %u access %u: %s",
				 r->mode, r->user, r->writable, r->nx, r->upper, r->wp, r->smep,
				 r->smap, r->nxe, r->ac, cpu->cpl, r->implicit, r->access,
				 raised ? "raised" : "allowed");
		if (!raised)
			continue;
		assert_int_equal(cpu->exception.vector, VECTOR_PF);
		assert_int_equal(cpu->exception.error, error_of(r, reserved));
		assert_int_equal(cpu->exception.payload, LINEAR);
	}
}

static void every_combination(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	for (enum mg_mode mode = MG_32BIT; mode < MG_MODES; mode++) {
		mg_mode(g, mode);
		for (unsigned bits = 0; bits < 1 << 11; bits++) {
			struct row r = {mode,          bits & 1,      bits >> 1 & 1, bits >> 2 & 1,
					bits >> 3 & 1, bits >> 4 & 1, bits >> 5 & 1, bits >> 6 & 1,
					bits >> 7 & 1, bits >> 8 & 1, bits >> 9 & 1, bits >> 10 & 1,
					DATA_READ};

			if (r.nx && mode == MG_32BIT)
				continue;
			try(g, &r);
			r.access = DATA_WRITE;
			try(g, &r);
			r.access = FETCH;
			if (!r.implicit)
				try(g, &r);
		}
	}
	mg_free(g);
}

/* What was allowed in one way of accessing says nothing about the others. */
static void contexts_are_kept_apart(void **state)
{
	struct mg *g = mg_new();
	struct cpu *cpu = g->cpu;

	(void)state;
	mg_mode(g, MG_4LEVEL);
	cpu->cr4 |= CR4_SMAP;
	mmu_flush(cpu, true);
	mg_set(g, 0x1000, 1, 0x201000 | PTE_P | PTE_RW | PTE_US);
	mg_set(g, 0x2000, 1, 0x202000 | PTE_P | PTE_RW);
	cpu->cpl = 3;
	assert_false(MG_RAISES(cpu, mmu_write(cpu, 0x1000, 8, 7)));
	mg_assert_fault(cpu, mmu_read(cpu, 0x2000, 8), 0x2000, PFERR_P | PFERR_U);
	cpu->cpl = 0;
	assert_false(MG_RAISES(cpu, mmu_write(cpu, 0x2000, 8, 8)));
	mg_assert_fault(cpu, mmu_read(cpu, 0x1000, 8), 0x1000, PFERR_P);
	cpu->rflags |= RFLAGS_AC; /* STAC */
	assert_false(MG_RAISES(cpu, assert_int_equal(mmu_read(cpu, 0x1000, 8), 7)));
	mg_assert_fault(cpu, mmu_system_read(cpu, 0x1000, 8), 0x1000, PFERR_P);
	cpu->rflags &= ~RFLAGS_AC; /* CLAC */
	mg_assert_fault(cpu, mmu_read(cpu, 0x1000, 8), 0x1000, PFERR_P);
	mg_assert_fault(cpu, mmu_write(cpu, 0x1000, 8, 0), 0x1000, PFERR_P | PFERR_W);
	cpu->cpl = 3;
	assert_false(MG_RAISES(cpu, assert_int_equal(mmu_read(cpu, 0x1000, 8), 7)));
	assert_false(MG_RAISES(cpu, assert_int_equal(mmu_system_read(cpu, 0x2000, 8), 8)));
	mg_assert_fault(cpu, mmu_read(cpu, 0x2000, 8), 0x2000, PFERR_P | PFERR_U);
	mg_free(g);
}

/* The rights of another level, while the CPL stays. */
static void access_as_another_level(void **state)
{
	struct mg *g = mg_new();
	struct cpu *cpu = g->cpu;

	(void)state;
	mg_mode(g, MG_4LEVEL);
	mg_set(g, 0x2000, 1, 0x202000 | PTE_P | PTE_RW);
	cpu->cpl = 3;
	assert_false(MG_RAISES(cpu, mmu_write_as(cpu, 0, 0x2000, 8, 5)));
	assert_false(MG_RAISES(cpu, assert_int_equal(mmu_read_as(cpu, 0, 0x2000, 8), 5)));
	assert_false(MG_RAISES(cpu, mmu_probe_as(cpu, 2, 0x2000, 8, true)));
	cpu->cpl = 0;
	mg_assert_fault(cpu, mmu_read_as(cpu, 3, 0x2000, 8), 0x2000, PFERR_P | PFERR_U);
	mg_assert_fault(cpu, mmu_probe_as(cpu, 3, 0x2000, 8, true), 0x2000,
			PFERR_P | PFERR_U | PFERR_W);
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination),
		cmocka_unit_test(contexts_are_kept_apart),
		cmocka_unit_test(access_as_another_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
