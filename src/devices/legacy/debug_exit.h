/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port for test programs: what they write ends the VM with that number. It behaves as
 * isa-debug-exit, QEMU's device of the same purpose (4 bytes wide, reads give zero), but leaves it
 * to its owner what becomes of the number.
 */
#ifndef LODGE_DEVICES_LEGACY_DEBUG_EXIT_H
#define LODGE_DEVICES_LEGACY_DEBUG_EXIT_H

#include <stdint.h>

#include "core/bus.h"

#define DEBUG_EXIT_PORTS 4

/* Has no state, and no lock. */
struct debug_exit {
	void (*exit)(void *opaque, uint32_t value); /* on the writing vCPU's thread */
	void *opaque;
};

void debug_exit_init(struct debug_exit *d, void (*exit)(void *opaque, uint32_t value),
		     void *opaque);

/* DEBUG_EXIT_PORTS bytes. */
extern const struct bus_ops debug_exit_ops;

#endif
