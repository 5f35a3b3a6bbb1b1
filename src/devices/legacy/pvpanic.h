/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port by which a guest tells that it panicked: QEMU, docs/specs/pvpanic, "ISA Interface". Its
 * ACPI device, by which guests find it, is with the ACPI tables.
 */
#ifndef LODGE_DEVICES_LEGACY_PVPANIC_H
#define LODGE_DEVICES_LEGACY_PVPANIC_H

#include "core/bus.h"

#define PVPANIC_PANICKED     0x01 /* the host is to handle it */
#define PVPANIC_CRASH_LOADED 0x02 /* the guest handles it itself: to be told, no more */
#define PVPANIC_EVENTS       (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

/* Has no state, and no lock. */
struct pvpanic {
	/* On the writing vCPU's thread; events has at least one of PVPANIC_EVENTS and no other. */
	void (*event)(void *opaque, unsigned events);
	void *opaque;
};

void pvpanic_init(struct pvpanic *p, void (*event)(void *opaque, unsigned events), void *opaque);

/* One byte; a read tells the events that are supported. */
extern const struct bus_ops pvpanic_ops;

#endif
