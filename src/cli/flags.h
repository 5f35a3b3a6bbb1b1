/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags of a verb as a table. What is accepted, what --help prints and what a shell completes
 * all come from it.
 *
 * A flag is "--name value" or "--name=value", in any order with the verb's arguments. It may be
 * given once unless its row says otherwise.
 */
#ifndef LODGE_CLI_FLAGS_H
#define LODGE_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

struct flag;

/* What a flag does to the verb's own structure. 0, or STATUS_USAGE after telling what is wrong with
 * the value. value is NULL for a flag that takes none; else it lives as long as argv. */
typedef int flag_fn(void *to, const struct flag *flag, const char *value);

struct flag {
	const char *name;  /* with its dashes */
	const char *value; /* what it takes, for --help: "FILE", "on|off"; NULL: nothing */
	const char *help;  /* one line */
	flag_fn *take;
	size_t at; /* for flag_text, flag_switch and their like: where in the structure */
	bool many; /* may be given more than once */
};

/* Rows: a flag whose function needs no place, one with a field of the verb's structure, one that
 * may be given more than once. */
#define FLAG(name, value, help, take)             \
	{                                         \
		name, value, help, take, 0, false \
	}
#define FLAG_AT(name, value, help, take, type, field)                 \
	{                                                             \
		name, value, help, take, offsetof(type, field), false \
	}
#define FLAG_MANY(name, value, help, take)       \
	{                                        \
		name, value, help, take, 0, true \
	}

struct flags {
	const char *verb;
	const char *usage;        /* what follows the verb, for --help: "NAME [FLAG...]" */
	const char *intro;        /* lines between usage and flags, NULL for none */
	const struct flag *table; /* without --help, which every verb has */
	size_t count;             /* up to FLAGS_MAX */
	const char *outro;        /* lines after the flags, NULL for none */
	/* Arguments that are not flags: how many at most, what one is ("NAME"), and for a verb that
	 * takes none, what to do instead of giving one (NULL: leave it away). */
	unsigned arguments;
	const char *argument, *instead;
};

#define FLAGS_MAX 64

/* What flags_parse gives when the verb is to go on. */
#define FLAGS_GO -1

/*
 * Reads argv[1..] into the structure `to`; arguments, in their order, into arguments[], which has
 * room for flags->arguments of them (the rest is NULL) and may be NULL where there are none.
 * Returns FLAGS_GO, or the verb's exit status: after --help was printed, or after telling the user
 * what is wrong.
 */
int flags_parse(const struct flags *flags, void *to, const char **arguments, int argc, char **argv);

/* The same for a verb that wants its one argument. */
int flags_parse_name(const struct flags *flags, void *to, const char **name, int argc, char **argv);

/* What --help prints: its exit status. */
int flags_print_help(const struct flags *flags);

/* Ready-made: a `const char *` that may not be empty; a `bool` set to true; a `double`, seconds
 * above 0; nothing. */
int flag_text(void *to, const struct flag *flag, const char *value);
int flag_switch(void *to, const struct flag *flag, const char *value);
int flag_seconds(void *to, const struct flag *flag, const char *value);
int flag_nothing(void *to, const struct flag *flag, const char *value);

#endif
