/* SPDX-License-Identifier: Apache-2.0 */
/* Shared directories in the words of a configuration. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lib/config_share.h"

static void forms(void **state)
{
	static const struct {
		const char *value, *path, *tag;
		bool readonly;
	} cases[] = {
		{"/srv/data", "/srv/data", "data", false},
		{"/srv/data/,ro", "/srv/data/", "data", true},
		{"/srv/data:tag", "/srv/data", "tag", false},
		{"/srv/data:tag,ro", "/srv/data", "tag", true},
		{"data:t,a g", "data", "t,a g", false},
		{"/a:b/c", "/a:b/c", "c", false},
		{"/a:b/c:d", "/a:b/c", "d", false},
		{"/a,ro/b", "/a,ro/b", "b", false},
		{".:here", ".", "here", false},
		{"/:root,ro", "/", "root", true},
		{"/x:012345678901234567890123456789012345", "/x",
		 "012345678901234567890123456789012345", false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct config_shares shares = {.count = 0};

		assert_int_equal(config_shares_add(&shares, cases[i].value, NULL), 0);
		assert_string_equal(shares.share[0].path, cases[i].path);
		assert_string_equal(shares.share[0].tag, cases[i].tag);
		assert_int_equal(shares.share[0].readonly, cases[i].readonly);
		config_shares_release(&shares);
	}
}

static void refused(void **state)
{
	static const char *const values[] = {
		"",     ",ro",
		":tag", "/",
		".",    "/a/..",
		"/a:",  "/b:a", /* there is one */
		"/c/a", "/x:0123456789012345678901234567890123456",
	};
	struct config_shares shares = {.count = 0};

	(void)state;
	assert_int_equal(config_shares_add(&shares, "/a", NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(config_shares_add(&shares, values[i], &e), -EINVAL);
		assert_non_null(strstr(e.text, ": give "));
		assert_int_equal(shares.count, 1);
	}
	config_shares_release(&shares);
}

static void there_is_a_limit(void **state)
{
	struct config_shares shares = {.count = 0};
	char value[] = "/dir/0";
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < MACHINE_SHARES_MAX; i++, value[5]++)
		assert_int_equal(config_shares_add(&shares, value, NULL), 0);
	assert_int_equal(config_shares_add(&shares, value, &e), -EINVAL);
	assert_non_null(strstr(e.text, "one too many"));
	config_shares_release(&shares);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(there_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
