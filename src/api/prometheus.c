/* SPDX-License-Identifier: Apache-2.0 */
#include "api/prometheus.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"

#define CPUS_MAX         64
#define DEVICE_STATS_MAX 64

static void begin(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_one(struct buf *b, const char *name, const char *type, const char *help,
		    uint64_t value)
{
	begin(b, name, type, help);
	buf_printf(b, "%s %" PRIu64 "\n", name, value);
}

static void put_requests(struct buf *b, const struct metrics *m, const struct metrics_context *c)
{
	begin(b, "lodge_requests_total", "counter", "Requests by method and kind.");
	for (unsigned i = 0; i < c->count; i++)
		buf_printf(b,
			   "lodge_requests_total{method=\"%s\",kind=\"%s\",row=\"%u\"} %" PRIu64
			   "\n",
			   c->names[i].method, c->names[i].name, i, m->requests[i].count);
	begin(b, "lodge_refusals_total", "counter", "Requests that were refused.");
	for (unsigned i = 0; i < c->count; i++)
		buf_printf(b,
			   "lodge_refusals_total{method=\"%s\",kind=\"%s\",row=\"%u\"} %" PRIu64
			   "\n",
			   c->names[i].method, c->names[i].name, i, m->requests[i].fails);
}

/* Nanoseconds as seconds. */
static void put_seconds(struct buf *b, uint64_t ns)
{
	buf_printf(b, " %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void put_vm(struct buf *b, lodge_vm *vm)
{
	struct lodge_stat stats[METRICS_STATS_MAX];
	struct lodge_usage usage;
	uint64_t ns[CPUS_MAX];
	size_t n;

	if (!vm || lodge_vm_usage(vm, &usage))
		return;
	begin(b, "lodge_engine_info", "gauge", "What executes the guest's code.");
	buf_printf(b, "lodge_engine_info{engine=\"%s\"} 1\n", usage.engine);
	put_one(b, "lodge_memory_bytes", "gauge", "Bytes of RAM.", usage.memory);
	begin(b, "lodge_uptime_seconds", "gauge", "Time since the start.");
	buf_printf(b, "lodge_uptime_seconds");
	put_seconds(b, usage.uptime);
	begin(b, "lodge_vcpu_seconds_total", "counter", "Processor time of each vCPU's thread.");
	n = lodge_vm_cpu_times(vm, ns, CPUS_MAX);
	for (size_t i = 0; i < MIN(n, CPUS_MAX); i++) {
		buf_printf(b, "lodge_vcpu_seconds_total{vcpu=\"%zu\"}", i);
		put_seconds(b, ns[i]);
	}
	begin(b, "lodge_events_total", "counter", "Counters of engine and buses, by name.");
	n = lodge_vm_stats(vm, stats, METRICS_STATS_MAX);
	for (size_t i = 0; i < MIN(n, METRICS_STATS_MAX); i++)
		buf_printf(b, "lodge_events_total{name=\"%s\"} %" PRIu64 "\n", stats[i].name,
			   stats[i].count);
}

static void put_devices(struct buf *b, lodge_vm *vm)
{
	struct lodge_stat stats[DEVICE_STATS_MAX];
	char name[16];

	if (!vm)
		return;
	begin(b, "lodge_device_total", "counter", "Numbers of devices, as lodge.h names them.");
	for (unsigned i = 0; !lodge_vm_device(vm, i, name, sizeof(name)); i++) {
		int n = lodge_vm_device_stats(vm, name, stats, DEVICE_STATS_MAX);

		for (int k = 0; k < MIN(n, DEVICE_STATS_MAX); k++)
			buf_printf(b, "lodge_device_total{device=\"%s\",name=\"%s\"} %" PRIu64 "\n",
				   name, stats[k].name, stats[k].count);
	}
}

char *prometheus_text(const struct metrics *m, const struct metrics_context *c, const char *id,
		      const char *state)
{
	struct buf b = BUF_INIT;
	char *text;

	begin(&b, "lodge_vm_info", "gauge", "The VM and its state.");
	buf_printf(&b, "lodge_vm_info{id=\"%s\",state=\"%s\"} 1\n", id, state);
	put_requests(&b, m, c);
	put_one(&b, "lodge_log_lines_lost_total", "counter", "Log lines that nobody took.",
		c->log_lost);
	put_one(&b, "lodge_log_lines_limited_total", "counter",
		"Log lines left out because the guest caused too many.", c->log_limited);
	put_one(&b, "lodge_metrics_lines_lost_total", "counter", "Metrics that nobody took.",
		m->outlet.lost);
	put_vm(&b, c->vm);
	put_devices(&b, c->vm);
	text = buf_failed(&b) ? NULL : strdup(buf_str(&b));
	buf_release(&b);
	return text;
}
