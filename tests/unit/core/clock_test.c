/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/clock.h"

struct fired {
	struct clock *clock;
	struct clock_timer timer;
	uint64_t at;
	unsigned count;
};

static void on_fire(void *opaque)
{
	struct fired *f = opaque;

	f->at = clock_now(f->clock);
	f->count++;
}

static void timers_fire_at_their_own_time_in_order(void **state)
{
	struct clock c;
	struct fired a = {.clock = &c}, b = {.clock = &c};

	(void)state;
	clock_init_manual(&c);
	a.timer = (struct clock_timer){.fired = on_fire, .opaque = &a};
	b.timer = (struct clock_timer){.fired = on_fire, .opaque = &b};
	clock_timer_set(&c, &a.timer, 500);
	clock_timer_set(&c, &b.timer, 200);
	clock_advance(&c, 199);
	assert_int_equal(b.count, 0);
	clock_advance(&c, 801);
	assert_int_equal(b.at, 200);
	assert_int_equal(a.at, 500);
	assert_int_equal(clock_now(&c), 1000);
	assert_int_equal(a.count + b.count, 2);
	clock_release(&c);
}

static void a_new_deadline_replaces_and_cancel_disarms(void **state)
{
	struct clock c;
	struct fired a = {.clock = &c};

	(void)state;
	clock_init_manual(&c);
	a.timer = (struct clock_timer){.fired = on_fire, .opaque = &a};
	clock_timer_set(&c, &a.timer, 100);
	clock_timer_set(&c, &a.timer, 300);
	clock_advance(&c, 200);
	assert_int_equal(a.count, 0);
	clock_timer_cancel(&c, &a.timer);
	clock_advance(&c, 200);
	assert_int_equal(a.count, 0);
	clock_release(&c);
}

static void a_stopped_clock_stands_still(void **state)
{
	struct clock c;
	uint64_t t;

	(void)state;
	clock_init(&c, NULL, NULL);
	assert_int_equal(clock_now(&c), 0);
	clock_start(&c);
	while (clock_now(&c) == 0)
		;
	clock_stop(&c);
	t = clock_now(&c);
	assert_true(t > 0);
	assert_int_equal(clock_now(&c), t);
	clock_set(&c, 42);
	assert_int_equal(clock_now(&c), 42);
	clock_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_at_their_own_time_in_order),
		cmocka_unit_test(a_new_deadline_replaces_and_cancel_disarms),
		cmocka_unit_test(a_stopped_clock_stands_still),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
