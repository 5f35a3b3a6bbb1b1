/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/time.h"

#define TOP UINT64_MAX

static void sums_and_products_know_their_limit(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(checked_add(TOP - 1, 1, &v) && v == TOP);
	assert_false(checked_add(TOP, 1, &v));
	assert_true(checked_sub(5, 5, &v) && v == 0);
	assert_false(checked_sub(5, 6, &v));
	assert_true(checked_mul(BIT(32), BIT(31), &v) && v == BIT(63));
	assert_false(checked_mul(BIT(32), BIT(32), &v));
	assert_true(checked_mul(0, TOP, &v) && v == 0);
}

static void rounding_up_does_not_wrap(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(checked_align_up(0, 4096, &v) && v == 0);
	assert_true(checked_align_up(1, 4096, &v) && v == 4096);
	assert_true(checked_align_up(4096, 4096, &v) && v == 4096);
	assert_true(checked_align_up(TOP - 4095, 4096, &v) && v == TOP - 4095);
	assert_false(checked_align_up(TOP - 4094, 4096, &v));
	assert_true(checked_align_up(TOP, 1, &v) && v == TOP);
}

static void a_range_lies_within_a_limit(void **state)
{
	(void)state;
	assert_true(range_within(0, 10, 10));
	assert_true(range_within(10, 0, 10));
	assert_false(range_within(11, 0, 10));
	assert_false(range_within(1, 10, 10));
	assert_false(range_within(TOP, 2, 10)); /* the sum wraps to 1 */
	assert_false(range_within(2, TOP, 10));
	assert_true(range_within(0, TOP, TOP));
}

static void ranges_that_share_a_byte_overlap(void **state)
{
	(void)state;
	assert_true(ranges_overlap(0, 10, 9, 1));
	assert_false(ranges_overlap(0, 10, 10, 1));
	assert_false(ranges_overlap(10, 5, 0, 10));
	assert_true(ranges_overlap(3, 1, 0, 10));
	assert_true(ranges_overlap(0, 10, 3, 1));
	/* The last byte of the address space is one like any other. */
	assert_true(ranges_overlap(TOP - 9, 10, TOP, 1));
	assert_true(ranges_overlap(TOP, 1, TOP - 9, 10));
	assert_false(ranges_overlap(TOP, 1, 0, 10));
	/* An empty range has no byte to share. */
	assert_false(ranges_overlap(5, 0, 0, 10));
	assert_false(ranges_overlap(0, 10, 5, 0));
}

static void bits_and_loads(void **state)
{
	uint8_t bytes[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	assert_int_equal(MASK(0), 0);
	assert_int_equal(MASK(1), 1);
	assert_true(MASK(64) == TOP);
	assert_int_equal(align_down(4097, 4096), 4096);
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(load_le(bytes + 1, 1), 1);
	assert_int_equal(load_le(bytes + 1, 4), 0x04030201);
	assert_true(load_le(bytes + 1, 8) == 0x0807060504030201ULL);
	store_le(bytes + 1, 2, 0x11223344aabbULL);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(bytes[1], 0xbb);
	assert_int_equal(bytes[2], 0xaa);
	assert_int_equal(bytes[3], 3);
}

static void scaling_does_not_overflow_on_the_way(void **state)
{
	(void)state;
	assert_true(time_scale(TOP, TOP, TOP) == TOP);
	assert_true(time_scale(1ULL << 62, 3, 4) == 3ULL << 60);
	assert_int_equal(time_scale(3579545, NS_PER_SEC, 3579545), NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_and_products_know_their_limit),
		cmocka_unit_test(rounding_up_does_not_wrap),
		cmocka_unit_test(a_range_lies_within_a_limit),
		cmocka_unit_test(ranges_that_share_a_byte_overlap),
		cmocka_unit_test(bits_and_loads),
		cmocka_unit_test(scaling_does_not_overflow_on_the_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
