/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller of a PC, an Intel 8042 with IBM's program, and the keyboard behind it:
 * IBM, "PS/2 Hardware Interface Technical Reference", Keyboard and Auxiliary Device Controller;
 * Keyboards (101- and 102-key).
 *
 * The keyboard is there so that guests find one and ctrl-alt-del can be pressed. The auxiliary
 * port works, but no device is plugged into it: guests probe the port, find it sound and empty,
 * and have nothing to complain about.
 */
#ifndef LODGE_DEVICES_LEGACY_I8042_H
#define LODGE_DEVICES_LEGACY_I8042_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/irq.h"

/* Status register. */
#define I8042_OBF     0x01 /* output buffer full: there is a byte to read */
#define I8042_IBF     0x02 /* input buffer full: never, the controller is at once done */
#define I8042_SYSTEM  0x04 /* the self-test passed */
#define I8042_COMMAND 0x08 /* the last write was a command */
#define I8042_KEYLOCK 0x10 /* not locked */
#define I8042_AUX     0x20 /* the byte to read is from the auxiliary port */
#define I8042_TIMEOUT 0x40 /* the device did not answer */

/* Command byte. */
#define I8042_CTR_KBD_IRQ 0x01
#define I8042_CTR_AUX_IRQ 0x02
#define I8042_CTR_SYSTEM  0x04
#define I8042_CTR_KBD_OFF 0x10
#define I8042_CTR_AUX_OFF 0x20
#define I8042_CTR_XLATE   0x40 /* scan codes to set 1 */

#define I8042_QUEUE 16 /* bytes in the keyboard's buffer */

struct i8042_keyboard {
	uint8_t set; /* of scan codes: 1 to 3 */
	uint8_t leds;
	uint8_t typematic;
	bool scanning;
	uint8_t argument_of; /* the command whose argument comes next, 0: none */
	uint8_t last;        /* byte sent, for "resend" */
	uint8_t at, count;
	uint8_t queue[I8042_QUEUE];
};

/* What a snapshot keeps. */
struct i8042_state {
	uint8_t ram[32];     /* its first byte is the command byte */
	uint8_t status;      /* without I8042_SYSTEM, which is in the command byte */
	uint8_t output;      /* the output buffer */
	uint8_t output_port; /* reset line, A20 gate: remembered only */
	uint8_t argument_of; /* the command whose argument comes next, 0: none */
	bool reply;          /* one waits for the output buffer */
	uint8_t reply_byte;
	uint8_t reply_status; /* I8042_AUX, I8042_TIMEOUT */
	bool release;         /* translation: the prefix of a released key came */
	struct i8042_keyboard keyboard;
};

struct i8042 {
	pthread_mutex_t lock; /* guards all below */
	struct i8042_state s;
	struct irq_line kbd_irq;
	struct irq_line aux_irq;
	/* The guest pulls the reset line. On the writing vCPU's thread, lock held. */
	void (*reset)(void *opaque);
	void *reset_opaque;
};

/* Makes a controller as the firmware leaves it: tested, keyboard enabled, translating. */
void i8042_init(struct i8042 *k, struct irq_line kbd_irq, struct irq_line aux_irq,
		void (*reset)(void *opaque), void *opaque);

/* Back to that state. Any thread that does not hold the lock. */
void i8042_reset(struct i8042 *k);

/* No vCPU may come any more. */
void i8042_release(struct i8042 *k);

/* Presses and releases control, alt and delete; false if the keyboard cannot send that: the guest
 * has disabled it or does not take what it sends. Any thread that does not hold the lock. */
bool i8042_ctrl_alt_del(struct i8042 *k);

/* One byte each: the data port (0x60), and status and command (0x64). dev is the struct i8042, and
 * its lock held, in both. */
extern const struct bus_ops i8042_data_ops;
extern const struct bus_ops i8042_command_ops;

#endif
