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
#include "cli/entry.h"
#include "cli/flags.h"
#include "cli/listed.h"
#include "lodge/lodge.h"

#define SOCKET_DEFAULT "/run/firecracker.socket"
#define ID_DEFAULT     "anonymous-instance"

struct api {
	struct api_options options;
	bool no_api, version;
	struct listed listed;
};

static int take_bytes(void *to, const struct flag *flag, const char *value)
{
	char *end;
	unsigned long long n = strtoull(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n > 1u << 30) {
		cli_error("%s '%s' cannot be: give bytes, up to 1 GiB", flag->name, value);
		return STATUS_USAGE;
	}
	*(size_t *)(void *)((char *)to + flag->at) = (size_t)n;
	return 0;
}

/* Microseconds; what is larger than a clock gives is told and not taken. */
static int take_number(void *to, const struct flag *flag, const char *value)
{
	char *end;
	unsigned long long n = strtoull(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n > INT64_MAX / 1000) {
		cli_error("%s '%s' cannot be: give microseconds", flag->name, value);
		return STATUS_USAGE;
	}
	*(uint64_t *)((char *)to + flag->at) = n;
	return 0;
}

/* The library is the judge of it, now and not only when the VM is started. */
static int take_engine(void *to, const struct flag *flag, const char *value)
{
	lodge_vm *judge = lodge_vm_new();
	int rc = judge ? lodge_vm_set(judge, "engine", value) : -ENOMEM;

	if (rc)
		cli_error("--%s", judge ? lodge_vm_error(judge) : "engine: memory is out");
	lodge_vm_free(judge);
	return rc ? STATUS_USAGE : flag_text(to, flag, value);
}

static const struct flag table[] = {
	FLAG_AT("--api-sock", "PATH", "the socket (default: " SOCKET_DEFAULT ")", flag_text,
		struct api, options.socket),
	FLAG_AT("--id", "ID", "the VM's name (default: " ID_DEFAULT ")", flag_text, struct api,
		options.id),
	FLAG_AT("--config-file", "FILE", "sections as JSON; the VM is started by them", flag_text,
		struct api, options.config_file),
	FLAG_AT("--no-api", NULL, "no socket: --config-file says all", flag_switch, struct api,
		no_api),
	FLAG_AT("--enable-pci", NULL, "virtio devices on PCI (default: MMIO)", flag_switch,
		struct api, options.pci),
	FLAG_AT("--http-api-max-payload-size", "BYTES", "of a request (default: 51200)", take_bytes,
		struct api, options.body_max),
	FLAG_AT("--metadata", "FILE", "what the guest may read, as JSON", flag_text, struct api,
		options.metadata),
	FLAG_AT("--mmds-size-limit", "BYTES", "of the metadata (default: as of a request)",
		take_bytes, struct api, options.metadata_max),
	FLAG_AT("--engine", "auto|kvm|bt", "what executes guest code (default: auto)", take_engine,
		struct api, options.engine),
	FLAG_AT("--boot-timer", NULL, "log when the guest writes 123 to 0xC0000000", flag_switch,
		struct api, options.boot_timer),
	FLAG_AT("--log-path", "FILE", "where the log goes (default: nowhere)", flag_text,
		struct api, options.log_path),
	FLAG_AT("--level", "LEVEL", "Off, Error, Warn, Info, Debug or Trace (default: Info)",
		flag_text, struct api, options.log_level),
	FLAG_AT("--module", "NAME", "log lines of \"api\" or of \"vm\" only", flag_text, struct api,
		options.log_module),
	FLAG_AT("--show-level", NULL, "each line of the log names its level", flag_switch,
		struct api, options.log_show_level),
	FLAG_AT("--show-log-origin", NULL, "each line of the log names its module", flag_switch,
		struct api, options.log_show_origin),
	FLAG_AT("--metrics-path", "FILE", "where metrics go (default: nowhere)", flag_text,
		struct api, options.metrics_path),
	FLAG_AT("--start-time-us", "N", "CLOCK_MONOTONIC when the process began, microseconds",
		take_number, struct api, options.start_us),
	FLAG_AT("--start-time-cpu-us", "N", "its processor time then, microseconds", take_number,
		struct api, options.start_cpu_us),
	FLAG_AT("--parent-cpu-time-us", "N", "its parent's processor time for it", take_number,
		struct api, options.parent_cpu_us),
	FLAG("--no-seccomp", NULL, "has no effect: there are no filters", flag_nothing),
	FLAG("--seccomp-filter", "FILE", "has no effect: there are no filters", flag_nothing),
	FLAG_AT("--version", NULL, "print the version in Firecracker's form", flag_switch,
		struct api, version),
};

static const struct flags flags = {
	.verb = "api",
	.usage = "[FLAG...]",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.outro = "The guest's serial console is standard input and output.\n"
		 "Exit status: 0 the guest powered off or rebooted; 1 a host failure;\n"
		 "2 wrong usage; 10 the guest crashed; 130 interrupted.\n",
};

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

static size_t poll_listed(void *opaque, struct pollfd *fds)
{
	_Static_assert(LISTED_FDS <= API_OTHERS_FDS, "there is room for them");
	return listed_poll(opaque, fds);
}

static bool listed_wants_end(void *opaque, lodge_vm *vm, const struct pollfd *fds)
{
	struct listed *l = opaque;

	l->vm = vm;
	listed_polled(l, fds);
	return l->stop;
}

/* A VM that was given an id is found by it. Not all ids are names, the same one may be had by
 * several, and there may be no place for names, as in a jail: it is served all the same. */
static void list(struct api *api, char **argv)
{
	const char *id = api->options.id;

	if (!id || !entry_is_name(id))
		return;
	if (listed_open(&api->listed, NULL, id, false, argv + 1) || listed_serve(&api->listed)) {
		listed_close(&api->listed);
		cli_error("the VM %s is served, and 'lodge ps' does not know it", id);
	}
}

static int serve(struct api *api)
{
	static const int statuses[] = {
		[API_FAILED] = STATUS_FAILED,
		[API_STOPPED] = STATUS_STOPPED,
		[API_POWEROFF] = STATUS_OK,
		[API_CRASHED] = STATUS_CRASHED,
	};
	const struct api_others others = {&api->listed, poll_listed, listed_wants_end};
	struct err e = ERR_INIT;
	enum api_end end;

	api->options.others = &others;
	api->options.say = say;
	api->options.stop_fd = open_signals();
	if (api->options.stop_fd < 0) {
		cli_error("cannot start: %s", strerror(errno));
		return STATUS_FAILED;
	}
	end = api_serve(&api->options, &e);
	api->listed.vm = NULL; /* it was freed */
	if (e.text[0])
		cli_error("%s", e.text);
	listed_close(&api->listed);
	close(api->options.stop_fd);
	return statuses[end];
}

static int print_version(void)
{
	char text[64];

	snprintf(text, sizeof(text), "Firecracker v%s\n", lodge_version());
	return cli_print(text);
}

static int api(int argc, char **argv)
{
	struct api api = {.options = {.socket = SOCKET_DEFAULT, .body_max = SERVER_BODY_MAX}};
	int status = flags_parse(&flags, &api, NULL, argc, argv);

	if (status != FLAGS_GO)
		return status;
	if (api.version)
		return print_version();
	if (api.no_api && !api.options.config_file) {
		cli_error("--no-api without --config-file: nothing would say what to start");
		return STATUS_USAGE;
	}
	if (api.no_api)
		api.options.socket = NULL;
	status = api.options.id ? check_id(api.options.id) : 0;
	if (status)
		return status;
	list(&api, argv);
	if (!api.options.id)
		api.options.id = ID_DEFAULT;
	return serve(&api);
}

const struct verb verb_api = {"api", api, "wait for requests of Firecracker's REST API", &flags};
