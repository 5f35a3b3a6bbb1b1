/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/device_metrics.h"
#include "base/bits.h"
#include "base/time.h"

#define PERIOD_NS (60 * NS_PER_SEC)

void metrics_init(struct metrics *m)
{
	*m = (struct metrics){.outlet = {.fd = -1}, .devices = json_object()};
}

void metrics_release(struct metrics *m)
{
	outlet_close(&m->outlet);
	json_decref(m->devices);
}

int metrics_open(struct metrics *m, const char *path, struct err *e)
{
	if (m->outlet.fd >= 0)
		return err_set(e, EEXIST, "metrics go somewhere already: give metrics_path once");
	m->next_ns = time_monotonic_ns() + PERIOD_NS;
	return outlet_open(&m->outlet, "metrics", path, e);
}

int metrics_timeout(const struct metrics *m)
{
	uint64_t now = time_monotonic_ns();

	if (m->outlet.fd < 0)
		return -1;
	return now >= m->next_ns ? 0 : (int)((m->next_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void set(json_t *object, const char *name, uint64_t number)
{
	json_object_set_new(object, name, json_integer((json_int_t)number));
}

/* The object of that name in another, made if it is not there. */
static json_t *group(json_t *all, const char *name)
{
	if (!json_object_get(all, name))
		json_object_set_new(all, name, json_object());
	return json_object_get(all, name);
}

/* Several requests may count as one. */
static void add(json_t *object, const char *name, uint64_t number)
{
	set(object, name, number + (uint64_t)json_integer_value(json_object_get(object, name)));
}

/* "put_api_requests" of "PUT" */
static void put_lower(char *name, size_t size, const char *method)
{
	size_t n = 0;

	for (; method[n] && n + 1 < size; n++)
		name[n] = (char)tolower((unsigned char)method[n]);
	snprintf(name + n, size - n, "_api_requests");
}

static void put_requests(struct metrics *m, const struct metrics_context *c, json_t *all)
{
	char fails[64], count[64], name[32];

	for (unsigned i = 0; i < c->count; i++) {
		struct metrics_request *r = &m->requests[i];
		json_t *requests;

		put_lower(name, sizeof(name), c->names[i].method);
		requests = group(all, name);
		snprintf(count, sizeof(count), "%s_count", c->names[i].name);
		snprintf(fails, sizeof(fails), "%s_fails", c->names[i].name);
		add(requests, count, r->count - r->told_count);
		add(requests, fails, r->fails - r->told_fails);
		r->told_count = r->count;
		r->told_fails = r->fails;
	}
}

/* Of the server itself. */
static void put_server(struct metrics *m, json_t *all)
{
	json_t *server = group(all, "api_server"), *times = group(all, "latencies_us");

	set(server, "process_startup_time_us", m->startup_us);
	set(server, "process_startup_time_cpu_us", m->startup_cpu_us);
	set(times, "pause_vm", m->pause_us);
	set(times, "resume_vm", m->resume_us);
	set(group(all, "deprecated_api"), "deprecated_http_api_calls",
	    m->deprecated - m->told_deprecated);
	m->told_deprecated = m->deprecated;
}

/* KVM's exits for the emulation of a device, of which the software engine has none. */
static void put_exits(json_t *all, const struct lodge_stat *stat, uint64_t told)
{
	static const struct {
		const char *name, *field;
	} exits[] = {
		{"port-reads", "exit_io_in"},
		{"port-writes", "exit_io_out"},
		{"mmio-reads", "exit_mmio_read"},
		{"mmio-writes", "exit_mmio_write"},
	};

	for (size_t i = 0; i < ARRAY_LEN(exits); i++)
		if (!strcmp(exits[i].name, stat->name))
			set(group(all, "vcpu"), exits[i].field, stat->count - told);
}

/* The engine's counters, by their places, which do not change while a VM runs. */
static void put_stats(struct metrics *m, const struct metrics_context *c, json_t *all)
{
	struct lodge_stat stats[METRICS_STATS_MAX];
	json_t *own = group(all, "lodge");
	size_t n = c->vm ? lodge_vm_stats(c->vm, stats, METRICS_STATS_MAX) : 0;

	n = MIN(n, METRICS_STATS_MAX);
	for (size_t i = 0; i < n; i++) {
		put_exits(all, &stats[i], m->stats[i]);
		set(own, stats[i].name, stats[i].count - m->stats[i]);
		m->stats[i] = stats[i].count;
	}
}

void metrics_flush(struct metrics *m, const struct metrics_context *c)
{
	json_t *all = json_object(), *log;
	size_t len;
	char *text;

	m->next_ns = time_monotonic_ns() + PERIOD_NS;
	if (m->outlet.fd < 0) {
		json_decref(all);
		return;
	}
	set(all, "utc_timestamp_ms", time_wall_ns() / NS_PER_MS);
	put_requests(m, c, all);
	put_server(m, all);
	log = group(all, "logger");
	set(log, "missed_log_count", c->log_lost - m->log_lost);
	set(log, "missed_metrics_count", m->outlet.lost - m->own_lost);
	set(log, "rate_limited_log_count", c->log_limited - m->log_limited);
	m->log_limited = c->log_limited;
	m->log_lost = c->log_lost;
	m->own_lost = m->outlet.lost;
	put_stats(m, c, all);
	if (c->vm)
		device_metrics_put(all, m->devices, c->vm, c->places);
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	if (!text) {
		m->outlet.lost++;
		return;
	}
	len = strlen(text);
	text[len] = '\n';
	outlet_write(&m->outlet, text, len + 1);
	free(text);
}
