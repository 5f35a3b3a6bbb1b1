/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's interrupt controllers: two Intel 8259A, the slave on the master's
 * input 2, with the edge/level control registers (ELCR) of the PC chipsets.
 *
 * Source: Intel 8259A datasheet (order number 231468); for ELCR, and for what the
 * chipsets changed, Intel ICH9 datasheet, 13.4 "Interrupt Controller Registers".
 *
 * Three ranges, all with dev = the struct pic and lock = its lock:
 *	pic_master_ops  2 ports, at 0x20
 *	pic_slave_ops   2 ports, at 0xA0
 *	pic_elcr_ops    2 ports, at 0x4D0
 */
#ifndef LODGE_DEVICES_IRQCHIP_PIC_H
#define LODGE_DEVICES_IRQCHIP_PIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"

#define PIC_PINS 16

/* One 8259A. */
struct pic_chip {
	uint8_t lines;    /* levels of the inputs IR0-IR7 */
	uint8_t latch;    /* edges seen and not yet acknowledged */
	uint8_t elcr;     /* inputs that are level-triggered */
	uint8_t isr;      /* in-service register */
	uint8_t imr;      /* interrupt mask register */
	uint8_t lowest;   /* the input of lowest priority; 7 after ICW1 */
	uint8_t base;     /* ICW2: vector of IR0 */
	uint8_t icw3;     /* master: inputs with a slave; slave: its identity */
	uint8_t next_icw; /* which ICW the next write to the odd port is: 2-4, or 0 for OCW1 */
	bool single;      /* ICW1.SNGL: no ICW3, no slave */
	bool want_icw4;   /* ICW1.IC4 */
	bool auto_eoi;    /* ICW4.AEOI */
	bool nested;      /* ICW4.SFNM: special fully nested mode */
	bool rotate_aeoi; /* rotate at each automatic EOI */
	bool special;     /* OCW3: special mask mode */
	bool read_isr;    /* OCW3: the even port reads ISR, not IRR */
	bool poll;        /* OCW3: the next read is a poll */
};

struct pic_state {
	struct pic_chip master;
	struct pic_chip slave;
	bool intr; /* level of the master's INT output */
};

struct pic {
	pthread_mutex_t lock; /* guards state */
	struct pic_state state;
	void (*intr)(void *opaque, bool level);
	void *opaque;
};

/*
 * Makes a pair in its power-on state. intr is told each change of the INTR wire, with the lock
 * held, on the thread that caused it; it may be NULL and must not call back.
 */
void pic_init(struct pic *p, void (*intr)(void *opaque, bool level), void *opaque);

/* Power-on state: every input masked, nothing latched, not initialized; INTR falls. The inputs'
 * levels stay as they are driven. Any thread. */
void pic_reset(struct pic *p);
void pic_release(struct pic *p);

/* Sets input pin (0-15; 2 is the cascade and has no wire) to level. As irq_line.set, with the
 * struct pic as opaque. Any thread, device locks may be held. */
void pic_set_irq(void *opaque, unsigned pin, bool level);

/* The processor's interrupt acknowledge cycles: gives the vector. Where no request stands it is
 * that of IR7 (or the slave's IR7), which is then not in service. vCPU thread. */
uint8_t pic_intack(struct pic *p);

extern const struct bus_ops pic_master_ops;
extern const struct bus_ops pic_slave_ops;
extern const struct bus_ops pic_elcr_ops;

#endif
