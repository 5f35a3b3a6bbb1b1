/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most flags are names of the VM's configuration and go to lodge_vm_set as
 * they are, so that the library is the one judge of values; the rest belong to
 * the command line.
 */
#include "cli/run_flags.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/entry.h"

static int take_config(void *to, const struct flag *flag, const char *value)
{
	struct run_flags *run = to;

	if (!lodge_vm_set(run->vm, flag->name + 2, value))
		return 0;
	cli_error("%s", lodge_vm_error(run->vm));
	return STATUS_USAGE;
}

static int take_kernel(void *to, const struct flag *flag, const char *value)
{
	((struct run_flags *)to)->kernel = true;
	return take_config(to, flag, value);
}

static int take_name(void *to, const struct flag *flag, const char *value)
{
	int status = take_config(to, flag, value);

	((struct run_flags *)to)->name = value;
	return status ? status : entry_check_name(value);
}

static int take_no_reboot(void *to, const struct flag *flag, const char *value)
{
	(void)flag;
	(void)value;
	return take_config(to, &(struct flag){.name = "--reboot"}, "off");
}

static int take_console(void *to, const struct flag *flag, const char *value)
{
	if (strcmp(value, "stdio") && strcmp(value, "none") &&
	    (strncmp(value, "file=", 5) || !value[5])) {
		cli_error("%s '%s' is unknown: give stdio, none or file=PATH", flag->name, value);
		return STATUS_USAGE;
	}
	*(const char **)((char *)to + flag->at) = value;
	return 0;
}

static const struct flag table[] = {
	FLAG("--kernel", "FILE", "bzImage or vmlinux to boot (required)", take_kernel),
	FLAG("--initrd", "FILE", "initial RAM disk", take_config),
	FLAG("--cmdline", "STRING", "kernel command line (default: console=ttyS0)", take_config),
	FLAG("--cpus", "N", "virtual CPUs, 1 to 64 (default: 1)", take_config),
	FLAG("--memory", "SIZE", "RAM, with K, M or G (default: 256M)", take_config),
	FLAG("--engine", "auto|kvm|bt[,code=SIZE]", "what executes guest code (default: auto)",
	     take_config),
	FLAG("--bt-dump", "STAGE,...[:FILE]", "write what bt makes of guest code", take_config),
	FLAG("--cpu-model", "MODEL", "host, x86-64-v2, x86-64-v3 (default: host)", take_config),
	FLAG("--boot", "auto|bzimage|pvh", "how the kernel is entered (default: auto)",
	     take_config),
	FLAG("--kvmclock", "on|off", "paravirtual clock (default: on)", take_config),
	FLAG_MANY("--disk", "FILE[,OPTION...]", "virtio disk, see lodge-run(1)", take_config),
	FLAG_MANY("--net", "user|tap=NAME[,...]", "virtio network, see lodge-run(1)", take_config),
	FLAG("--metadata", "FILE[,OPTION...]",
	     "JSON that the guest reads by HTTP, see lodge-run(1)", take_config),
	FLAG_MANY("--share", "DIR[:TAG][,ro]", "a directory for the guest, by virtio-fs",
		  take_config),
	FLAG("--vsock", "cid=N,socket=PATH", "virtio sockets, see lodge-run(1)", take_config),
	FLAG_MANY("--pmem", "FILE[,ro][,...]", "a file as persistent memory, see lodge-run(1)",
		  take_config),
	FLAG("--hotplug-memory", "max=SIZE[,...]", "memory to be plugged, see lodge-run(1)",
	     take_config),
	FLAG("--balloon", "[size=SIZE,...]", "virtio balloon, see lodge-run(1)", take_config),
	FLAG("--rng", "on|off", "virtio entropy device (default: off)", take_config),
	FLAG("--virtio", "pci|mmio", "bus of the virtio devices (default: pci)", take_config),
	FLAG("--debug-exit", "on|off", "port 0xF4 ends test guests (default: off)", take_config),
	FLAG("--name", "NAME", "what 'lodge ps' and other verbs know the machine by", take_name),
	FLAG_AT("--detach", NULL, "go on in the background, print the name", flag_switch,
		struct run_flags, detach),
	FLAG_AT("--console", "stdio|file=PATH|none", "serial console (default: stdio)",
		take_console, struct run_flags, console),
	FLAG_AT("--virtio-console", "stdio|file=PATH|none", "virtio console hvc0 (default: none)",
		take_console, struct run_flags, virtio_console),
	FLAG_MANY("--port", "NAME,KIND=PATH", "named virtio port, on a socket, file or pty",
		  take_config),
	FLAG("--no-reboot", NULL, "end with status 0 when the guest reboots", take_no_reboot),
	FLAG_AT("--timeout", "SECONDS", "stop after that time with status 124", flag_seconds,
		struct run_flags, timeout),
	FLAG_AT("--stats", NULL, "print counters to stderr at the end", flag_switch,
		struct run_flags, stats),
};

const struct flags run_flags = {
	.verb = "run",
	.usage = "--kernel FILE [FLAG...]",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.outro = "On a terminal Ctrl-A x quits and Ctrl-A h lists the other keys.\n"
		 "Exit status: 0 the guest powered off; 1 a host failure; 2 wrong usage;\n"
		 "10 the guest crashed; 124 the time limit; 130 interrupted.\n",
	.instead = "a kernel is given with --kernel FILE",
};

/* Standard input and output have one owner: hvc0 where it is asked for, else COM1. */
static int share_stdio(struct run_flags *flags)
{
	if (!flags->virtio_console)
		flags->virtio_console = "none";
	if (strcmp(flags->virtio_console, "stdio")) {
		if (!flags->console)
			flags->console = "stdio";
		return FLAGS_GO;
	}
	if (flags->console && !strcmp(flags->console, "stdio")) {
		cli_error("--console and --virtio-console cannot both be stdio: give one of them "
			  "file=PATH or none");
		return STATUS_USAGE;
	}
	if (!flags->console)
		flags->console = "none";
	return FLAGS_GO;
}

int run_flags_parse(struct run_flags *flags, lodge_vm *vm, int argc, char **argv)
{
	int status;

	*flags = (struct run_flags){.vm = vm};
	status = flags_parse(&run_flags, flags, NULL, argc, argv);
	if (status != FLAGS_GO)
		return status;
	if (!flags->kernel) {
		cli_error("run wants a kernel: give one with --kernel FILE");
		return STATUS_USAGE;
	}
	return share_stdio(flags);
}
