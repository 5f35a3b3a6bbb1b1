/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker's boot timer: a byte at which a guest says that it has come as far as its own
 * program. Its owner notes the time.
 *
 * Source: Firecracker's documentation: 123 written as one byte to the first address.
 */
#ifndef LODGE_DEVICES_LEGACY_BOOT_TIMER_H
#define LODGE_DEVICES_LEGACY_BOOT_TIMER_H

#include <stdint.h>

#include "core/bus.h"

#define BOOT_TIMER_SIZE  0x1000
#define BOOT_TIMER_VALUE 123

/* Has no state, and no lock. */
struct boot_timer {
	void (*booted)(void *opaque); /* on the writing vCPU's thread */
	void *opaque;
};

void boot_timer_init(struct boot_timer *t, void (*booted)(void *opaque), void *opaque);

/* BOOT_TIMER_SIZE bytes of memory. */
extern const struct bus_ops boot_timer_ops;

#endif
