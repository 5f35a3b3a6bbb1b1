/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/workers.h"

#define MANY 1000

static atomic_uint done;
static pthread_barrier_t barrier;

static void count(struct work *w)
{
	(void)w;
	atomic_fetch_add(&done, 1);
}

static void all_work_is_done_before_the_end(void **state)
{
	static struct work work[MANY];
	struct workers *p = workers_new("test", 3, NULL);

	(void)state;
	assert_non_null(p);
	atomic_store(&done, 0);
	for (unsigned i = 0; i < MANY; i++) {
		work[i].run = count;
		workers_do(p, &work[i]);
	}
	workers_free(p);
	assert_int_equal(atomic_load(&done), MANY);
	workers_free(NULL);
}

static void meet(struct work *w)
{
	(void)w;
	pthread_barrier_wait(&barrier);
	atomic_fetch_add(&done, 1);
}

/* Three that wait for each other end only if three threads have them. */
static void as_many_run_at_once_as_were_asked_for(void **state)
{
	struct work work[3];
	struct workers *p = workers_new("test", 3, NULL);

	(void)state;
	atomic_store(&done, 0);
	pthread_barrier_init(&barrier, NULL, 3);
	for (unsigned i = 0; i < 3; i++) {
		work[i].run = meet;
		workers_do(p, &work[i]);
	}
	workers_free(p);
	assert_int_equal(atomic_load(&done), 3);
	pthread_barrier_destroy(&barrier);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_work_is_done_before_the_end),
		cmocka_unit_test(as_many_run_at_once_as_were_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
