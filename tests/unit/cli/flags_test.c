/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/cli.h"
#include "cli/flags.h"

struct given {
	const char *text;
	bool on;
	double seconds;
	unsigned listed;
};

static int count(void *to, const struct flag *flag, const char *value)
{
	(void)flag;
	(void)value;
	((struct given *)to)->listed++;
	return 0;
}

static const struct flag table[] = {
	FLAG_AT("--text", "TEXT", "a text", flag_text, struct given, text),
	FLAG_AT("--on", NULL, "a switch", flag_switch, struct given, on),
	FLAG_AT("--time", "SECONDS", "a time", flag_seconds, struct given, seconds),
	FLAG_MANY("--list", "WORD", "several", count),
};

static const struct flags flags = {
	.verb = "try",
	.usage = "[NAME] [FLAG...]",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.arguments = 1,
	.argument = "NAME",
};

static struct given given;
static const char *argument;

/* What flags_parse gives for up to six words, NULL past the last. */
static int parse(const char *const words[7])
{
	char *argv[8] = {(char *)"try"};
	int argc = 1;

	while (argc < 7 && words[argc - 1]) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	given = (struct given){.text = NULL};
	return flags_parse(&flags, &given, &argument, argc, argv);
}

#define PARSE(...) parse((const char *const[7]){__VA_ARGS__})

static void values_come_in_both_forms(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--text", "a=b", "--on", "vm", "--time=1.5"), FLAGS_GO);
	assert_string_equal(given.text, "a=b");
	assert_true(given.on);
	assert_true(given.seconds == 1.5);
	assert_string_equal(argument, "vm");
	assert_int_equal(PARSE("--text=--on"), FLAGS_GO);
	assert_string_equal(given.text, "--on");
	assert_false(given.on);
	assert_null(argument);
	assert_int_equal(PARSE(NULL), FLAGS_GO);
}

static void a_dash_alone_is_an_argument(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-"), FLAGS_GO);
	assert_string_equal(argument, "-");
}

static void twice_is_refused_where_it_means_nothing(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--text=a", "--text=b"), STATUS_USAGE);
	assert_int_equal(PARSE("--on", "--on"), STATUS_USAGE);
	assert_int_equal(PARSE("--list=a", "--list", "b"), FLAGS_GO);
	assert_int_equal(given.listed, 2);
}

static void wrong_words_are_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--txet", "a"), STATUS_USAGE);
	assert_int_equal(PARSE("-x"), STATUS_USAGE);
	assert_int_equal(PARSE("--text"), STATUS_USAGE);
	assert_int_equal(PARSE("--text="), STATUS_USAGE);
	assert_int_equal(PARSE("--on=1"), STATUS_USAGE);
	assert_int_equal(PARSE("--time=0"), STATUS_USAGE);
	assert_int_equal(PARSE("--time=nan"), STATUS_USAGE);
	assert_int_equal(PARSE("--time=2x"), STATUS_USAGE);
	assert_int_equal(PARSE("a", "b"), STATUS_USAGE);
}

static void help_is_printed_unless_something_is_wrong(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--help"), STATUS_OK);
	assert_int_equal(PARSE("-h", "--on", "--help"), STATUS_OK);
	assert_int_equal(PARSE("--help", "--txet"), STATUS_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_in_both_forms),
		cmocka_unit_test(a_dash_alone_is_an_argument),
		cmocka_unit_test(twice_is_refused_where_it_means_nothing),
		cmocka_unit_test(wrong_words_are_refused),
		cmocka_unit_test(help_is_printed_unless_something_is_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
