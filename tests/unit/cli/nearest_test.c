/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/cli.h"

static const char *const words[] = {"--kernel", "--memory", "--initrd", "--cpus", "--cpu-model"};

static void a_slip_finds_its_word(void **state)
{
	(void)state;
	assert_string_equal(cli_nearest("--kernal", words, 5), "--kernel");
	assert_string_equal(cli_nearest("--mem", words, 5), "--memory");
	assert_string_equal(cli_nearest("--cpu", words, 5), "--cpus");
	assert_string_equal(cli_nearest("-initrd", words, 5), "--initrd");
}

static void letters_that_changed_places(void **state)
{
	static const char *const verbs[] = {"run", "host", "version", "help"};

	(void)state;
	assert_string_equal(cli_nearest("rnu", verbs, 4), "run");
	assert_string_equal(cli_nearest("hots", verbs, 4), "host");
	assert_null(cli_nearest("xyz", verbs, 4));
}

static void a_far_word_finds_none(void **state)
{
	(void)state;
	assert_null(cli_nearest("--xyzzyqqqq", words, 5));
	assert_null(cli_nearest("", words, 5));
	assert_null(cli_nearest("--a-flag-that-is-much-too-long-for-any-word-here", words, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_finds_its_word),
		cmocka_unit_test(letters_that_changed_places),
		cmocka_unit_test(a_far_word_finds_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
