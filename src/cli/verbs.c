/* SPDX-License-Identifier: Apache-2.0 */
/* The list of verbs, and the two that tell of lodge itself: version and help. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/flags.h"
#include "lodge/lodge.h"

static const struct verb *const verbs[] = {
	&verb_run,   &verb_ps,     &verb_console,    &verb_stop,    &verb_kill,
	&verb_pause, &verb_resume, &verb_stats,      &verb_inspect, &verb_logs,
	&verb_api,   &verb_host,   &verb_completion, &verb_version, &verb_help,
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct verb *cli_verb(size_t n)
{
	return n < VERBS ? verbs[n] : NULL;
}

const struct verb *cli_find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(name, verbs[i]->name))
			return verbs[i];
	return NULL;
}

int cli_unknown_verb(const char *name)
{
	const char *names[VERBS];
	const char *near;

	for (size_t i = 0; i < VERBS; i++)
		names[i] = verbs[i]->name;
	near = cli_nearest(name, names, VERBS);
	if (near)
		cli_error("no verb '%s': did you mean '%s'?", name, near);
	else
		cli_error("no verb '%s': 'lodge help' lists them", name);
	return STATUS_USAGE;
}

struct version {
	bool json;
};

static const struct flag version_table[] = {
	FLAG_AT("--json", NULL, "as a JSON object", flag_switch, struct version, json),
};

static const struct flags version_flags = {
	.verb = "version",
	.usage = "[--json]",
	.table = version_table,
	.count = sizeof(version_table) / sizeof(version_table[0]),
};

static int version(int argc, char **argv)
{
	struct version v = {false};
	int status = flags_parse(&version_flags, &v, NULL, argc, argv);
	char text[64];

	if (status != FLAGS_GO)
		return status;
	snprintf(text, sizeof(text), v.json ? "{\"version\": \"%s\"}\n" : "lodge %s\n",
		 lodge_version());
	return cli_print(text);
}

const struct verb verb_version = {"version", version, "print the version", &version_flags};

static const struct flags help_flags = {
	.verb = "help",
	.usage = "[VERB]",
	.arguments = 1,
	.argument = "VERB",
};

static int help(int argc, char **argv)
{
	const char *name;
	const struct verb *verb;
	int status = flags_parse(&help_flags, NULL, &name, argc, argv);
	char *text = NULL;
	size_t len;
	FILE *out;

	if (status != FLAGS_GO)
		return status;
	if (name) {
		verb = cli_find_verb(name);
		return verb ? flags_print_help(verb->flags) : cli_unknown_verb(name);
	}
	out = open_memstream(&text, &len);
	if (!out)
		return STATUS_FAILED;
	fputs("lodge: a virtual machine monitor\n\nusage: lodge VERB [FLAG...]\n\n", out);
	for (size_t i = 0; i < VERBS; i++)
		fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n\"lodge VERB --help\" tells a verb's flags; lodge(1) is the manual.\n", out);
	fclose(out);
	status = cli_print(text);
	free(text);
	return status;
}

const struct verb verb_help = {"help", help, "print this text, or a verb's", &help_flags};
