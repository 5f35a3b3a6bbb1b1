/* SPDX-License-Identifier: Apache-2.0 */
/* Whom messages and IPIs reach: SDM vol. 3A 11.6, 11.11 and 11.12.10. */
#include "lapic_rig.h"

#define ALL    (BIT(RIG_APICS) - 1)
#define VECTOR 0x41u

#define LOGICAL   0x800u
#define LOWEST    0x100u
#define NMI       0x400u
#define INIT      0x500u
#define SIPI      0x600u
#define ASSERT    0x4000u
#define LEVEL     0x8000u
#define TO_SELF   0x40000u
#define TO_ALL    0x80000u
#define TO_OTHERS 0xc0000u

/* An IPI in xAPIC mode. */
static void ipi(unsigned from, unsigned dest, uint32_t low)
{
	wr(from, ICR2, dest << 24);
	wr(from, ICR, ASSERT | low);
}

static void ipi_x2(unsigned from, uint32_t dest, uint32_t low)
{
	wrmsr(from, ICR, (uint64_t)dest << 32 | ASSERT | low);
}

static void all_to_x2apic(void)
{
	for (unsigned i = 0; i < RIG_APICS; i++)
		to_x2apic(i);
}

static uint32_t nmis(void)
{
	uint32_t got = 0;

	for (unsigned i = 0; i < RIG_APICS; i++) {
		assert_in_range(lr.cpu[i].nmis, 0, 1);
		got |= lr.cpu[i].nmis << i;
		lr.cpu[i].nmis = 0;
	}
	return got;
}

static void physical_destinations(void **state)
{
	(void)state;
	ipi(0, 5, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 5);
	ipi(5, 5, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 5);
	ipi(5, 0xff, VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	ipi(5, RIG_APICS, VECTOR); /* nobody */
	ipi(5, 0xfe, VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	msi(0xff, ASSERT | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	/* the ICR can be read back, idle */
	ipi(0, 5, VECTOR);
	assert_int_equal(rd(0, ICR), ASSERT | VECTOR);
	assert_int_equal(rd(0, ICR2), 5u << 24);
}

static void shorthands(void **state)
{
	(void)state;
	ipi(7, 2, TO_SELF | VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 7);
	ipi(7, 2, TO_ALL | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	ipi(7, 2, TO_OTHERS | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL & ~(1 << 7));
	ipi(7, 2, TO_OTHERS | NMI);
	assert_int_equal(nmis(), ALL & ~(1 << 7));
	/* those that are switched off are not there */
	assert_true(lapics_set_base(&lr.all, 3, BASE_OFF));
	ipi(7, 2, TO_ALL | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL & ~(1 << 3));
}

static void shorthands_of_an_x2apic(void **state)
{
	(void)state;
	all_to_x2apic();
	ipi_x2(7, 2, TO_SELF | VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 7);
	ipi_x2(7, 2, TO_ALL | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	ipi_x2(7, 2, TO_OTHERS | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL & ~(1 << 7));
	wrmsr(9, SELF, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 9);
	wrmsr(9, SELF, 0xf);
	wrmsr(9, ESR, 0);
	assert_int_equal(rdmsr(9, ESR), 0x60);
}

static void logical_flat(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++)
		wr(i, LDR, 1u << (24 + i));
	ipi(0, 0x05, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0x05);
	ipi(0, 0x80, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0x80);
	ipi(0, 0xff, LOGICAL | VECTOR); /* all ones is everybody */
	assert_int_equal(who_got(VECTOR), ALL);
	ipi(0, 0x00, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	/* one APIC may have several bits */
	wr(9, LDR, 0x81000000);
	ipi(0, 0x01, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0x201);
}

static void logical_cluster(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		wr(i, DFR, 0);
		wr(i, LDR, (i / 4 << 4 | 1u << i % 4) << 24);
	}
	ipi(0, 0x21, LOGICAL | VECTOR); /* cluster 2, member 0 */
	assert_int_equal(who_got(VECTOR), 1 << 8);
	ipi(0, 0x1f, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0xf0);
	ipi(0, 0x36, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0x6000);
	ipi(0, 0x4f, LOGICAL | VECTOR);
	ipi(0, 0x20, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	ipi(0, 0xff, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	/* another model than the two */
	wr(0, DFR, 0x70000000);
	wr(0, LDR, 0xff000000);
	ipi(0, 0x01, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
}

static void x2apic_destinations(void **state)
{
	(void)state;
	all_to_x2apic();
	ipi_x2(0, 19, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 19);
	ipi_x2(0, 0xffffffff, VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	ipi_x2(0, 0xff, VECTOR);
	ipi_x2(0, 0x10003, VECTOR);
	ipi_x2(0, 0xfffffffe, VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	/* logical: cluster of 16 and a set of its members */
	ipi_x2(0, 0x0000a001, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0xa001);
	ipi_x2(0, 0x0001000c, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0xc0000);
	ipi_x2(0, 0x0002ffff, LOGICAL | VECTOR);
	ipi_x2(0, 0x00010000, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	ipi_x2(0, 0xffffffff, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	assert_int_equal(rdmsr(0, ICR), 0xffffffff00000000 | ASSERT | LOGICAL | VECTOR);
}

static void devices_and_x2apics(void **state)
{
	const struct msi_msg logical = {.addr = 0xfee05004, .data = ASSERT | VECTOR};

	(void)state;
	all_to_x2apic();
	msi(19, ASSERT | VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 19);
	msi(0xff, ASSERT | VECTOR); /* an id like any other */
	assert_int_equal(who_got(VECTOR), 0);
	lapics_msi(&lr.all, &logical); /* members 0 and 2 of cluster 0 */
	assert_int_equal(who_got(VECTOR), 5);
}

static void mixed_modes(void **state)
{
	(void)state;
	to_x2apic(1);
	to_x2apic(17);
	wr(2, LDR, 0x02000000);
	ipi(0, 17, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 17);
	ipi_x2(1, 2, VECTOR);
	assert_int_equal(who_got(VECTOR), 1 << 2);
	ipi_x2(1, 0xffffffff, VECTOR);
	assert_int_equal(who_got(VECTOR), ALL);
	/* 2 is member 1 by its LDR, 1 is so by being an x2APIC */
	ipi(0, 0x02, LOGICAL | VECTOR);
	assert_int_equal(who_got(VECTOR), 6);
}

static void the_redirection_hint(void **state)
{
	const struct msi_msg any = {.addr = 0xfee0700c, .data = ASSERT | VECTOR};
	const struct msi_msg one = {.addr = 0xfee01008, .data = ASSERT | VECTOR};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		wr(i, LDR, 1u << (24 + i));
	wr(0, TPR, 0x20);
	wr(2, TPR, 0x30);
	lapics_msi(&lr.all, &any);
	assert_int_equal(who_got(VECTOR), 2);
	lapics_msi(&lr.all, &one); /* physical: that one */
	assert_int_equal(who_got(VECTOR), 2);
}

static void lowest_priority(void **state)
{
	uint32_t got[3];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		wr(i, LDR, 1u << (24 + i));
	wr(0, TPR, 0x50);
	wr(1, TPR, 0x40);
	wr(2, TPR, 0x60);
	ipi(5, 0x07, LOGICAL | LOWEST | VECTOR);
	assert_true(in_irr(1, VECTOR));
	assert_false(in_irr(0, VECTOR));
	assert_false(in_irr(2, VECTOR));
	/* what is in service counts as well */
	wr(1, TPR, 0x20);
	assert_int_equal(who_got(VECTOR), 2);
	wr(0, TPR, 0x50);
	msi(1, ASSERT | 0x71);
	assert_int_equal(lapics_ack(&lr.all, 1), 0x71);
	ipi(5, 0x07, LOGICAL | LOWEST | VECTOR);
	assert_true(in_irr(0, VECTOR));
	wr(0, TPR, 0);
	assert_int_equal(who_got(VECTOR), 1);
	wr(1, EOI, 0);
	/* equals take turns */
	for (unsigned i = 0; i < 3; i++)
		wr(i, TPR, 0);
	for (unsigned i = 0; i < 3; i++) {
		ipi(5, 0x07, LOGICAL | LOWEST | VECTOR);
		got[i] = who_got(VECTOR);
	}
	assert_int_equal(got[0] | got[1] | got[2], 7);
	assert_int_equal(__builtin_popcount(got[0]), 1);
	assert_int_equal(__builtin_popcount(got[1]), 1);
	/* nobody who cannot take it */
	wr(0, SVR, 0xff);
	wr(1, SVR, 0xff);
	ipi(5, 0x03, LOGICAL | LOWEST | VECTOR);
	ipi(5, 0x80, LOGICAL | LOWEST | VECTOR);
	assert_int_equal(who_got(VECTOR), 0);
	ipi(5, 0x07, LOGICAL | LOWEST | VECTOR);
	assert_int_equal(who_got(VECTOR), 4);
}

static void start_up(void **state)
{
	(void)state;
	wr(0, ICR2, 4u << 24);
	wr(0, ICR, INIT | ASSERT | LEVEL);
	assert_int_equal(lr.cpu[4].inits, 1);
	wr(0, ICR, INIT | LEVEL); /* de-assert */
	assert_int_equal(lr.cpu[4].inits, 1);
	wr(0, ICR, SIPI | ASSERT | 0x9a);
	assert_int_equal(lr.cpu[4].sipis, 1);
	assert_int_equal(lr.cpu[4].sipi_vector, 0x9a);
	wr(0, ICR, SIPI | 0x02); /* vectors below 16 are legal here, and the level bit no matter */
	assert_int_equal(lr.cpu[4].sipi_vector, 0x02);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0);
	wr(0, ICR, INIT); /* an edge */
	assert_int_equal(lr.cpu[4].inits, 2);
	wr(0, ICR, TO_OTHERS | INIT | ASSERT);
	for (unsigned i = 0; i < RIG_APICS; i++)
		assert_int_equal(lr.cpu[i].inits, i == 0 ? 0 : i == 4 ? 3 : 1);
	/* a device's message cannot start anybody */
	msi(4, ASSERT | SIPI | 0x9a);
	assert_int_equal(lr.cpu[4].sipis, 2);
}

static void other_modes_of_the_icr_are_nothing(void **state)
{
	(void)state;
	ipi(0, 1, 0x200 | VECTOR); /* SMI */
	ipi(0, 1, 0x300 | VECTOR); /* reserved */
	ipi(0, 1, 0x700 | VECTOR); /* reserved; ExtINT elsewhere */
	assert_int_equal(who_got(VECTOR), 0);
	assert_int_equal(lr.cpu[1].intr_calls, 0);
	assert_int_equal(lr.cpu[1].nmis + lr.cpu[1].inits + lr.cpu[1].sipis, 0);
}

static void a_level_triggered_ipi(void **state)
{
	(void)state;
	wr(0, ICR2, 1u << 24);
	wr(0, ICR, LEVEL | VECTOR); /* released: none */
	assert_int_equal(who_got(VECTOR), 0);
	wr(0, ICR, LEVEL | ASSERT | VECTOR);
	assert_true(in_tmr(1, VECTOR));
	assert_int_equal(who_got(VECTOR), 2);
	assert_int_equal(lr.eois, 1);
	/* without the level bit an edge is still one */
	wr(0, ICR, VECTOR);
	assert_int_equal(who_got(VECTOR), 2);
	assert_int_equal(lr.eois, 1);
}

static void hostile_messages(void **state)
{
	(void)state;
	for (uint32_t data = 0; data < 0x10000; data += 0x101)
		for (unsigned dest = 0; dest < 256; dest += 5) {
			const struct msi_msg m = {~0ULL << 20 | dest << 12 | (data & 0xc), data};

			lapics_msi(&lr.all, &m);
		}
	for (uint32_t low = 0; low < 0x100000; low += 0x1235)
		ipi(low % RIG_APICS, low >> 3 & 0xff, low);
	for (unsigned i = 0; i < RIG_APICS; i++)
		assert_int_equal(rd(i, IRR) & 0xffff, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(physical_destinations),
		TEST(shorthands),
		TEST(shorthands_of_an_x2apic),
		TEST(logical_flat),
		TEST(logical_cluster),
		TEST(x2apic_destinations),
		TEST(devices_and_x2apics),
		TEST(mixed_modes),
		TEST(the_redirection_hint),
		TEST(lowest_priority),
		TEST(start_up),
		TEST(other_modes_of_the_icr_are_nothing),
		TEST(a_level_triggered_ipi),
		TEST(hostile_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
