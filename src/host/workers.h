/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for calls of the host that may block. The first is started with the pool, so that work
 * always finds one; more are started, up to a limit, when work comes and none is idle.
 */
#ifndef LODGE_HOST_WORKERS_H
#define LODGE_HOST_WORKERS_H

#include "base/err.h"

struct workers;

/* A piece of work; its memory is its owner's, and no longer looked at when run is called. */
struct work {
	void (*run)(struct work *w); /* on a worker's thread, no lock held */
	struct work *next;           /* the pool's own */
};

/* Makes a pool of up to max threads called name (15 characters). NULL with e set. Any thread. */
struct workers *workers_new(const char *name, unsigned max, struct err *e);

/* Waits for all work that was given, and ends the threads. NULL is allowed. */
void workers_free(struct workers *p);

/* Has w run soon, in the order of calls begun but not of ends. Any thread, any lock held. */
void workers_do(struct workers *p, struct work *w);

#endif
