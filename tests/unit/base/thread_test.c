/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/thread.h"

static const struct sched_param none = {.sched_priority = 0};

static void patience_comes_and_goes(void **state)
{
	(void)state;
	assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &none), 0);
	thread_set_patient(false);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	for (unsigned i = 0; i < 2; i++) {
		thread_set_patient(true);
		assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
	}
	thread_set_patient(false);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

/* The last test: nobody may take its idleness from a thread again, without a privilege. */
static void what_the_user_chose_stays(void **state)
{
	(void)state;
	assert_int_equal(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	thread_set_patient(true);
	assert_int_equal(sched_getscheduler(0), SCHED_IDLE);
	thread_set_patient(false);
	assert_int_equal(sched_getscheduler(0), SCHED_IDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patience_comes_and_goes),
		cmocka_unit_test(what_the_user_chose_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
