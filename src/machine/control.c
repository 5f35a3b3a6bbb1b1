/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running machine under somebody's control: what other threads want done to it is
 * done by the I/O thread, between two events, so that it races neither with devices
 * nor with resets and the end.
 *
 *	any thread: machine_call      appends a call, wakes the I/O thread, sleeps
 *	I/O thread: machine_run_calls runs it, and wakes the caller
 *
 * A paused machine has its vCPUs parked and its clock stopped; its I/O thread goes on,
 * so that it can be asked, stopped and resumed, and requests that devices had in hand
 * come to their ends. A reset that a guest asked for just before is made meanwhile, and
 * leaves the machine paused.
 */
#include <assert.h>
#include <errno.h>

#include "machine/machine_int.h"
#include "machine/paravirt.h"
#include "machine/pc.h"

struct machine_pending {
	machine_call_fn *run;
	void *opaque;
	struct err *e;
	int rc;
	bool done; /* guarded by machine->lock, as is the list */
	struct machine_pending *next;
};

static int refuse(struct err *e)
{
	return err_set(e, ESRCH, "the VM has ended");
}

int machine_call(struct machine *m, machine_call_fn *run, void *opaque, struct err *e)
{
	struct machine_pending own = {.run = run, .opaque = opaque, .e = e}, **end;
	bool closed;

	assert(m->io_started && !pthread_equal(pthread_self(), m->io_thread));
	pthread_mutex_lock(&m->lock);
	closed = m->calls_closed;
	for (end = &m->calls; *end;)
		end = &(*end)->next;
	if (!closed)
		*end = &own;
	pthread_mutex_unlock(&m->lock);
	if (closed)
		return refuse(e);
	event_wake_signal(&m->wake);
	pthread_mutex_lock(&m->lock);
	while (!own.done)
		pthread_cond_wait(&m->called, &m->lock);
	pthread_mutex_unlock(&m->lock);
	return own.rc;
}

static struct machine_pending *next_call(struct machine *m)
{
	struct machine_pending *call;

	pthread_mutex_lock(&m->lock);
	call = m->calls;
	if (call)
		m->calls = call->next;
	pthread_mutex_unlock(&m->lock);
	return call;
}

/* The caller's memory is gone once it is done. */
static void answer(struct machine *m, struct machine_pending *call, int rc)
{
	pthread_mutex_lock(&m->lock);
	call->rc = rc;
	call->done = true;
	pthread_cond_broadcast(&m->called);
	pthread_mutex_unlock(&m->lock);
}

void machine_run_calls(struct machine *m)
{
	struct machine_pending *call;

	while ((call = next_call(m))) {
		bool ended = m->end != MACHINE_RUNNING;

		answer(m, call, ended ? refuse(call->e) : call->run(m, call->opaque, call->e));
	}
}

void machine_close_calls(struct machine *m)
{
	struct machine_pending *call;

	pthread_mutex_lock(&m->lock);
	m->calls_closed = true;
	pthread_mutex_unlock(&m->lock);
	while ((call = next_call(m)))
		answer(m, call, refuse(call->e));
}

static void set_paused(struct machine *m, bool paused)
{
	pthread_mutex_lock(&m->lock);
	m->paused = paused;
	pthread_mutex_unlock(&m->lock);
}

void machine_go(struct machine *m)
{
	if (m->paused)
		return;
	clock_start(&m->clock);
	machine_vcpus_resume(m);
}

static int pause_now(struct machine *m, void *opaque, struct err *e)
{
	(void)opaque;
	(void)e;
	if (m->paused)
		return 0;
	machine_vcpus_park(m);
	clock_stop(&m->clock);
	set_paused(m, true);
	machine_tell(m, MACHINE_EVENT_PAUSED, "");
	return 0;
}

static int resume_now(struct machine *m, void *opaque, struct err *e)
{
	(void)opaque;
	(void)e;
	if (!m->paused)
		return 0;
	set_paused(m, false);
	machine_go(m);
	machine_tell(m, MACHINE_EVENT_RESUMED, "");
	return 0;
}

int machine_pause(struct machine *m, struct err *e)
{
	return machine_call(m, pause_now, NULL, e);
}

int machine_resume(struct machine *m, struct err *e)
{
	return machine_call(m, resume_now, NULL, e);
}

static int change_now(struct machine *m, void *opaque, struct err *e)
{
	return pc_change(m->pc, opaque, e);
}

int machine_change(struct machine *m, const struct machine_change *change, struct err *e)
{
	struct machine_change own = *change;

	return machine_call(m, change_now, &own, e);
}

/* A call that changes nothing, and takes the locks that it needs: when the machine has ended, and
 * nobody changes it any more, it is made right here. */
static int ask(struct machine *m, machine_call_fn *run, void *opaque, struct err *e)
{
	struct err own = ERR_INIT;
	int rc = machine_call(m, run, opaque, &own);

	if (rc == -ESRCH)
		return run(m, opaque, e);
	if (rc)
		*e = own;
	return rc;
}

struct stats_request {
	struct machine_device_name device;
	struct engine_stat *stats;
	size_t max, count;
};

static int stats_now(struct machine *m, void *opaque, struct err *e)
{
	struct stats_request *r = opaque;

	r->count = paravirt_device_stats(pc_paravirt(m->pc), &r->device, r->stats, r->max);
	return r->count ? 0 : err_set(e, ENOENT, "the machine has no such device");
}

int machine_device_stats(struct machine *m, struct machine_device_name device,
			 struct engine_stat *stats, size_t max, size_t *count, struct err *e)
{
	struct stats_request r = {.device = device, .stats = stats, .max = max};
	int rc = ask(m, stats_now, &r, e);

	*count = r.count;
	return rc;
}

struct device_request {
	unsigned n;
	struct machine_device_name *device;
};

static int device_now(struct machine *m, void *opaque, struct err *e)
{
	struct device_request *r = opaque;
	bool found = paravirt_device_at(pc_paravirt(m->pc), r->n, r->device);

	return found ? 0 : err_set(e, ENOENT, "the machine has no more devices");
}

int machine_device_at(struct machine *m, unsigned n, struct machine_device_name *device,
		      struct err *e)
{
	struct device_request r = {n, device};

	return ask(m, device_now, &r, e);
}

static int attach_now(struct machine *m, void *opaque, struct err *e)
{
	return paravirt_attach(pc_paravirt(m->pc), opaque, e);
}

int machine_attach(struct machine *m, const struct machine_attachment *a, struct err *e)
{
	struct machine_attachment own = *a;

	return machine_call(m, attach_now, &own, e);
}

struct leaver {
	enum machine_device kind;
	unsigned number;
};

static int detach_now(struct machine *m, void *opaque, struct err *e)
{
	const struct leaver *leaver = opaque;

	return paravirt_detach(pc_paravirt(m->pc), leaver->kind, leaver->number, e);
}

int machine_detach(struct machine *m, enum machine_device kind, unsigned number, struct err *e)
{
	struct leaver leaver = {kind, number};

	return machine_call(m, detach_now, &leaver, e);
}

enum machine_state machine_state(struct machine *m)
{
	enum machine_state state;

	pthread_mutex_lock(&m->lock);
	state = m->ended    ? MACHINE_STATE_ENDED
		: m->paused ? MACHINE_STATE_PAUSED
			    : MACHINE_STATE_RUNNING;
	pthread_mutex_unlock(&m->lock);
	return state;
}
