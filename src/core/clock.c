/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time is a base plus the host time that went by since; stopping the clock
 * folds that time into the base. Timers are a list sorted by deadline: a machine
 * has a handful of them, and the earliest is what matters.
 */
#include "core/clock.h"

#include <assert.h>
#include <stddef.h>

#include "base/time.h"

static void clock_init_common(struct clock *c)
{
	*c = (struct clock){.first = NULL};
	pthread_mutex_init(&c->lock, NULL);
}

void clock_init(struct clock *c, void (*rearm)(void *opaque, uint64_t host_ns), void *opaque)
{
	clock_init_common(c);
	c->rearm = rearm;
	c->rearm_opaque = opaque;
}

void clock_init_manual(struct clock *c)
{
	clock_init_common(c);
	c->manual = true;
	c->running = true;
}

void clock_release(struct clock *c)
{
	pthread_mutex_destroy(&c->lock);
}

static uint64_t now_locked(const struct clock *c)
{
	if (c->manual || !c->running)
		return c->guest_base;
	return c->guest_base + (time_monotonic_ns() - c->host_base);
}

/* Tells whoever fires the timers when the earliest is due. */
static void rearm_locked(struct clock *c)
{
	uint64_t due = 0;

	if (!c->rearm)
		return;
	if (c->running && c->first) {
		uint64_t deadline = c->first->deadline;

		due = c->host_base;
		if (deadline > c->guest_base)
			due = deadline - c->guest_base > UINT64_MAX - due
				      ? UINT64_MAX
				      : due + (deadline - c->guest_base);
	}
	c->rearm(c->rearm_opaque, due);
}

void clock_start(struct clock *c)
{
	pthread_mutex_lock(&c->lock);
	if (!c->running) {
		c->host_base = time_monotonic_ns();
		c->running = true;
		rearm_locked(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_stop(struct clock *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->running) {
		c->guest_base = now_locked(c);
		c->running = false;
		rearm_locked(c);
	}
	pthread_mutex_unlock(&c->lock);
}

uint64_t clock_now(struct clock *c)
{
	uint64_t now;

	pthread_mutex_lock(&c->lock);
	now = now_locked(c);
	pthread_mutex_unlock(&c->lock);
	return now;
}

void clock_set(struct clock *c, uint64_t guest_ns)
{
	pthread_mutex_lock(&c->lock);
	assert(c->manual || !c->running);
	c->guest_base = guest_ns;
	pthread_mutex_unlock(&c->lock);
}

static uint64_t host_wall(const struct clock *c)
{
	return c->manual ? c->guest_base : time_wall_ns();
}

uint64_t clock_wall(struct clock *c)
{
	uint64_t wall;

	pthread_mutex_lock(&c->lock);
	wall = host_wall(c) + (uint64_t)c->wall_offset;
	pthread_mutex_unlock(&c->lock);
	return wall;
}

void clock_set_wall(struct clock *c, uint64_t utc_ns)
{
	pthread_mutex_lock(&c->lock);
	c->wall_offset = (int64_t)(utc_ns - host_wall(c));
	pthread_mutex_unlock(&c->lock);
}

static void unlink_locked(struct clock *c, struct clock_timer *t)
{
	struct clock_timer **at = &c->first;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->next = NULL;
	t->armed = false;
}

void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t deadline)
{
	struct clock_timer **at = &c->first;
	struct clock_timer *was;

	pthread_mutex_lock(&c->lock);
	was = c->first;
	if (t->armed)
		unlink_locked(c, t);
	while (*at && (*at)->deadline <= deadline)
		at = &(*at)->next;
	t->deadline = deadline;
	t->next = *at;
	t->armed = true;
	*at = t;
	if (c->first == t || was == t)
		rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void clock_timer_cancel(struct clock *c, struct clock_timer *t)
{
	pthread_mutex_lock(&c->lock);
	if (t->armed) {
		bool was_first = c->first == t;

		unlink_locked(c, t);
		if (was_first)
			rearm_locked(c);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Takes the first timer that is due at now off the list; NULL if there is none. */
static struct clock_timer *take_due(struct clock *c, uint64_t now)
{
	struct clock_timer *t = c->first;

	if (!t || t->deadline > now)
		return NULL;
	unlink_locked(c, t);
	return t;
}

void clock_run_timers(struct clock *c)
{
	struct clock_timer *t;
	uint64_t now;

	pthread_mutex_lock(&c->lock);
	/* What becomes due meanwhile waits for the next call: a guest that arms a timer for the
	 * next nanosecond again and again does not hold the thread. */
	now = now_locked(c);
	while (c->running && (t = take_due(c, now))) {
		pthread_mutex_unlock(&c->lock);
		t->fired(t->opaque);
		pthread_mutex_lock(&c->lock);
	}
	rearm_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void clock_advance(struct clock *c, uint64_t ns)
{
	struct clock_timer *t;
	uint64_t end;

	assert(c->manual);
	pthread_mutex_lock(&c->lock);
	end = c->guest_base + ns;
	while ((t = take_due(c, end))) {
		if (t->deadline > c->guest_base)
			c->guest_base = t->deadline;
		pthread_mutex_unlock(&c->lock);
		t->fired(t->opaque);
		pthread_mutex_lock(&c->lock);
	}
	c->guest_base = end;
	pthread_mutex_unlock(&c->lock);
}
