/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters on a clock that the test moves: every wait to the nanosecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/time.h"
#include "virtio/limiter.h"

#define MS NS_PER_MS

static struct clock guest;
static struct limiter limiter;
static unsigned called;

static void on_ready(void *opaque)
{
	(void)opaque;
	called++;
}

static int setup(void **state)
{
	(void)state;
	clock_init_manual(&guest);
	called = 0;
	limiter_init(&limiter, &guest, on_ready, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	limiter_cancel(&limiter);
	assert_null(guest.first);
	clock_release(&guest);
	return 0;
}

static void set(uint64_t size, uint64_t refill_ms, uint64_t burst)
{
	const struct limiter_bucket b = {size, refill_ms, burst};

	limiter_set(&limiter, &b, NULL);
}

static void set_ops(uint64_t size, uint64_t refill_ms, uint64_t burst)
{
	const struct limiter_bucket b = {size, refill_ms, burst};

	limiter_set(&limiter, NULL, &b);
}

/* How long the limiter has it wait: it is called then, no nanosecond earlier, and it passes. */
static uint64_t waited(uint64_t bytes)
{
	uint64_t begin = clock_now(&guest), ns;
	unsigned before = called;

	if (limiter_take(&limiter, bytes))
		return 0;
	assert_non_null(guest.first);
	ns = guest.first->deadline - begin;
	clock_advance(&guest, ns - 1);
	assert_int_equal(called, before);
	assert_false(limiter_take(&limiter, bytes));
	assert_false(limiter_take(&limiter, 0)); /* nothing overtakes it */
	clock_advance(&guest, 1);
	assert_int_equal(called, before + 1);
	assert_true(limiter_take(&limiter, bytes));
	return ns;
}

static void without_limits_nothing_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_true(limiter_take(&limiter, UINT32_MAX));
	set(0, 100, 0);
	assert_true(limiter_take(&limiter, UINT32_MAX));
	set(100, 0, 50);
	assert_true(limiter_take(&limiter, UINT32_MAX));
	assert_false(limiter_limits(&limiter));
	assert_null(guest.first);
}

static void a_bucket_is_full_at_first_and_fills_at_its_rate(void **state)
{
	(void)state;
	set(1000, 100, 0); /* a byte in 100 us */
	assert_int_equal(waited(400), 0);
	assert_int_equal(waited(600), 0);
	assert_null(guest.first);
	assert_int_equal(waited(1), MS / 10);
	assert_int_equal(waited(250), 25 * MS);
	assert_int_equal(waited(1000), 100 * MS);
	clock_advance(&guest, 50 * MS);
	assert_int_equal(waited(500), 0);
	clock_advance(&guest, 10000 * MS); /* it is never more than full */
	assert_int_equal(waited(1000), 0);
	assert_int_equal(waited(10), MS);
	assert_int_equal(limiter.refused, 4);
}

static void nothing_is_rounded_away(void **state)
{
	uint64_t total = 0;

	(void)state;
	set(3, 1, 0); /* a byte in 333,333.3 ns */
	assert_int_equal(waited(3), 0);
	for (unsigned i = 0; i < 300; i++)
		total += waited(1);
	assert_int_equal(total, 100 * MS);
	set(7, 1, 0);
	assert_int_equal(waited(7), 0);
	clock_advance(&guest, 142857); /* a seventh of a millisecond, but for a part of a ns */
	assert_int_equal(waited(1), 1);
}

static void a_burst_is_spent_first_and_once(void **state)
{
	(void)state;
	set(100, 100, 250);
	assert_int_equal(waited(200), 0); /* more than the bucket: of the burst */
	assert_int_equal(limiter.bandwidth.burst, 50);
	assert_int_equal(waited(90), 0); /* 50 of the burst, 40 of the bucket */
	assert_int_equal(waited(60), 0);
	assert_int_equal(waited(1), MS);
	clock_advance(&guest, 100000 * MS);
	assert_int_equal(waited(100), 0);
	assert_int_equal(waited(1), MS);
}

static void what_is_larger_than_the_bucket_passes_and_is_paid_for(void **state)
{
	(void)state;
	set(100, 100, 0);
	assert_int_equal(waited(350), 0); /* 250 are owed */
	assert_int_equal(waited(1), 251 * MS);
	assert_int_equal(waited(101), 0); /* nothing is owed */
	assert_int_equal(waited(500), 101 * MS);
	assert_int_equal(waited(100), 600 * MS);
}

static void operations_are_counted_beside_bytes(void **state)
{
	(void)state;
	set(1000, 1000, 0);
	set_ops(4, 1000, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(waited(0), 0);
	assert_int_equal(waited(0), 250 * MS);
	assert_int_equal(waited(1000), 250 * MS); /* the later of the two */
	assert_int_equal(waited(500), 500 * MS);
	/* What one of them refuses takes nothing from the other. */
	assert_false(limiter_take(&limiter, 900));
	limiter_cancel(&limiter);
	assert_int_equal(waited(0), 0);
}

static void it_changes_while_something_waits(void **state)
{
	(void)state;
	set(100, 1000, 0);
	assert_int_equal(waited(100), 0);
	assert_false(limiter_take(&limiter, 100));
	set(100, 10, 0); /* full again, and faster: it is to ask again at once */
	clock_advance(&guest, 0);
	assert_int_equal(called, 1);
	assert_int_equal(waited(100), 0);
	assert_int_equal(waited(100), 10 * MS);
	assert_false(limiter_take(&limiter, 100));
	set(0, 0, 0);
	clock_advance(&guest, 0);
	assert_int_equal(waited(1u << 30), 0);
	set_ops(1, 1000, 0);
	assert_int_equal(waited(1), 0);
	set(5, 5, 0); /* the other stays as it is */
	assert_int_equal(waited(1), 1000 * MS);
}

static void a_reset_ends_the_wait(void **state)
{
	(void)state;
	set(10, 10, 0);
	assert_int_equal(waited(10), 0);
	assert_false(limiter_take(&limiter, 10));
	limiter_cancel(&limiter);
	assert_null(guest.first);
	clock_advance(&guest, 5 * MS);
	assert_int_equal(called, 0);
	assert_int_equal(waited(5), 0);
}

/* The wait is over, but whoever asks comes before the timer. */
static void a_reset_ends_a_wait_that_is_over(void **state)
{
	(void)state;
	set(10, 10, 0);
	assert_int_equal(waited(10), 0);
	assert_false(limiter_take(&limiter, 10));
	set(100, 10, 0);
	assert_true(limiter_take(&limiter, 10));
	limiter_cancel(&limiter);
	assert_null(guest.first); /* whose memory goes with the device */
}

static void the_largest_numbers_are_no_trouble(void **state)
{
	(void)state;
	set(LIMITER_SIZE_MAX, LIMITER_REFILL_MAX, LIMITER_SIZE_MAX);
	clock_advance(&guest, UINT64_MAX / 2);
	assert_int_equal(waited(1ull << 32), 0);
	set(1, LIMITER_REFILL_MAX, 0);
	assert_int_equal(waited(1ull << 32), 0);
	assert_false(limiter_take(&limiter, 1)); /* for longer than there are nanoseconds */
	clock_advance(&guest, NS_PER_SEC);
	assert_int_equal(called, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_limits_nothing_waits),
		T(a_bucket_is_full_at_first_and_fills_at_its_rate),
		T(nothing_is_rounded_away),
		T(a_burst_is_spent_first_and_once),
		T(what_is_larger_than_the_bucket_passes_and_is_paid_for),
		T(operations_are_counted_beside_bytes),
		T(it_changes_while_something_waits),
		T(a_reset_ends_the_wait),
		T(a_reset_ends_a_wait_that_is_over),
		T(the_largest_numbers_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
