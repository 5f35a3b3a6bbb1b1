/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "base/time.h"
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

static void equal_deadlines_fire_in_the_order_of_arming(void **state)
{
	struct clock c;
	struct fired f[3];

	(void)state;
	clock_init_manual(&c);
	for (unsigned i = 0; i < 3; i++) {
		f[i] = (struct fired){.clock = &c};
		f[i].timer = (struct clock_timer){.fired = on_fire, .opaque = &f[i]};
		clock_timer_set(&c, &f[i].timer, i == 1 ? 50 : 100);
	}
	assert_ptr_equal(c.first, &f[1].timer);
	assert_ptr_equal(c.first->next, &f[0].timer);
	clock_timer_cancel(&c, &f[0].timer);
	clock_timer_cancel(&c, &f[0].timer);
	clock_advance(&c, 100);
	assert_int_equal(f[0].count, 0);
	assert_int_equal(f[1].at, 50);
	assert_int_equal(f[2].at, 100);
	clock_release(&c);
}

/* What the I/O thread is asked to wait for. */
struct alarm {
	uint64_t host_ns;
	unsigned calls;
};

static void on_rearm(void *opaque, uint64_t host_ns)
{
	struct alarm *a = opaque;

	a->host_ns = host_ns;
	a->calls++;
}

static void the_sleeper_is_told_of_the_earliest_deadline(void **state)
{
	struct alarm a = {0};
	struct fired early = {0}, late = {0};
	uint64_t host;
	struct clock c;

	(void)state;
	clock_init(&c, on_rearm, &a);
	early.clock = late.clock = &c;
	early.timer = (struct clock_timer){.fired = on_fire, .opaque = &early};
	late.timer = (struct clock_timer){.fired = on_fire, .opaque = &late};
	clock_timer_set(&c, &late.timer, 3600 * NS_PER_SEC);
	assert_int_equal(a.host_ns, 0); /* time stands still: never */
	clock_start(&c);
	host = c.host_base;
	assert_int_equal(a.host_ns, host + 3600 * NS_PER_SEC);
	clock_timer_set(&c, &early.timer, 1800 * NS_PER_SEC);
	assert_int_equal(a.host_ns, host + 1800 * NS_PER_SEC);
	clock_timer_set(&c, &early.timer, 7200 * NS_PER_SEC);
	assert_int_equal(a.host_ns, host + 3600 * NS_PER_SEC);
	clock_timer_cancel(&c, &late.timer);
	assert_int_equal(a.host_ns, host + 7200 * NS_PER_SEC);
	clock_timer_set(&c, &early.timer, UINT64_MAX); /* beyond the host's time */
	assert_int_equal(a.host_ns, UINT64_MAX);
	clock_timer_cancel(&c, &early.timer);
	assert_int_equal(a.host_ns, 0);
	clock_timer_set(&c, &early.timer, 0); /* long past */
	assert_true(a.host_ns != 0 && a.host_ns <= time_monotonic_ns());
	clock_run_timers(&c);
	assert_int_equal(early.count, 1);
	assert_int_equal(a.host_ns, 0);
	clock_timer_set(&c, &late.timer, 1);
	clock_stop(&c);
	assert_int_equal(a.host_ns, 0);
	clock_run_timers(&c); /* while time stands still nothing fires */
	assert_int_equal(late.count, 0);
	clock_release(&c);
}

struct greedy {
	struct clock *clock;
	struct clock_timer timer;
	unsigned count;
};

static void arm_for_now(void *opaque)
{
	struct greedy *g = opaque;

	g->count++;
	if (g->count < 1000000)
		clock_timer_set(g->clock, &g->timer, clock_now(g->clock) + 1);
}

/* A guest may program a timer of 1 ns; the I/O thread must still get to its other work. */
static void a_timer_that_is_always_due_does_not_hold_the_thread(void **state)
{
	struct clock c;
	struct greedy g = {.clock = &c};

	(void)state;
	clock_init(&c, NULL, NULL);
	g.timer = (struct clock_timer){.fired = arm_for_now, .opaque = &g};
	clock_start(&c);
	clock_timer_set(&c, &g.timer, 0);
	clock_run_timers(&c);
	assert_true(g.count < 1000);
	clock_release(&c);
}

static void the_wall_clock_is_set_apart_from_guest_time(void **state)
{
	struct clock c;

	(void)state;
	clock_init_manual(&c);
	clock_set_wall(&c, 1000000 * NS_PER_SEC);
	clock_advance(&c, 5 * NS_PER_SEC);
	assert_int_equal(clock_wall(&c), 1000005 * NS_PER_SEC);
	assert_int_equal(clock_now(&c), 5 * NS_PER_SEC);
	clock_set_wall(&c, 0);
	assert_int_equal(clock_wall(&c), 0);
	clock_release(&c);
	clock_init(&c, NULL, NULL);
	clock_set_wall(&c, 42 * NS_PER_SEC); /* a battery runs also while the VM stands */
	assert_true(clock_wall(&c) >= 42 * NS_PER_SEC);
	clock_release(&c);
}

struct crowd {
	struct clock c;
	struct clock_timer timers[8];
	atomic_uint fired, armed;
	atomic_bool done;
	atomic_bool backwards;
};

static void crowd_fired(void *opaque)
{
	atomic_fetch_add(&((struct crowd *)opaque)->fired, 1);
}

static void *crowd_user(void *opaque)
{
	struct crowd *w = opaque;
	uint64_t last = 0;

	for (unsigned i = 0; i < 3000; i++) {
		struct clock_timer *t = &w->timers[i % 8];
		uint64_t now = clock_now(&w->c);

		if (now < last)
			atomic_store(&w->backwards, true);
		last = now;
		if (i % 5 == 4)
			clock_timer_cancel(&w->c, t);
		else
			clock_timer_set(&w->c, t, now + i % 3 * 1000);
	}
	return NULL;
}

static void *crowd_firer(void *opaque)
{
	struct crowd *w = opaque;

	while (!atomic_load(&w->done))
		clock_run_timers(&w->c);
	return NULL;
}

/* Devices on several threads share timers while the I/O thread fires and control stops time. */
static void many_threads_arm_cancel_and_fire(void **state)
{
	static struct crowd w;
	pthread_t users[3], firer;

	(void)state;
	clock_init(&w.c, NULL, NULL);
	for (unsigned i = 0; i < 8; i++)
		w.timers[i] = (struct clock_timer){.fired = crowd_fired, .opaque = &w};
	clock_start(&w.c);
	assert_int_equal(pthread_create(&firer, NULL, crowd_firer, &w), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&users[i], NULL, crowd_user, &w), 0);
	for (unsigned i = 0; i < 100; i++) {
		clock_stop(&w.c);
		clock_start(&w.c);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(users[i], NULL);
	atomic_store(&w.done, true);
	pthread_join(firer, NULL);
	assert_false(atomic_load(&w.backwards));
	for (unsigned i = 0; i < 8; i++)
		clock_timer_cancel(&w.c, &w.timers[i]);
	assert_null(w.c.first);
	/* Whatever was left, a timer armed in the past fires once. */
	atomic_store(&w.fired, 0);
	clock_timer_set(&w.c, &w.timers[0], 0);
	clock_run_timers(&w.c);
	clock_run_timers(&w.c);
	assert_int_equal(atomic_load(&w.fired), 1);
	clock_release(&w.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_at_their_own_time_in_order),
		cmocka_unit_test(a_new_deadline_replaces_and_cancel_disarms),
		cmocka_unit_test(a_stopped_clock_stands_still),
		cmocka_unit_test(equal_deadlines_fire_in_the_order_of_arming),
		cmocka_unit_test(the_sleeper_is_told_of_the_earliest_deadline),
		cmocka_unit_test(a_timer_that_is_always_due_does_not_hold_the_thread),
		cmocka_unit_test(the_wall_clock_is_set_apart_from_guest_time),
		cmocka_unit_test(many_threads_arm_cancel_and_fire),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
