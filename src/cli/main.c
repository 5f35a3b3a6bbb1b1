/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

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
	const struct verb *verb;

	occupy_standard_descriptors();
	/* A closed pipe, a file that may not grow: errors where they are met, not a death. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc && called_firecracker(argv[0]))
		return verb_api.run(argc, argv);
	if (!name) {
		cli_error("no verb: 'lodge help' lists them");
		return STATUS_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	verb = cli_find_verb(name);
	return verb ? verb->run(argc - 1, argv + 1) : cli_unknown_verb(name);
}
