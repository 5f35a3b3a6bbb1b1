/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that prints writes the UART's transmit register once a byte: an exit to
 * this process for each. Its driver asks the line status first and then writes a
 * FIFO's worth without looking. While it does so, the engine may collect the
 * writes and hand them over with the next exit, as a PCI bridge posts writes.
 *
 * What must not happen is that the last bytes of a burst stay behind because no
 * exit follows. So posting is on only while a timer runs: it hands over what there
 * is every few milliseconds, and switches posting off when it found nothing. A
 * silent guest costs no timer, and a byte is late by POSTED_DELAY at most.
 *
 * Locks: a vCPU in posted_hint holds its device's lock and takes p->lock; handing
 * over takes device locks, so it is never done with p->lock held.
 */
#include "machine/posted.h"

#include "base/time.h"

#define POSTED_DELAY (4 * NS_PER_MS)

static void switch_posting(struct posted *p, bool on)
{
	pthread_mutex_lock(&p->lock);
	if (atomic_load(&p->on) != on &&
	    !p->engine->post(p->vm, p->bus, p->addr, p->size, on, NULL))
		atomic_store(&p->on, on);
	pthread_mutex_unlock(&p->lock);
}

static void on_timer(void *opaque)
{
	struct posted *p = opaque;

	if (p->engine->post_drain(p->vm)) {
		clock_timer_set(p->clock, &p->timer, clock_now(p->clock) + POSTED_DELAY);
		return;
	}
	switch_posting(p, false);
	p->engine->post_drain(p->vm); /* what came between the two */
}

void posted_init(struct posted *p, const struct engine_ops *engine, struct engine_vm *vm,
		 struct clock *clock)
{
	*p = (struct posted){.engine = engine, .vm = vm, .clock = clock};
	p->timer = (struct clock_timer){.fired = on_timer, .opaque = p};
	pthread_mutex_init(&p->lock, NULL);
}

void posted_target(struct posted *p, const struct bus *bus, uint64_t addr, unsigned size)
{
	p->bus = bus;
	p->addr = addr;
	p->size = size;
}

void posted_hint(void *opaque)
{
	struct posted *p = opaque;

	if (!p->engine->post || atomic_load_explicit(&p->on, memory_order_relaxed))
		return;
	switch_posting(p, true);
	clock_timer_set(p->clock, &p->timer, clock_now(p->clock) + POSTED_DELAY);
}

void posted_stop(struct posted *p)
{
	if (!p->engine->post)
		return;
	clock_timer_cancel(p->clock, &p->timer);
	switch_posting(p, false);
	p->engine->post_drain(p->vm);
}

void posted_release(struct posted *p)
{
	pthread_mutex_destroy(&p->lock);
}
