/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge api: a VM that waits to be driven through Firecracker's REST API. lodge called by
 * the name "firecracker" is this verb, and takes the same flags: they are Firecracker's,
 * and a few of lodge's own.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api/api.h"
#include "api/server.h"
#include "cli/cli.h"
#include "lodge/lodge.h"

#define SOCKET_DEFAULT "/run/firecracker.socket"
#define ID_DEFAULT     "anonymous-instance"

enum flag_kind {
	FLAG_SOCKET,
	FLAG_ID,
	FLAG_CONFIG,
	FLAG_NO_API,
	FLAG_PCI,
	FLAG_BODY_MAX,
	FLAG_ENGINE,
	FLAG_NOTHING, /* what lodge has no use for */
	FLAG_VERSION,
	FLAG_HELP,
};

static const struct flag {
	const char *name;
	const char *value; /* what it takes, for --help; NULL: nothing */
	enum flag_kind kind;
	const char *help;
} flags_table[] = {
	{"--api-sock", "PATH", FLAG_SOCKET, "the socket (default: " SOCKET_DEFAULT ")"},
	{"--id", "ID", FLAG_ID, "the VM's name (default: " ID_DEFAULT ")"},
	{"--config-file", "FILE", FLAG_CONFIG, "sections as JSON; the VM is started by them"},
	{"--no-api", NULL, FLAG_NO_API, "no socket: --config-file says all"},
	{"--enable-pci", NULL, FLAG_PCI, "virtio devices on PCI (default: MMIO)"},
	{"--http-api-max-payload-size", "BYTES", FLAG_BODY_MAX, "of a request (default: 51200)"},
	{"--engine", "auto|kvm|bt", FLAG_ENGINE, "what executes guest code (default: auto)"},
	{"--no-seccomp", NULL, FLAG_NOTHING, "has no effect: there are no filters"},
	{"--start-time-us", "N", FLAG_NOTHING, "has no effect"},
	{"--start-time-cpu-us", "N", FLAG_NOTHING, "has no effect"},
	{"--parent-cpu-time-us", "N", FLAG_NOTHING, "has no effect"},
	{"--version", NULL, FLAG_VERSION, "print the version in Firecracker's form"},
	{"--help", NULL, FLAG_HELP, "print this text"},
};

#define FLAGS (sizeof(flags_table) / sizeof(flags_table[0]))

struct flags {
	struct api_options options;
	bool no_api;
	bool help, version;
};

static int print_help(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int status;

	if (!out)
		return STATUS_FAILED;
	fputs("usage: lodge api [FLAG...]\n\n", out);
	for (size_t i = 0; i < FLAGS; i++) {
		const struct flag *f = &flags_table[i];
		char head[64];

		snprintf(head, sizeof(head), "%s%s%s", f->name, f->value ? " " : "",
			 f->value ? f->value : "");
		fprintf(out, "  %-34s %s\n", head, f->help);
	}
	fputs("\nThe guest's serial console is standard input and output.\n"
	      "Exit status: 0 the guest powered off or rebooted; 1 a host failure; 2 wrong usage;\n"
	      "10 the guest crashed; 130 interrupted.\n",
	      out);
	fclose(out);
	status = cli_print(text);
	free(text);
	return status;
}

static int unknown_flag(const char *name)
{
	const char *names[FLAGS], *near;

	for (size_t i = 0; i < FLAGS; i++)
		names[i] = flags_table[i].name;
	near = cli_nearest(name, names, FLAGS);
	if (near)
		cli_error("api has no flag %s: did you mean %s?", name, near);
	else
		cli_error("api has no flag %s: 'lodge api --help' lists them", name);
	return STATUS_USAGE;
}

/* The flag that arg names, up to an '='; *value is what follows it, or NULL. */
static const struct flag *find_flag(const char *arg, const char **value)
{
	size_t len = strcspn(arg, "=");

	*value = arg[len] ? arg + len + 1 : NULL;
	for (size_t i = 0; i < FLAGS; i++)
		if (strlen(flags_table[i].name) == len && !strncmp(flags_table[i].name, arg, len))
			return &flags_table[i];
	return NULL;
}

static int set_body_max(struct flags *f, const char *value)
{
	char *end;
	unsigned long long n = strtoull(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n > 1u << 30) {
		cli_error("--http-api-max-payload-size '%s' cannot be: give bytes, up to 1 GiB",
			  value);
		return STATUS_USAGE;
	}
	f->options.body_max = (size_t)n;
	return STATUS_OK;
}

static int take(struct flags *f, const struct flag *flag, const char *value)
{
	switch (flag->kind) {
	case FLAG_SOCKET:
		f->options.socket = value;
		break;
	case FLAG_ID:
		f->options.id = value;
		break;
	case FLAG_CONFIG:
		f->options.config_file = value;
		break;
	case FLAG_ENGINE:
		f->options.engine = value;
		break;
	case FLAG_BODY_MAX:
		return set_body_max(f, value);
	case FLAG_NO_API:
		f->no_api = true;
		break;
	case FLAG_PCI:
		f->options.pci = true;
		break;
	case FLAG_VERSION:
		f->version = true;
		break;
	case FLAG_HELP:
		f->help = true;
		break;
	case FLAG_NOTHING:
		break;
	}
	return STATUS_OK;
}

static int parse(struct flags *f, int argc, char **argv)
{
	int status = STATUS_OK;

	for (int i = 1; !status && i < argc; i++) {
		const char *value;
		const struct flag *flag = find_flag(argv[i], &value);

		if (!flag)
			return unknown_flag(argv[i]);
		if (flag->value && !value)
			value = argv[++i];
		if (flag->value && (!value || !*value)) {
			cli_error("%s takes a value: %s", flag->name, flag->value);
			return STATUS_USAGE;
		}
		if (!flag->value && value) {
			cli_error("%s takes no value: leave '=%s' away", flag->name, value);
			return STATUS_USAGE;
		}
		status = take(f, flag, value);
	}
	if (!status && f->no_api && !f->options.config_file && !f->help && !f->version) {
		cli_error("--no-api without --config-file: nothing would say what to start");
		return STATUS_USAGE;
	}
	if (f->no_api)
		f->options.socket = NULL;
	return status;
}

/* Whether the id is one, as the interface has it. */
static int check_id(const char *id)
{
	size_t len = strlen(id);

	if (len && len <= 64 &&
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == len)
		return STATUS_OK;
	cli_error("--id '%s' cannot be: give up to 64 letters, digits and '-'", id);
	return STATUS_USAGE;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void say(const char *line)
{
	cli_error("%s", line);
}

static int serve(struct flags *f)
{
	static const int statuses[] = {
		[API_FAILED] = STATUS_FAILED,
		[API_STOPPED] = STATUS_STOPPED,
		[API_POWEROFF] = STATUS_OK,
		[API_CRASHED] = STATUS_CRASHED,
	};
	struct err e = ERR_INIT;
	enum api_end end;

	f->options.say = say;
	f->options.stop_fd = open_signals();
	if (f->options.stop_fd < 0) {
		cli_error("cannot start: %s", strerror(errno));
		return STATUS_FAILED;
	}
	end = api_serve(&f->options, &e);
	if (e.text[0])
		cli_error("%s", e.text);
	close(f->options.stop_fd);
	return statuses[end];
}

int cli_api(int argc, char **argv)
{
	struct flags f = {.options = {.socket = SOCKET_DEFAULT,
				      .id = ID_DEFAULT,
				      .body_max = SERVER_BODY_MAX}};
	int status = parse(&f, argc, argv);

	if (!status)
		status = check_id(f.options.id);
	if (status)
		return status;
	if (f.help)
		return print_help();
	if (f.version) {
		char text[64];

		snprintf(text, sizeof(text), "Firecracker v%s\n", lodge_version());
		return cli_print(text);
	}
	return serve(&f);
}
