/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC: 24 pins, each with a redirection entry that says what message a
 * pin sends to the local APICs.
 *
 * Source: Intel 82093AA datasheet (order number 290566) for registers and pins;
 * version 0x20 and the EOI register at 0x40 are from Intel ICH9 datasheet, 13.5
 * "Advanced Programmable Interrupt Controller (APIC)".
 *
 * ioapic_ops covers IOAPIC_SIZE bytes of memory (0xFEC00000 in a PC), with
 * dev = the struct ioapic and lock = its lock.
 */
#ifndef LODGE_DEVICES_IRQCHIP_IOAPIC_H
#define LODGE_DEVICES_IRQCHIP_IOAPIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"

#define IOAPIC_PINS 24
#define IOAPIC_SIZE 0x1000

/* A redirection entry. */
#define IOAPIC_VECTOR         0xffULL
#define IOAPIC_DELIVERY_SHIFT 8
#define IOAPIC_DELIVERY       (7ULL << 8)
#define IOAPIC_LOGICAL        (1ULL << 11) /* destination mode */
#define IOAPIC_PENDING        (1ULL << 12) /* delivery status; always 0: delivery is immediate */
#define IOAPIC_LOW            (1ULL << 13) /* pin polarity */
#define IOAPIC_REMOTE_IRR     (1ULL << 14)
#define IOAPIC_LEVEL          (1ULL << 15) /* trigger mode */
#define IOAPIC_MASKED         (1ULL << 16)
#define IOAPIC_DEST_SHIFT     56

/* Delivery modes, also of MSI_DATA_DELIVERY_SHIFT. */
enum ioapic_delivery {
	IOAPIC_FIXED = 0,
	IOAPIC_LOWEST = 1,
	IOAPIC_SMI = 2,
	IOAPIC_NMI = 4,
	IOAPIC_INIT = 5,
	IOAPIC_EXTINT = 7,
};

struct ioapic_state {
	uint8_t select; /* IOREGSEL */
	uint8_t id;
	uint32_t lines; /* pins asserted now */
	uint32_t held;  /* pins whose resending waits for the timer */
	uint64_t entry[IOAPIC_PINS];
	uint16_t resent[IOAPIC_PINS]; /* at an EOI, in succession */
};

struct ioapic {
	pthread_mutex_t lock; /* guards state and routed */
	struct ioapic_state state;
	struct {
		bool announced;
		struct msi_msg msg;
	} routed[IOAPIC_PINS]; /* what route was told last */
	struct clock_timer timer;
	struct clock *clock;
	struct msi_sink sink;
	void (*route)(void *opaque, unsigned pin, const struct msi_msg *msg);
	void *opaque;
};

/*
 * Makes an I/O APIC in its power-on state that sends to sink. route (may be NULL) is told what
 * each pin sends from now on, NULL for nothing: an engine with its own local APICs reports the
 * EOIs of level-triggered vectors that it knows from there. It is called for changes only. A level-
 * triggered entry that is masked stays announced until it is changed otherwise: its interrupt may
 * be in service, and a guest that masks and unmasks at each interrupt costs no announcements.
 * sink and route are called with the lock held, on the thread that caused it; they must not call
 * back.
 */
void ioapic_init(struct ioapic *io, const struct msi_sink *sink, struct clock *clock,
		 void (*route)(void *opaque, unsigned pin, const struct msi_msg *msg),
		 void *opaque);

/* Power-on state: every entry masked; the pins stay as they are driven. Any thread. */
void ioapic_reset(struct ioapic *io);
void ioapic_release(struct ioapic *io);

/*
 * Asserts (true) or releases pin. The wires carry assertion, not voltage: an entry's polarity bit
 * is kept for the guest to read and has no effect. As irq_line.set, with the struct ioapic as
 * opaque. Any thread, device locks may be held.
 */
void ioapic_set_irq(void *opaque, unsigned pin, bool level);

/* A local APIC ended the level-triggered interrupt vector. vCPU thread. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/* Tells route about every announced pin again: for an engine that starts from a snapshot, after
 * state was set. Any thread. */
void ioapic_announce(struct ioapic *io);

extern const struct bus_ops ioapic_ops;

#endif
