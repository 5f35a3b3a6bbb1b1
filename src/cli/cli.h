/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Each verb is a `struct verb` in a file of its name; its
 * function gets its own arguments (argv[0] is the verb) and returns the exit
 * status. Verbs see nothing of lodge but the public header.
 */
#ifndef LODGE_CLI_CLI_H
#define LODGE_CLI_CLI_H

#include <stddef.h>

/* Exit statuses of lodge, as documented in lodge(1). */
#define STATUS_OK      0
#define STATUS_FAILED  1   /* a host failure */
#define STATUS_USAGE   2   /* wrong usage */
#define STATUS_CRASHED 10  /* the guest crashed */
#define STATUS_TIMEOUT 124 /* the time limit */
#define STATUS_STOPPED 130 /* interrupted */

struct flags;

/* A verb. */
struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;       /* one line for "lodge help" */
	const struct flags *flags; /* what it takes */
};

extern const struct verb verb_run, verb_ps, verb_console, verb_stop, verb_kill, verb_pause,
	verb_resume, verb_stats, verb_inspect, verb_logs, verb_api, verb_host, verb_completion,
	verb_version, verb_help;

/* All of them, in the order of "lodge help"; NULL past the last. */
const struct verb *cli_verb(size_t n);
/* The one of that name, or NULL. */
const struct verb *cli_find_verb(const char *name);
/* Tells the user that there is no verb of that name; STATUS_USAGE. */
int cli_unknown_verb(const char *name);

/* One line on stderr, "lodge: " before it. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes text, or bytes, to stdout whole. A failure (a full disk) is told and gives STATUS_FAILED,
 * else STATUS_OK; a reader that went away wants no words. */
int cli_print(const char *text);
int cli_write(const char *bytes, size_t len);

/* The word of the n that is nearest to what was typed, or NULL where none is near. */
const char *cli_nearest(const char *typed, const char *const *words, size_t n);

#endif
