/* SPDX-License-Identifier: Apache-2.0 */
#include "api/device_metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"

#define STATS_MAX 64
#define GROUP_MAX 96

/* A field and the library's counter of it. An aggregate has three counters, of nanoseconds, and
 * becomes an object of microseconds. */
struct source {
	const char *field, *counter;
	bool aggregate;
};

static const struct source block[] = {
	{"read_count", "reads", false},
	{"read_bytes", "read_bytes", false},
	{"read_agg", "read_ns", true},
	{"write_count", "writes", false},
	{"write_bytes", "write_bytes", false},
	{"write_agg", "write_ns", true},
	{"flush_count", "flushes", false},
	{"execute_fails", "errors", false},
	{"invalid_reqs_count", "refused", false},
	{"queue_event_count", "notifications", false},
	{"event_fails", "resets_needed", false},
	{"rate_limiter_throttled_events", "throttled", false},
	{"update_count", "swaps", false},
	{"update_fails", "swap_errors", false},
	{NULL, NULL, false},
};

static const struct source net[] = {
	{"rx_packets_count", "received", false},
	{"rx_count", "received", false},
	{"rx_bytes_count", "received_bytes", false},
	{"rx_fails", "dropped", false},
	{"no_rx_avail_buffer", "no_buffer", false},
	{"rx_queue_event_count", "rx_notifications", false},
	{"rx_rate_limiter_throttled", "rx_throttled", false},
	{"tx_packets_count", "sent", false},
	{"tx_count", "sent", false},
	{"tx_bytes_count", "sent_bytes", false},
	{"tx_fails", "lost", false},
	{"tx_malformed_frames", "malformed", false},
	{"tx_queue_event_count", "tx_notifications", false},
	{"tx_rate_limiter_throttled", "tx_throttled", false},
	{"event_fails", "resets_needed", false},
	{NULL, NULL, false},
};

static const struct source pmem[] = {
	{"queue_event_count", "notifications", false},
	{"event_fails", "resets_needed", false},
	{"rate_limiter_throttled_events", "throttled", false},
	{NULL, NULL, false},
};

static const struct source entropy[] = {
	{"entropy_event_count", "requests", false},
	{"entropy_bytes", "bytes", false},
	{"entropy_event_fails", "resets_needed", false},
	{"entropy_rate_limiter_throttled", "throttled", false},
	{NULL, NULL, false},
};

/* Firecracker's directions are the guest's. */
static const struct source vsock[] = {
	{"rx_packets_count", "received", false},
	{"rx_bytes_count", "received_bytes", false},
	{"rx_queue_event_count", "rx_notifications", false},
	{"tx_packets_count", "sent", false},
	{"tx_bytes_count", "sent_bytes", false},
	{"tx_queue_event_count", "tx_notifications", false},
	{"conns_added", "connections", false},
	{"conns_removed", "closed", false},
	{"conns_killed", "broken", false},
	{NULL, NULL, false},
};

static const struct source balloon[] = {
	{"inflate_count", "inflations", false},
	{"deflate_count", "deflations", false},
	{"stats_updates_count", "updates", false},
	{"free_page_report_count", "reports", false},
	{"free_page_report_freed", "reported_bytes", false},
	{"free_page_hint_count", "hints", false},
	{"free_page_hint_freed", "hinted_bytes", false},
	{"event_fails", "resets_needed", false},
	{NULL, NULL, false},
};

static const struct source memory[] = {
	{"queue_event_count", "notifications", false},
	{"queue_event_fails", "resets_needed", false},
	{"plug_count", "plugs", false},
	{"plug_bytes", "plugged_bytes", false},
	{"plug_fails", "plugs_refused", false},
	{"plug_agg", "plug_ns", true},
	{"unplug_count", "unplugs", false},
	{"unplug_bytes", "unplugged_bytes", false},
	{"unplug_fails", "unplugs_refused", false},
	{"unplug_agg", "unplug_ns", true},
	{"unplug_all_count", "unplug_alls", false},
	{"unplug_all_fails", "unplug_alls_refused", false},
	{"unplug_all_agg", "unplug_all_ns", true},
	{"state_count", "states", false},
	{"state_fails", "states_refused", false},
	{"state_agg", "state_ns", true},
	{NULL, NULL, false},
};

static const struct source mmds[] = {
	{"rx_accepted", "frames", false},
	{"rx_accepted_unusual", "unusual", false},
	{"rx_count", "requests", false},
	{"rx_accepted_err", "refused", false},
	{"rx_no_token", "without_token", false},
	{"rx_invalid_token", "invalid_token", false},
	{"tx_frames", "sent", false},
	{"tx_count", "sent", false},
	{"tx_bytes", "sent_bytes", false},
	{"connections_created", "connections", false},
	{"connections_destroyed", "closed", false},
	{NULL, NULL, false},
};

/* section: where their ids are; NULL: there is one, which has none. */
static const struct {
	const char *kind, *group, *section;
	const struct source *sources;
} groups[] = {
	{"disk", "block", "drives", block},
	{"net", "net", "network-interfaces", net},
	{"pmem", "pmem", "pmem", pmem},
	{"rng", "entropy", NULL, entropy},
	{"vsock", "vsock", NULL, vsock},
	{"balloon", "balloon", NULL, balloon},
	{"memory", "memory_hotplug", NULL, memory},
	{"mmds", "mmds", NULL, mmds},
};

/* The object of that name in another, made if it is not there. */
static json_t *object(json_t *all, const char *name)
{
	if (!json_object_get(all, name))
		json_object_set_new(all, name, json_object());
	return json_object_get(all, name);
}

static uint64_t number(const json_t *all, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(all, name));
}

static void set(json_t *all, const char *name, uint64_t n)
{
	json_object_set_new(all, name, json_integer((json_int_t)n));
}

/* A counter of one device, and what of it is new. */
struct numbers {
	struct lodge_stat stats[STATS_MAX];
	size_t count;
	json_t *told; /* the same, as they were last */
};

static uint64_t now(const struct numbers *n, const char *counter, const char *suffix)
{
	char name[GROUP_MAX];

	snprintf(name, sizeof(name), "%s%s", counter, suffix);
	for (size_t i = 0; i < n->count; i++)
		if (!strcmp(n->stats[i].name, name))
			return n->stats[i].count;
	return 0;
}

static uint64_t fresh(const struct numbers *n, const char *counter)
{
	return now(n, counter, "") - number(n->told, counter);
}

/* Into a group, of which other devices may be as well. */
static void add(json_t *group, const struct source *s, const struct numbers *n)
{
	uint64_t min = now(n, s->counter, "_min") / NS_PER_US, before;
	json_t *times;

	if (!s->aggregate) {
		set(group, s->field, number(group, s->field) + fresh(n, s->counter));
		return;
	}
	times = object(group, s->field);
	before = number(times, "min_us");
	set(times, "min_us", before && (before < min || !min) ? before : min);
	set(times, "max_us", MAX(number(times, "max_us"), now(n, s->counter, "_max") / NS_PER_US));
	set(times, "sum_us", number(times, "sum_us") + fresh(n, s->counter) / NS_PER_US);
}

static void put_device(json_t *all, json_t *told, lodge_vm *vm, const char *device, size_t which,
		       const char *id)
{
	struct numbers n = {.told = object(told, device)};
	int count = lodge_vm_device_stats(vm, device, n.stats, STATS_MAX);
	char name[GROUP_MAX];

	if (count < 0)
		return;
	n.count = MIN((size_t)count, STATS_MAX);
	snprintf(name, sizeof(name), "%s_%s", groups[which].group, id ? id : "");
	for (const struct source *s = groups[which].sources; s->field; s++) {
		add(object(all, groups[which].group), s, &n);
		if (id)
			add(object(all, name), s, &n);
	}
	for (size_t i = 0; i < n.count; i++)
		set(n.told, n.stats[i].name, n.stats[i].count);
}

/* The id of a device of that number; NULL: there is none. */
static const char *id_of(const json_t *places, const char *section, long n)
{
	const char *id;
	json_t *at;

	json_object_foreach(json_object_get(places, section), id, at)
	{
		if (json_integer_value(at) == n)
			return id;
	}
	return NULL;
}

void device_metrics_put(json_t *all, json_t *told, lodge_vm *vm, const json_t *places)
{
	char device[16];

	for (unsigned n = 0; !lodge_vm_device(vm, n, device, sizeof(device)); n++) {
		size_t len = strcspn(device, "0123456789"), i = 0;

		while (i < ARRAY_LEN(groups) &&
		       (strlen(groups[i].kind) != len || strncmp(groups[i].kind, device, len) != 0))
			i++;
		if (i == ARRAY_LEN(groups))
			continue;
		put_device(all, told, vm, device, i,
			   groups[i].section ? id_of(places, groups[i].section, atol(device + len))
					     : NULL);
	}
}

void device_metrics_forget(json_t *told, const char *device)
{
	json_object_del(told, device);
}
