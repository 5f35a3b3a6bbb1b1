/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge stats: what VMs use, again and again. Rates are what counters grew by between two looks; a
 * single look has the averages since the VM's start.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/vms.h"

struct stats {
	bool json, once;
	double interval;
	const char *name; /* NULL: all */
	json_t *before;   /* the look before; NULL: none */
};

static const struct flag table[] = {
	FLAG_AT("--json", NULL, "a JSON array on a line, each time", flag_switch, struct stats,
		json),
	FLAG_AT("--once", NULL, "look once, with averages since the start", flag_switch,
		struct stats, once),
	FLAG_AT("--interval", "SECONDS", "time between looks (default: 1)", flag_seconds,
		struct stats, interval),
};

static const struct flags flags = {
	.verb = "stats",
	.usage = "[NAME] [FLAG...]",
	.intro = "Shows what virtual machines use, all or one: processor time (100% is one "
		 "processor),\n"
		 "memory that the host gives, and with a NAME each counter. On a terminal the "
		 "table\n"
		 "is live until q or Ctrl-C; else, without --json, one look is printed.\n",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.arguments = 1,
	.argument = "NAME",
};

static const char *const heads[] = {"NAME",  "STATE",     ">CPU%",   ">CPU-TIME",
				    ">CPUS", ">RESIDENT", ">MEMORY", ">UPTIME"};

#define COLUMNS (sizeof(heads) / sizeof(heads[0]))

static json_t *look(const struct stats *s)
{
	static const char request[] = "{\"do\": \"stats\"}";
	json_t *list, *vm;

	if (!s->name)
		return vms_look(false, request);
	vm = vms_look_at(s->name, request);
	if (!vm)
		return NULL;
	list = json_array();
	json_array_append_new(list, vm);
	return list;
}

/* The same VM in the look before, if it ran then; a new one of the name is another. */
static const json_t *earlier(const struct stats *s, const json_t *vm)
{
	size_t i;
	const json_t *other;

	json_array_foreach(s->before, i,
			   other) if (!strcmp(vms_text(other, "name"), vms_text(vm, "name")) &&
				      vms_number(other, "pid") ==
					      vms_number(vm, "pid")) return other;
	return NULL;
}

/* By the second: of what grew from before to now in the VM's own time. */
static double rate(const json_t *vm, const json_t *old, double before, double now)
{
	double seconds = vms_number(vm, "uptime") - (old ? vms_number(old, "uptime") : 0);

	return seconds > 0 ? (now - before) / seconds : 0;
}

static void add(const struct stats *s, struct table *t, const json_t *vm)
{
	const json_t *old = earlier(s, vm);
	char(*cell)[TABLE_CELL] = table_row(t);

	if (!cell)
		return;
	snprintf(cell[0], TABLE_CELL, "%s", vms_text(vm, "name"));
	snprintf(cell[1], TABLE_CELL, "%s", vms_text(vm, "state"));
	if (!json_object_get(vm, "uptime"))
		return;
	snprintf(cell[2], TABLE_CELL, "%.1f",
		 100 * rate(vm, old, vms_number(old, "cpu_time"), vms_number(vm, "cpu_time")));
	table_age(cell[3], vms_number(vm, "cpu_time"));
	snprintf(cell[4], TABLE_CELL, "%.0f", vms_number(vm, "cpus"));
	table_size(cell[5], vms_number(vm, "resident"));
	table_size(cell[6], vms_number(vm, "memory"));
	table_age(cell[7], vms_number(vm, "uptime"));
}

/* Least and greatest of something: they do not grow by the second. */
static bool is_extreme(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && (!strcmp(name + len - 4, "_min") || !strcmp(name + len - 4, "_max"));
}

/* The counters of one thing, a device or the VM (""); `past`: what they were `old` ago. */
static void add_those_of(const char *thing, struct table *t, const json_t *vm, const json_t *old,
			 const json_t *counters, const json_t *past)
{
	const json_t *value;
	const char *name;
	char(*cell)[TABLE_CELL];

	json_object_foreach((json_t *)counters, name, value)
	{
		double now = json_number_value(value);

		if (now == 0)
			continue;
		cell = table_row(t);
		if (!cell)
			return;
		snprintf(cell[0], TABLE_CELL, "%s%s%s", thing, *thing ? " " : "", name);
		snprintf(cell[1], TABLE_CELL, "%.0f", now);
		if (!is_extreme(name))
			snprintf(cell[2], TABLE_CELL, "%.1f",
				 rate(vm, old, vms_number(past, name), now));
	}
}

static void add_counters(const struct stats *s, struct table *t, const json_t *vm)
{
	const json_t *old = earlier(s, vm), *counters;
	const json_t *past = json_object_get(old, "devices");
	const char *device;

	add_those_of("", t, vm, old, json_object_get(vm, "counters"),
		     json_object_get(old, "counters"));
	json_object_foreach(json_object_get(vm, "devices"), device, counters)
		add_those_of(device, t, vm, old, counters, json_object_get(past, device));
}

/* The tables in `lines` lines of `width` characters; 0: no limit. */
static void print_tables(const struct stats *s, const json_t *list, FILE *out, unsigned width,
			 unsigned lines, const char *end)
{
	static const char *const counter_heads[] = {"COUNTER", ">TOTAL", ">PER SECOND"};
	size_t i, room = lines > 2 ? lines - 2 : lines ? 1 : SIZE_MAX;
	struct table t;
	const json_t *vm;

	table_open(&t, heads, COLUMNS);
	json_array_foreach(list, i, vm) add(s, &t, vm);
	table_print(&t, out, width, room, end);
	if (t.rows > room)
		fprintf(out, "and %zu more%s", t.rows - room, end);
	room = room > t.rows + 2 ? room - t.rows - 2 : 0;
	table_close(&t);
	if (!s->name || !room)
		return;
	table_open(&t, counter_heads, 3);
	add_counters(s, &t, json_array_get(list, 0));
	fprintf(out, "%s", end);
	table_print(&t, out, width, lines ? room : SIZE_MAX, end);
	table_close(&t);
}

static int print(const struct stats *s, const json_t *list, bool live)
{
	uint16_t columns = 0, rows = 0;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int status;

	if (!out)
		return STATUS_FAILED;
	if (!terminal_window(STDOUT_FILENO, &columns, &rows))
		columns = rows = 0;
	if (live)
		fputs("\033[H", out); /* the screen's upper left; \033[K clears a line's rest */
	print_tables(s, list, out, columns, live ? rows : 0, live ? "\033[K\r\n" : "\n");
	if (live)
		fputs("\033[J", out); /* and the screen's */
	fclose(out);
	status = cli_print(text);
	free(text);
	return status;
}

/* Waits for the next look; true if the user has had enough. */
static bool wait_next(const struct stats *s, int signals, bool keys)
{
	long long until = ask_clock() + (long long)(s->interval * 1000), left;

	while ((left = until - ask_clock()) > 0) {
		struct pollfd fds[] = {{signals, POLLIN, 0}, {keys ? STDIN_FILENO : -1, POLLIN, 0}};
		bool window;
		char key;

		if (poll(fds, 2, left > 1000000 ? 1000000 : (int)left) <= 0)
			continue;
		if (fds[0].revents && signals_read(signals, &window))
			return true;
		if (fds[0].revents && window)
			return false;
		if (fds[1].revents &&
		    (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 3 || key == 4))
			return true;
	}
	return false;
}

/* A VM of that name that has ended is looked at no more; one that was not started yet is. */
static bool is_over(const struct stats *s, const json_t *list)
{
	const json_t *vm = json_array_get(list, 0);

	const char *state = vms_text(vm, "state");

	return s->name && (!strcmp(state, "ended") || !strcmp(state, "killed"));
}

static int look_on(struct stats *s, int signals, bool live, bool keys)
{
	for (;;) {
		json_t *list = look(s);
		bool over;
		int status;

		if (!list)
			return STATUS_FAILED;
		status = s->json ? vms_print(list, false) : print(s, list, live);
		over = s->once || is_over(s, list);
		json_decref(s->before);
		s->before = list;
		if (status || over || wait_next(s, signals, keys))
			return status;
	}
}

static int show(struct stats *s)
{
	bool live = !s->json && !s->once, keys = live && terminal_is_ours(STDIN_FILENO);
	struct terminal terminal = {.fd = -1};
	int signals = signals_open(), status;

	if (keys)
		keys = !terminal_open(&terminal, STDIN_FILENO);
	if (live)
		cli_print("\033[?1049h\033[?25l"); /* another screen, no cursor */
	status = look_on(s, signals, live, keys);
	if (live)
		cli_print("\033[?25h\033[?1049l");
	terminal_close(&terminal);
	close(signals);
	json_decref(s->before);
	return status;
}

static int stats(int argc, char **argv)
{
	struct stats s = {.interval = 1};
	int status = flags_parse(&flags, &s, &s.name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	if (!s.json && !isatty(STDOUT_FILENO))
		s.once = true;
	return show(&s);
}

const struct verb verb_stats = {"stats", stats, "show what virtual machines use", &flags};
