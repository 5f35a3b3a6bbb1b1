/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lodge/lodge.h"

static int verb_help(int argc, char **argv);
static int verb_version(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} verbs[] = {
	{"run", cli_run, "start a virtual machine and stay with its console"},
	{"api", cli_api, "wait for requests of Firecracker's REST API"},
	{"host", cli_host, "tell what this host offers for virtual machines"},
	{"version", verb_version, "print the version"},
	{"help", verb_help, "print this text"},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int verb_help(int argc, char **argv)
{
	char text[2048];
	size_t used;

	(void)argc;
	(void)argv;
	used = (size_t)snprintf(text, sizeof(text),
				"lodge: a virtual machine monitor\n\n"
				"usage: lodge VERB [FLAG...]\n\n");
	for (size_t i = 0; i < VERBS; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "  %-9s %s\n",
					 verbs[i].name, verbs[i].summary);
	snprintf(text + used, sizeof(text) - used,
		 "\n\"lodge VERB --help\" tells a verb's flags; lodge(1) is the manual.\n");
	return cli_print(text);
}

static int verb_version(int argc, char **argv)
{
	char text[64];

	(void)argv;
	if (argc > 1) {
		cli_error("version takes no argument '%s': leave it away", argv[1]);
		return STATUS_USAGE;
	}
	snprintf(text, sizeof(text), "lodge %s\n", lodge_version());
	return cli_print(text);
}

static int unknown_verb(const char *name)
{
	const char *names[VERBS];
	const char *near;

	for (size_t i = 0; i < VERBS; i++)
		names[i] = verbs[i].name;
	near = cli_nearest(name, names, VERBS);
	if (near)
		cli_error("no verb '%s': did you mean '%s'?", name, near);
	else
		cli_error("no verb '%s': 'lodge help' lists them", name);
	return STATUS_USAGE;
}

/* A standard descriptor that came closed would be given to the next file that is opened, and that
 * file be taken for standard input or output. Reading finds nothing; writing is refused. */
static void occupy_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* Firecracker's clients call lodge by that name, and expect its flags. */
static bool called_firecracker(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strcmp(slash ? slash + 1 : path, "firecracker");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	occupy_standard_descriptors();
	/* A closed pipe, a file that may not grow: errors where they are met, not a death. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc && called_firecracker(argv[0]))
		return cli_api(argc, argv);
	if (!name) {
		cli_error("no verb: 'lodge help' lists them");
		return STATUS_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		return verb_version(1, argv);
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(name, verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	return unknown_verb(name);
}
