/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An i8254 programmable interval timer: Intel, "8254 Programmable Interval Timer" (order number
 * 231164), and the system control port B (0x61) of the PC/AT, through which software drives the
 * gate of counter 2 and sees its output (IBM PC/AT Technical Reference, 1984).
 *
 * Counter 0's output is the wire IRQ 0; its gate and counter 1's are tied high.
 */
#ifndef LODGE_DEVICES_LEGACY_PIT_H
#define LODGE_DEVICES_LEGACY_PIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"

#define PIT_HZ       1193182u
#define PIT_PORTS    4 /* three counters and the control word */
#define PIT_COUNTERS 3

/* Offset 3 selects by its value; bits of a control word. */
#define PIT_CONTROL     3
#define PIT_READ_BACK   0xc0 /* in place of a counter's number */
#define PIT_RB_NO_COUNT 0x20
#define PIT_RB_NO_STATE 0x10

/* Port 0x61. Bits 2 and 3 (parity and channel check) are remembered only. */
#define SPEAKER_GATE    0x01 /* of counter 2 */
#define SPEAKER_DATA    0x02
#define SPEAKER_REFRESH 0x10 /* changes with each refresh of the memory, every 15 us */
#define SPEAKER_OUT     0x20 /* of counter 2 */
#define SPEAKER_WRITE   0x0f

struct pit_counter {
	uint8_t control; /* RW, mode and BCD bits, as written */
	bool gate;
	bool written;    /* a whole count came since the control word */
	uint16_t count;  /* the last one written, as written */
	bool loaded;     /* the counting element has a count */
	uint32_t period; /* it: 1 to 65536 */
	int64_t start;   /* tick at which it was loaded; moved on for the time the gate was low */
	bool stopped;    /* the gate is low and holds it */
	int64_t held;    /* ticks counted when it was stopped */
	bool reload;     /* modes 2 and 3: count is loaded at the tick reload_at */
	int64_t reload_at;
	bool write_high; /* the next byte written is the high one */
	uint8_t low;     /* the low one */
	bool read_high;  /* the next byte read is the high one */
	uint8_t latched; /* bytes of latch yet to be read */
	uint16_t latch;
	bool status_latched;
	uint8_t status;
};

/* What a snapshot keeps. */
struct pit_state {
	struct pit_counter counters[PIT_COUNTERS];
	uint8_t speaker;
};

struct pit {
	pthread_mutex_t lock; /* guards all below */
	struct pit_state s;
	struct irq_line irq;
	struct clock *clock;
	struct clock_timer timer;
	int64_t edge; /* tick that timer is set for, INT64_MAX: none */
};

/* Makes a PIT at power-on state: no counter counts. All wires outlive it. */
void pit_init(struct pit *p, struct clock *clock, struct irq_line irq0);

/* Back to power-on state. Any thread that does not hold the lock. */
void pit_reset(struct pit *p);

/* No vCPU or timer may come any more. */
void pit_release(struct pit *p);

/* PIT_PORTS bytes at 0x40, and one byte at 0x61; dev is the struct pit and its lock held in both.
 */
extern const struct bus_ops pit_ops;
extern const struct bus_ops speaker_ops;

#endif
