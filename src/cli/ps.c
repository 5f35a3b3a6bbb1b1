/* SPDX-License-Identifier: Apache-2.0 */
/* lodge ps: the VMs that have names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/table.h"
#include "cli/vms.h"

struct ps {
	bool all, json;
};

static const struct flag table[] = {
	FLAG_AT("--all", NULL, "also those that have ended, as long as that is known", flag_switch,
		struct ps, all),
	FLAG_AT("--json", NULL, "a JSON array of objects", flag_switch, struct ps, json),
};

static const struct flags flags = {
	.verb = "ps",
	.usage = "[--all] [--json]",
	.intro = "Lists this user's virtual machines that were started with --name or --detach, "
		 "and those\n"
		 "of 'lodge api' with --id.\n",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
};

static const char *const heads[] = {"NAME",  ">PID",    "STATE",  ">UPTIME",
				    ">CPUS", ">MEMORY", "ENGINE", ">CPU-TIME"};

#define COLUMNS (sizeof(heads) / sizeof(heads[0]))

static void number(char *cell, double value)
{
	snprintf(cell, TABLE_CELL, "%.0f", value);
}

static void state(char *cell, const json_t *vm)
{
	const char *name = vms_text(vm, "state");

	if (json_object_get(vm, "status"))
		snprintf(cell, TABLE_CELL, "%s (%.0f)", name, vms_number(vm, "status"));
	else
		snprintf(cell, TABLE_CELL, "%s", name);
}

static void add(struct table *t, const json_t *vm)
{
	char(*cell)[TABLE_CELL] = table_row(t);

	if (!cell)
		return;
	snprintf(cell[0], TABLE_CELL, "%s", vms_text(vm, "name"));
	state(cell[2], vm);
	if (!json_object_get(vm, "status") && json_object_get(vm, "pid"))
		number(cell[1], vms_number(vm, "pid"));
	if (!json_object_get(vm, "uptime"))
		return;
	table_age(cell[3], vms_number(vm, "uptime"));
	number(cell[4], vms_number(vm, "cpus"));
	table_size(cell[5], vms_number(vm, "memory"));
	snprintf(cell[6], TABLE_CELL, "%s", vms_text(vm, "engine"));
	table_age(cell[7], vms_number(vm, "cpu_time"));
}

static int print(const json_t *list)
{
	char *text = NULL;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);
	struct table t;
	const json_t *vm;
	int status;

	if (!out)
		return STATUS_FAILED;
	table_open(&t, heads, COLUMNS);
	json_array_foreach(list, i, vm) add(&t, vm);
	table_print(&t, out, table_width(), SIZE_MAX, "\n");
	table_close(&t);
	fclose(out);
	status = cli_print(text);
	free(text);
	return status;
}

static int ps(int argc, char **argv)
{
	struct ps p = {false};
	int status = flags_parse(&flags, &p, NULL, argc, argv);
	json_t *list;

	if (status != FLAGS_GO)
		return status;
	list = vms_look(p.all, "{\"do\": \"status\"}");
	if (!list)
		return STATUS_FAILED;
	status = p.json ? vms_print(list, true) : print(list);
	json_decref(list);
	return status;
}

const struct verb verb_ps = {"ps", ps, "list the virtual machines that have names", &flags};
