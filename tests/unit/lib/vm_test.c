/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public API, with the fake engine in place of those of machine/engines.c: the
 * two functions here are linked instead of theirs.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "../machine/machine_rig.h"
#include "lodge/lodge.h"
#include "machine/engines.h"
#include "machine/layout.h"

static struct engine_ops engine;

const struct engine_ops *engines_get(unsigned n)
{
	return n ? NULL : &engine;
}

int engines_pick(const struct engine_offer *offers, unsigned count)
{
	return count && offers[0].usable ? 0 : -1;
}

bool engines_slow(const struct engine_ops *asked)
{
	(void)asked;
	return false;
}

int engines_choose(const char *name, const struct engine_ops **chosen, struct err *e)
{
	if (strcmp(name, "auto"))
		return err_set(e, ENODEV, "engine %s is not here", name);
	*chosen = &engine;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	engine = fake_engine;
	return 0;
}

static void drop(char *kernel)
{
	unlink(kernel);
	free(kernel);
}

/* A VM with the program as its kernel; the file must stay until the start. */
static lodge_vm *new_vm(struct buf *program, char **kernel)
{
	lodge_vm *vm = lodge_vm_new();

	assert_non_null(vm);
	*kernel = rig_kernel(program);
	assert_int_equal(lodge_vm_set(vm, "kernel", *kernel), 0);
	assert_int_equal(lodge_vm_set(vm, "memory", "32M"), 0);
	assert_int_equal(lodge_vm_set(vm, "debug-exit", "on"), 0);
	return vm;
}

static lodge_vm *start_vm(struct buf *program)
{
	char *kernel;
	lodge_vm *vm = new_vm(program, &kernel);

	if (lodge_vm_start(vm))
		fail_msg("%s", lodge_vm_error(vm));
	drop(kernel);
	return vm;
}

static lodge_vm *start_spinning(void)
{
	struct buf p = BUF_INIT;

	rig_spin(&p);
	return start_vm(&p);
}

static void the_order_of_calls_is_kept(void **state)
{
	struct lodge_result result;
	struct lodge_stat stat;
	lodge_vm *vm = lodge_vm_new();

	(void)state;
	lodge_vm_free(NULL);
	assert_string_equal(lodge_vm_error(vm), "");
	assert_int_equal(lodge_vm_wait(vm, 0), -EINVAL);
	assert_string_equal(lodge_vm_error(vm), "the VM was not started");
	assert_int_equal(lodge_vm_result(vm, &result), -EINVAL);
	assert_int_equal(lodge_vm_fd(vm), -1);
	assert_int_equal(lodge_vm_stats(vm, &stat, 1), 0);
	lodge_vm_stop(vm);
	lodge_vm_power_button(vm);
	lodge_vm_ctrl_alt_del(vm);
	lodge_vm_free(vm);
}

static void values_are_refused_with_words(void **state)
{
	lodge_vm *vm = lodge_vm_new();
	unsigned n = 0;

	(void)state;
	assert_int_equal(lodge_vm_set(vm, "colour", "red"), -ENOENT);
	assert_string_equal(lodge_vm_error(vm), "there is no setting 'colour'");
	assert_int_equal(lodge_vm_set(vm, "cpus", "0"), -EINVAL);
	assert_non_null(strstr(lodge_vm_error(vm), "cpus '0'"));
	assert_int_equal(lodge_vm_set(vm, "cpus", "2"), 0);
	assert_string_equal(lodge_vm_error(vm), "");
	while (lodge_config_name(n))
		n++;
	assert_in_range(n, 10, 64);
	assert_null(lodge_config_name(1000));
	lodge_vm_free(vm);
}

static void a_started_vm_is_not_configured(void **state)
{
	struct lodge_result result;
	lodge_vm *vm = start_spinning();

	(void)state;
	assert_int_equal(lodge_vm_set(vm, "cpus", "2"), -EBUSY);
	assert_true(lodge_vm_error(vm)[0]);
	assert_int_equal(lodge_vm_console(vm, -1, -1), -EBUSY);
	assert_int_equal(lodge_vm_start(vm), -EBUSY);
	assert_int_equal(lodge_vm_result(vm, &result), -EBUSY);
	assert_int_equal(lodge_vm_wait(vm, 0), -ETIMEDOUT);
	assert_int_equal(lodge_vm_wait(vm, 5), -ETIMEDOUT);
	lodge_vm_stop(vm);
	assert_int_equal(lodge_vm_wait(vm, -1), 0);
	assert_int_equal(lodge_vm_start(vm), -EBUSY);
	lodge_vm_free(vm);
}

/* What failed can be put right. */
static void a_start_that_failed_can_be_repeated(void **state)
{
	unsigned before = rig_descriptors();
	struct buf p = BUF_INIT;
	lodge_vm *vm;
	char *kernel;

	(void)state;
	rig_poweroff(&p);
	rig_spin(&p);
	kernel = rig_kernel(&p);
	vm = lodge_vm_new();
	assert_int_equal(lodge_vm_start(vm), -EINVAL);
	assert_non_null(strstr(lodge_vm_error(vm), "kernel"));
	assert_int_equal(lodge_vm_set(vm, "kernel", "/nonexistent"), 0);
	assert_int_equal(lodge_vm_start(vm), -ENOENT);
	assert_non_null(strstr(lodge_vm_error(vm), "/nonexistent"));
	assert_int_equal(lodge_vm_set(vm, "kernel", kernel), 0);
	assert_int_equal(lodge_vm_set(vm, "memory", "8M"), 0);
	assert_int_not_equal(lodge_vm_start(vm), 0);
	assert_int_equal(lodge_vm_set(vm, "memory", "32M"), 0);
	assert_int_equal(lodge_vm_set(vm, "engine", "kvm"), 0);
	assert_int_equal(lodge_vm_start(vm), -ENODEV);
	assert_int_equal(lodge_vm_set(vm, "engine", "auto"), 0);
	assert_int_equal(lodge_vm_start(vm), 0);
	drop(kernel);
	assert_int_equal(lodge_vm_wait(vm, -1), 0);
	lodge_vm_free(vm);
	assert_int_equal(rig_descriptors(), before);
}

static void a_console_that_cannot_be_leaves_none(void **state)
{
	unsigned before = rig_descriptors();
	lodge_vm *vm = lodge_vm_new();

	(void)state;
	assert_int_equal(lodge_vm_console(vm, STDIN_FILENO, STDOUT_FILENO), 0);
	assert_int_equal(rig_descriptors(), before + 2);
	assert_int_equal(lodge_vm_console(vm, 999, STDOUT_FILENO), -EBADF);
	assert_true(lodge_vm_error(vm)[0]);
	assert_int_equal(rig_descriptors(), before);
	assert_int_equal(lodge_vm_console(vm, STDIN_FILENO, 999), -EBADF);
	assert_int_equal(rig_descriptors(), before);
	assert_int_equal(lodge_vm_console(vm, -1, STDOUT_FILENO), 0);
	assert_int_equal(rig_descriptors(), before + 1);
	lodge_vm_free(vm);
	assert_int_equal(rig_descriptors(), before);
}

static void each_end_has_its_number(void **state)
{
	static const struct {
		int exit; /* of the engine; -1: the debug-exit port */
		enum lodge_end end;
		bool words;
	} cases[] = {
		{ENGINE_POWEROFF, LODGE_END_POWEROFF, false},
		{ENGINE_RESET, LODGE_END_POWEROFF, false}, /* with reboot=off */
		{ENGINE_SHUTDOWN, LODGE_END_CRASHED, true},
		{ENGINE_CRASHED, LODGE_END_CRASHED, true},
		{ENGINE_ERROR, LODGE_END_FAILED, true},
		{-1, LODGE_END_DEBUG_EXIT, false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct lodge_result result;
		struct buf p = BUF_INIT;
		lodge_vm *vm;
		char *kernel;

		if (cases[i].exit < 0)
			rig_out(&p, 1, LAYOUT_DEBUG_EXIT, 77);
		else
			fake_emit(&p, FAKE_EXIT, 0, 0, 0, cases[i].exit);
		rig_spin(&p);
		vm = new_vm(&p, &kernel);
		assert_int_equal(lodge_vm_set(vm, "reboot", "off"), 0);
		assert_int_equal(lodge_vm_start(vm), 0);
		drop(kernel);
		assert_int_equal(lodge_vm_wait(vm, -1), 0);
		assert_int_equal(lodge_vm_result(vm, &result), 0);
		assert_int_equal(result.end, cases[i].end);
		assert_int_equal(result.code, cases[i].exit < 0 ? 77 : 0);
		assert_int_equal(result.text[0] != 0, cases[i].words);
		assert_int_equal(result.dump[0] != 0, cases[i].words);
		lodge_vm_free(vm);
	}
}

static void the_end_can_be_polled_and_stays(void **state)
{
	struct lodge_result result;
	lodge_vm *vm = start_spinning();
	int fd = lodge_vm_fd(vm);

	(void)state;
	assert_false(rig_readable(fd, 0));
	lodge_vm_stop(vm);
	assert_true(rig_readable(fd, 60000));
	assert_int_equal(lodge_vm_wait(vm, 0), 0);
	assert_int_equal(lodge_vm_wait(vm, -1), 0);
	assert_true(rig_readable(fd, 0));
	assert_int_equal(lodge_vm_result(vm, &result), 0);
	assert_int_equal(result.end, LODGE_END_STOPPED);
	lodge_vm_free(vm);
}

static void a_vm_stands_still_and_tells_of_it(void **state)
{
	struct lodge_event event;
	lodge_vm *vm = lodge_vm_new();

	(void)state;
	assert_int_equal(lodge_vm_state(vm), LODGE_CREATED);
	assert_int_equal(lodge_vm_event_fd(vm), -1);
	assert_int_equal(lodge_vm_pause(vm), -EINVAL);
	assert_int_equal(lodge_vm_next_event(vm, &event), -EINVAL);
	assert_string_equal(lodge_vm_error(vm), "the VM was not started");
	lodge_vm_free(vm);

	vm = start_spinning();
	assert_int_equal(lodge_vm_state(vm), LODGE_RUNNING);
	assert_int_equal(lodge_vm_next_event(vm, &event), 0);
	assert_int_equal(lodge_vm_pause(vm), 0);
	assert_int_equal(lodge_vm_state(vm), LODGE_PAUSED);
	assert_int_equal(lodge_vm_resume(vm), 0);
	assert_int_equal(lodge_vm_state(vm), LODGE_RUNNING);
	lodge_vm_stop(vm);
	assert_int_equal(lodge_vm_wait(vm, -1), 0);
	assert_int_equal(lodge_vm_state(vm), LODGE_ENDED);
	assert_int_equal(lodge_vm_pause(vm), -ESRCH);
	for (int kind = LODGE_EVENT_PAUSED; kind <= LODGE_EVENT_ENDED; kind++) {
		assert_true(rig_readable(lodge_vm_event_fd(vm), 0));
		assert_int_equal(lodge_vm_next_event(vm, &event), 1);
		assert_int_equal(event.kind, kind);
		assert_string_equal(event.text, "");
	}
	assert_int_equal(lodge_vm_next_event(vm, &event), 0);
	lodge_vm_free(vm);
}

#define SIGNALS 20000

static volatile sig_atomic_t signals;

static void on_alarm(int number)
{
	static const struct itimerval off;

	(void)number;
	if (++signals == SIGNALS)
		setitimer(ITIMER_REAL, &off, NULL);
}

/* A host program may have a timer of its own: each of its signals interrupts the wait, and none may
 * begin it anew. */
static void signals_do_not_make_a_wait_longer(void **state)
{
	static const struct itimerval often = {{0, 1000}, {0, 1000}}, off;
	const struct sigaction action = {.sa_handler = on_alarm};
	struct sigaction before;
	lodge_vm *vm = start_spinning();

	(void)state;
	signals = 0;
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(lodge_vm_wait(vm, 20), -ETIMEDOUT);
	setitimer(ITIMER_REAL, &off, NULL);
	assert_in_range(signals, 0, SIGNALS - 1);
	sigaction(SIGALRM, &before, NULL);
	lodge_vm_free(vm);
}

static sem_t starting, go_on;

static int wait_in_vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	sem_post(&starting);
	sem_wait(&go_on);
	return fake_engine.vm_create(vm, env, e);
}

static void *stop_while_starting(void *opaque)
{
	sem_wait(&starting);
	lodge_vm_stop(opaque);
	lodge_vm_power_button(opaque);
	sem_post(&go_on);
	return NULL;
}

static void a_stop_during_the_start_is_not_lost(void **state)
{
	struct lodge_result result;
	struct buf p = BUF_INIT;
	pthread_t thread;
	lodge_vm *vm;
	char *kernel;

	(void)state;
	engine.vm_create = wait_in_vm_create;
	sem_init(&starting, 0, 0);
	sem_init(&go_on, 0, 0);
	rig_spin(&p);
	vm = new_vm(&p, &kernel);
	assert_int_equal(pthread_create(&thread, NULL, stop_while_starting, vm), 0);
	assert_int_equal(lodge_vm_start(vm), 0);
	pthread_join(thread, NULL);
	assert_int_equal(lodge_vm_wait(vm, 60000), 0);
	assert_int_equal(lodge_vm_result(vm, &result), 0);
	assert_int_equal(result.end, LODGE_END_STOPPED);
	drop(kernel);
	lodge_vm_free(vm);
	sem_destroy(&starting);
	sem_destroy(&go_on);
}

static void *stop_now_and_then(void *opaque)
{
	for (int i = 0; i < 20; i++) {
		lodge_vm_power_button(opaque);
		lodge_vm_ctrl_alt_del(opaque);
		usleep(200);
	}
	lodge_vm_stop(opaque);
	return NULL;
}

static void other_threads_have_the_users_hands(void **state)
{
	lodge_vm *vm = start_spinning();
	struct lodge_stat stats[200];
	pthread_t thread;
	size_t n;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_now_and_then, vm), 0);
	assert_int_equal(lodge_vm_wait(vm, -1), 0);
	pthread_join(thread, NULL);
	n = lodge_vm_stats(vm, stats, ARRAY_LEN(stats));
	assert_in_range(n, 5, ARRAY_LEN(stats));
	for (size_t i = 0; i < n; i++)
		assert_true(stats[i].name[0]);
	lodge_vm_free(vm);
}

static size_t many_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max)
{
	(void)vm;
	for (size_t i = 0; i < max && i < 300; i++)
		stats[i] = (struct engine_stat){"many", i};
	return 300;
}

static void each_counter_that_is_told_of_is_filled(void **state)
{
	struct lodge_stat stats[400];
	lodge_vm *vm;
	size_t n;

	(void)state;
	engine.stats = many_stats;
	memset(stats, 0, sizeof(stats));
	vm = start_spinning();
	n = lodge_vm_stats(vm, stats, ARRAY_LEN(stats));
	assert_int_equal(n, 304);
	for (size_t i = 0; i < n; i++)
		assert_non_null(stats[i].name);
	assert_int_equal(lodge_vm_stats(vm, NULL, 0), 304);
	lodge_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_order_of_calls_is_kept),
		cmocka_unit_test(values_are_refused_with_words),
		cmocka_unit_test_setup(a_started_vm_is_not_configured, setup),
		cmocka_unit_test_setup(a_start_that_failed_can_be_repeated, setup),
		cmocka_unit_test_setup(a_console_that_cannot_be_leaves_none, setup),
		cmocka_unit_test_setup(each_end_has_its_number, setup),
		cmocka_unit_test_setup(the_end_can_be_polled_and_stays, setup),
		cmocka_unit_test_setup(a_vm_stands_still_and_tells_of_it, setup),
		cmocka_unit_test_setup(signals_do_not_make_a_wait_longer, setup),
		cmocka_unit_test_setup(a_stop_during_the_start_is_not_lost, setup),
		cmocka_unit_test_setup(other_threads_have_the_users_hands, setup),
		cmocka_unit_test_setup(each_counter_that_is_told_of_is_filled, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
