/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads.
 *
 * Each thread is in one of two places: in the engine's run(), or parked on the
 * machine's condition variable. The I/O thread parks all of them before it
 * changes anything under their feet (a reset, the end). A vCPU that asked for such a
 * change parks itself before its next guest instruction: machine_request kicks every
 * vCPU, so that run() returns, and none goes back while the request is not handled.
 * What the guest does after its own power-off must not count for more than that.
 *
 *	     run = false or a request, kick
 *	run() ------------------------> parked
 *	  ^                               |
 *	  +-------- run = true -----------+---- quit = true ---> thread ends
 *
 * Where the local APICs are the machine's there is a third place: a vCPU that halted,
 * or waits for INIT or SIPI, sleeps here until something is for it. No wake-up is lost
 * between the engine's look and the sleep: whoever has something leaves it where run()
 * or machine_start_up finds it, then sets kicked; kicked is cleared only at the end of a
 * sleep, and what is then there is looked at. At worst a sleep ends for nothing.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "machine/layout.h"
#include "host/memfile.h"
#include "machine/machine_int.h"

/* Guest code runs on threads of this stack: device models are shallow. */
#define VCPU_STACK (256 * 1024)

/* Whether no guest code is to run: the I/O thread said so, or there is a request that it has not
 * come to yet. Each request ends in machine_vcpus_resume or in the machine's end. */
static bool stands_still(struct machine *m)
{
	return !m->run || atomic_load(&m->requests);
}

/* Waits while the machine stands still; false when the thread is to end. */
static bool wait_until_run(struct machine_vcpu *v)
{
	struct machine *m = v->machine;
	bool go_on;

	pthread_mutex_lock(&m->lock);
	while (stands_still(m) && !m->quit) {
		v->parked = true;
		pthread_cond_broadcast(&m->changed);
		pthread_cond_wait(&m->changed, &m->lock);
	}
	v->parked = false;
	go_on = !m->quit;
	pthread_mutex_unlock(&m->lock);
	return go_on;
}

/* Sleeps until an interrupt, INIT, SIPI or a change of the machine's life. */
static void wait_for_kick(struct machine_vcpu *v)
{
	struct machine *m = v->machine;

	pthread_mutex_lock(&m->lock);
	v->halted = true;
	while (!v->kicked && m->run && !m->quit)
		pthread_cond_wait(&v->woken, &m->lock);
	v->kicked = false;
	v->halted = false;
	pthread_mutex_unlock(&m->lock);
}

/* A vCPU that cannot go on: leaves its words and asks for the end. */
static void give_up(struct machine_vcpu *v, unsigned request, const char *what,
		    const struct engine_detail *detail)
{
	machine_note_vcpu(v->machine, v, what, detail);
	machine_request(v->machine, request);
}

static void after_run(struct machine_vcpu *v, enum engine_exit exit,
		      const struct engine_detail *detail)
{
	struct machine *m = v->machine;

	switch (exit) {
	case ENGINE_KICKED:
		break;
	case ENGINE_HALTED:
		wait_for_kick(v);
		break;
	case ENGINE_SHUTDOWN:
		give_up(v, REQUEST_CRASH, "triple fault", detail);
		break;
	case ENGINE_CRASHED:
		give_up(v, REQUEST_CRASH, "guest crash reported", detail);
		break;
	case ENGINE_ERROR:
		give_up(v, REQUEST_FAIL, "the engine cannot go on", detail);
		break;
	case ENGINE_RESET:
		machine_request(m, REQUEST_RESET);
		break;
	case ENGINE_POWEROFF:
		machine_request(m, REQUEST_POWEROFF);
		break;
	}
}

static bool waits_for_start(const struct machine_vcpu *v)
{
	return v->activity == VCPU_WAIT_INIT || v->activity == VCPU_WAIT_SIPI;
}

/* Whether the vCPU has guest code to run; if not, this slept until there may be. */
static bool ready(struct machine_vcpu *v, struct engine_detail *detail)
{
	struct err e = ERR_INIT;

	if (!machine_has_lapics(v->machine))
		return true;
	if (machine_start_up(v, &e)) {
		snprintf(detail->text, sizeof(detail->text), "%.255s", e.text);
		give_up(v, REQUEST_FAIL, "cannot be started", detail);
		return false;
	}
	if (!waits_for_start(v))
		return true;
	wait_for_kick(v);
	return false;
}

/* Without printf, of which a boot needs nothing else: it is 64 KiB of the C library in memory. */
static void name_thread(unsigned id)
{
	char name[16] = "lodge-vcpu";
	size_t at = strlen(name);

	_Static_assert(ENGINE_VCPUS_MAX <= 100, "two digits");
	if (id >= 10)
		name[at++] = (char)('0' + id / 10);
	name[at] = (char)('0' + id % 10);
	pthread_setname_np(pthread_self(), name);
}

static void *vcpu_thread(void *opaque)
{
	struct machine_vcpu *v = opaque;
	struct engine_detail detail;
	/* Translated code has the guest's stack pointer. */
	void *stack = v->machine->config.pmem_count ? memfile_enter() : NULL;

	name_thread(v->id);
	while (wait_until_run(v)) {
		enum engine_exit exit;

		detail.text[0] = '\0';
		detail.insn_len = 0;
		if (!ready(v, &detail))
			continue;
		exit = v->machine->engine->run(v->engine_vcpu, &detail);
		after_run(v, exit, &detail);
	}
	memfile_leave(stack);
	return NULL;
}

/* What vCPU id is told by CPUID. */
static int compose_cpuid(struct machine *m, unsigned id, const struct cpuid_table *supported,
			 struct cpuid_table *table, struct err *e)
{
	const struct cpuid_topology topology = {
		.apic_id = id,
		.cpus = m->config.cpus,
		.paravirt = m->config.kvmclock ? CPUID_PARAVIRT_ALL : CPUID_PARAVIRT_NO_CLOCK,
	};

	const struct machine_cpu_edits *edits = m->config.cpu_edits;
	int rc = cpuid_compose(table, m->config.cpu_model, supported, &topology, e);

	if (!rc && edits)
		rc = cpuid_edit(table, edits->cpuid, edits->cpuid_count, e);
	return rc;
}

/* Learns what the processor is; -EINVAL where RAM lies beyond its addresses. */
static int identify(struct machine *m, const struct cpuid_table *table, struct err *e)
{
	uint64_t most;

	firmware_identify(&m->cpu, table);
	most = BIT(m->cpu.phys_bits) - (LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END);
	if (m->config.memory <= most)
		return 0;
	return err_set(e, EINVAL,
		       "memory of %llu GiB is too much: the processor has %u bits of physical "
		       "address: give at most %llu GiB",
		       (unsigned long long)(m->config.memory >> 30), m->cpu.phys_bits,
		       (unsigned long long)(most >> 30));
}

int machine_vcpus_create(struct machine *m, struct err *e)
{
	struct cpuid_table supported, table;
	int rc = m->engine->cpuid_supported(m->vm, &supported, e);

	for (unsigned i = 0; !rc && i < m->config.cpus; i++) {
		struct machine_vcpu *v = &m->vcpus[i];
		const struct engine_vcpu_config config = {.id = i, .cpuid = &table};

		v->machine = m;
		v->id = i;
		v->sipi = -1;
		pthread_cond_init(&v->woken, NULL);
		rc = compose_cpuid(m, i, &supported, &table, e);
		if (!rc && i == 0) {
			rc = identify(m, &table, e);
			machine_lapics_offer(m, &table);
		}
		if (!rc)
			rc = m->engine->vcpu_create(m->vm, &config, &v->engine_vcpu, e);
	}
	return rc;
}

void machine_block_signals(sigset_t *before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t set;

	sigfillset(&set);
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_SETMASK, &set, before);
}

int machine_vcpus_start(struct machine *m, struct err *e)
{
	pthread_attr_t attr;
	sigset_t before;
	int rc = 0;

	machine_block_signals(&before);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	for (unsigned i = 0; !rc && i < m->config.cpus; i++) {
		rc = pthread_create(&m->vcpus[i].thread, &attr, vcpu_thread, &m->vcpus[i]);
		m->vcpus[i].started = !rc;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? err_errno(e, rc, "cannot start a thread for each of %u vCPUs", m->config.cpus)
		  : 0;
}

size_t machine_cpu_times(struct machine *m, uint64_t *ns, size_t max)
{
	for (unsigned i = 0; i < m->config.cpus && i < max; i++) {
		struct timespec time = {0};
		clockid_t clock;

		if (!pthread_getcpuclockid(m->vcpus[i].thread, &clock))
			clock_gettime(clock, &time);
		ns[i] = (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_nsec;
	}
	return m->config.cpus;
}

void machine_vcpu_wake(struct machine_vcpu *v)
{
	struct machine *m = v->machine;

	pthread_mutex_lock(&m->lock);
	v->kicked = true;
	if (v->halted)
		pthread_cond_signal(&v->woken);
	pthread_mutex_unlock(&m->lock);
}

void machine_vcpu_kick(struct machine_vcpu *v)
{
	machine_vcpu_wake(v);
	v->machine->engine->kick(v->engine_vcpu);
}

void machine_vcpus_kick(struct machine *m)
{
	for (unsigned i = 0; i < m->config.cpus; i++)
		if (m->vcpus[i].engine_vcpu)
			machine_vcpu_kick(&m->vcpus[i]);
}

static bool all_parked(const struct machine *m)
{
	for (unsigned i = 0; i < m->config.cpus; i++)
		if (m->vcpus[i].started && !m->vcpus[i].parked)
			return false;
	return true;
}

void machine_vcpus_park(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->run = false;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	machine_vcpus_kick(m);
	pthread_mutex_lock(&m->lock);
	while (!all_parked(m))
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void machine_vcpus_resume(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->run = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

void machine_vcpus_join(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	m->run = false;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	machine_vcpus_kick(m);
	for (unsigned i = 0; i < m->config.cpus; i++) {
		if (m->vcpus[i].started)
			pthread_join(m->vcpus[i].thread, NULL);
		m->vcpus[i].started = false;
	}
}

void machine_vcpus_destroy(struct machine *m)
{
	for (unsigned i = 0; i < m->config.cpus; i++) {
		if (m->vcpus[i].engine_vcpu)
			m->engine->vcpu_destroy(m->vcpus[i].engine_vcpu);
		if (m->vcpus[i].machine)
			pthread_cond_destroy(&m->vcpus[i].woken);
		m->vcpus[i].engine_vcpu = NULL;
	}
}
