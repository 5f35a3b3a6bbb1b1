/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a machine.
 *
 *	machine_new     RAM, engine, vCPUs, devices: everything that can fail early
 *	machine_start   power_on, threads
 *	  I/O thread:   lets the vCPUs go; events and timers; requests:
 *	                  reset -> park vCPUs, power_on again, resume
 *	                  anything else -> park vCPUs, keep the result, signal the end
 *	machine_free    joins the threads, takes everything down in reverse
 *
 * A request is a bit that any thread sets. Device callbacks set them with their
 * locks held, so nothing is done there but to note, to wake the I/O thread, and to
 * kick the vCPUs.
 */
#include "machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/acpi/erst.h"
#include "machine/acpi/tables.h"
#include "machine/layout.h"
#include "machine/machine_int.h"
#include "machine/paravirt.h"

void machine_warn(struct machine *m, const char *fmt, ...)
{
	char line[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&m->lock);
	buf_printf(&m->warnings, "%s\n", line);
	pthread_mutex_unlock(&m->lock);
	machine_tell(m, MACHINE_EVENT_WARNING, line);
}

void machine_request(struct machine *m, unsigned requests)
{
	atomic_fetch_or(&m->requests, requests);
	event_wake_signal(&m->wake);
	machine_vcpus_kick(m);
}

static int add_ram(struct machine *m, struct err *e)
{
	uint64_t low = MIN(m->config.memory, LAYOUT_LOW_RAM_END);
	int rc = mem_add_ram(&m->mem, 0, low, e);

	if (!rc && m->config.memory > low)
		rc = mem_add_ram(&m->mem, LAYOUT_HIGH_RAM, m->config.memory - low, e);
	for (unsigned i = 0; !rc && i < m->mem.count; i++)
		rc = m->engine->map(m->vm, &m->mem.regions[i], e);
	return rc;
}

static void env_wake(void *opaque, unsigned vcpu)
{
	struct machine *m = opaque;

	if (vcpu < m->config.cpus)
		machine_vcpu_wake(&m->vcpus[vcpu]);
}

uint64_t machine_memory_place(const struct machine *m, uint64_t size, struct err *e)
{
	uint64_t at = LAYOUT_HIGH_RAM;

	for (unsigned i = 0; i < m->mem.count; i++)
		at = MAX(at, m->mem.regions[i].gpa + m->mem.regions[i].size);
	at = align_up(at, LAYOUT_MEMORY_ALIGN);
	if (range_within(at, size, BIT(m->cpu.phys_bits)))
		return at;
	err_set(e, ENOSPC, "the guest's processor has addresses of %u bits: give less memory",
		m->cpu.phys_bits);
	return 0;
}

static uint8_t env_intack(void *opaque, unsigned vcpu)
{
	struct machine *m = opaque;

	return machine_has_lapics(m) ? lapics_ack(&m->lapics, vcpu) : pc_intack(m->pc);
}

static void env_eoi(void *opaque, uint8_t vector)
{
	struct machine *m = opaque;

	pc_eoi(m->pc, vector);
}

static void on_clock_timer(void *opaque)
{
	struct machine *m = opaque;

	clock_run_timers(&m->clock);
}

static void on_rearm(void *opaque, uint64_t host_ns)
{
	struct machine *m = opaque;

	event_timer_set(&m->clock_timer, host_ns);
}

/* The tables that describe the machine to its guest. */
static int build_acpi(struct machine *m, uint64_t *rsdp, struct err *e)
{
	struct erst_instruction erst[ERST_INSTRUCTIONS_MAX];
	struct acpi_mmio_device devices[PARAVIRT_MAX];
	struct acpi_config config = {
		.cpus = m->config.cpus,
		.keyboard = true,
		.mouse = true,
		.pvpanic = true,
		.erst = erst,
		.erst_count = erst_instructions(LAYOUT_ERST, erst),
	};

	pc_describe(m->pc, &config, devices);
	return acpi_build(&config, &m->mem, rsdp, e);
}

/* Those of a vCPU's MSRs that are to be otherwise. */
static int edit_msrs(const struct machine *m, struct vcpu_state *state, struct err *e)
{
	const struct machine_cpu_edits *edits = m->config.cpu_edits;
	unsigned count = edits ? edits->msr_count : 0;
	uint64_t value;

	for (unsigned i = 0; i < count; i++) {
		const struct machine_msr_edit *edit = &edits->msr[i];

		if (!vcpu_state_get_msr(state, edit->index, &value))
			return err_set(e, ENOTSUP,
				       "MSR %#x cannot be changed: it is none that a guest of "
				       "lodge sets: leave it away",
				       edit->index);
		vcpu_state_set_msr(state, edit->index, (value & ~edit->mask) | edit->value);
	}
	return 0;
}

/* RAM and registers as a guest finds them at power-on, with its kernel loaded. vCPUs are parked. */
static int power_on(struct machine *m, struct err *e)
{
	struct vcpu_state state;
	struct boot_entry entry;
	int rc;

	pc_reset(m->pc);
	machine_lapics_reset(m);
	rc = build_acpi(m, &m->config.boot.rsdp, e);
	if (!rc)
		rc = boot_load(m->boot, &m->mem, &m->config.boot, &entry, e);
	for (unsigned i = 0; !rc && i < m->config.cpus; i++) {
		vcpu_state_reset(&state, i);
		firmware_set_vcpu(&m->cpu, &state, i == 0);
		if (i == 0)
			boot_set_vcpu(&entry, &state);
		rc = edit_msrs(m, &state, e);
		if (!rc)
			rc = machine_set_state(&m->vcpus[i], &state, e);
	}
	return rc;
}

/* Tells the world of the end. More than once does no harm. */
static void announce(void *opaque)
{
	struct machine *m = opaque;
	uint64_t one = 1;
	bool again;
	ssize_t n;

	pthread_mutex_lock(&m->lock);
	again = m->ended;
	m->ended = true;
	pthread_mutex_unlock(&m->lock);
	if (!again)
		machine_tell(m, MACHINE_EVENT_ENDED, "");
	n = write(m->ended_fd, &one, sizeof(one));
	(void)n; /* an eventfd takes it */
}

/* Whoever reads the console sees its end. */
static void console_empty(void *opaque)
{
	struct machine *m = opaque;

	pc_console_close(m->pc);
	announce(m);
}

/* The guest's last words may wait for a slow reader, as any program's do; whoever stops the
 * machine does not wait for it. */
static void finish(struct machine *m, enum machine_end end)
{
	clock_stop(&m->clock);
	pc_stop(m->pc);
	pthread_mutex_lock(&m->lock);
	m->end = end;
	pthread_mutex_unlock(&m->lock);
	if (end == MACHINE_STOPPED)
		announce(m);
	pc_console_flush(m->pc, console_empty, m);
}

/* machine_stop, while the last words wait for their reader. */
static void stop_waiting(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	if (!m->ended && m->end != MACHINE_CRASHED && m->end != MACHINE_FAILED)
		m->end = MACHINE_STOPPED;
	pthread_mutex_unlock(&m->lock);
	announce(m);
}

static void fail(struct machine *m, const struct err *e)
{
	pthread_mutex_lock(&m->lock);
	if (!m->text.len)
		buf_printf(&m->text, "%s", e->text);
	pthread_mutex_unlock(&m->lock);
	finish(m, MACHINE_FAILED);
}

static void reset(struct machine *m)
{
	struct err e = ERR_INIT;

	clock_stop(&m->clock);
	pc_stop(m->pc); /* first: no device may be writing to what is cleared */
	if (mem_reset(&m->mem, &e) || power_on(m, &e)) {
		fail(m, &e);
		return;
	}
	machine_tell(m, MACHINE_EVENT_RESET, "");
	machine_go(m);
}

/* Handles the requests of one moment: the gravest counts. vCPUs are parked. */
static void handle(struct machine *m, unsigned requests)
{
	if (requests & REQUEST_FAIL) {
		finish(m, MACHINE_FAILED);
	} else if (requests & REQUEST_CRASH) {
		finish(m, MACHINE_CRASHED);
	} else if (requests & REQUEST_PANIC) {
		machine_note_panic(m);
		finish(m, MACHINE_CRASHED);
	} else if (requests & REQUEST_DEBUG_EXIT) {
		finish(m, MACHINE_DEBUG_EXIT);
	} else if (requests & REQUEST_POWEROFF) {
		finish(m, MACHINE_POWEROFF);
	} else if (requests & REQUEST_STOP) {
		finish(m, MACHINE_STOPPED);
	} else if (requests & REQUEST_RESET) {
		if (m->config.reboot)
			reset(m);
		else
			finish(m, MACHINE_REBOOT);
	}
}

static void on_wake(void *opaque)
{
	struct machine *m = opaque;
	unsigned requests;

	machine_run_calls(m);
	if (!atomic_load(&m->requests))
		return;
	if (m->end != MACHINE_RUNNING) {
		if (atomic_exchange(&m->requests, 0) & REQUEST_STOP)
			stop_waiting(m);
		return;
	}
	machine_vcpus_park(m);
	requests = atomic_exchange(&m->requests, 0);
	handle(m, requests);
	if (requests & REQUEST_STOP && m->end != MACHINE_STOPPED)
		stop_waiting(m);
}

static void *io_thread(void *opaque)
{
	struct machine *m = opaque;
	int rc;

	pthread_setname_np(pthread_self(), "lodge-io");
	/* Here, so that a request that came already is handled after it: on_wake may end the
	 * machine at once, and nothing starts it then. */
	machine_go(m);
	rc = event_loop_run(m->loop);
	if (rc && m->end == MACHINE_RUNNING) {
		struct err e = ERR_INIT;

		err_errno(&e, rc, "the event loop failed");
		machine_vcpus_park(m);
		fail(m, &e);
	}
	if (rc)
		announce(m); /* nothing is left that could wait for the console */
	machine_close_calls(m);
	return NULL;
}

static int start_io_thread(struct machine *m, struct err *e)
{
	sigset_t before;
	int rc;

	machine_block_signals(&before);
	rc = pthread_create(&m->io_thread, NULL, io_thread, m);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	m->io_started = !rc;
	return rc ? err_errno(e, rc, "cannot start the I/O thread") : 0;
}

static int open_loop(struct machine *m, struct err *e)
{
	int rc;

	m->loop = event_loop_new(e);
	if (!m->loop)
		return e->code;
	rc = event_timer_init(&m->clock_timer, m->loop, on_clock_timer, m);
	if (!rc)
		rc = event_wake_init(&m->wake, m->loop, on_wake, m);
	m->ended_fd = eventfd(0, EFD_CLOEXEC);
	if (!rc && m->ended_fd < 0)
		rc = -errno;
	if (!rc)
		rc = machine_events_init(&m->events);
	return rc ? err_errno(e, rc, "cannot make the I/O thread's events") : 0;
}

static int build(struct machine *m, struct err *e)
{
	int rc = open_loop(m, e);

	if (!rc)
		rc = mem_init(&m->mem, m->config.share_count ? MEM_SHARED : MEM_HUGE, e);
	if (!rc)
		rc = m->engine->vm_create(&m->vm, &m->env, e);
	if (!rc)
		rc = add_ram(m, e);
	if (!rc)
		rc = machine_vcpus_create(m, e);
	if (!rc)
		rc = pc_new(&m->pc, m, e);
	if (!rc)
		rc = boot_source_open(&m->boot, &m->config.boot, e);
	return rc;
}

struct machine *machine_new(const struct machine_config *config, struct err *e)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert(config->cpus >= 1 && config->cpus <= ENGINE_VCPUS_MAX);
	if (!m) {
		err_errno(e, ENOMEM, "cannot build the machine");
		return NULL;
	}
	m->config = *config;
	m->engine = config->engine;
	m->mem.fd = -1;
	m->ended_fd = -1;
	m->events.fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	pthread_cond_init(&m->called, NULL);
	bus_init(&m->pio, "pio", BIT(16));
	bus_init(&m->mmio, "mmio", BIT(52));
	clock_init(&m->clock, on_rearm, m);
	m->env = (struct engine_env){
		.mem = &m->mem,
		.pio = &m->pio,
		.mmio = &m->mmio,
		.clock = &m->clock,
		.opaque = m,
		.intack = env_intack,
		.eoi = env_eoi,
		.wake = env_wake,
		.lapic = &machine_lapic_ops,
		.options = config->engine_options,
	};
	machine_lapics_init(m);
	if (build(m, e)) {
		machine_free(m);
		return NULL;
	}
	return m;
}

int machine_start(struct machine *m, struct err *e)
{
	int rc = power_on(m, e);

	if (!rc)
		rc = machine_vcpus_start(m, e);
	if (!rc)
		rc = start_io_thread(m, e);
	return rc;
}

void machine_stop(struct machine *m)
{
	machine_request(m, REQUEST_STOP);
}

void machine_power_button(struct machine *m)
{
	pc_power_button(m->pc);
}

void machine_ctrl_alt_del(struct machine *m)
{
	pc_ctrl_alt_del(m->pc);
}

void machine_set_window(struct machine *m, const struct machine_window *window)
{
	pc_set_window(m->pc, window);
}

int machine_ended_fd(const struct machine *m)
{
	return m->ended_fd;
}

void machine_result(struct machine *m, struct machine_result *result)
{
	int lost_error;
	uint64_t lost = pc_console_lost(m->pc, &lost_error);

	pthread_mutex_lock(&m->lock);
	*result = (struct machine_result){
		.end = m->ended ? m->end : MACHINE_RUNNING,
		.lost = lost,
		.lost_error = lost_error,
		.code = atomic_load(&m->debug_exit_code),
		.text = m->ended ? buf_str(&m->text) : "", /* else a vCPU may be writing it */
		.dump = m->ended ? buf_str(&m->dump) : "",
		.warnings = m->ended ? buf_str(&m->warnings) : "",
	};
	pthread_mutex_unlock(&m->lock);
}

size_t machine_stats(struct machine *m, struct engine_stat *stats, size_t max)
{
	const struct engine_stat own[] = {
		{"pio unclaimed reads", atomic_load(&m->pio.unclaimed_reads)},
		{"pio unclaimed writes", atomic_load(&m->pio.unclaimed_writes)},
		{"mmio unclaimed reads", atomic_load(&m->mmio.unclaimed_reads)},
		{"mmio unclaimed writes", atomic_load(&m->mmio.unclaimed_writes)},
	};
	size_t n = m->engine->stats(m->vm, stats, max);

	for (size_t i = 0; i < ARRAY_LEN(own); i++, n++)
		if (n < max)
			stats[n] = own[i];
	return n;
}

/* The I/O thread goes first: it may be in the middle of a reset and waiting for vCPUs to park. */
static void stop_threads(struct machine *m)
{
	if (m->io_started) {
		event_loop_stop(m->loop);
		pthread_join(m->io_thread, NULL);
	}
	machine_vcpus_join(m);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	stop_threads(m);
	if (m->pc)
		pc_free(m->pc);
	boot_source_close(m->boot);
	if (m->vm) {
		machine_vcpus_destroy(m);
		m->engine->vm_destroy(m->vm);
	}
	if (m->loop) {
		event_timer_release(&m->clock_timer, m->loop);
		event_wake_release(&m->wake, m->loop);
		event_loop_free(m->loop);
	}
	if (m->ended_fd >= 0)
		close(m->ended_fd);
	machine_events_release(&m->events);
	mem_release(&m->mem);
	lapics_release(&m->lapics);
	clock_release(&m->clock);
	bus_release(&m->pio);
	bus_release(&m->mmio);
	buf_release(&m->text);
	buf_release(&m->warnings);
	buf_release(&m->dump);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->changed);
	pthread_cond_destroy(&m->called);
	free(m);
}
