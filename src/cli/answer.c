/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/listed.h"

#define STATS_MAX 512
#define CPUS_MAX  64

static json_t *error(const char *why)
{
	return json_pack("{s:s?}", "error", why);
}

/* Bytes of memory that this process has from the host. */
static json_int_t resident(void)
{
	char text[128], *at = text;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	strtoll(at, &at, 10);
	return (json_int_t)strtoll(at, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static const char *state_name(lodge_vm *vm)
{
	static const char *const names[] = {
		[LODGE_CREATED] = "starting",
		[LODGE_RUNNING] = "running",
		[LODGE_PAUSED] = "paused",
		[LODGE_ENDED] = "ended",
	};

	return names[lodge_vm_state(vm)];
}

/* What was not UTF-8 is not told, rather than nothing at all. */
static json_t *text(const char *s)
{
	json_t *json = json_string(s);

	return json ? json : json_string("(not UTF-8)");
}

/* Lives before it starts, and after: what the user gave. */
static json_t *given(struct listed *l)
{
	char cwd[PATH_MAX];
	json_t *arguments = json_array();

	for (char *const *word = l->words; *word; word++)
		json_array_append_new(arguments, text(*word));
	return json_pack("{s:s, s:I, s:f, s:b, s:o, s:o}", "name", l->entry.name, "pid",
			 (json_int_t)getpid(), "started", l->began, "detached", l->detached,
			 "directory", text(getcwd(cwd, sizeof(cwd)) ? cwd : "?"), "arguments",
			 arguments);
}

static json_t *status(struct listed *l)
{
	struct lodge_usage u;
	json_t *json = given(l), *more;

	if (json && !l->vm)
		json_object_set_new(json, "state", json_string("not started"));
	if (!json || !l->vm || lodge_vm_usage(l->vm, &u))
		return json;
	more = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:I, s:b}", "state", state_name(l->vm),
			 "engine", u.engine, "cpus", (json_int_t)u.cpus, "memory",
			 (json_int_t)u.memory, "uptime", (double)u.uptime / 1e9, "cpu_time",
			 (double)u.cpu_time / 1e9, "resident", resident(), "console", l->console);
	json_object_update(json, more);
	json_decref(more);
	if (l->detached)
		json_object_set_new(json, "log_lost", json_integer((json_int_t)l->log.lost));
	return json;
}

static json_t *do_status(struct listed *l, json_t *request)
{
	(void)request;
	return status(l);
}

static json_t *counters(const struct lodge_stat *stats, size_t n)
{
	json_t *json = json_object();

	for (size_t i = 0; i < n && i < STATS_MAX; i++)
		json_object_set_new(json, stats[i].name, json_integer((json_int_t)stats[i].count));
	return json;
}

/* Each device's numbers, by its name. */
static json_t *devices(lodge_vm *vm)
{
	struct lodge_stat stats[STATS_MAX];
	json_t *json = json_object();
	char name[16];

	for (unsigned i = 0; !lodge_vm_device(vm, i, name, sizeof(name)); i++) {
		int n = lodge_vm_device_stats(vm, name, stats, STATS_MAX);

		if (n >= 0)
			json_object_set_new(json, name, counters(stats, (size_t)n));
	}
	return json;
}

static json_t *do_stats(struct listed *l, json_t *request)
{
	struct lodge_stat stats[STATS_MAX];
	uint64_t ns[CPUS_MAX];
	json_t *json = status(l), *times = json_array();
	size_t n, cpus;

	(void)request;
	if (!l->vm) {
		json_decref(times);
		return json;
	}
	n = lodge_vm_stats(l->vm, stats, STATS_MAX);
	cpus = lodge_vm_cpu_times(l->vm, ns, CPUS_MAX);
	for (size_t i = 0; i < cpus && i < CPUS_MAX; i++)
		json_array_append_new(times, json_real((double)ns[i] / 1e9));
	json_object_set_new(json, "cpu_times", times);
	json_object_set_new(json, "counters", counters(stats, n));
	json_object_set_new(json, "devices", devices(l->vm));
	return json;
}

static json_t *done(struct listed *l, int rc)
{
	return rc ? error(lodge_vm_error(l->vm)) : json_object();
}

static json_t *do_pause(struct listed *l, json_t *request)
{
	(void)request;
	return done(l, lodge_vm_pause(l->vm));
}

static json_t *do_resume(struct listed *l, json_t *request)
{
	(void)request;
	return done(l, lodge_vm_resume(l->vm));
}

static json_t *do_power(struct listed *l, json_t *request)
{
	(void)request;
	lodge_vm_power_button(l->vm);
	return json_object();
}

static json_t *do_keys(struct listed *l, json_t *request)
{
	(void)request;
	lodge_vm_ctrl_alt_del(l->vm);
	return json_object();
}

/* The VM's end is acted upon where all ends are. */
static json_t *do_stop(struct listed *l, json_t *request)
{
	(void)request;
	l->stop = true;
	return json_object();
}

static json_t *do_window(struct listed *l, json_t *request)
{
	int columns, rows;

	if (json_unpack(request, "{s:i, s:i}", "columns", &columns, "rows", &rows) || columns < 0 ||
	    columns > UINT16_MAX || rows < 0 || rows > UINT16_MAX)
		return error("a window has columns and rows, 0 to 65535");
	lodge_vm_window(l->vm, (uint16_t)columns, (uint16_t)rows);
	return json_object();
}

static json_t *act(struct listed *l, json_t *request)
{
	static const struct {
		const char *name;
		json_t *(*run)(struct listed *l, json_t *request);
		bool any_time; /* also before there is a VM */
	} deeds[] = {
		{"status", do_status, true},  {"stats", do_stats, true},
		{"stop", do_stop, true},      {"pause", do_pause, false},
		{"resume", do_resume, false}, {"power", do_power, false},
		{"keys", do_keys, false},     {"window", do_window, false},
	};
	const char *name;

	if (!request || json_unpack(request, "{s:s}", "do", &name))
		return error("a request is an object with \"do\"");
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		if (strcmp(name, deeds[i].name))
			continue;
		if (!l->vm && !deeds[i].any_time)
			return error("it was not started yet");
		return deeds[i].run(l, request);
	}
	return error("there is no such request");
}

char *answer_line(void *opaque, const char *line)
{
	json_t *request = json_loads(line, 0, NULL), *json = act(opaque, request);
	char *answer = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(13)) : NULL;

	json_decref(json);
	json_decref(request);
	return answer;
}

json_t *answer_ended(struct listed *l, int status, const char *words, double when)
{
	json_t *json = given(l), *more;

	if (!json)
		return NULL;
	more = json_pack("{s:s, s:i, s:o, s:f}", "state", "ended", "status", status, "text",
			 text(words), "ended", when);
	json_object_update(json, more);
	json_decref(more);
	if (l->log.lost)
		json_object_set_new(json, "log_lost", json_integer((json_int_t)l->log.lost));
	return json;
}
