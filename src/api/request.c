/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	api_handle    path and method -> a row of `routes` -> its function
 *
 * A row may have a table of fields: the body is checked by it first, and what the
 * function gets has no nulls.
 */
#include "api/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/balloon.h"
#include "api/beyond.h"
#include "api/cpu_config.h"
#include "api/fields.h"
#include "api/hotplug.h"
#include "api/job.h"
#include "api/mmds.h"
#include "api/sections.h"
#include "api/slots.h"
#include "api/vmm.h"
#include "api/prometheus.h"
#include "base/bits.h"
#include "base/buf.h"
#include "base/time.h"

#define PATH_MAX_LEN 256

#define APP_NAME "Firecracker" /* as its clients expect */

int job_show(json_t *value, json_t **shown, struct err *e)
{
	*shown = value;
	return value ? 0 : err_set(e, ENOMEM, "memory is out");
}

static int get_instance(const struct job *j, json_t **shown, struct err *e)
{
	return job_show(json_pack("{s:s, s:s, s:s, s:s}", "app_name", APP_NAME, "id", j->vmm->id,
				  "state", vmm_state(j->vmm), "vmm_version", lodge_version()),
			shown, e);
}

static int get_version(const struct job *j, json_t **shown, struct err *e)
{
	(void)j;
	return job_show(json_pack("{s:s}", "firecracker_version", lodge_version()), shown, e);
}

/* The machine's section, which is there also when nobody gave it. */
static json_t *machine(const struct vmm *v)
{
	json_t *given = vmm_section(v, "machine-config");

	return given ? json_deep_copy(given) : sections_default_machine();
}

static int get_machine(const struct job *j, json_t **shown, struct err *e)
{
	return job_show(machine(j->vmm), shown, e);
}

static int get_config(const struct job *j, json_t **shown, struct err *e)
{
	static const char *const names[] = {
		"balloon",        "boot-source",
		"cpu-config",     "drives",
		"entropy",        "logger",
		"memory-hotplug", "metrics",
		"mmds-config",    "pmem",
		"vsock",          "serial",
		"lodge",          "network-interfaces",
	};
	json_t *all = json_object();
	int rc = json_object_set_new(all, "machine-config", machine(j->vmm));

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		json_t *section = vmm_section(j->vmm, names[i]);

		rc |= section ? json_object_set(all, names[i], section)
			      : json_object_set_new(all, names[i], json_null());
	}
	if (!rc)
		return job_show(all, shown, e);
	json_decref(all);
	return job_show(NULL, shown, e);
}

static int put_section(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	(void)shown;
	return rc ? rc : vmm_set_section(j->vmm, j->section, j->body, e);
}

/* What is not given stays as it is; of a PUT, what it was at first. */
static int change_machine(const struct job *j, json_t *from, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	json_object_del(j->body, "cpu_template"); /* "None" is the only one */
	if (!rc && (!from || json_object_update(from, j->body)))
		rc = err_set(e, ENOMEM, "memory is out");
	if (!rc)
		rc = vmm_set_section(j->vmm, j->section, from, e);
	json_decref(from);
	return rc;
}

static int put_machine(const struct job *j, json_t **shown, struct err *e)
{
	(void)shown;
	return change_machine(j, sections_default_machine(), e);
}

static int patch_machine(const struct job *j, json_t **shown, struct err *e)
{
	(void)shown;
	if (!json_object_size(j->body))
		return err_set(e, EINVAL, "the body has no field");
	return change_machine(j, machine(j->vmm), e);
}

/* Adds an item to its section's list, or replaces the one of the same id; of a VM that runs, it
 * only adds. */
static int put_item(const struct job *j, json_t **shown, struct err *e)
{
	const char *field = slots_id_field(j->section);
	const json_t *old = vmm_section(j->vmm, j->section);
	json_t *list = old ? json_copy((json_t *)old) : json_array();
	size_t at = fields_find(list, field, j->id);
	int rc = 0;

	if (strcmp(fields_text(j->body, field, ""), j->id) != 0)
		rc = err_set(e, EINVAL, "%s is another than the path's: give the same", field);
	if (!rc && j->vmm->vm) {
		json_decref(list);
		return slots_put(j, shown, e);
	}
	if (!rc && (at < json_array_size(list) ? json_array_set(list, at, j->body)
					       : json_array_append(list, j->body)))
		rc = err_set(e, ENOMEM, "memory is out");
	if (!rc)
		rc = vmm_set_section(j->vmm, j->section, list, e);
	json_decref(list);
	return rc;
}

int api_start(struct vmm *v, struct err *e)
{
	uint64_t now = time_monotonic_ns(), cpu = time_process_cpu_ns();
	int rc = vmm_start(v, e);

	if (!rc) {
		v->started = now;
		v->started_cpu = cpu;
		slots_started(v);
		logger_say(&v->logger, LOG_INFO, "vm", "the VM runs");
		api_flush_metrics(v);
	}
	return rc;
}

/* The file of a disk that runs: another, or the same with another size. */
static int patch_file(const struct job *j, const char *device, json_t *item, struct err *e)
{
	json_t *path = json_object_get(j->body, "path_on_host");
	struct buf b = BUF_INIT;
	int rc = 0;

	if (!path)
		return 0;
	buf_printf(&b, "file=%s", json_string_value(path));
	if (buf_failed(&b))
		rc = err_set(e, ENOMEM, "memory is out");
	else if (lodge_vm_change(j->vmm->vm, device, buf_str(&b)))
		rc = err_set(e, EINVAL, "%s", lodge_vm_error(j->vmm->vm));
	else
		json_object_set(item, "path_on_host", path);
	buf_release(&b);
	return rc;
}

/* New limits of a device that runs, or a disk's new file or size. */
static int patch_item(const struct job *j, json_t **shown, struct err *e)
{
	const char *field = slots_id_field(j->section);
	char device[32], value[512] = "";
	json_t *item = NULL;
	int rc = vmm_after_start(j->vmm, e), at;

	(void)shown;
	if (!rc && strcmp(fields_text(j->body, field, ""), j->id) != 0)
		rc = err_set(e, EINVAL, "%s is another than the path's: give the same", field);
	at = rc ? rc : slots_place(j, &item, e);
	if (at < 0)
		return at;
	snprintf(device, sizeof(device), "%s%d", slots_kind(j->section), at);
	rc = sections_change(j->body, value, sizeof(value), e);
	if (!rc)
		rc = patch_file(j, device, item, e);
	for (char *next = value, *word; !rc && (word = strsep(&next, ";")) && *word;)
		if (lodge_vm_change(j->vmm->vm, device, word))
			rc = err_set(e, EINVAL, "%s", lodge_vm_error(j->vmm->vm));
	return rc;
}

static int put_action(const struct job *j, json_t **shown, struct err *e)
{
	const char *action = fields_text(j->body, "action_type", "");
	int rc;

	(void)shown;
	if (!strcmp(action, "InstanceStart"))
		return api_start(j->vmm, e);
	rc = vmm_after_start(j->vmm, e);
	if (!rc && !strcmp(action, "FlushMetrics"))
		api_flush_metrics(j->vmm);
	else if (!rc)
		lodge_vm_ctrl_alt_del(j->vmm->vm);
	return rc;
}

/* Log and metrics are no part of the VM: they work from now on. */
static int put_logger(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	(void)shown;
	if (!rc)
		rc = logger_configure(&j->vmm->logger, j->body, e);
	return rc ? rc : vmm_set_section(j->vmm, j->section, j->body, e);
}

static int put_metrics(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	(void)shown;
	if (!rc)
		rc = metrics_open(&j->vmm->metrics, fields_text(j->body, "metrics_path", ""), e);
	return rc ? rc : vmm_set_section(j->vmm, j->section, j->body, e);
}

static int patch_vm(const struct job *j, json_t **shown, struct err *e)
{
	bool pause = !strcmp(fields_text(j->body, "state", ""), "Paused");
	int rc = vmm_after_start(j->vmm, e);
	uint64_t begin;

	(void)shown;
	if (rc)
		return rc;
	begin = time_monotonic_ns();
	rc = pause ? lodge_vm_pause(j->vmm->vm) : lodge_vm_resume(j->vmm->vm);
	*(pause ? &j->vmm->metrics.pause_us
		: &j->vmm->metrics.resume_us) = (time_monotonic_ns() - begin) / NS_PER_US;
	return rc ? err_set(e, -rc, "%s", lodge_vm_error(j->vmm->vm)) : 0;
}

static const char *const actions[] = {"InstanceStart", "SendCtrlAltDel", "FlushMetrics", NULL};
static const char *const states[] = {"Paused", "Resumed", NULL};

static const struct field action_fields[] = {
	{.name = "action_type", .type = FIELD_WORD, .required = true, .words = actions},
	{0},
};

static const struct field state_fields[] = {
	{.name = "state", .type = FIELD_WORD, .required = true, .words = states},
	{0},
};

static const struct field metrics_fields[] = {
	{.name = "metrics_path", .type = FIELD_TEXT, .required = true},
	{0},
};

static const struct route {
	const char *method;
	const char *path; /* a last part of "*" is an id */
	const struct field *fields;
	job_fn *run;
	const char *metric; /* its name among those of its method */
} routes[] = {
	{"GET", "", NULL, get_instance, "instance_info"},
	{"GET", "version", NULL, get_version, "vmm_version"},
	{"GET", "vm/config", NULL, get_config, "vm_config"},
	{"GET", "machine-config", NULL, get_machine, "machine_cfg"},
	{"PUT", "machine-config", sections_machine_config, put_machine, "machine_cfg"},
	{"PATCH", "machine-config", sections_machine_patch, patch_machine, "machine_cfg"},
	{"PUT", "cpu-config", cpu_config_fields, put_section, "cpu_cfg"},
	{"PUT", "boot-source", sections_boot_source, put_section, "boot_source"},
	{"PUT", "drives/*", sections_drive, put_item, "drive"},
	{"PUT", "network-interfaces/*", sections_network, put_item, "network"},
	{"PATCH", "drives/*", sections_drive_patch, patch_item, "drive"},
	{"PATCH", "network-interfaces/*", sections_network_patch, patch_item, "network"},
	{"DELETE", "drives/*", NULL, slots_delete, "drive"},
	{"DELETE", "network-interfaces/*", NULL, slots_delete, "network"},
	{"PUT", "vsock", sections_vsock, put_section, "vsock"},
	{"PUT", "pmem/*", sections_pmem, put_item, "pmem"},
	{"PATCH", "pmem/*", sections_pmem_patch, patch_item, "pmem"},
	{"GET", "hotplug/memory", NULL, hotplug_get_memory, "hotplug_memory"},
	{"PUT", "hotplug/memory", hotplug_memory, hotplug_put_memory, "hotplug_memory"},
	{"PATCH", "hotplug/memory", hotplug_memory_patch, hotplug_patch_memory, "hotplug_memory"},
	{"GET", "balloon", NULL, balloon_get, "balloon"},
	{"PUT", "balloon", sections_balloon, put_section, "balloon"},
	{"PATCH", "balloon", sections_balloon_patch, balloon_patch, "balloon"},
	{"GET", "balloon/statistics", NULL, balloon_get_statistics, "balloon"},
	{"PATCH", "balloon/statistics", balloon_interval, balloon_patch_statistics, "balloon"},
	{"GET", "balloon/hinting/status", NULL, balloon_get_hinting, "balloon"},
	{"PATCH", "balloon/hinting/start", balloon_start, balloon_start_hinting, "balloon"},
	{"PATCH", "balloon/hinting/stop", balloon_stop, balloon_stop_hinting, "balloon"},
	{"GET", "mmds", NULL, mmds_get, "mmds"},
	{"PUT", "mmds", fields_any, mmds_put, "mmds"},
	{"PATCH", "mmds", fields_any, mmds_patch, "mmds"},
	{"PUT", "mmds/config", mmds_config, mmds_put_config, "mmds"},
	{"PUT", "entropy", sections_entropy, put_section, "entropy"},
	{"PUT", "serial", sections_serial, put_section, "serial"},
	{"PUT", "logger", logger_fields, put_logger, "logger"},
	{"PUT", "metrics", metrics_fields, put_metrics, "metrics"},
	{"PUT", "actions", action_fields, put_action, "actions"},
	{"PATCH", "vm", state_fields, patch_vm, "vm"},
	{"PUT", "lodge", beyond_fields, put_section, "lodge"},
	{"GET", "lodge/stats", NULL, beyond_get_stats, "lodge_stats"},
	{"GET", "lodge/metrics", NULL, beyond_get_metrics, "lodge_metrics"},
	{"GET", "lodge/interface", NULL, beyond_get_interface, "lodge_interface"},
};

#define ROUTES ARRAY_LEN(routes)

_Static_assert(ROUTES <= METRICS_REQUESTS_MAX, "each has a place in struct metrics");

static void name_metrics(struct metrics_name names[ROUTES])
{
	for (size_t i = 0; i < ROUTES; i++)
		names[i] = (struct metrics_name){routes[i].method, routes[i].metric};
}

static struct metrics_context metrics_context(struct vmm *v, const struct metrics_name *names)
{
	return (struct metrics_context){.names = names,
					.count = ROUTES,
					.vm = v->vm,
					.places = v->places,
					.log_lost = v->logger.outlet.lost,
					.log_limited = v->logger.limited};
}

void api_flush_metrics(struct vmm *v)
{
	struct metrics_name names[ROUTES];
	struct metrics_context c = metrics_context(v, names);

	name_metrics(names);
	metrics_flush(&v->metrics, &c);
}

char *api_metrics_text(struct vmm *v)
{
	struct metrics_name names[ROUTES];
	struct metrics_context c = metrics_context(v, names);

	name_metrics(names);
	return prometheus_text(&v->metrics, &c, v->id, vmm_state(v));
}

json_t *api_describe(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ROUTES; i++) {
		const struct route *r = &routes[i];
		char path[PATH_MAX_LEN];
		size_t len = strcspn(r->path, "*");

		snprintf(path, sizeof(path), "/%.*s%s", (int)len, r->path,
			 r->path[len] ? "{id}" : "");
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:o}", "method", r->method, "path", path, "fields",
				  r->fields ? fields_describe(r->fields) : json_null()));
	}
	return json_pack("{s:o}", "routes", list);
}

/* Letters, digits and underscores, as everywhere in the interface. */
static bool id_is_good(const char *id)
{
	for (const char *c = id; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return *id;
}

/* The path's parts with one '/' between each two; false if it is too long. */
static bool tidy(const char *path, char *tidied, size_t size)
{
	size_t len = 0;

	for (; *path; path++) {
		if (*path == '/' && (!len || tidied[len - 1] == '/'))
			continue;
		if (len + 1 >= size)
			return false;
		tidied[len++] = *path;
	}
	while (len && tidied[len - 1] == '/')
		len--;
	tidied[len] = '\0';
	return true;
}

/* Whether the path is the route's; *id is the part that stands for its '*', or NULL. */
static bool matches(const struct route *route, const char *path, const char **id)
{
	size_t len = strlen(route->path);

	*id = NULL;
	if (!len || route->path[len - 1] != '*')
		return !strcmp(route->path, path);
	*id = path + len - 1;
	return !strncmp(route->path, path, len - 1) && **id && !strchr(*id, '/');
}

/* A body where there must be one, none where there must not. */
static int check_body(const struct route *route, const json_t *body, struct err *e)
{
	if (!route->fields)
		return body ? err_set(e, EINVAL, "a %s here has no body: leave it away",
				      route->method)
			    : 0;
	if (!body && (route->fields == balloon_start || route->fields == balloon_stop))
		return 0; /* the only ones that may do without */
	if (!body)
		return err_set(e, EINVAL, "the body is missing: a %s here has one", route->method);
	return fields_check(route->fields, body, e);
}

static void run_route(struct vmm *v, const struct route *route, const char *id,
		      const struct api_request *r, struct api_answer *a)
{
	struct err e = ERR_INIT;
	char section[32];
	struct job job = {.vmm = v, .id = id, .section = section, .answer = a};
	int rc = id && !id_is_good(id)
			 ? err_set(&e, EINVAL,
				   "the id '%.64s' cannot be: give letters, digits and '_'", id)
			 : check_body(route, r->body, &e);

	v->metrics.requests[route - routes].count++;
	snprintf(section, sizeof(section), "%.*s", (int)strcspn(route->path, "/"), route->path);
	if (!rc && r->body) {
		job.body = route->fields == fields_any ? json_deep_copy(r->body)
						       : fields_compact(r->body);
		if (!job.body)
			rc = err_set(&e, ENOMEM, "memory is out");
	}
	if (!rc && route->fields && fields_deprecated(route->fields, r->body))
		a->deprecated = true;
	if (!rc)
		rc = route->run(&job, &a->body, &e);
	v->metrics.deprecated += a->deprecated;
	json_decref(job.body);
	if (rc)
		api_refuse(a, rc == -EMSGSIZE ? 413 : 400, e.text);
	else
		a->status = a->body || a->text ? 200 : 204;
	v->metrics.requests[route - routes].fails += rc != 0;
	logger_say(&v->logger, rc ? LOG_ERROR : LOG_INFO, "api", "%s /%s%s: %u%s%s", r->method,
		   section, id ? "/..." : "", a->status, rc ? ": " : "", e.text);
}

void api_refuse(struct api_answer *a, unsigned status, const char *why)
{
	json_decref(a->body);
	a->status = status;
	a->body = json_pack("{s:s}", "fault_message", why);
	if (!a->body) /* words that are no UTF-8 */
		a->body = json_pack("{s:s}", "fault_message", "the request is refused");
}

void api_handle(struct vmm *v, const struct api_request *r, struct api_answer *a)
{
	char path[PATH_MAX_LEN], why[PATH_MAX_LEN + 64];
	const char *id;

	*a = (struct api_answer){0};
	if (!tidy(r->path, path, sizeof(path))) {
		api_refuse(a, 400, "there is no such path");
		return;
	}
	for (size_t i = 0; i < ROUTES; i++) {
		if (!strcmp(routes[i].method, r->method) && matches(&routes[i], path, &id)) {
			run_route(v, &routes[i], id, r, a);
			return;
		}
	}
	snprintf(why, sizeof(why), "there is no %.16s of /%s", r->method, path);
	api_refuse(a, 400, why);
}

/* The request that a section of a configuration file stands for. */
static int give(struct vmm *v, const char *path, const json_t *body, struct err *e)
{
	struct api_request r = {.method = "PUT", .path = path, .body = body};
	struct api_answer a;

	if (!strcmp(path, "mmds-config"))
		r.path = "mmds/config";
	if (!strcmp(path, "memory-hotplug"))
		r.path = "hotplug/memory";
	api_handle(v, &r, &a);
	if (a.status >= 400)
		err_set(e, EINVAL, "%s: %s", path, fields_text(a.body, "fault_message", ""));
	json_decref(a.body);
	return e->code;
}

static int give_list(struct vmm *v, const char *name, const json_t *list, struct err *e)
{
	char path[PATH_MAX_LEN];
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		snprintf(path, sizeof(path), "%s/%.100s", name,
			 fields_text(item, slots_id_field(name), "?"));
		if (give(v, path, item, e))
			return e->code;
	}
	return 0;
}

int api_configure(struct vmm *v, const json_t *file, struct err *e)
{
	/* The kernel's command line depends on the drives. */
	static const char *const names[] = {"logger",      "metrics", "machine-config",
					    "cpu-config",  "drives",  "network-interfaces",
					    "mmds-config", "pmem",    "memory-hotplug",
					    "boot-source", "vsock",   "balloon",
					    "entropy",     "serial",  "lodge"};
	const char *name;
	json_t *value;

	if (!json_is_object(file))
		return err_set(e, EINVAL, "it is to be a JSON object");
	json_object_foreach((json_t *)file, name, value)
	{
		size_t i = 0;

		while (i < ARRAY_LEN(names) && strcmp(names[i], name) != 0)
			i++;
		if (i == ARRAY_LEN(names) && !json_is_null(value))
			return err_set(e, EINVAL, "there is no section '%.64s'", name);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		value = json_object_get(file, names[i]);
		if (!value || json_is_null(value))
			continue;
		if (json_is_array(value) ? give_list(v, names[i], value, e)
					 : give(v, names[i], value, e))
			return e->code;
	}
	return 0;
}
