/* SPDX-License-Identifier: Apache-2.0 */
/* Posted writes to one register, while its guest is busy writing it. */
#ifndef LODGE_MACHINE_POSTED_H
#define LODGE_MACHINE_POSTED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/engine.h"

struct posted {
	const struct engine_ops *engine;
	struct engine_vm *vm;
	struct clock *clock;
	const struct bus *bus;
	uint64_t addr;
	unsigned size;
	struct clock_timer timer;
	pthread_mutex_t lock; /* guards changes of on; taken under device locks */
	_Atomic bool on;
};

/* Prepares posting of writes of size bytes to addr on bus. An engine that cannot post is fine. */
void posted_init(struct posted *p, const struct engine_ops *engine, struct engine_vm *vm,
		 struct clock *clock);
void posted_target(struct posted *p, const struct bus *bus, uint64_t addr, unsigned size);

/* As bus_posting.hint, with the struct posted as opaque: posting goes on, and ends a few
 * milliseconds after the last write. Any thread, device locks may be held. */
void posted_hint(void *opaque);

/* Stops posting; what was collected is handed over. vCPUs parked. */
void posted_stop(struct posted *p);

void posted_release(struct posted *p);

#endif
