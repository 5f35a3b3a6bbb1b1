/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"

#define PERIOD_NS (60 * NS_PER_SEC)

void metrics_init(struct metrics *m)
{
	*m = (struct metrics){.outlet = {.fd = -1}};
}

void metrics_release(struct metrics *m)
{
	outlet_close(&m->outlet);
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

static void put_requests(struct metrics *m, const struct metrics_context *c, json_t *all)
{
	char fails[64], count[64];

	for (unsigned i = 0; i < c->count; i++) {
		json_t *requests = group(all, c->names[i].group);

		snprintf(count, sizeof(count), "%s_count", c->names[i].name);
		snprintf(fails, sizeof(fails), "%s_fails", c->names[i].name);
		set(requests, count, m->requests[i].count);
		set(requests, fails, m->requests[i].fails);
		m->requests[i] = (struct metrics_request){0};
	}
}

/* The engine's counters, by their places, which do not change while a VM runs. */
static void put_stats(struct metrics *m, const struct metrics_context *c, json_t *all)
{
	struct lodge_stat stats[METRICS_STATS_MAX];
	json_t *own = group(all, "lodge");
	size_t n = c->vm ? lodge_vm_stats(c->vm, stats, METRICS_STATS_MAX) : 0;

	n = MIN(n, METRICS_STATS_MAX);
	for (size_t i = 0; i < n; i++) {
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
	log = group(all, "logger");
	set(log, "missed_log_count", c->log_lost - m->log_lost);
	set(log, "missed_metrics_count", m->outlet.lost - m->own_lost);
	m->log_lost = c->log_lost;
	m->own_lost = m->outlet.lost;
	put_stats(m, c, all);
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
