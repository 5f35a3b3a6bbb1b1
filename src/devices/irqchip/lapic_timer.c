/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer is one number: when it expires next. Counts are computed from it when
 * they are read, and the clock wakes us only where an interrupt comes of it: a masked
 * timer counts by itself.
 *
 * An expiry that has passed is settled: by the clock's callback, or by whoever is
 * about to change what would come of it.
 */
#include "devices/irqchip/lapic_int.h"

#define NS_PER_TICK (NS_PER_SEC / LAPIC_TIMER_HZ)

static enum lapic_timer_mode timer_mode(const struct lapic *a)
{
	return a->lvt[LVT_TIMER] >> LVT_TIMER_SHIFT & 3;
}

/* Nanoseconds a count: bits 0, 1 and 3 say 2, 4, 8, ... 128, 1 (SDM figure 11-10). */
static uint64_t tick(uint32_t divide)
{
	unsigned n = (divide & 3) | (divide >> 1 & 4);

	return NS_PER_TICK << (n + 1) % 8;
}

static uint64_t period(const struct lapic *a)
{
	return a->initial * tick(a->divide);
}

/* What lies between two interrupts of a periodic timer. */
static uint64_t interval(const struct lapic *a)
{
	uint64_t p = period(a);

	return p >= LAPIC_PERIOD_MIN ? p : (LAPIC_PERIOD_MIN + p - 1) / p * p;
}

void lapic_timer_settle(struct lapic *a)
{
	uint64_t now, step;

	if (!a->expiry)
		return;
	now = clock_now(a->all->clock);
	if (now < a->expiry)
		return;
	if (timer_mode(a) == TIMER_PERIODIC && a->initial) {
		step = interval(a);
		a->expiry += ((now - a->expiry) / step + 1) * step;
	} else {
		a->expiry = 0;
	}
	lapic_local(a, LVT_TIMER);
}

void lapic_timer_arm(struct lapic *a)
{
	if (a->expiry && !(a->lvt[LVT_TIMER] & LVT_MASKED))
		clock_timer_set(a->all->clock, &a->timer, a->expiry);
	else
		clock_timer_cancel(a->all->clock, &a->timer);
}

void lapic_timer_fired(void *opaque)
{
	struct lapic *a = opaque;

	pthread_mutex_lock(&a->all->lock);
	lapic_timer_settle(a);
	lapic_timer_arm(a);
	pthread_mutex_unlock(&a->all->lock);
}

void lapic_timer_start(struct lapic *a, uint32_t count)
{
	a->expiry = 0;
	if (count && timer_mode(a) != TIMER_DEADLINE)
		a->expiry = clock_now(a->all->clock) + count * tick(a->divide);
	lapic_timer_arm(a);
}

uint32_t lapic_timer_count(const struct lapic *a)
{
	uint64_t now = clock_now(a->all->clock), left, t = tick(a->divide);

	if (!a->expiry || timer_mode(a) == TIMER_DEADLINE)
		return 0;
	if (timer_mode(a) != TIMER_PERIODIC || !a->initial)
		return a->expiry > now ? (uint32_t)((a->expiry - now + t - 1) / t) : 0;
	/* To the end of this period, which is at a whole number of them from the expiry. */
	if (a->expiry > now)
		left = (a->expiry - now - 1) % period(a) + 1;
	else
		left = period(a) - (now - a->expiry) % period(a);
	return (uint32_t)((left + t - 1) / t);
}

void lapic_timer_set_lvt(struct lapic *a, uint32_t value)
{
	bool was_deadline;

	lapic_timer_settle(a);
	was_deadline = timer_mode(a) == TIMER_DEADLINE;
	a->lvt[LVT_TIMER] = value;
	/* Between TSC-deadline mode and the others the timer is disarmed (SDM 11.5.4.1). */
	if (was_deadline != (timer_mode(a) == TIMER_DEADLINE)) {
		a->initial = 0;
		a->expiry = 0;
	}
	lapic_timer_arm(a);
}

/* The count goes on from where it is, at the new rate. */
void lapic_timer_set_divide(struct lapic *a, uint32_t value)
{
	uint32_t count;

	lapic_timer_settle(a);
	count = lapic_timer_count(a);
	a->divide = value;
	if (timer_mode(a) != TIMER_DEADLINE)
		lapic_timer_start(a, count);
}

void lapics_set_deadline(struct lapics *all, unsigned id, uint64_t ns)
{
	struct lapic *a = &all->apic[id];

	pthread_mutex_lock(&all->lock);
	if (timer_mode(a) == TIMER_DEADLINE) {
		a->expiry = ns;
		lapic_timer_settle(a);
		lapic_timer_arm(a);
	}
	pthread_mutex_unlock(&all->lock);
}

bool lapics_deadline_armed(struct lapics *all, unsigned id)
{
	struct lapic *a = &all->apic[id];
	bool armed;

	pthread_mutex_lock(&all->lock);
	armed = timer_mode(a) == TIMER_DEADLINE && a->expiry > clock_now(all->clock);
	pthread_mutex_unlock(&all->lock);
	return armed;
}
