/* SPDX-License-Identifier: Apache-2.0 */
/* When a stream flows, on a clock that the test moves: half a mebibyte in four milliseconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/time.h"
#include "virtio/net_stream.h"

#define MS     NS_PER_MS
#define ENOUGH (512u << 10)

static struct clock guest;
static struct net_stream stream;
static unsigned began, ended;

static void on_changed(void *opaque, bool flows)
{
	assert_ptr_equal(opaque, &guest);
	if (flows)
		began++;
	else
		ended++;
	assert_in_range(began - ended, 0, 1);
}

static int setup(void **state)
{
	(void)state;
	clock_init_manual(&guest);
	clock_set(&guest, 1000 * MS);
	began = ended = 0;
	net_stream_init(&stream, &guest, on_changed, &guest);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	net_stream_release(&stream);
	assert_null(guest.first);
	clock_release(&guest);
	return 0;
}

/* Frames of 64 KiB, one each so many microseconds. */
static void pass(unsigned frames, unsigned us)
{
	for (unsigned i = 0; i < frames; i++) {
		clock_advance(&guest, us * 1000u);
		net_stream_count(&stream, 64u << 10);
	}
}

/* Each waits for its answer: a tenth of a gigabit a second, for long. */
static void single_frames_are_no_stream(void **state)
{
	(void)state;
	pass(1000, 5000);
	assert_int_equal(began, 0);
	assert_null(guest.first);
}

static void much_in_a_short_time_is_one(void **state)
{
	(void)state;
	pass(7, 100);
	clock_advance(&guest, 0);
	assert_int_equal(began, 0);
	/* The first half mebibyte only tells when it was counted first; the next one how fast. */
	pass(8, 100);
	clock_advance(&guest, 0);
	assert_int_equal(began, 0);
	pass(1, 100);
	clock_advance(&guest, 0);
	assert_int_equal(began, 1);
	pass(1000, 100);
	assert_int_equal(began, 1);
	assert_int_equal(ended, 0);
}

static void it_ends_with_the_first_window_that_has_too_little(void **state)
{
	(void)state;
	pass(16, 100);
	clock_advance(&guest, 0);
	assert_int_equal(began, 1);
	net_stream_count(&stream, ENOUGH);
	clock_advance(&guest, 4 * MS);
	assert_int_equal(ended, 0);
	net_stream_count(&stream, ENOUGH - 1);
	clock_advance(&guest, 4 * MS - 1);
	assert_int_equal(ended, 0);
	clock_advance(&guest, 1);
	assert_int_equal(ended, 1);
	/* Nothing is looked at any more. */
	assert_null(guest.first);
}

static void another_one_may_follow(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		pass(16, 100);
		clock_advance(&guest, 0);
		assert_int_equal(began, i);
		clock_advance(&guest, 100 * MS);
		assert_int_equal(ended, i);
	}
}

static void released_while_it_flows_it_is_never_called(void **state)
{
	(void)state;
	pass(16, 100);
	assert_non_null(guest.first);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(single_frames_are_no_stream),
		TEST(much_in_a_short_time_is_one),
		TEST(it_ends_with_the_first_window_that_has_too_little),
		TEST(another_one_may_follow),
		TEST(released_while_it_flows_it_is_never_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
