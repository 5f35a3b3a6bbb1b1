/* SPDX-License-Identifier: Apache-2.0 */
/* lodge pause, lodge resume. */
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/flags.h"

static int send_word(const struct flags *flags, const char *request, int argc, char **argv)
{
	const char *name;
	struct entry e;
	int status = flags_parse_name(flags, NULL, &name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	status = entry_open(&e, name);
	if (!status) {
		status = ask(&e, request, NULL);
		entry_close(&e);
	}
	return status;
}

static const struct flags pause_flags = {
	.verb = "pause",
	.usage = "NAME",
	.intro = "Has a virtual machine stand still until 'lodge resume'.\n",
	.arguments = 1,
	.argument = "NAME",
};

static int pause_vm(int argc, char **argv)
{
	return send_word(&pause_flags, "{\"do\": \"pause\"}", argc, argv);
}

const struct verb verb_pause = {"pause", pause_vm, "have a virtual machine stand still",
				&pause_flags};

static const struct flags resume_flags = {
	.verb = "resume",
	.usage = "NAME",
	.intro = "Lets a virtual machine that was paused go on.\n",
	.arguments = 1,
	.argument = "NAME",
};

static int resume_vm(int argc, char **argv)
{
	return send_word(&resume_flags, "{\"do\": \"resume\"}", argc, argv);
}

const struct verb verb_resume = {"resume", resume_vm, "let a paused virtual machine go on",
				 &resume_flags};
