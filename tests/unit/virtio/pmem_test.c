/* SPDX-License-Identifier: Apache-2.0 */
/* Persistent memory's queue (virtio 1.2, 5.19): flushes, on another thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"
#include "transport_rig.h"
#include "virtio/pmem.h"

#define AREA   0x10000u
#define BUFFER 0x30000u
#define STATUS 0x31000u

static struct transport_rig rig;
static struct virtio_pmem pmem;
static struct driver driver;
static struct workers *workers;
static struct clock guest;
static sem_t begun, go_on;
static bool waits;
static int result;
static unsigned flushes, failures;

static int on_flush(void *opaque)
{
	(void)opaque;
	__atomic_add_fetch(&flushes, 1, __ATOMIC_SEQ_CST);
	sem_post(&begun);
	if (waits)
		sem_wait(&go_on);
	return result;
}

static void on_failed(void *opaque, int error)
{
	(void)opaque;
	assert_int_equal(error, EIO);
	__atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
}

static int setup(void **state)
{
	struct virtio_pmem_config config = {.start = GIB(4),
					    .size = MIB(4),
					    .length = MIB(3),
					    .clock = &guest,
					    .flush = on_flush,
					    .failed = on_failed};

	(void)state;
	clock_init_manual(&guest);
	sem_init(&begun, 0, 0);
	sem_init(&go_on, 0, 0);
	waits = false;
	flushes = failures = 0;
	result = 0;
	config.workers = workers = workers_new("test", 2, NULL);
	vrig_make(&rig, true, false);
	virtio_pmem_init(&pmem, &rig.mem, &config);
	vrig_connect(&rig, &pmem.device);
	driver_init(&driver, &rig.mem, false, 16, AREA);
	vrig_start(&rig, 0, &driver);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_set_status(&rig, 0);
	workers_free(workers);
	vrig_release(&rig);
	virtio_pmem_release(&pmem);
	clock_release(&guest);
	return 0;
}

static void ask(uint32_t type, unsigned n)
{
	const struct driver_buffer b[] = {{BUFFER, 4, false}, {STATUS + 16 * n, 4, true}};

	store_le(mem_ptr_rw(&rig.mem, BUFFER, 4), 4, type);
	store_le(mem_ptr_rw(&rig.mem, STATUS + 16 * n, 4), 4, 0x55);
	driver_add(&driver, b, 2, false);
	vrig_notify(&rig, 0);
}

static uint64_t status(unsigned n)
{
	return load_le(mem_ptr(&rig.mem, STATUS + 16 * n, 4), 4);
}

/* Waits for an answer, which another thread gives. */
static int answer(void)
{
	uint32_t written;
	int id;

	for (unsigned i = 0; i < 60000; i++) {
		pthread_mutex_lock(&pmem.device.lock);
		id = driver_get_used(&driver, &written);
		pthread_mutex_unlock(&pmem.device.lock);
		if (id >= 0)
			return (int)written;
		usleep(1000);
	}
	return -1;
}

static void where_the_memory_is(void **state)
{
	(void)state;
	assert_int_equal(vrig_config_read(&rig, 0, 4), 0);
	assert_int_equal(vrig_config_read(&rig, 4, 4), 1);
	assert_int_equal(vrig_config_read(&rig, 8, 4), MIB(4));
	assert_int_equal(vrig_config_read(&rig, 12, 4), 0);
	vrig_config_write(&rig, 8, 4, 1);
	assert_int_equal(vrig_config_read(&rig, 8, 4), MIB(4));
}

static void flushes_end_well_or_badly(void **state)
{
	(void)state;
	ask(0, 0);
	assert_int_equal(answer(), 4);
	assert_int_equal(status(0), 0);
	result = -EIO;
	ask(0, 1);
	assert_int_equal(answer(), 4);
	assert_int_equal(status(1), 1);
	ask(0, 2);
	assert_int_equal(answer(), 4);
	ask(1, 3); /* there is no such request */
	assert_int_equal(answer(), 4);
	assert_int_equal(status(3), 1);
	assert_int_equal(flushes, 3);
	for (unsigned i = 0; i < 60000 && !__atomic_load_n(&failures, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	assert_int_equal(failures, 1);
}

/* Those that come while a flush is under way share the next. */
static void flushes_are_shared(void **state)
{
	(void)state;
	waits = true;
	ask(0, 0);
	sem_wait(&begun);
	ask(0, 1);
	ask(0, 2);
	assert_int_equal(status(0), 0x55);
	sem_post(&go_on);
	assert_int_equal(answer(), 4);
	sem_wait(&begun);
	assert_int_equal(status(1), 0x55);
	sem_post(&go_on);
	assert_int_equal(answer(), 4);
	assert_int_equal(answer(), 4);
	assert_int_equal(flushes, 2);
}

/* Ends the flush once the reset waits for it. */
static void *let_go(void *opaque)
{
	bool waited_for = false;

	(void)opaque;
	while (!waited_for) {
		usleep(1000);
		pthread_mutex_lock(&pmem.device.lock);
		waited_for = !pmem.running.count;
		pthread_mutex_unlock(&pmem.device.lock);
	}
	sem_post(&go_on);
	return NULL;
}

static void a_reset_waits_for_a_flush(void **state)
{
	pthread_t thread;

	(void)state;
	waits = true;
	ask(0, 0);
	ask(0, 1);
	sem_wait(&begun);
	assert_int_equal(pthread_create(&thread, NULL, let_go, NULL), 0);
	vrig_set_status(&rig, 0);
	assert_int_equal(flushes, 1);
	assert_false(pmem.flushing);
	assert_int_equal(status(0), 0x55);
	assert_int_equal(status(1), 0x55);
	pthread_join(thread, NULL);
}

static void limits_make_them_wait(void **state)
{
	const struct limiter_bucket ops = {1, 1000, 0};

	(void)state;
	virtio_pmem_limit(&pmem, NULL, &ops);
	ask(0, 0);
	assert_int_equal(answer(), 4);
	ask(0, 1);
	usleep(20000);
	assert_int_equal(status(1), 0x55);
	clock_advance(&guest, NS_PER_SEC);
	assert_int_equal(answer(), 4);
	assert_int_equal(status(1), 0);
}

static void broken(const struct driver_buffer *b, unsigned n)
{
	driver_add(&driver, b, n, false);
	vrig_notify(&rig, 0);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

static void a_request_without_an_answer_breaks_it(void **state)
{
	const struct driver_buffer b = {BUFFER, 4, false};

	(void)state;
	broken(&b, 1);
}

static void a_request_that_is_short_breaks_it(void **state)
{
	const struct driver_buffer b[] = {{BUFFER, 3, false}, {STATUS, 4, true}};

	(void)state;
	broken(b, 2);
}

static void an_answer_without_room_breaks_it(void **state)
{
	const struct driver_buffer b[] = {{BUFFER, 4, false}, {STATUS, 3, true}, {STATUS, 4, true}};

	(void)state;
	broken(b, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(where_the_memory_is),
		TEST(flushes_end_well_or_badly),
		TEST(flushes_are_shared),
		TEST(a_reset_waits_for_a_flush),
		TEST(limits_make_them_wait),
		TEST(a_request_without_an_answer_breaks_it),
		TEST(a_request_that_is_short_breaks_it),
		TEST(an_answer_without_room_breaks_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
