/* SPDX-License-Identifier: Apache-2.0 */
/* The accessed bit of a descriptor, set for a program in ring 3 by an access of the processor's
 * own: SDM vol. 3A 4.6 (implicit supervisor accesses). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "integer_rig.h"

#define GDT      0x60000
#define SELECTOR 0x1b /* entry 3, RPL 3 */
#define DATA     0x00cff2000000ffffULL

#define MOV_DS_AX 0x8e, 0xd8

static struct integer_rig *start(void)
{
	struct integer_rig *r = ir_new(IR_64);

	r->cpu->gdt = (struct descriptor_table){.base = GDT, .limit = 0xff};
	ir_put(r, GDT + (SELECTOR & ~7), 8, DATA);
	r->cpu->cr4 |= CR4_SMAP;
	ir_map(r, GDT, GDT | PTE_P | PTE_RW); /* the supervisor's */
	ir_set_cpl(r, 3);
	r->cpu->gpr[GPR_RAX] = SELECTOR;
	return r;
}

static bool accessed(struct integer_rig *r)
{
	return ir_get(r, GDT + (SELECTOR & ~7), 8) >> 40 & 1;
}

static void test_set_from_ring_3(void **state)
{
	struct integer_rig *r = start();

	(void)state;
	assert_int_equal(IR_EXEC(r, MOV_DS_AX), IR_FINE);
	assert_true(accessed(r));
	assert_int_equal(r->cpu->cpl, 3);
	ir_free(r);
}

/* Whatever it meets, the level stays. */
static void test_faults_in_ring_3(void **state)
{
	struct integer_rig *r = start();

	(void)state;
	r->cpu->cr0 |= CR0_WP;
	ir_map(r, GDT, GDT | PTE_P);
	assert_int_equal(IR_EXEC(r, MOV_DS_AX), VECTOR_PF);
	assert_int_equal(r->cpu->exception.error, PFERR_P | PFERR_W);
	assert_int_equal(r->cpu->cpl, 3);
	ir_free(r);
}

/* The same translation serves the whole access: with RFLAGS.AC explicit accesses have another. */
static void test_one_translation(void **state)
{
	struct integer_rig *r = start();

	(void)state;
	r->cpu->rflags |= RFLAGS_AC;
	mmu_system_probe(r->cpu, GDT, 1, true);
	/* Read-only from here on, for whoever walks the tables; nothing was invalidated. */
	ir_put(r, 0x103000 + GDT / 4096 * 8, 8, GDT | PTE_P);
	assert_int_equal(IR_EXEC(r, MOV_DS_AX), IR_FINE);
	assert_true(accessed(r));
	assert_int_equal(r->cpu->cpl, 3);
	ir_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_from_ring_3),
		cmocka_unit_test(test_faults_in_ring_3),
		cmocka_unit_test(test_one_translation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
