/* SPDX-License-Identifier: Apache-2.0 */
#include "api/api.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/device_metrics.h"
#include "api/fields.h"
#include "api/mmds.h"
#include "api/request.h"
#include "api/server.h"
#include "api/slots.h"
#include "api/vmm.h"
#include "base/bits.h"
#include "base/time.h"

/* In the words that readers of Firecracker's log look for, and then since the process began. */
static void say_boot_time(struct vmm *v, const struct lodge_event *event)
{
	uint64_t us = (event->time - v->started) / NS_PER_US;
	uint64_t cpu = (event->cpu_time - v->started_cpu) / NS_PER_US;

	logger_say(&v->logger, LOG_INFO, "vm",
		   "Guest-boot-time = %6" PRIu64 " us %" PRIu64 " ms, %6" PRIu64 " CPU us %" PRIu64
		   " CPU ms; since the process began %" PRIu64 " us, %" PRIu64 " CPU us",
		   us, us / 1000, cpu, cpu / 1000, (uint64_t)((event->time - v->began) / NS_PER_US),
		   (uint64_t)((event->cpu_time - v->began_cpu) / NS_PER_US));
}

/* What is wrong on the host is said when it happens. */
static void say_events(const struct api_options *o, struct vmm *v)
{
	static const char *const kinds[] = {
		[LODGE_EVENT_WARNING] = "the host",
		[LODGE_EVENT_RESET] = "the VM was reset",
		[LODGE_EVENT_PAUSED] = "the VM stands still",
		[LODGE_EVENT_RESUMED] = "the VM goes on",
		[LODGE_EVENT_ENDED] = "the VM has ended",
		[LODGE_EVENT_BOOTED] = "the guest has booted",
		[LODGE_EVENT_ATTACHED] = "a device has come",
		[LODGE_EVENT_DETACHED] = "a device has gone",
		[LODGE_EVENT_DETACH_REFUSED] = "the guest keeps a device",
	};
	struct lodge_event event;

	while (v->vm && lodge_vm_next_event(v->vm, &event) > 0) {
		if (event.kind == LODGE_EVENT_WARNING)
			o->say(event.text);
		if (event.kind == LODGE_EVENT_DETACHED) {
			slots_detached(v, event.text);
			device_metrics_forget(v->metrics.devices, event.text);
		}
		if (!logger_lets_guest(&v->logger))
			continue;
		if (event.kind == LODGE_EVENT_BOOTED) {
			say_boot_time(v, &event);
			continue;
		}
		logger_say(&v->logger, event.kind == LODGE_EVENT_WARNING ? LOG_WARN : LOG_INFO,
			   "vm", "%s%s%s", kinds[event.kind], event.text[0] ? ": " : "",
			   event.text);
	}
}

static int start_by_file(struct vmm *v, const char *name, struct err *e)
{
	json_t *file = fields_load("configuration", name, 0, e);
	struct err why = ERR_INIT;

	if (!file)
		return e->code;
	if (!api_configure(v, file, &why))
		api_start(v, &why);
	json_decref(file);
	return why.code ? err_set(e, -why.code, "the configuration %s is refused: %s", name,
				  why.text)
			: 0;
}

/* Of two times in milliseconds, -1 for none. */
static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

/* Waits and serves; whether the VM has ended. */
static bool serve(const struct api_options *o, struct vmm *v, struct server *server)
{
	for (;;) {
		struct pollfd fds[4 + API_OTHERS_FDS] = {
			{o->stop_fd, POLLIN, 0},
			{v->vm ? lodge_vm_fd(v->vm) : -1, POLLIN, 0},
			{v->vm ? lodge_vm_event_fd(v->vm) : -1, POLLIN, 0},
			{server ? server_fd(server) : -1, POLLIN, 0},
		};
		size_t count = o->others ? o->others->poll(o->others->opaque, fds + 4) : 0;
		int n = poll(
			fds, 4 + count,
			sooner(metrics_timeout(&v->metrics), server ? server_timeout(server) : -1));

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0 && fds[0].revents)
			return false;
		if (n > 0 && fds[2].revents)
			say_events(o, v);
		if (n > 0 && fds[1].revents)
			return true;
		if (n > 0 && o->others && o->others->polled(o->others->opaque, v->vm, fds + 4))
			return false;
		if (server)
			server_run(server);
		if (!metrics_timeout(&v->metrics))
			api_flush_metrics(v);
	}
}

static enum api_end tell_end(struct vmm *v, struct err *e)
{
	struct lodge_result result;

	if (lodge_vm_result(v->vm, &result)) {
		err_set(e, EIO, "%s", lodge_vm_error(v->vm));
		return API_FAILED;
	}
	if (result.text[0])
		err_set(e, EIO, "%s", result.text);
	switch (result.end) {
	case LODGE_END_CRASHED:
		return API_CRASHED;
	case LODGE_END_FAILED:
		return API_FAILED;
	default:
		return API_POWEROFF;
	}
}

/* The log and metrics that the server's flags name. */
static int open_log(const struct api_options *o, struct vmm *v, struct err *e)
{
	json_t *section = json_pack("{s:s*, s:s*, s:s*}", "log_path", o->log_path, "level",
				    o->log_level, "module", o->log_module);
	int rc;

	if (o->log_show_level)
		json_object_set_new(section, "show_level", json_true());
	if (o->log_show_origin)
		json_object_set_new(section, "show_log_origin", json_true());
	rc = fields_check(logger_fields, section, e);
	if (!rc)
		rc = logger_configure(&v->logger, section, e);
	json_decref(section);
	if (!rc && o->metrics_path)
		rc = metrics_open(&v->metrics, o->metrics_path, e);
	return rc;
}

/* The times that a parent told, or as they are now. */
static void note_begin(const struct api_options *o, struct vmm *v)
{
	v->began = o->start_us ? o->start_us * NS_PER_US : time_monotonic_ns();
	v->began_cpu = o->start_cpu_us * NS_PER_US;
}

static void note_ready(const struct api_options *o, struct vmm *v)
{
	v->metrics.startup_us = (time_monotonic_ns() - v->began) / NS_PER_US;
	v->metrics.startup_cpu_us = time_process_cpu_ns() / NS_PER_US - o->start_cpu_us +
				    o->parent_cpu_us;
}

enum api_end api_serve(const struct api_options *o, struct err *e)
{
	struct vmm v = {.id = o->id,
			.pci = o->pci,
			.engine = o->engine,
			.boot_timer = o->boot_timer,
			.metadata_max = o->metadata_max ? o->metadata_max : o->body_max,
			.console_in = STDIN_FILENO,
			.console_out = STDOUT_FILENO};
	enum api_end end = API_FAILED;
	struct server *server = NULL;
	int rc = vmm_init(&v, e);

	note_begin(o, &v);
	if (!rc)
		rc = open_log(o, &v, e);
	if (!rc && o->socket) {
		server = server_new(o->socket, &v, o->body_max, e);
		rc = e->code;
	}
	if (!rc)
		note_ready(o, &v);
	if (!rc && o->metadata)
		rc = mmds_load(&v, o->metadata, e);
	if (!rc && o->config_file)
		rc = start_by_file(&v, o->config_file, e);
	if (!rc) {
		end = serve(o, &v, server) ? tell_end(&v, e) : API_STOPPED;
		say_events(o, &v);
		api_flush_metrics(&v);
	}
	server_free(server);
	vmm_release(&v);
	return end;
}
