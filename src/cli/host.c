/* SPDX-License-Identifier: Apache-2.0 */
/* lodge host: the report of the library, on standard output. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lodge/lodge.h"

static const char usage[] =
	"usage: lodge host [--json]\n\n"
	"Tells what this host offers for virtual machines, which engine --engine auto\n"
	"takes and why, and what to do where something is missing.\n\n"
	"  --json   the same as a JSON object\n\n"
	"Exit status: 0 if an engine is usable, 1 if none is, 2 for wrong usage.\n";

int cli_host(int argc, char **argv)
{
	bool json = false;
	int usable = 0, status;
	char *text;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return cli_print(usage);
		if (strcmp(argv[i], "--json")) {
			cli_error("host does not take '%s': 'lodge host --help' tells what it does",
				  argv[i]);
			return STATUS_USAGE;
		}
		json = true;
	}
	text = json ? lodge_host_json(&usable) : lodge_host_text(&usable);
	if (!text) {
		cli_error("out of memory");
		return STATUS_FAILED;
	}
	status = cli_print(text);
	if (status == STATUS_OK && json)
		status = cli_print("\n");
	free(text);
	return status == STATUS_OK && !usable ? STATUS_FAILED : status;
}
