/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flags.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define HEAD_MAX 128

/* Every verb's; known by its address. */
static const struct flag help_flag = FLAG_MANY("--help", NULL, "print this text", flag_nothing);

int flag_text(void *to, const struct flag *flag, const char *value)
{
	if (!*value) {
		cli_error("%s wants a value: %s %s", flag->name, flag->name, flag->value);
		return STATUS_USAGE;
	}
	*(const char **)((char *)to + flag->at) = value;
	return 0;
}

int flag_switch(void *to, const struct flag *flag, const char *value)
{
	(void)value;
	*(bool *)((char *)to + flag->at) = true;
	return 0;
}

int flag_seconds(void *to, const struct flag *flag, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (*end || end == value || !isfinite(seconds) || seconds <= 0 || seconds > 1e9) {
		cli_error("%s '%s' is not a time in seconds: give a number above 0", flag->name,
			  value);
		return STATUS_USAGE;
	}
	*(double *)((char *)to + flag->at) = seconds;
	return 0;
}

int flag_nothing(void *to, const struct flag *flag, const char *value)
{
	(void)to;
	(void)flag;
	(void)value;
	return 0;
}

static int head(char *text, const struct flag *f)
{
	return snprintf(text, HEAD_MAX, "%s%s%s", f->name, f->value ? " " : "",
			f->value ? f->value : "");
}

static void print_flag(FILE *out, const struct flag *f, int width)
{
	char text[HEAD_MAX];

	head(text, f);
	fprintf(out, "  %-*s  %s\n", width, text, f->help);
}

int flags_print_help(const struct flags *flags)
{
	char *text = NULL, line[HEAD_MAX];
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int width = (int)strlen(help_flag.name), status;

	if (!out) {
		cli_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < flags->count; i++) {
		int n = head(line, &flags->table[i]);

		width = n > width ? n : width;
	}
	fprintf(out, "usage: lodge %s %s\n\n", flags->verb, flags->usage);
	if (flags->intro)
		fprintf(out, "%s\n", flags->intro);
	for (size_t i = 0; i < flags->count; i++)
		print_flag(out, &flags->table[i], width);
	print_flag(out, &help_flag, width);
	if (flags->outro)
		fprintf(out, "\n%s", flags->outro);
	fclose(out);
	status = cli_print(text);
	free(text);
	return status;
}

static int unknown_flag(const struct flags *flags, const char *name)
{
	const char *names[FLAGS_MAX + 1];
	const char *near;

	for (size_t i = 0; i < flags->count; i++)
		names[i] = flags->table[i].name;
	names[flags->count] = help_flag.name;
	near = cli_nearest(name, names, flags->count + 1);
	if (near)
		cli_error("%s has no flag %s: did you mean %s?", flags->verb, name, near);
	else
		cli_error("%s has no flag %s: 'lodge %s --help' lists them", flags->verb, name,
			  flags->verb);
	return STATUS_USAGE;
}

static int one_argument_more(const struct flags *flags, const char *word)
{
	if (!flags->arguments)
		cli_error("%s takes no argument '%s': %s", flags->verb, word,
			  flags->instead ? flags->instead : "leave it away");
	else
		cli_error("%s takes %u %s at most: leave '%s' away", flags->verb, flags->arguments,
			  flags->argument, word);
	return STATUS_USAGE;
}

/* The flag that arg names, up to an '='; *value is what follows it, or NULL. */
static const struct flag *find_flag(const struct flags *flags, const char *arg, const char **value)
{
	size_t len = strcspn(arg, "=");

	*value = arg[len] ? arg + len + 1 : NULL;
	if (!strcmp(arg, help_flag.name) || !strcmp(arg, "-h"))
		return &help_flag;
	for (size_t i = 0; i < flags->count; i++)
		if (strlen(flags->table[i].name) == len && !strncmp(flags->table[i].name, arg, len))
			return &flags->table[i];
	return NULL;
}

/* What the words at argv[*i] are; moves *i to the last that it took. */
static int read_flag(const struct flags *flags, void *to, bool *seen, char **argv, int *i)
{
	const char *word = argv[*i], *value;
	const struct flag *f = find_flag(flags, word, &value);

	if (!f)
		return unknown_flag(flags, word);
	if (f != &help_flag && seen[f - flags->table] && !f->many) {
		cli_error("%s is given twice: give it once", f->name);
		return STATUS_USAGE;
	}
	seen[f == &help_flag ? flags->count : (size_t)(f - flags->table)] = true;
	if (!f->value && value) {
		cli_error("%s takes no value: leave '=%s' away", f->name, value);
		return STATUS_USAGE;
	}
	if (f->value && !value) {
		value = argv[*i + 1];
		if (!value) {
			cli_error("%s wants a value: %s %s", f->name, f->name, f->value);
			return STATUS_USAGE;
		}
		++*i;
	}
	return f->take(to, f, value);
}

int flags_parse(const struct flags *flags, void *to, const char **arguments, int argc, char **argv)
{
	bool seen[FLAGS_MAX + 1] = {false};
	unsigned given = 0;
	int status = 0;

	assert(flags->count <= FLAGS_MAX);
	for (unsigned i = 0; i < flags->arguments; i++)
		arguments[i] = NULL;
	for (int i = 1; !status && i < argc; i++) {
		if (argv[i][0] == '-' && argv[i][1])
			status = read_flag(flags, to, seen, argv, &i);
		else if (given < flags->arguments)
			arguments[given++] = argv[i];
		else
			status = one_argument_more(flags, argv[i]);
	}
	if (status)
		return status;
	return seen[flags->count] ? flags_print_help(flags) : FLAGS_GO;
}

int flags_parse_name(const struct flags *flags, void *to, const char **name, int argc, char **argv)
{
	int status = flags_parse(flags, to, name, argc, argv);

	if (status != FLAGS_GO || *name)
		return status;
	cli_error("%s wants the name of a VM: 'lodge ps' lists them", flags->verb);
	return STATUS_USAGE;
}
