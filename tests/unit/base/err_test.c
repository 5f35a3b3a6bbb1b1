/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static void the_first_error_is_kept(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, ENOENT, "no %s", "first"), -ENOENT);
	assert_int_equal(err_set(&e, -EINVAL, "second"), -EINVAL);
	assert_int_equal(err_errno(&e, EIO, "third"), -EIO);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.text, "no first");
	err_clear(&e);
	assert_int_equal(e.code, 0);
	assert_string_equal(e.text, "");
	assert_int_equal(err_set(&e, -EINVAL, "second"), -EINVAL);
	assert_int_equal(e.code, -EINVAL);
}

static void nobody_listening_is_fine(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ENOENT, "lost"), -ENOENT);
	assert_int_equal(err_errno(NULL, -ENOENT, "lost"), -ENOENT);
}

static void the_errno_is_put_in_words(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_errno(&e, -EACCES, "cannot open %s", "/dev/kvm"), -EACCES);
	assert_string_equal(e.text, "cannot open /dev/kvm: Permission denied");
}

static void a_message_is_one_line_and_fits(void **state)
{
	struct err e = ERR_INIT;
	char longest[2000];

	(void)state;
	err_set(&e, EINVAL, "a\nb\tc\x1b[31m\x7f%s", "\r\n");
	assert_string_equal(e.text, "a?b?c?[31m???");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	err_clear(&e);
	err_set(&e, EINVAL, "%s", longest);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_clear(&e);
	err_errno(&e, EACCES, "%.505s", longest);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_error_is_kept),
		cmocka_unit_test(nobody_listening_is_fine),
		cmocka_unit_test(the_errno_is_put_in_words),
		cmocka_unit_test(a_message_is_one_line_and_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
