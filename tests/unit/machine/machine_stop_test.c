/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are stopped and freed from outside, at any moment of their lives. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "machine/layout.h"
#include "machine_rig.h"

#define ROUNDS 60

/* Microseconds; the generator is the test's own, so that a run can be had again. */
static unsigned some_time(unsigned *seed, unsigned max)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % max;
}

struct stopper {
	struct machine *machine;
	unsigned delay;
	pthread_t thread;
};

static void *stop(void *opaque)
{
	struct stopper *s = opaque;

	usleep(s->delay);
	machine_stop(s->machine);
	return NULL;
}

/* Runs a program and stops it after some time, ROUNDS times. */
static void stop_at_any_moment(void (*program)(struct buf *p), unsigned cpus)
{
	unsigned seed = cpus;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct buf p = BUF_INIT;
		struct stopper s;
		struct rig r;

		program(&p);
		rig_init(&r, &p);
		r.config.cpus = cpus;
		rig_start(&r);
		s = (struct stopper){.machine = r.machine, .delay = some_time(&seed, 3000)};
		assert_int_equal(pthread_create(&s.thread, NULL, stop, &s), 0);
		rig_ends(&r, MACHINE_STOPPED);
		pthread_join(s.thread, NULL);
		assert_string_equal(r.result.text, "");
		rig_release(&r);
	}
}

static void halt(struct buf *p)
{
	fake_emit(p, FAKE_HLT, 0, 0, 0, 0);
	rig_spin(p);
}

static void print(struct buf *p)
{
	rig_out(p, 1, LAYOUT_COM1, 'x');
	fake_emit(p, FAKE_JMP, 0, 0, 0, -1 - RIG_OUT_INSNS);
}

static void reset(struct buf *p)
{
	rig_out(p, 1, LAYOUT_RESET, 6);
	rig_spin(p);
}

static void a_spinning_guest_is_stopped(void **state)
{
	(void)state;
	stop_at_any_moment(rig_spin, 1);
}

static void a_halted_guest_is_stopped(void **state)
{
	(void)state;
	stop_at_any_moment(halt, 2);
}

static void a_printing_guest_is_stopped(void **state)
{
	(void)state;
	stop_at_any_moment(print, 2);
}

static void a_guest_that_resets_for_ever_is_stopped(void **state)
{
	(void)state;
	stop_at_any_moment(reset, 2);
}

/* The stop comes before, during or right after machine_start. */
static void a_machine_is_stopped_while_it_starts(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct err e = ERR_INIT;
		struct buf p = BUF_INIT;
		struct stopper s;
		struct rig r;

		rig_spin(&p);
		rig_init(&r, &p);
		r.machine = machine_new(&r.config, &e);
		assert_non_null(r.machine);
		s = (struct stopper){.machine = r.machine, .delay = some_time(&seed, 1500)};
		assert_int_equal(pthread_create(&s.thread, NULL, stop, &s), 0);
		assert_int_equal(machine_start(r.machine, &e), 0);
		rig_ends(&r, MACHINE_STOPPED);
		pthread_join(s.thread, NULL);
		rig_release(&r);
	}
}

static atomic_uint runs;

static enum engine_exit count_runs(struct engine_vcpu *v, struct engine_detail *detail)
{
	atomic_fetch_add(&runs, 1);
	return fake_engine.run(v, detail);
}

/* A stop that came before the start: the guest executes nothing, and nothing after the end. */
static void a_machine_that_was_stopped_before_does_not_run(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct err e = ERR_INIT;
		struct buf p = BUF_INIT;
		struct rig r;

		rig_spin(&p);
		rig_init(&r, &p);
		r.engine.run = count_runs;
		atomic_store(&runs, 0);
		r.machine = machine_new(&r.config, &e);
		assert_non_null(r.machine);
		machine_stop(r.machine);
		assert_int_equal(machine_start(r.machine, &e), 0);
		rig_ends(&r, MACHINE_STOPPED);
		rig_release(&r);
		assert_int_equal(atomic_load(&runs), 0);
	}
}

/* machine_free without a stop: a running guest, one that resets itself again and again, one that
 * has just ended. */
static void a_machine_is_freed_at_any_moment(void **state)
{
	static void (*const programs[])(struct buf * p) = {rig_spin, halt, print, reset,
							   rig_poweroff};
	unsigned seed = 2;

	(void)state;
	for (unsigned i = 0; i < 2 * ROUNDS; i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		programs[i % ARRAY_LEN(programs)](&p);
		rig_spin(&p);
		rig_init(&r, &p);
		r.config.cpus = 2;
		rig_start(&r);
		usleep(some_time(&seed, 2000));
		rig_release(&r);
	}
}

static sem_t leaving;

/* A vCPU that is slow to leave, so that the I/O thread has to wait for it. */
static enum engine_exit run_slowly(struct engine_vcpu *v, struct engine_detail *detail)
{
	enum engine_exit exit = fake_engine.run(v, detail);

	sem_post(&leaving);
	usleep(50000);
	return exit;
}

static void a_machine_is_freed_while_its_processors_are_being_parked(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	sem_init(&leaving, 0, 0);
	reset(&p);
	rig_init(&r, &p);
	r.engine.run = run_slowly;
	rig_start(&r);
	sem_wait(&leaving);
	rig_release(&r);
	sem_destroy(&leaving);
}

static struct machine *_Atomic to_stop;

/* Stops the machine while the I/O thread waits for this vCPU, so that it finds both requests. */
static enum engine_exit stop_too(struct engine_vcpu *v, struct engine_detail *detail)
{
	enum engine_exit exit = fake_engine.run(v, detail);

	machine_stop(atomic_load(&to_stop));
	return exit;
}

/* The end by the guest waits for the console's reader, but nobody who stops the machine does. */
static void a_stop_with_the_guests_own_end_does_not_wait_for_the_console(void **state)
{
	static char bytes[1 << 20];
	struct err e = ERR_INIT;
	struct buf p = BUF_INIT;
	struct rig r;
	int out[2];

	(void)state;
	assert_int_equal(pipe2(out, O_NONBLOCK), 0);
	assert_true(write(out[1], bytes, sizeof(bytes)) > 0);
	rig_out(&p, 1, LAYOUT_COM1, 'x');
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.console_out = out[1];
	r.engine.run = stop_too;
	r.machine = machine_new(&r.config, &e);
	assert_non_null(r.machine);
	atomic_store(&to_stop, r.machine);
	assert_int_equal(machine_start(r.machine, &e), 0);
	rig_ends(&r, MACHINE_STOPPED);
	assert_true(read(out[0], bytes, sizeof(bytes)) > 0); /* the free does wait a little */
	rig_release(&r);
	close(out[0]);
	close(out[1]);
}

static void a_machine_is_freed_without_a_start(void **state)
{
	struct err e = ERR_INIT;
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	machine_free(NULL);
	rig_spin(&p);
	rig_init(&r, &p);
	r.machine = machine_new(&r.config, &e);
	assert_non_null(r.machine);
	machine_stop(r.machine);
	rig_release(&r);
}

static void two_machines_do_not_know_of_each_other(void **state)
{
	struct buf p = BUF_INIT, q = BUF_INIT;
	struct rig r, s;

	(void)state;
	rig_spin(&p);
	rig_init(&r, &p);
	rig_out(&q, 1, LAYOUT_DEBUG_EXIT, 5);
	rig_spin(&q);
	rig_init(&s, &q);
	rig_start(&r);
	rig_start(&s);
	rig_ends(&s, MACHINE_DEBUG_EXIT);
	assert_int_equal(s.result.code, 5);
	assert_false(rig_readable(machine_ended_fd(r.machine), 0));
	rig_release(&s);
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	rig_release(&r);
}

/* The loop's epoll descriptor is taken away, which no host does: the guest must not run on. */
static void a_machine_whose_event_loop_fails_has_failed(void **state)
{
	struct err e = ERR_INIT;
	struct buf p = BUF_INIT;
	int last = -1;
	struct rig r;

	(void)state;
	rig_spin(&p);
	rig_init(&r, &p);
	r.machine = machine_new(&r.config, &e);
	assert_non_null(r.machine);
	for (int fd = 3; fd < 100 && last < 0; fd++) {
		char link[64], target[64] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof(target) - 1) > 0 && strstr(target, "eventpoll"))
			last = fd;
	}
	assert_true(last >= 0);
	assert_int_equal(dup2(STDIN_FILENO, last), last);
	assert_int_equal(machine_start(r.machine, &e), 0);
	rig_ends(&r, MACHINE_FAILED);
	assert_string_equal(r.result.text, "the event loop failed: Invalid argument");
	rig_release(&r);
}

static sigset_t vcpu_blocks;

static enum engine_exit note_signals(struct engine_vcpu *v, struct engine_detail *detail)
{
	pthread_sigmask(SIG_SETMASK, NULL, &vcpu_blocks);
	(void)v;
	(void)detail;
	return ENGINE_POWEROFF;
}

/* Signals that are sent to the process are the host program's, whose threads are to get them. Those
 * that a thread raises itself by a bug must reach the program's handler: blocked, they would end
 * the process without one. */
static void threads_block_signals_but_those_of_faults(void **state)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	static const int sent[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1, SIGPIPE};
	sigset_t before, after;
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	rig_spin(&p);
	rig_init(&r, &p);
	r.engine.run = note_signals;
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&before, &after, NSIG / 8); /* what the kernel has */
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
		assert_false(sigismember(&vcpu_blocks, faults[i]));
	for (unsigned i = 0; i < ARRAY_LEN(sent); i++)
		assert_true(sigismember(&vcpu_blocks, sent[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spinning_guest_is_stopped),
		cmocka_unit_test(a_halted_guest_is_stopped),
		cmocka_unit_test(a_printing_guest_is_stopped),
		cmocka_unit_test(a_guest_that_resets_for_ever_is_stopped),
		cmocka_unit_test(a_machine_is_stopped_while_it_starts),
		cmocka_unit_test(a_machine_that_was_stopped_before_does_not_run),
		cmocka_unit_test(a_machine_is_freed_at_any_moment),
		cmocka_unit_test(a_machine_is_freed_while_its_processors_are_being_parked),
		cmocka_unit_test(a_stop_with_the_guests_own_end_does_not_wait_for_the_console),
		cmocka_unit_test(a_machine_is_freed_without_a_start),
		cmocka_unit_test(two_machines_do_not_know_of_each_other),
		cmocka_unit_test(a_machine_whose_event_loop_fails_has_failed),
		cmocka_unit_test(threads_block_signals_but_those_of_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
