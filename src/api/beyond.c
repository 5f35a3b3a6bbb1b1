/* SPDX-License-Identifier: Apache-2.0 */
#include "api/beyond.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"

#define STATS_MAX 512
#define CPUS_MAX  64

#define DEVICE_STATS_MAX 64

static const char *const engines[] = {"auto", "kvm", "bt", NULL};
static const char *const models[] = {"host", "x86-64-v2", "x86-64-v3", NULL};
static const char *const ends[] = {"socket", "file", "pty", NULL};

static const struct field port_fields[] = {
	{.name = "name", .type = FIELD_TEXT, .required = true},
	{.name = "kind", .type = FIELD_WORD, .required = true, .words = ends},
	{.name = "path", .type = FIELD_TEXT, .required = true},
	{0},
};

static const struct field share_fields[] = {
	{.name = "tag", .type = FIELD_TEXT, .required = true},
	{.name = "path", .type = FIELD_TEXT, .required = true},
	{.name = "is_read_only", .type = FIELD_FLAG},
	{0},
};

const struct field beyond_fields[] = {
	{.name = "engine", .type = FIELD_WORD, .words = engines},
	{.name = "cpu_model", .type = FIELD_WORD, .words = models},
	{.name = "ports", .type = FIELD_LIST, .fields = port_fields},
	{.name = "shares", .type = FIELD_LIST, .fields = share_fields},
	{0},
};

static int set(lodge_vm *vm, const char *name, struct buf *value, struct err *e)
{
	int rc = buf_failed(value) ? err_set(e, ENOMEM, "memory is out")
				   : lodge_vm_set(vm, name, buf_str(value));

	buf_release(value);
	return rc;
}

static int apply_port(lodge_vm *vm, const json_t *port, struct err *e)
{
	const char *name = fields_text(port, "name", "");
	struct buf b = BUF_INIT;

	if (strchr(name, ','))
		return err_set(e, EINVAL, "a port's name cannot have a comma");
	buf_printf(&b, "%s,%s=%s", name, fields_text(port, "kind", ""),
		   fields_text(port, "path", ""));
	return set(vm, "port", &b, e);
}

static int apply_share(lodge_vm *vm, const json_t *share, struct err *e)
{
	const char *tag = fields_text(share, "tag", "");
	struct buf b = BUF_INIT;

	if (strpbrk(tag, "/:,"))
		return err_set(e, EINVAL, "a share's tag cannot have '/', ':' or ','");
	buf_printf(&b, "%s:%s%s", fields_text(share, "path", ""), tag,
		   fields_flag(share, "is_read_only") ? ",ro" : "");
	return set(vm, "share", &b, e);
}

int beyond_apply(lodge_vm *vm, const json_t *section, struct err *e)
{
	const char *model = fields_text(section, "cpu_model", NULL);
	int rc = model ? lodge_vm_set(vm, "cpu-model", model) : 0;
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(section, "ports"), i, item) if (!rc)
		rc = apply_port(vm, item, e);
	json_array_foreach(json_object_get(section, "shares"), i, item) if (!rc)
		rc = apply_share(vm, item, e);
	return rc;
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* The numbers of all devices, by their names. */
static json_t *devices_of(lodge_vm *vm)
{
	struct lodge_stat stats[DEVICE_STATS_MAX];
	json_t *all = json_object();
	char name[16];

	for (unsigned i = 0; !lodge_vm_device(vm, i, name, sizeof(name)); i++) {
		int n = lodge_vm_device_stats(vm, name, stats, DEVICE_STATS_MAX);
		json_t *device = json_object();

		for (int k = 0; k < MIN(n, DEVICE_STATS_MAX); k++)
			json_object_set_new(device, stats[k].name, number(stats[k].count));
		json_object_set_new(all, name, device);
	}
	return all;
}

int beyond_get_stats(const struct job *j, json_t **shown, struct err *e)
{
	struct lodge_stat stats[STATS_MAX];
	json_t *counters, *times;
	struct lodge_usage usage;
	uint64_t ns[CPUS_MAX];
	int rc = vmm_after_start(j->vmm, e);
	size_t n;

	if (rc)
		return rc;
	if (lodge_vm_usage(j->vmm->vm, &usage))
		return err_set(e, EINVAL, "the VM has no statistics");
	counters = json_object();
	n = lodge_vm_stats(j->vmm->vm, stats, STATS_MAX);
	for (size_t i = 0; i < MIN(n, STATS_MAX); i++)
		json_object_set_new(counters, stats[i].name, number(stats[i].count));
	times = json_array();
	n = lodge_vm_cpu_times(j->vmm->vm, ns, CPUS_MAX);
	for (size_t i = 0; i < MIN(n, CPUS_MAX); i++)
		json_array_append_new(times, number(ns[i]));
	return job_show(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "engine", usage.engine,
				  "memory_bytes", number(usage.memory), "uptime_ns",
				  number(usage.uptime), "cpu_time_ns", number(usage.cpu_time),
				  "vcpu_times_ns", times, "counters", counters, "devices",
				  devices_of(j->vmm->vm)),
			shown, e);
}

int beyond_get_metrics(const struct job *j, json_t **shown, struct err *e)
{
	(void)shown;
	j->answer->text = api_metrics_text(j->vmm);
	return j->answer->text ? 0 : err_set(e, ENOMEM, "memory is out");
}

int beyond_get_interface(const struct job *j, json_t **shown, struct err *e)
{
	(void)j;
	return job_show(api_describe(), shown, e);
}
