/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest time, and timers on it.
 *
 * A VM has one clock. It counts nanoseconds since power-on, stands still while
 * the VM is paused, and is what PIT, RTC, PM timer and local APIC count by.
 * Timers fire on the VM's I/O thread, which sleeps until the earliest; in tests
 * the clock is manual and clock_advance fires them.
 *
 * Lock order: a device may call every function here with its own lock held; the
 * clock's lock is innermost. A callback is made with no lock held, so it may come
 * late: after taking its lock, a device asks its own state whether the timer is
 * still meant (clock_timer_cancel does not wait for a callback under way). For the
 * same reason a timer's memory must live until no thread runs timers any more.
 */
#ifndef LODGE_CORE_CLOCK_H
#define LODGE_CORE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct clock_timer {
	void (*fired)(void *opaque); /* called without locks held */
	void *opaque;
	uint64_t deadline;        /* guest ns; clock's own */
	struct clock_timer *next; /* clock's own: list by deadline */
	bool armed;               /* clock's own */
};

struct clock {
	pthread_mutex_t lock; /* guards everything below */
	bool manual;          /* time moves by clock_advance only */
	bool running;
	uint64_t host_base;  /* CLOCK_MONOTONIC at which guest time was guest_base */
	uint64_t guest_base; /* guest ns; the guest's time while not running */
	int64_t wall_offset; /* guest's wall clock minus the host's, ns */
	struct clock_timer *first;
	/* Told, with the lock held, when the earliest deadline changed: host CLOCK_MONOTONIC ns at
	 * which to call clock_run_timers, 0 for never. NULL in a manual clock. */
	void (*rearm)(void *opaque, uint64_t host_ns);
	void *rearm_opaque;
};

/* Makes a stopped clock at guest time 0 that follows the host. */
void clock_init(struct clock *c, void (*rearm)(void *opaque, uint64_t host_ns), void *opaque);

/* Makes a clock for tests: running, at 0, moved by clock_advance. */
void clock_init_manual(struct clock *c);
void clock_release(struct clock *c);

/* Time runs, or stands still. Idempotent. VM control thread. */
void clock_start(struct clock *c);
void clock_stop(struct clock *c);

/* Guest time in ns since power-on; never goes back. Any thread. */
uint64_t clock_now(struct clock *c);

/* Sets guest time, for a restored snapshot or a reset; only while stopped (or manual). */
void clock_set(struct clock *c, uint64_t guest_ns);

/* The guest's wall clock, UTC ns since 1970: what a battery-backed RTC shows. Any thread. In a
 * manual clock it is wall_offset + clock_now, so that tests choose the date. */
uint64_t clock_wall(struct clock *c);

/* Sets the wall clock (the guest set its RTC). Any thread. */
void clock_set_wall(struct clock *c, uint64_t utc_ns);

/* Arms t for guest time deadline, in place of an earlier deadline of t. Any thread. */
void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t deadline);

/* Disarms t; a callback that has begun is not waited for. Any thread. */
void clock_timer_cancel(struct clock *c, struct clock_timer *t);

/* Fires what is due when it is called, and rearms. I/O thread. */
void clock_run_timers(struct clock *c);

/* Moves a manual clock forward, firing each timer at its own time on the way. */
void clock_advance(struct clock *c, uint64_t ns);

#endif
