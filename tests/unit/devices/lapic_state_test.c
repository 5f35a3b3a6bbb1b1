/* SPDX-License-Identifier: Apache-2.0 */
/* A local APIC's registers as KVM's page, and threads that use APICs at the same time. */
#include <stdatomic.h>
#include <string.h>

#include "core/x86/vcpu_state.h"
#include "lapic_rig.h"

static uint32_t on(const uint8_t *page, unsigned reg)
{
	return (uint32_t)load_le(page + reg, 4);
}

static void power_on_is_the_vcpus(void **state)
{
	struct vcpu_state s;
	uint8_t page[LAPIC_PAGE];

	(void)state;
	assert_int_equal(LAPIC_PAGE, VCPU_LAPIC_SIZE);
	lapics_reset(&lr.all);
	for (unsigned i = 0; i < RIG_APICS; i++) {
		vcpu_state_reset(&s, i);
		lapics_get(&lr.all, i, page);
		assert_memory_equal(page, s.lapic, LAPIC_PAGE);
	}
}

static void registers_come_back(void **state)
{
	uint8_t page[LAPIC_PAGE], again[LAPIC_PAGE];

	(void)state;
	wr(2, TPR, 0x35);
	wr(2, LDR, 0x04000000);
	wr(2, DFR, 0);
	wr(2, SVR, 0x1f3);
	wr(2, LINT0, 0x8051);
	wr(2, LINT1, 0x400);
	wr(2, ERROR, 0x44);
	wr(2, DIVIDE, 0xb);
	wr(2, TIMER, PERIODIC | 0xec);
	wr(2, INITIAL, 1000000);
	wr(2, ICR2, 0x07000000);
	wr(2, ICR, 0x40fd);
	msi(2, 0xc0a3);
	assert_int_equal(lapics_ack(&lr.all, 2), 0xa3);
	msi(2, 0x4051);
	rd(2, 0x3f0);
	wr(2, ESR, 0);
	lapics_lint(&lr.all, 2, 0, true);
	clock_advance(&lr.clock, 250000);
	lapics_get(&lr.all, 2, page);
	assert_int_equal(on(page, TPR), 0x35);
	assert_int_equal(on(page, PPR), 0xa0);
	assert_int_equal(on(page, ISR + 0x50), 1 << 3);
	assert_int_equal(on(page, TMR + 0x50), 1 << 3);
	assert_int_equal(on(page, IRR + 0x20), 1 << 17 | 1 << 4); /* 51h, and the error's */
	assert_int_equal(on(page, LINT0), 0xc051);
	assert_int_equal(on(page, CURRENT), 750000);
	assert_int_equal(on(page, ESR), 0x80);
	lapics_reset(&lr.all);
	lapics_set(&lr.all, 2, BASE_XAPIC, page);
	lapics_get(&lr.all, 2, again);
	assert_memory_equal(page, again, LAPIC_PAGE);
	assert_int_equal(rd(2, ICR2), 0x07000000);
	assert_false(in_irr(7, 0xfd)); /* setting an ICR sends nothing */
	/* it goes on from there */
	wr(2, EOI, 0);
	assert_int_equal(lr.eoi_vector, 0xa3);
	assert_true(lr.cpu[2].intr);
	clock_advance(&lr.clock, 749999);
	assert_false(in_irr(2, 0xec));
	clock_advance(&lr.clock, 1);
	assert_true(in_irr(2, 0xec));
	clock_advance(&lr.clock, 1000000 - 1);
	assert_int_equal(rd(2, CURRENT), 1);
}

static void an_x2apics_page(void **state)
{
	uint8_t page[LAPIC_PAGE], again[LAPIC_PAGE];

	(void)state;
	to_x2apic(18);
	wrmsr(18, ICR, 0x1234567800044051);
	wrmsr(18, TPR, 0x20);
	lapics_get(&lr.all, 18, page);
	assert_int_equal(on(page, ID), 18);
	assert_int_equal(on(page, LDR), 0x10004);
	assert_int_equal(on(page, ICR), 0x44051);
	assert_int_equal(on(page, ICR2), 0x12345678);
	lapics_reset(&lr.all);
	lapics_set(&lr.all, 18, BASE_X2APIC, page);
	lapics_get(&lr.all, 18, again);
	assert_memory_equal(page, again, LAPIC_PAGE);
	assert_int_equal(rdmsr(18, ICR), 0x1234567800044051);
	assert_true(lr.cpu[18].intr);
	/* and one that is off */
	lapics_set(&lr.all, 18, BASE_OFF, page);
	assert_false(lr.cpu[18].intr);
	assert_true(lapics_set_base(&lr.all, 18, BASE_XAPIC));
	assert_int_equal(rd(18, TPR), 0);
}

/* A page of KVM's says that EOI messages can be suppressed, and its guest may have done so. */
static void suppressed_eoi_messages(void **state)
{
	uint8_t page[LAPIC_PAGE];

	(void)state;
	lapics_get(&lr.all, 0, page);
	store_le(page + VERSION, 4, 0x01050014);
	store_le(page + SVR, 4, 0x11ff);
	lapics_set(&lr.all, 0, BASE_XAPIC, page);
	assert_int_equal(rd(0, VERSION), 0x01050014);
	assert_int_equal(rd(0, SVR), 0x11ff);
	msi(0, 0xc0a3);
	assert_int_equal(lapics_ack(&lr.all, 0), 0xa3);
	wr(0, EOI, 0);
	assert_int_equal(lr.eois, 0);
	wr(0, SVR, 0x1ff);
	msi(0, 0xc0a3);
	assert_int_equal(lapics_ack(&lr.all, 0), 0xa3);
	wr(0, EOI, 0);
	assert_int_equal(lr.eois, 1);
}

static void a_timer_between_two_states(void **state)
{
	uint8_t page[LAPIC_PAGE];

	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, 0xec);
	wr(0, INITIAL, 1000);
	clock_advance(&lr.clock, 1000);
	lapics_ack(&lr.all, 0);
	wr(0, EOI, 0);
	lapics_get(&lr.all, 0, page);
	assert_int_equal(on(page, CURRENT), 0);
	lapics_set(&lr.all, 0, BASE_XAPIC, page); /* it has fired, and does not again */
	clock_advance(&lr.clock, 100000);
	assert_false(lr.cpu[0].intr);
	/* a periodic one at its very end begins its next period */
	store_le(page + TIMER, 4, PERIODIC | 0xec);
	store_le(page + INITIAL, 4, 1000000);
	lapics_set(&lr.all, 0, BASE_XAPIC, page);
	clock_advance(&lr.clock, 999999);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
}

/* Whatever bytes: afterwards it is an APIC. */
static void hostile_pages(void **state)
{
	uint8_t page[LAPIC_PAGE], again[LAPIC_PAGE];
	uint32_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < LAPIC_PAGE; i++) {
			seed = seed * 1103515245 + 12345;
			page[i] = round ? (uint8_t)(seed >> 16) : 0xff;
		}
		lapics_set(&lr.all, 0, round % 4 << 10, page);
		lapics_get(&lr.all, 0, again);
		assert_int_equal(on(again, IRR) & 0xffff, 0);
		assert_int_equal(on(again, ISR) & 0xffff, 0);
		assert_int_equal(on(again, ID) & 0xff, 0);
		assert_true(on(again, CURRENT) <= on(again, INITIAL));
		clock_advance(&lr.clock, NS_PER_MS);
		for (unsigned i = 0; i < 300; i++)
			lapics_ack(&lr.all, 0);
		lapics_set_base(&lr.all, 0, BASE_OFF);
		lapics_set_base(&lr.all, 0, BASE_XAPIC);
		assert_int_equal(rd(0, SVR), 0xff);
		lapics_get(&lr.all, 0, page);
	}
}

static void the_level_can_be_asked_for_again(void **state)
{
	(void)state;
	msi(0, 0x4051);
	lr.cpu[0].intr = false;
	lapics_announce(&lr.all, 0);
	assert_true(lr.cpu[0].intr);
	lapics_announce(&lr.all, 1);
	assert_false(lr.cpu[1].intr);
	assert_int_equal(lr.cpu[1].intr_calls, 1);
}

#define ROUNDS 20000

/* A processor that takes what comes, and sends as much to the next. */
static void *processor(void *opaque)
{
	unsigned id = (unsigned)(uintptr_t)opaque;

	for (unsigned i = 0; i < ROUNDS; i++) {
		wr(id, ICR2, (id + 1) % 4 << 24);
		wr(id, ICR, 0x4000 | (0x20 + i % 0xd0));
		lapics_set_cr8(&lr.all, id, (uint8_t)(i % 16));
		if (lapics_ack(&lr.all, id) != 0xff)
			wr(id, EOI, 0);
		if (i % 64 == 0)
			wr(id, INITIAL, i);
	}
	lapics_set_cr8(&lr.all, id, 0);
	return NULL;
}

static void processors_at_the_same_time(void **state)
{
	pthread_t threads[4];

	(void)state;
	lr.threads = true;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, processor, (void *)i), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		msi(i % 4, i % 2 ? 0xc030 : 0x4040);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* each has told its level last as it is, and can be emptied */
	for (unsigned i = 0; i < 4; i++) {
		while (lr.cpu[i].intr) {
			assert_in_range(lapics_ack(&lr.all, i), 0x20, 0xfe);
			wr(i, EOI, 0);
		}
		for (unsigned reg = IRR; reg < ESR; reg += 16)
			assert_int_equal(rd(i, reg), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(power_on_is_the_vcpus),
		TEST(registers_come_back),
		TEST(an_x2apics_page),
		TEST(suppressed_eoi_messages),
		TEST(a_timer_between_two_states),
		TEST(hostile_pages),
		TEST(the_level_can_be_asked_for_again),
		TEST(processors_at_the_same_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
