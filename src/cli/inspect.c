/* SPDX-License-Identifier: Apache-2.0 */
/* lodge inspect: all that is known of a VM, as JSON. */
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/vms.h"

static const struct flags flags = {
	.verb = "inspect",
	.usage = "NAME",
	.intro = "Prints what is known of a virtual machine, running or ended, as a JSON object.\n",
	.arguments = 1,
	.argument = "NAME",
};

static int inspect(int argc, char **argv)
{
	const char *name;
	int status = flags_parse_name(&flags, NULL, &name, argc, argv);
	json_t *vm;

	if (status != FLAGS_GO)
		return status;
	vm = vms_look_at(name, "{\"do\": \"stats\"}");
	if (!vm)
		return STATUS_FAILED;
	status = vms_print(vm, true);
	json_decref(vm);
	return status;
}

const struct verb verb_inspect = {"inspect", inspect, "tell all of a virtual machine, as JSON",
				  &flags};
