/* SPDX-License-Identifier: Apache-2.0 */
/* lodge host: the report of the library, on standard output. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/flags.h"
#include "lodge/lodge.h"

struct host {
	bool json;
};

static const struct flag table[] = {
	FLAG_AT("--json", NULL, "the same as a JSON object", flag_switch, struct host, json),
};

static const struct flags flags = {
	.verb = "host",
	.usage = "[--json]",
	.intro = "Tells what this host offers for virtual machines, which engine --engine auto\n"
		 "takes and why, and what to do where something is missing.\n",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.outro = "Exit status: 0 if an engine is usable, 1 if none is, 2 for wrong usage.\n",
};

static int host(int argc, char **argv)
{
	struct host h = {false};
	int usable = 0, status = flags_parse(&flags, &h, NULL, argc, argv);
	char *text;

	if (status != FLAGS_GO)
		return status;
	text = h.json ? lodge_host_json(&usable) : lodge_host_text(&usable);
	if (!text) {
		cli_error("out of memory");
		return STATUS_FAILED;
	}
	status = cli_print(text);
	if (status == STATUS_OK && h.json)
		status = cli_print("\n");
	free(text);
	return status == STATUS_OK && !usable ? STATUS_FAILED : status;
}

const struct verb verb_host = {"host", host, "tell what this host offers for virtual machines",
			       &flags};
