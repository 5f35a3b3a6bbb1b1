/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are paused, resumed, changed and listened to from outside. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "machine/layout.h"
#include "machine/machine_int.h"
#include "machine_rig.h"

#define NOBODYS_PORT 0x2f0

/* A guest that writes to a port where nothing is, for ever. */
static void writer(struct buf *p)
{
	rig_out(p, 1, NOBODYS_PORT, 'x');
	fake_emit(p, FAKE_JMP, 0, 0, 0, -1 - RIG_OUT_INSNS);
}

/* How often it did. */
static uint64_t writes(struct rig *r)
{
	struct engine_stat stats[256];
	size_t n = machine_stats(r->machine, stats, ARRAY_LEN(stats));

	for (size_t i = 0; i < n && i < ARRAY_LEN(stats); i++)
		if (!strcmp(stats[i].name, "pio unclaimed writes"))
			return stats[i].count;
	fail_msg("the machine does not count them");
	return 0;
}

static void wait_for_more(struct rig *r, uint64_t than)
{
	for (unsigned i = 0; i < 60000 && writes(r) == than; i++)
		usleep(1000);
	assert_true(writes(r) > than);
}

static void start(struct rig *r, void (*program)(struct buf *p), unsigned cpus)
{
	struct buf p = BUF_INIT;

	program(&p);
	rig_init(r, &p);
	r->config.cpus = cpus;
	rig_start(r);
}

/* The next event, which must be there and be this one. */
static void expect(struct rig *r, enum machine_event_kind kind)
{
	struct machine_event event;

	assert_true(rig_readable(machine_events_fd(r->machine), 60000));
	assert_true(machine_next_event(r->machine, &event));
	assert_int_equal(event.kind, kind);
	assert_int_equal(event.lost, 0);
}

static void nothing_happens_in_a_paused_machine(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, writer, 2);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before, time;

		wait_for_more(&r, writes(&r));
		assert_int_equal(machine_state(r.machine), MACHINE_STATE_RUNNING);
		assert_int_equal(machine_pause(r.machine, &e), 0);
		before = writes(&r);
		time = clock_now(&r.machine->clock);
		assert_int_equal(machine_pause(r.machine, &e), 0); /* it is so already */
		assert_int_equal(machine_state(r.machine), MACHINE_STATE_PAUSED);
		usleep(3000);
		assert_int_equal(writes(&r), before);
		assert_int_equal(clock_now(&r.machine->clock), time);
		assert_int_equal(machine_resume(r.machine, &e), 0);
		wait_for_more(&r, before);
		assert_int_equal(machine_resume(r.machine, &e), 0);
		expect(&r, MACHINE_EVENT_PAUSED);
		expect(&r, MACHINE_EVENT_RESUMED);
	}
	assert_false(rig_readable(machine_events_fd(r.machine), 0));
	rig_release(&r);
}

static void a_paused_machine_can_be_stopped_and_freed(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, writer, 2);
	assert_int_equal(machine_pause(r.machine, &e), 0);
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	assert_int_equal(machine_state(r.machine), MACHINE_STATE_ENDED);
	expect(&r, MACHINE_EVENT_PAUSED);
	expect(&r, MACHINE_EVENT_ENDED);
	rig_release(&r);

	start(&r, writer, 2);
	assert_int_equal(machine_pause(r.machine, &e), 0);
	rig_release(&r);
}

static void a_machine_that_has_ended_is_not_changed(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, rig_poweroff, 1);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_int_equal(machine_pause(r.machine, &e), -ESRCH);
	assert_string_equal(e.text, "the VM has ended");
	assert_int_equal(machine_resume(r.machine, &e), -ESRCH);
	rig_release(&r);
}

/* A program of one byte of output. */
static void talker(struct buf *p)
{
	rig_out(p, 1, LAYOUT_COM1, 'x');
	rig_poweroff(p);
	rig_spin(p);
}

/* Whoever reads the console need not know how the machine ended. */
static void the_console_ends_with_the_machine(void **state)
{
	(void)state;
	for (unsigned stopped = 0; stopped < 2; stopped++) {
		struct buf p = BUF_INIT;
		char bytes[4];
		struct rig r;
		int out[2];

		assert_int_equal(pipe(out), 0);
		if (stopped)
			rig_spin(&p);
		else
			talker(&p);
		rig_init(&r, &p);
		r.config.console_out = out[1];
		rig_start(&r);
		close(out[1]);
		if (stopped)
			machine_stop(r.machine);
		assert_int_equal(read(out[0], bytes, sizeof(bytes)), stopped ? 0 : 1);
		assert_int_equal(read(out[0], bytes, sizeof(bytes)), 0);
		rig_ends(&r, stopped ? MACHINE_STOPPED : MACHINE_POWEROFF);
		rig_release(&r);
		close(out[0]);
	}
}

static void resetter(struct buf *p)
{
	rig_out(p, 1, NOBODYS_PORT, 'x');
	rig_out(p, 1, LAYOUT_RESET, 6);
	rig_spin(p);
}

/* Whatever the moment of the pause, a reset under way does not let the machine go. */
static void a_reset_leaves_a_paused_machine_paused(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, resetter, 2);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t before;

		assert_int_equal(machine_pause(r.machine, &e), 0);
		before = writes(&r);
		usleep(2000);
		assert_int_equal(writes(&r), before);
		assert_int_equal(machine_resume(r.machine, &e), 0);
		wait_for_more(&r, before);
	}
	rig_release(&r);
}

#define CALLERS 4
#define CALLS   200

struct caller {
	struct machine *machine;
	unsigned *count; /* the I/O thread's alone, so without lock */
	pthread_t thread;
	unsigned failed;
};

static int count_up(struct machine *m, void *opaque, struct err *e)
{
	unsigned *count = opaque;

	assert_true(pthread_equal(pthread_self(), m->io_thread));
	return ++*count % 2 ? err_set(e, EAGAIN, "odd") : 0;
}

static void *call(void *opaque)
{
	struct caller *c = opaque;

	for (unsigned i = 0; i < CALLS; i++) {
		struct err e = ERR_INIT;
		int rc = machine_call(c->machine, count_up, c->count, &e);

		assert_int_equal(rc, e.code);
		c->failed += rc == -EAGAIN;
	}
	return NULL;
}

static void calls_of_several_threads_are_made_one_by_one(void **state)
{
	struct caller callers[CALLERS];
	unsigned count = 0, failed = 0;
	struct rig r;

	(void)state;
	start(&r, writer, 2);
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.machine = r.machine, .count = &count};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
	}
	for (unsigned i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		failed += callers[i].failed;
	}
	assert_int_equal(count, CALLERS * CALLS);
	assert_int_equal(failed, CALLERS * CALLS / 2);
	rig_release(&r);
}

static void *pause_until_it_has_ended(void *opaque)
{
	struct machine *m = opaque;
	struct err e = ERR_INIT;

	while (!machine_pause(m, &e) && !machine_resume(m, &e))
		;
	assert_int_equal(e.code, -ESRCH);
	return NULL;
}

/* Every caller gets an answer, also one whose call comes with the end. */
static void a_stop_meets_callers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		pthread_t threads[2];
		struct rig r;

		start(&r, writer, 2);
		for (unsigned k = 0; k < ARRAY_LEN(threads); k++)
			assert_int_equal(pthread_create(&threads[k], NULL, pause_until_it_has_ended,
							r.machine),
					 0);
		usleep(i * 50);
		machine_stop(r.machine);
		rig_ends(&r, MACHINE_STOPPED);
		for (unsigned k = 0; k < ARRAY_LEN(threads); k++)
			pthread_join(threads[k], NULL);
		rig_release(&r);
	}
}

/* A guest that resets itself all the time is told of once. */
static void resets_in_a_row_are_one_event(void **state)
{
	enum machine_event_kind seen[8];
	struct machine_event event;
	unsigned count = 0;
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	assert_true(rig_readable(machine_events_fd(r.machine), 60000));
	usleep(100000); /* many of them, or few */
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	for (; count < ARRAY_LEN(seen) && machine_next_event(r.machine, &event); count++) {
		seen[count] = event.kind;
		assert_int_equal(event.lost, 0);
	}
	assert_int_equal(count, 2);
	assert_int_equal(seen[0], MACHINE_EVENT_RESET);
	assert_int_equal(seen[1], MACHINE_EVENT_ENDED);
	rig_release(&r);
}

static void answers_have_room_where_warnings_have_none(void **state)
{
	struct machine_event event = {0};
	unsigned pauses = 0, lost = 0;
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, writer, 1);
	for (unsigned i = 0; i < 100; i++)
		machine_warn(r.machine, "the disk %u is slow", i);
	assert_int_equal(machine_pause(r.machine, &e), 0);
	for (unsigned i = 0; machine_next_event(r.machine, &event); i++) {
		lost += event.lost;
		pauses += event.kind == MACHINE_EVENT_PAUSED;
	}
	assert_int_equal(pauses, 1);
	assert_int_equal(lost, 100 - 64);
	rig_release(&r);
}

/* Of those that nobody asks for the first are kept, and the end. */
static void events_that_have_no_room_are_counted(void **state)
{
	struct machine_event event = {0};
	unsigned given = 0, lost = 0;
	struct rig r;

	(void)state;
	start(&r, writer, 1);
	for (unsigned i = 0; i < 100; i++)
		machine_warn(r.machine, "the disk %u is slow", i);
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	for (; machine_next_event(r.machine, &event); given++) {
		char text[64];

		snprintf(text, sizeof(text), "the disk %u is slow", given);
		if (event.kind == MACHINE_EVENT_WARNING)
			assert_string_equal(event.text, text);
		lost += event.lost;
	}
	assert_int_equal(event.kind, MACHINE_EVENT_ENDED);
	assert_int_equal(given + lost, 101);
	assert_in_range(given, 60, 70);
	assert_false(rig_readable(machine_events_fd(r.machine), 0));
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_happens_in_a_paused_machine),
		cmocka_unit_test(a_paused_machine_can_be_stopped_and_freed),
		cmocka_unit_test(a_machine_that_has_ended_is_not_changed),
		cmocka_unit_test(the_console_ends_with_the_machine),
		cmocka_unit_test(a_reset_leaves_a_paused_machine_paused),
		cmocka_unit_test(calls_of_several_threads_are_made_one_by_one),
		cmocka_unit_test(a_stop_meets_callers),
		cmocka_unit_test(events_that_have_no_room_are_counted),
		cmocka_unit_test(resets_in_a_row_are_one_event),
		cmocka_unit_test(answers_have_room_where_warnings_have_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
