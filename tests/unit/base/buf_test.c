/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void bytes_numbers_and_text_follow_each_other(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	assert_string_equal(buf_str(&b), "");
	buf_add(&b, "ab", 2);
	buf_add(&b, NULL, 3);
	buf_add_le(&b, 0x11223344, 4);
	buf_printf(&b, "%s=%d", "x", 5);
	assert_int_equal(b.len, 12);
	assert_memory_equal(b.data, "ab\0\0\0\x44\x33\x22\x11x=5", 13);
	assert_false(buf_failed(&b));
	buf_add(&b, NULL, 0);
	buf_printf(&b, "%s", "");
	assert_int_equal(b.len, 12);
	buf_release(&b);
	assert_int_equal(b.len, 0);
	buf_printf(&b, "again");
	assert_string_equal(buf_str(&b), "again");
	buf_release(&b);
}

static void it_grows_by_any_step_and_stays_a_string(void **state)
{
	struct buf b = BUF_INIT;
	size_t len = 0;
	char piece[700];

	(void)state;
	memset(piece, 'y', sizeof(piece));
	for (size_t step = 0; step < sizeof(piece); step += 7) {
		if (step % 2)
			buf_add(&b, piece, step);
		else
			buf_printf(&b, "%.*s", (int)step, piece);
		len += step;
		assert_int_equal(b.len, len);
		assert_int_equal(strlen(buf_str(&b)), len);
	}
	for (size_t i = 0; i < len; i++)
		assert_int_equal(b.data[i], 'y');
	buf_release(&b);
}

static void a_failure_is_remembered(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_add(&b, "kept", 4);
	buf_add(&b, NULL, SIZE_MAX / 2); /* refused before anything is touched */
	assert_true(buf_failed(&b));
	buf_add(&b, "lost", 4);
	buf_printf(&b, "lost");
	buf_add_le(&b, 1, 8);
	assert_true(buf_failed(&b));
	assert_int_equal(b.len, 4);
	buf_release(&b);
	assert_false(buf_failed(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_numbers_and_text_follow_each_other),
		cmocka_unit_test(it_grows_by_any_step_and_stays_a_string),
		cmocka_unit_test(a_failure_is_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
