/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a thread: file descriptors, one-shot timers and work posted
 * from other threads, on epoll.
 *
 * One thread runs a loop. Sources belong to their owner, who embeds them and
 * keeps them alive while they are added. A callback may add, change and remove
 * any source of its own loop, itself included.
 */
#ifndef LODGE_BASE_EVENT_H
#define LODGE_BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct event_loop;

#define EVENT_READ  1u /* readable, or the other end hung up */
#define EVENT_WRITE 2u /* writable */

struct event_source {
	/* Called on the loop's thread with what is ready, EVENT_* bits. */
	void (*ready)(void *opaque, unsigned events);
	void *opaque;
	int fd;
	unsigned wanted; /* loop's own: events asked for */
	bool added;      /* loop's own */
	bool always;     /* loop's own: a regular file, which epoll refuses and is always ready */
};

/* Makes a loop; NULL with e set where the host refuses. Any thread. */
struct event_loop *event_loop_new(struct err *e);

/* Releases the loop; no thread may be running it, its sources are forgotten. */
void event_loop_free(struct event_loop *loop);

/*
 * Watches src->fd for the given EVENT_* bits; src's ready, opaque and fd are the
 * caller's. Level-triggered. Regular files and such count as always ready.
 * Loop thread, or any thread while the loop is not running. 0 or -errno.
 */
int event_add(struct event_loop *loop, struct event_source *src, unsigned events);

/* Changes what is watched for; 0 pauses the source. Same threads as event_add. */
int event_want(struct event_loop *loop, struct event_source *src, unsigned events);

/* Stops watching; no callback comes afterwards. Same threads as event_add. Idempotent. */
void event_remove(struct event_loop *loop, struct event_source *src);

/* Runs until event_loop_stop. Returns 0, or -errno where the host's epoll fails. */
int event_loop_run(struct event_loop *loop);

/* Makes event_loop_run return soon; a loop stopped before it runs returns at once. Any thread,
 * async-signal-safe. */
void event_loop_stop(struct event_loop *loop);

/* A one-shot timer and a wake-up call from other threads: both are event sources. */
struct event_timer {
	struct event_source src;
	void (*fired)(void *opaque);
	void *opaque;
};

/* Makes a timer; loop thread, or before the loop runs. 0 or -errno. */
int event_timer_init(struct event_timer *t, struct event_loop *loop, void (*fired)(void *opaque),
		     void *opaque);

/* Fires once at the given CLOCK_MONOTONIC time in ns, at once if that is past; 0 disarms. A new
 * time replaces the old one. Any thread. */
void event_timer_set(struct event_timer *t, uint64_t monotonic_ns);

/* Stops and closes the timer. Loop thread, or after the loop. */
void event_timer_release(struct event_timer *t, struct event_loop *loop);

struct event_wake {
	struct event_source src;
	void (*woken)(void *opaque);
	void *opaque;
};

/* Makes a wake-up call: event_wake_signal from any thread makes woken(opaque) run soon on the
 * loop's thread; several signals may give one call. 0 or -errno. */
int event_wake_init(struct event_wake *w, struct event_loop *loop, void (*woken)(void *opaque),
		    void *opaque);

/* Any thread, async-signal-safe. */
void event_wake_signal(struct event_wake *w);

void event_wake_release(struct event_wake *w, struct event_loop *loop);

#endif
