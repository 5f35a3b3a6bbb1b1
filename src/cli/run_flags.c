/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flag is "--name value" or "--name=value". Most are names of the VM's
 * configuration and go to lodge_vm_set as they are, so that the library is the
 * one judge of values; the rest belong to the command line.
 */
#include "cli/run_flags.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum flag_kind {
	FLAG_CONFIG,
	FLAG_CONFIG_LIST, /* may be given more than once */
	FLAG_CONSOLE,
	FLAG_VIRTIO_CONSOLE,
	FLAG_TIMEOUT,
	FLAG_STATS,
	FLAG_NO_REBOOT,
	FLAG_HELP,
};

static const struct flag {
	const char *name;
	const char *value; /* what it takes, for --help; NULL: nothing */
	enum flag_kind kind;
	const char *help;
} flags_table[] = {
	{"--kernel", "FILE", FLAG_CONFIG, "bzImage or vmlinux to boot (required)"},
	{"--initrd", "FILE", FLAG_CONFIG, "initial RAM disk"},
	{"--cmdline", "STRING", FLAG_CONFIG, "kernel command line (default: console=ttyS0)"},
	{"--cpus", "N", FLAG_CONFIG, "virtual CPUs, 1 to 64 (default: 1)"},
	{"--memory", "SIZE", FLAG_CONFIG, "RAM, with K, M or G (default: 256M)"},
	{"--engine", "auto|kvm|bt[,code=SIZE]", FLAG_CONFIG,
	 "what executes guest code (default: auto)"},
	{"--bt-dump", "STAGE,...[:FILE]", FLAG_CONFIG, "write what bt makes of guest code"},
	{"--cpu-model", "MODEL", FLAG_CONFIG, "host, x86-64-v2, x86-64-v3 (default: host)"},
	{"--boot", "auto|bzimage|pvh", FLAG_CONFIG, "how the kernel is entered (default: auto)"},
	{"--kvmclock", "on|off", FLAG_CONFIG, "paravirtual clock (default: on)"},
	{"--disk", "FILE[,OPTION...]", FLAG_CONFIG_LIST, "virtio disk, see lodge-run(1)"},
	{"--net", "user|tap=NAME[,...]", FLAG_CONFIG_LIST, "virtio network, see lodge-run(1)"},
	{"--vsock", "cid=N,socket=PATH", FLAG_CONFIG, "virtio sockets, see lodge-run(1)"},
	{"--balloon", "[size=SIZE,...]", FLAG_CONFIG, "virtio balloon, see lodge-run(1)"},
	{"--rng", "on|off", FLAG_CONFIG, "virtio entropy device (default: off)"},
	{"--virtio", "pci|mmio", FLAG_CONFIG, "bus of the virtio devices (default: pci)"},
	{"--debug-exit", "on|off", FLAG_CONFIG, "port 0xF4 ends test guests (default: off)"},
	{"--name", "NAME", FLAG_CONFIG, "a name for the machine"},
	{"--console", "stdio|file=PATH|none", FLAG_CONSOLE, "serial console (default: stdio)"},
	{"--virtio-console", "stdio|file=PATH|none", FLAG_VIRTIO_CONSOLE,
	 "virtio console hvc0 (default: none)"},
	{"--port", "NAME,KIND=PATH", FLAG_CONFIG_LIST,
	 "named virtio port, on a socket, file or pty"},
	{"--no-reboot", NULL, FLAG_NO_REBOOT, "end with status 0 when the guest reboots"},
	{"--timeout", "SECONDS", FLAG_TIMEOUT, "stop after that time with status 124"},
	{"--stats", NULL, FLAG_STATS, "print counters to stderr at the end"},
	{"--help", NULL, FLAG_HELP, "print this text"},
};

#define FLAGS (sizeof(flags_table) / sizeof(flags_table[0]))

char *run_flags_help(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs("usage: lodge run --kernel FILE [FLAG...]\n\n", out);
	for (size_t i = 0; i < FLAGS; i++) {
		const struct flag *f = &flags_table[i];
		char head[64];

		snprintf(head, sizeof(head), "%s%s%s", f->name, f->value ? " " : "",
			 f->value ? f->value : "");
		fprintf(out, "  %-40s %s\n", head, f->help);
	}
	fputs("\nOn a terminal Ctrl-A x quits and Ctrl-A h lists the other keys.\n"
	      "Exit status: 0 the guest powered off; 1 a host failure; 2 wrong usage;\n"
	      "10 the guest crashed; 124 the time limit; 130 interrupted.\n",
	      out);
	fclose(out);
	return text;
}

static int unknown_flag(const char *name)
{
	const char *names[FLAGS];
	const char *near;

	if (strncmp(name, "--", 2)) {
		cli_error("run takes no argument '%s': a kernel is given with --kernel FILE", name);
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < FLAGS; i++)
		names[i] = flags_table[i].name;
	near = cli_nearest(name, names, FLAGS);
	if (near)
		cli_error("run has no flag %s: did you mean %s?", name, near);
	else
		cli_error("run has no flag %s: 'lodge run --help' lists them", name);
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

static int parse_timeout(struct run_flags *flags, const char *value)
{
	char *end;

	flags->timeout = strtod(value, &end);
	if (*end || end == value || !isfinite(flags->timeout) || flags->timeout <= 0 ||
	    flags->timeout > 1e9) {
		cli_error("--timeout '%s' is not a time in seconds: give a number above 0", value);
		return STATUS_USAGE;
	}
	return 0;
}

static int parse_console(const char **console, const char *flag, const char *value)
{
	if (strcmp(value, "stdio") && strcmp(value, "none") &&
	    (strncmp(value, "file=", 5) || !value[5])) {
		cli_error("%s '%s' is unknown: give stdio, none or file=PATH", flag, value);
		return STATUS_USAGE;
	}
	*console = value;
	return 0;
}

/* Standard input and output have one owner: hvc0 where it is asked for, else COM1. */
static int share_stdio(struct run_flags *flags)
{
	if (!flags->virtio_console)
		flags->virtio_console = "none";
	if (strcmp(flags->virtio_console, "stdio")) {
		if (!flags->console)
			flags->console = "stdio";
		return 0;
	}
	if (flags->console && !strcmp(flags->console, "stdio")) {
		cli_error("--console and --virtio-console cannot both be stdio: give one of them "
			  "file=PATH or none");
		return STATUS_USAGE;
	}
	if (!flags->console)
		flags->console = "none";
	return 0;
}

static int set_config(lodge_vm *vm, const char *name, const char *value)
{
	if (!lodge_vm_set(vm, name, value))
		return 0;
	cli_error("%s", lodge_vm_error(vm));
	return STATUS_USAGE;
}

static int apply(struct run_flags *flags, lodge_vm *vm, const struct flag *f, const char *value)
{
	switch (f->kind) {
	case FLAG_CONFIG:
	case FLAG_CONFIG_LIST:
		return set_config(vm, f->name + 2, value);
	case FLAG_CONSOLE:
		return parse_console(&flags->console, f->name, value);
	case FLAG_VIRTIO_CONSOLE:
		return parse_console(&flags->virtio_console, f->name, value);
	case FLAG_TIMEOUT:
		return parse_timeout(flags, value);
	case FLAG_STATS:
		flags->stats = true;
		return 0;
	case FLAG_NO_REBOOT:
		return set_config(vm, "reboot", "off");
	case FLAG_HELP:
		flags->help = true;
		return 0;
	}
	return STATUS_USAGE;
}

int run_flags_parse(struct run_flags *flags, lodge_vm *vm, int argc, char **argv)
{
	unsigned long long seen = 0;

	*flags = (struct run_flags){.console = NULL};
	for (int i = 1; i < argc; i++) {
		const char *value;
		const struct flag *f = find_flag(argv[i], &value);
		int status;

		if (!f)
			return unknown_flag(argv[i]);
		if (seen & (1ULL << (f - flags_table)) && f->kind != FLAG_CONFIG_LIST) {
			cli_error("%s is given twice: give it once", f->name);
			return STATUS_USAGE;
		}
		seen |= 1ULL << (f - flags_table);
		if (!f->value && value) {
			cli_error("%s takes no value: leave '=%s' away", f->name, value);
			return STATUS_USAGE;
		}
		if (f->value && !value) {
			if (i + 1 == argc) {
				cli_error("%s wants a value: %s %s", f->name, f->name, f->value);
				return STATUS_USAGE;
			}
			value = argv[++i];
		}
		status = apply(flags, vm, f, value);
		if (status)
			return status;
	}
	if (!flags->help && !(seen & 1)) { /* the table's first */
		cli_error("run wants a kernel: give one with --kernel FILE");
		return STATUS_USAGE;
	}
	return share_stdio(flags);
}
