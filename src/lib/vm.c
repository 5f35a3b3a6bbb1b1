/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public API's VM: a configuration until it is started, a machine afterwards.
 *
 * Other threads see the machine only once it was started for good. A stop that comes
 * before is left as a flag: either lodge_vm_start sees it, or lodge_vm_stop sees the
 * machine, as each writes its own before it reads the other's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"
#include "lib/attach.h"
#include "lib/change.h"
#include "lib/config.h"
#include "machine/engines.h"
#include "lodge/lodge.h"
#include "machine/machine.h"
#include "mmds/store.h"

struct console {
	bool given;
	int in, out; /* -1: none */
};

struct lodge_vm {
	struct config config;
	struct console com1, hvc;        /* hvc: the virtio console */
	struct machine_window window;    /* its window's size */
	struct mmds_store *metadata;     /* what the guest may read; NULL: not given */
	int dump;                        /* opened for config.dump.file; -1: not */
	struct machine *_Atomic machine; /* NULL until it was started */
	atomic_bool stop;                /* asked for since lodge_vm_start began */
	const char *engine;              /* its name, once it was started */
	uint64_t started;                /* time_monotonic_ns then */
	struct err error;
};

/* The engine's counters and the machine's own. */
#define STATS_MAX 512

const char *lodge_version(void)
{
	return LODGE_VERSION;
}

lodge_vm *lodge_vm_new(void)
{
	lodge_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	config_init(&vm->config);
	vm->com1 = vm->hvc = (struct console){.in = -1, .out = -1};
	vm->dump = -1;
	return vm;
}

static void close_console(struct console *c)
{
	if (c->in >= 0)
		close(c->in);
	if (c->out >= 0)
		close(c->out);
	*c = (struct console){.in = -1, .out = -1};
}

static void close_consoles(lodge_vm *vm)
{
	close_console(&vm->com1);
	close_console(&vm->hvc);
}

void lodge_vm_free(lodge_vm *vm)
{
	if (!vm)
		return;
	machine_free(vm->machine);
	close_consoles(vm);
	if (vm->dump >= 0)
		close(vm->dump);
	mmds_store_drop(vm->metadata);
	config_release(&vm->config);
	free(vm);
}

/* Begins a call: a later lodge_vm_error speaks of this one. -EBUSY once the VM was started. */
static int begin_configuring(lodge_vm *vm)
{
	err_clear(&vm->error);
	if (vm->machine)
		return err_set(&vm->error, EBUSY, "the VM was started: configure it before");
	return 0;
}

int lodge_vm_set(lodge_vm *vm, const char *name, const char *value)
{
	int rc = begin_configuring(vm);

	return rc ? rc : config_set(&vm->config, name, value, &vm->error);
}

const char *lodge_config_name(unsigned n)
{
	return config_name(n);
}

/* Duplicates fd above the standard ones into *copy; a negative one is none. */
static int duplicate(int fd, int *copy)
{
	*copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *copy < 0 ? -errno : 0;
}

static int set_console(lodge_vm *vm, struct console *c, int in, int out)
{
	int rc = begin_configuring(vm);

	if (rc)
		return rc;
	close_console(c);
	rc = duplicate(in, &c->in);
	if (!rc)
		rc = duplicate(out, &c->out);
	if (rc) {
		close_console(c);
		return err_errno(&vm->error, rc, "cannot take the console's descriptors");
	}
	c->given = true;
	return 0;
}

int lodge_vm_console(lodge_vm *vm, int in, int out)
{
	return set_console(vm, &vm->com1, in, out);
}

int lodge_vm_virtio_console(lodge_vm *vm, int in, int out)
{
	return set_console(vm, &vm->hvc, in, out);
}

void lodge_vm_window(lodge_vm *vm, uint16_t columns, uint16_t rows)
{
	struct machine *machine = vm->machine;

	vm->window = (struct machine_window){columns, rows};
	if (machine)
		machine_set_window(machine, &vm->window);
}

/* Where the engine is to write dumps. */
static int open_dump(lodge_vm *vm, struct engine_options *options)
{
	const struct config_dump *dump = &vm->config.dump;

	options->dump = dump->stages;
	options->dump_fd = STDERR_FILENO;
	if (!dump->stages || !dump->file)
		return 0;
	if (vm->dump < 0)
		vm->dump = open(dump->file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
				0666);
	if (vm->dump < 0)
		return err_errno(&vm->error, errno, "cannot write to %s", dump->file);
	options->dump_fd = vm->dump;
	return 0;
}

int lodge_vm_metadata(lodge_vm *vm, lodge_metadata *md)
{
	int rc = begin_configuring(vm);

	if (rc)
		return rc;
	mmds_store_drop(vm->metadata);
	vm->metadata = md ? mmds_store_hold((struct mmds_store *)(void *)md) : NULL;
	return 0;
}

/* The metadata service, if there is to be one: its store is what was given, or one of the VM's. */
static int open_metadata(lodge_vm *vm, struct machine_config *config)
{
	struct config_mmds *c = &vm->config.mmds;

	if (!c->given)
		return 0;
	if (!vm->metadata)
		vm->metadata = mmds_store_new(MMDS_STORE_DEFAULT);
	if (!vm->metadata)
		return err_errno(&vm->error, ENOMEM, "cannot make the metadata service");
	c->service.store = vm->metadata;
	config->mmds = &c->service;
	return config_mmds_load(c, vm->metadata, &vm->error);
}

int lodge_vm_start(lodge_vm *vm)
{
	const struct config *c = &vm->config;
	struct machine_config config = {
		.cpus = c->cpus,
		.memory = c->memory,
		.engine_options = {.code_memory = c->engine.code_memory},
		.cpu_model = c->cpu_model ? c->cpu_model : "host",
		.kvmclock = c->kvmclock,
		.debug_exit = c->debug_exit,
		.boot_timer = c->boot_timer,
		.cpu_edits = &c->cpu,
		.reboot = c->reboot,
		.rng = c->rng.on,
		.rng_limits = c->rng.limits,
		.disks = c->disks.disk,
		.disk_count = c->disks.count,
		.nets = c->nets.net,
		.net_count = c->nets.count,
		.vsock = c->vsock.path ? &c->vsock : NULL,
		.shares = c->shares.share,
		.share_count = c->shares.count,
		.balloon = c->balloon,
		.pmems = c->pmems.pmem,
		.pmem_count = c->pmems.count,
		.hotplug = c->hotplug,
		.virtio_mmio = c->virtio_mmio,
		.fixed = !c->attach,
		.ports = c->ports.port,
		.port_count = c->ports.count,
		.console_in = vm->com1.in,
		.console_out = vm->com1.out,
		.virtio_console = vm->hvc.given,
		.virtio_console_in = vm->hvc.in,
		.virtio_console_out = vm->hvc.out,
		.window = vm->window,
		.boot = {.kernel = c->kernel,
			 .initrd = c->initrd,
			 .cmdline = config_cmdline(c, vm->hvc.given && vm->com1.out < 0),
			 .protocol = c->boot},
	};
	struct machine *machine;
	int rc = begin_configuring(vm);

	atomic_store(&vm->stop, false);
	if (!rc)
		rc = config_check(c, &vm->error);
	if (!rc)
		rc = open_dump(vm, &config.engine_options);
	if (!rc)
		rc = open_metadata(vm, &config);
	if (!rc)
		rc = engines_choose(c->engine.name ? c->engine.name : "auto", &config.engine,
				    &vm->error);
	if (rc)
		return rc;
	config.boot.unpack = engines_slow(config.engine);
	machine = machine_new(&config, &vm->error);
	if (!machine)
		return vm->error.code;
	rc = machine_start(machine, &vm->error);
	if (rc) {
		machine_free(machine);
		return rc;
	}
	close_consoles(vm); /* the machine has its own */
	vm->engine = config.engine->name;
	vm->started = time_monotonic_ns();
	atomic_store(&vm->machine, machine);
	if (atomic_load(&vm->stop))
		machine_stop(machine);
	return 0;
}

int lodge_vm_fd(const lodge_vm *vm)
{
	return vm->machine ? machine_ended_fd(vm->machine) : -1;
}

enum lodge_state lodge_vm_state(const lodge_vm *vm)
{
	static const enum lodge_state states[] = {
		[MACHINE_STATE_RUNNING] = LODGE_RUNNING,
		[MACHINE_STATE_PAUSED] = LODGE_PAUSED,
		[MACHINE_STATE_ENDED] = LODGE_ENDED,
	};
	struct machine *machine = atomic_load(&vm->machine);

	return machine ? states[machine_state(machine)] : LODGE_CREATED;
}

/* A call that controls the machine. */
static int control(lodge_vm *vm, int (*call)(struct machine *m, struct err *e))
{
	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	return call(vm->machine, &vm->error);
}

int lodge_vm_pause(lodge_vm *vm)
{
	return control(vm, machine_pause);
}

int lodge_vm_resume(lodge_vm *vm)
{
	return control(vm, machine_resume);
}

int lodge_vm_change(lodge_vm *vm, const char *device, const char *value)
{
	struct machine_change change;
	int rc;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	rc = change_parse(&change, device, value, &vm->error);
	return rc ? rc : machine_change(vm->machine, &change, &vm->error);
}

int lodge_vm_attach(lodge_vm *vm, const char *kind, const char *value)
{
	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	return attach_device(vm->machine, kind, value, &vm->error);
}

int lodge_vm_detach(lodge_vm *vm, const char *device)
{
	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	return detach_device(vm->machine, device, &vm->error);
}

int lodge_vm_event_fd(const lodge_vm *vm)
{
	return vm->machine ? machine_events_fd(vm->machine) : -1;
}

int lodge_vm_next_event(lodge_vm *vm, struct lodge_event *event)
{
	static const enum lodge_event_kind kinds[] = {
		[MACHINE_EVENT_WARNING] = LODGE_EVENT_WARNING,
		[MACHINE_EVENT_RESET] = LODGE_EVENT_RESET,
		[MACHINE_EVENT_PAUSED] = LODGE_EVENT_PAUSED,
		[MACHINE_EVENT_RESUMED] = LODGE_EVENT_RESUMED,
		[MACHINE_EVENT_ENDED] = LODGE_EVENT_ENDED,
		[MACHINE_EVENT_BOOTED] = LODGE_EVENT_BOOTED,
		[MACHINE_EVENT_ATTACHED] = LODGE_EVENT_ATTACHED,
		[MACHINE_EVENT_DETACHED] = LODGE_EVENT_DETACHED,
		[MACHINE_EVENT_DETACH_REFUSED] = LODGE_EVENT_DETACH_REFUSED,
	};
	struct machine_event e;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	if (!machine_next_event(vm->machine, &e))
		return 0;
	*event = (struct lodge_event){kinds[e.kind], e.text, e.lost, e.time, e.cpu};
	return 1;
}

/* poll, with signals taking nothing from the time and adding nothing to it. */
static int poll_for(struct pollfd *fd, int timeout_ms)
{
	uint64_t end = time_monotonic_ns() + (uint64_t)MAX(timeout_ms, 0) * NS_PER_MS, now;
	int n = poll(fd, 1, timeout_ms);

	while (n < 0 && errno == EINTR) {
		now = time_monotonic_ns();
		if (timeout_ms > 0)
			timeout_ms = now < end ? (int)((end - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
		n = poll(fd, 1, timeout_ms);
	}
	return n;
}

int lodge_vm_wait(lodge_vm *vm, int timeout_ms)
{
	struct pollfd fd = {.fd = lodge_vm_fd(vm), .events = POLLIN};
	int n;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	n = poll_for(&fd, timeout_ms);
	if (!n)
		return err_set(&vm->error, ETIMEDOUT, "the VM still runs");
	return n < 0 ? err_errno(&vm->error, errno, "cannot wait for the VM") : 0;
}

int lodge_vm_result(lodge_vm *vm, struct lodge_result *result)
{
	static const enum lodge_end ends[] = {
		[MACHINE_POWEROFF] = LODGE_END_POWEROFF,     [MACHINE_REBOOT] = LODGE_END_POWEROFF,
		[MACHINE_STOPPED] = LODGE_END_STOPPED,       [MACHINE_CRASHED] = LODGE_END_CRASHED,
		[MACHINE_DEBUG_EXIT] = LODGE_END_DEBUG_EXIT, [MACHINE_FAILED] = LODGE_END_FAILED,
	};
	struct machine_result r;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	machine_result(vm->machine, &r);
	if (r.end == MACHINE_RUNNING)
		return err_set(&vm->error, EBUSY, "the VM still runs");
	*result = (struct lodge_result){.end = ends[r.end],
					.code = r.code,
					.text = r.text,
					.dump = r.dump,
					.warnings = r.warnings,
					.lost = r.lost,
					.lost_error = r.lost_error};
	return 0;
}

void lodge_vm_stop(lodge_vm *vm)
{
	struct machine *machine;

	atomic_store(&vm->stop, true);
	machine = atomic_load(&vm->machine);
	if (machine)
		machine_stop(machine);
}

void lodge_vm_power_button(lodge_vm *vm)
{
	if (vm->machine)
		machine_power_button(vm->machine);
}

void lodge_vm_ctrl_alt_del(lodge_vm *vm)
{
	if (vm->machine)
		machine_ctrl_alt_del(vm->machine);
}

size_t lodge_vm_stats(lodge_vm *vm, struct lodge_stat *stats, size_t max)
{
	struct engine_stat own[STATS_MAX];
	size_t n;

	if (!vm->machine)
		return 0;
	n = machine_stats(vm->machine, own, STATS_MAX);
	n = MIN(n, STATS_MAX);
	for (size_t i = 0; i < n && i < max; i++)
		stats[i] = (struct lodge_stat){.name = own[i].name, .count = own[i].count};
	return n;
}

size_t lodge_vm_cpu_times(lodge_vm *vm, uint64_t *ns, size_t max)
{
	struct machine *machine = atomic_load(&vm->machine);

	return machine ? machine_cpu_times(machine, ns, max) : 0;
}

int lodge_vm_usage(lodge_vm *vm, struct lodge_usage *usage)
{
	uint64_t ns[ENGINE_VCPUS_MAX];
	size_t n = lodge_vm_cpu_times(vm, ns, ENGINE_VCPUS_MAX);

	if (!n)
		return -EINVAL;
	*usage = (struct lodge_usage){.engine = vm->engine,
				      .cpus = vm->config.cpus,
				      .memory = vm->config.memory,
				      .uptime = time_monotonic_ns() - vm->started};
	for (size_t i = 0; i < n; i++)
		usage->cpu_time += ns[i];
	return 0;
}

int lodge_vm_device(lodge_vm *vm, unsigned n, char *name, size_t size)
{
	struct machine_device_name device;
	int rc;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	rc = machine_device_at(vm->machine, n, &device, &vm->error);
	if (!rc)
		change_device_name(&device, name, size);
	return rc;
}

int lodge_vm_device_stats(lodge_vm *vm, const char *device, struct lodge_stat *stats, size_t max)
{
	struct engine_stat own[STATS_MAX];
	struct machine_device_name which;
	size_t n;
	int rc;

	err_clear(&vm->error);
	if (!vm->machine)
		return err_set(&vm->error, EINVAL, "the VM was not started");
	rc = change_device(&which, device, &vm->error);
	if (!rc)
		rc = machine_device_stats(vm->machine, which, own, STATS_MAX, &n, &vm->error);
	if (rc)
		return rc;
	for (size_t i = 0; i < n && i < max && i < STATS_MAX; i++)
		stats[i] = (struct lodge_stat){.name = own[i].name, .count = own[i].count};
	return (int)n;
}

const char *lodge_vm_error(const lodge_vm *vm)
{
	return vm->error.text;
}
