/* SPDX-License-Identifier: Apache-2.0 */
/* Posted writes, with an engine that is a script: on, off, and what it holds. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/time.h"
#include "machine/posted.h"

/* Longer than any write may be late. */
#define LATE (20 * NS_PER_MS)

static struct {
	atomic_bool on;
	atomic_bool refuses;
	atomic_bool late_write; /* one comes just before posting goes off */
	atomic_uint held;
	atomic_uint handed_over;
	atomic_uint switches;
} script;

static struct clock ticks;
static struct posted posted;

static int post(struct engine_vm *vm, const struct bus *bus, uint64_t addr, unsigned size, bool on,
		struct err *e)
{
	(void)vm;
	(void)bus;
	assert_int_equal(addr, 0x3f8);
	assert_int_equal(size, 1);
	if (atomic_load(&script.refuses))
		return err_set(e, ENOTSUP, "no");
	assert_int_not_equal(atomic_load(&script.on), on);
	atomic_fetch_add(&script.switches, 1);
	if (!on && atomic_exchange(&script.late_write, false))
		atomic_fetch_add(&script.held, 1);
	atomic_store(&script.on, on);
	return 0;
}

static bool post_drain(struct engine_vm *vm)
{
	unsigned held = atomic_exchange(&script.held, 0);

	(void)vm;
	atomic_fetch_add(&script.handed_over, held);
	return held;
}

static const struct engine_ops posting = {.name = "script", .post = post, .post_drain = post_drain};
static const struct engine_ops plain = {.name = "plain"};

static void begin(const struct engine_ops *engine)
{
	atomic_store(&script.on, false);
	atomic_store(&script.refuses, false);
	atomic_store(&script.late_write, false);
	atomic_store(&script.held, 0);
	atomic_store(&script.handed_over, 0);
	atomic_store(&script.switches, 0);
	clock_init_manual(&ticks);
	posted_init(&posted, engine, NULL, &ticks);
	posted_target(&posted, NULL, 0x3f8, 1);
}

static void end(void)
{
	posted_release(&posted);
	clock_release(&ticks);
}

static bool silent(void)
{
	return !atomic_load(&script.on) && !atomic_load(&posted.on) && !ticks.first;
}

static void a_hint_is_for_a_moment(void **state)
{
	(void)state;
	begin(&posting);
	assert_true(silent());
	posted_hint(&posted);
	assert_true(atomic_load(&script.on));
	assert_non_null(ticks.first);
	clock_advance(&ticks, LATE);
	assert_true(silent());
	end();
}

static void it_stays_on_while_the_guest_writes(void **state)
{
	(void)state;
	begin(&posting);
	posted_hint(&posted);
	for (unsigned i = 1; i <= 10; i++) {
		atomic_fetch_add(&script.held, 3);
		posted_hint(&posted);
		clock_advance(&ticks, 4 * NS_PER_MS);
		assert_int_equal(atomic_load(&script.handed_over), 3 * i);
		assert_true(atomic_load(&script.on));
	}
	assert_int_equal(atomic_load(&script.switches), 1);
	clock_advance(&ticks, LATE);
	assert_true(silent());
	end();
}

static void no_hint_no_timer(void **state)
{
	(void)state;
	begin(&posting);
	posted_hint(&posted);
	clock_advance(&ticks, LATE);
	for (unsigned i = 0; i < 10; i++) {
		clock_advance(&ticks, LATE);
		assert_true(silent());
	}
	assert_int_equal(atomic_load(&script.switches), 2);
	end();
}

static void what_comes_as_it_goes_off_is_handed_over(void **state)
{
	(void)state;
	begin(&posting);
	posted_hint(&posted);
	atomic_store(&script.late_write, true);
	clock_advance(&ticks, LATE);
	assert_int_equal(atomic_load(&script.handed_over), 1);
	assert_true(silent());
	end();
}

static void an_engine_may_refuse_or_not_know_it(void **state)
{
	(void)state;
	begin(&posting);
	atomic_store(&script.refuses, true);
	posted_hint(&posted);
	assert_false(atomic_load(&posted.on));
	clock_advance(&ticks, LATE);
	assert_true(silent());
	end();

	begin(&plain);
	posted_hint(&posted);
	posted_stop(&posted);
	assert_true(silent());
	end();
}

static void a_stop_hands_over_and_is_final(void **state)
{
	(void)state;
	begin(&posting);
	posted_stop(&posted);
	assert_true(silent());
	posted_hint(&posted);
	atomic_fetch_add(&script.held, 2);
	posted_stop(&posted);
	assert_int_equal(atomic_load(&script.handed_over), 2);
	assert_true(silent());
	posted_stop(&posted);
	assert_int_equal(atomic_load(&script.switches), 2);
	/* and it can begin again: the machine was reset */
	posted_hint(&posted);
	assert_true(atomic_load(&script.on));
	clock_advance(&ticks, LATE);
	assert_true(silent());
	end();
}

#define WRITES 20000
#define GUESTS 2

static pthread_mutex_t device = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint direct;

/* A vCPU that prints: looks at the line status, then writes. */
static void *guest(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < WRITES; i++) {
		pthread_mutex_lock(&device);
		posted_hint(&posted);
		pthread_mutex_unlock(&device);
		if (atomic_load(&script.on))
			atomic_fetch_add(&script.held, 1);
		else
			atomic_fetch_add(&direct, 1);
	}
	return NULL;
}

static void nothing_stays_behind_whatever_the_timing(void **state)
{
	pthread_t guests[GUESTS];

	(void)state;
	begin(&posting);
	atomic_store(&direct, 0);
	for (unsigned i = 0; i < GUESTS; i++)
		assert_int_equal(pthread_create(&guests[i], NULL, guest, NULL), 0);
	for (unsigned i = 0; i < 2000; i++)
		clock_advance(&ticks, 3 * NS_PER_MS);
	for (unsigned i = 0; i < GUESTS; i++)
		pthread_join(guests[i], NULL);
	clock_advance(&ticks, LATE);
	clock_advance(&ticks, LATE);
	assert_true(silent());
	post_drain(NULL); /* the script's guest reads "on" and writes in two steps */
	assert_int_equal(atomic_load(&script.handed_over) + atomic_load(&direct), GUESTS * WRITES);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hint_is_for_a_moment),
		cmocka_unit_test(it_stays_on_while_the_guest_writes),
		cmocka_unit_test(no_hint_no_timer),
		cmocka_unit_test(what_comes_as_it_goes_off_is_handed_over),
		cmocka_unit_test(an_engine_may_refuse_or_not_know_it),
		cmocka_unit_test(a_stop_hands_over_and_is_final),
		cmocka_unit_test(nothing_stays_behind_whatever_the_timing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
