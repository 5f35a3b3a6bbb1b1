/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC's timer: SDM vol. 3A 11.5.4. */
#include "lapic_rig.h"

#define VECTOR 0xec

/* Interrupts of the timer's vector within so many ns, each served at once. */
static unsigned interrupts_in(uint64_t ns, uint64_t step)
{
	unsigned n = 0;

	for (uint64_t t = 0; t < ns; t += step) {
		clock_advance(&lr.clock, step);
		if (!lr.cpu[0].intr)
			continue;
		assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
		wr(0, EOI, 0);
		n++;
	}
	return n;
}

static void one_shot(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, VECTOR);
	wr(0, INITIAL, 1000);
	assert_int_equal(rd(0, CURRENT), 1000);
	clock_advance(&lr.clock, 400);
	assert_int_equal(rd(0, CURRENT), 600);
	assert_int_equal(rd(0, INITIAL), 1000);
	clock_advance(&lr.clock, 599);
	assert_false(lr.cpu[0].intr);
	assert_int_equal(rd(0, CURRENT), 1);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(rd(0, CURRENT), 0);
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	assert_int_equal(lr.eois, 0);
	assert_int_equal(interrupts_in(100000, 100), 0);
	/* written again it begins again, also while it runs */
	wr(0, INITIAL, 1000);
	clock_advance(&lr.clock, 900);
	wr(0, INITIAL, 1000);
	clock_advance(&lr.clock, 900);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 100);
	assert_true(lr.cpu[0].intr);
	/* 0 stops it */
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	wr(0, INITIAL, 1000);
	wr(0, INITIAL, 0);
	assert_int_equal(rd(0, CURRENT), 0);
	assert_int_equal(interrupts_in(10000, 100), 0);
}

static void divide_configurations(void **state)
{
	static const struct {
		unsigned code, divisor;
	} cases[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};

	(void)state;
	wr(0, TIMER, VECTOR);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		wr(0, DIVIDE, cases[i].code);
		wr(0, INITIAL, 1000);
		clock_advance(&lr.clock, 1000 * cases[i].divisor - 1);
		assert_false(lr.cpu[0].intr);
		clock_advance(&lr.clock, 1);
		assert_true(lr.cpu[0].intr);
		assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
		wr(0, EOI, 0);
	}
	/* changed on the way: the count goes on at the other rate */
	wr(0, DIVIDE, 0xb);
	wr(0, INITIAL, 1000);
	clock_advance(&lr.clock, 500);
	wr(0, DIVIDE, 3);
	assert_int_equal(rd(0, CURRENT), 500);
	clock_advance(&lr.clock, 500 * 16 - 1);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
}

static void periodic(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, PERIODIC | VECTOR);
	wr(0, INITIAL, 1000000);
	clock_advance(&lr.clock, 300000);
	assert_int_equal(rd(0, CURRENT), 700000);
	clock_advance(&lr.clock, 700000);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(rd(0, CURRENT), 1000000);
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	assert_int_equal(interrupts_in(10000000, 50000), 10);
	clock_advance(&lr.clock, 1);
	assert_int_equal(rd(0, CURRENT), 999999);
}

/* A thread that comes late makes one interrupt of several, and the phase stays. */
static void late_wake_ups(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, PERIODIC | VECTOR);
	wr(0, INITIAL, 1000000);
	lr.clock.guest_base += 3500000; /* nobody ran the timers */
	assert_int_equal(rd(0, CURRENT), 500000);
	clock_advance(&lr.clock, 0);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	assert_int_equal(rd(0, CURRENT), 500000);
	clock_advance(&lr.clock, 499999);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
}

static void absurd_periods_are_bounded(void **state)
{
	static const uint32_t counts[] = {1, 3, 777, 199999};

	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, PERIODIC | VECTOR);
	for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
		unsigned n;

		wr(0, INITIAL, counts[i]);
		n = interrupts_in(10 * NS_PER_MS, 500);
		assert_in_range(n, 25, 10 * NS_PER_MS / LAPIC_PERIOD_MIN + 1);
		for (unsigned j = 0; j < 100; j++) {
			assert_in_range(rd(0, CURRENT), 1, counts[i]);
			clock_advance(&lr.clock, 7);
		}
	}
	/* from the bound on it is exact */
	wr(0, INITIAL, LAPIC_PERIOD_MIN);
	assert_int_equal(interrupts_in(2 * NS_PER_MS, 1000), 2 * NS_PER_MS / LAPIC_PERIOD_MIN);
}

static void the_longest(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xa);
	wr(0, TIMER, VECTOR);
	wr(0, INITIAL, 0xffffffff);
	assert_int_equal(rd(0, CURRENT), 0xffffffff);
	clock_advance(&lr.clock, 0xffffffffULL * 128 - 1);
	assert_false(lr.cpu[0].intr);
	assert_int_equal(rd(0, CURRENT), 1);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
}

static void masked_it_counts_silently(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, MASKED | VECTOR);
	wr(0, INITIAL, 1000000);
	assert_null(lr.clock.first); /* nobody is woken for nothing */
	clock_advance(&lr.clock, 400000);
	assert_int_equal(rd(0, CURRENT), 600000);
	wr(0, TIMER, VECTOR);
	clock_advance(&lr.clock, 600000);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	/* what passed while masked is lost */
	wr(0, TIMER, MASKED | VECTOR);
	wr(0, INITIAL, 1000000);
	clock_advance(&lr.clock, 2000000);
	wr(0, TIMER, VECTOR);
	assert_int_equal(interrupts_in(10000000, 100000), 0);
	/* periodic: it goes on from the next period */
	wr(0, TIMER, MASKED | PERIODIC | VECTOR);
	wr(0, INITIAL, 1000000);
	clock_advance(&lr.clock, 2500000);
	assert_int_equal(rd(0, CURRENT), 500000);
	wr(0, TIMER, PERIODIC | VECTOR);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 500000);
	assert_true(lr.cpu[0].intr);
}

static void disabling_stops_interrupts(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, PERIODIC | VECTOR);
	wr(0, INITIAL, 1000000);
	wr(0, SVR, 0xff);
	assert_int_equal(interrupts_in(5000000, 100000), 0);
	wr(0, SVR, 0x1ff);
	wr(0, TIMER, PERIODIC | VECTOR);
	assert_int_equal(interrupts_in(5000000, 100000), 5);
	lapics_restart(&lr.all, 0);
	assert_null(lr.clock.first);
	assert_int_equal(rd(0, CURRENT), 0);
}

static void tsc_deadline(void **state)
{
	uint64_t now = clock_now(&lr.clock);

	(void)state;
	/* not this mode: nothing */
	lapics_set_deadline(&lr.all, 0, now + 1000);
	assert_false(lapics_deadline_armed(&lr.all, 0));
	wr(0, TIMER, DEADLINE | VECTOR);
	lapics_set_deadline(&lr.all, 0, now + 1000);
	assert_true(lapics_deadline_armed(&lr.all, 0));
	wr(0, INITIAL, 100); /* of no effect in this mode */
	assert_int_equal(rd(0, INITIAL), 0);
	assert_int_equal(rd(0, CURRENT), 0);
	clock_advance(&lr.clock, 999);
	assert_false(lr.cpu[0].intr);
	clock_advance(&lr.clock, 1);
	assert_true(lr.cpu[0].intr);
	assert_false(lapics_deadline_armed(&lr.all, 0));
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	/* one that has passed fires at once */
	lapics_set_deadline(&lr.all, 0, now);
	assert_true(lr.cpu[0].intr);
	assert_false(lapics_deadline_armed(&lr.all, 0));
	assert_int_equal(lapics_ack(&lr.all, 0), VECTOR);
	wr(0, EOI, 0);
	/* 0 disarms */
	lapics_set_deadline(&lr.all, 0, now + 100000);
	lapics_set_deadline(&lr.all, 0, 0);
	assert_false(lapics_deadline_armed(&lr.all, 0));
	assert_int_equal(interrupts_in(1000000, 10000), 0);
	/* masked it still ends */
	now = clock_now(&lr.clock);
	wr(0, TIMER, MASKED | DEADLINE | VECTOR);
	lapics_set_deadline(&lr.all, 0, now + 100);
	assert_true(lapics_deadline_armed(&lr.all, 0));
	clock_advance(&lr.clock, 100);
	assert_false(lapics_deadline_armed(&lr.all, 0));
	wr(0, TIMER, DEADLINE | VECTOR);
	assert_false(lr.cpu[0].intr);
	/* the end of time */
	lapics_set_deadline(&lr.all, 0, UINT64_MAX);
	assert_true(lapics_deadline_armed(&lr.all, 0));
}

static void changing_to_or_from_tsc_deadline_disarms(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, VECTOR);
	wr(0, INITIAL, 1000);
	wr(0, TIMER, DEADLINE | VECTOR);
	assert_int_equal(rd(0, INITIAL), 0);
	assert_int_equal(interrupts_in(100000, 1000), 0);
	lapics_set_deadline(&lr.all, 0, clock_now(&lr.clock) + 1000);
	wr(0, TIMER, PERIODIC | VECTOR);
	assert_int_equal(interrupts_in(100000, 1000), 0);
	/* between the other two it goes on */
	wr(0, INITIAL, 1000000);
	wr(0, TIMER, VECTOR);
	assert_int_equal(rd(0, CURRENT), 1000000);
	assert_int_equal(interrupts_in(5000000, 100000), 1);
}

static void a_vector_that_is_none(void **state)
{
	(void)state;
	wr(0, DIVIDE, 0xb);
	wr(0, TIMER, 0x0f);
	wr(0, INITIAL, 10);
	clock_advance(&lr.clock, 10);
	assert_false(lr.cpu[0].intr);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0x40);
}

static void each_has_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < RIG_APICS; i++) {
		wr(i, DIVIDE, 0xb);
		wr(i, TIMER, VECTOR);
		wr(i, INITIAL, 1000 * (RIG_APICS - i));
	}
	for (unsigned i = RIG_APICS; i-- > 0;) {
		assert_false(lr.cpu[i].intr);
		clock_advance(&lr.clock, 1000);
		assert_true(lr.cpu[i].intr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_shot),
		TEST(divide_configurations),
		TEST(periodic),
		TEST(late_wake_ups),
		TEST(absurd_periods_are_bounded),
		TEST(the_longest),
		TEST(masked_it_counts_silently),
		TEST(disabling_stops_interrupts),
		TEST(tsc_deadline),
		TEST(changing_to_or_from_tsc_deadline_disarms),
		TEST(a_vector_that_is_none),
		TEST(each_has_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
