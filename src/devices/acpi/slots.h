/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI slots that devices come to and go from while the machine runs: the registers behind
 * the methods of the DSDT (machine/acpi/dsdt_slots.c), which tell the guest of it by
 * Notify, and through which it gives a device back by _EJ0 (ACPI 6.3, 6.3.3) or says by
 * _OST why it does not (6.3.5).
 *
 * acpi_slots_ops covers ACPI_SLOTS_SIZE ports with dev = the struct acpi_slots and lock
 * = its lock. Four registers of 32 bits, each accessed as a whole; in the first three bit
 * n is slot n:
 *
 *	+0x0  arrived  a device has come; cleared by writing 1
 *	+0x4  asked    the device is to be given back; cleared by writing 1
 *	+0x8  eject    reads as the slots whose device may be given back; writing 1 does so
 *	+0xc  answer   write only: the slot in bits 23:16, _OST's status code in 7:0
 *
 * A guest can give back only what it was asked for, and until it was: any other write
 * does nothing.
 */
#ifndef LODGE_DEVICES_ACPI_SLOTS_H
#define LODGE_DEVICES_ACPI_SLOTS_H

#include <pthread.h>
#include <stdint.h>

#include "core/bus.h"

#define ACPI_SLOTS_SIZE    0x10
#define ACPI_SLOTS_ARRIVED 0x0
#define ACPI_SLOTS_ASKED   0x4
#define ACPI_SLOTS_EJECT   0x8
#define ACPI_SLOTS_ANSWER  0xc
#define ACPI_SLOTS_MAX     32

struct acpi_slots_state {
	uint32_t arrived, asked; /* that the guest has not been told of yet */
	uint32_t leaving;        /* whose device is to go, and is there */
};

/* What the owner is told, with the block's lock held, on the thread of the call or access. */
struct acpi_slots_user {
	/* There is something for the guest to look at: an event of its. */
	void (*event)(void *opaque);
	/* The guest gives the slot's device back: it is off the bus when this returns. */
	void (*ejected)(void *opaque, unsigned slot);
	/* It does not; it may be asked again. */
	void (*refused)(void *opaque, unsigned slot);
	void *opaque;
};

struct acpi_slots {
	pthread_mutex_t lock; /* guards state */
	struct acpi_slots_state state;
	struct acpi_slots_user user;
};

void acpi_slots_init(struct acpi_slots *s, const struct acpi_slots_user *user);
void acpi_slots_release(struct acpi_slots *s);

/* A device is in the slot now. Any thread. */
void acpi_slots_arrive(struct acpi_slots *s, unsigned slot);

/* Asks the guest for the slot's device, once more where that was done before. Any thread. */
void acpi_slots_ask(struct acpi_slots *s, unsigned slot);

/* The slot's device has gone in another way, or the guest is asked for it no more. Any thread. */
void acpi_slots_forget(struct acpi_slots *s, unsigned slot);

/* Power-on state. Any thread. Gives the slots whose device was to go: a guest that starts anew
 * need not be asked. */
uint32_t acpi_slots_reset(struct acpi_slots *s);

extern const struct bus_ops acpi_slots_ops;

#endif
