/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   keyboard queue --(interface enabled, translation)--+
 *                                                      +--> output buffer --> guest
 *   controller's reply --------------------------------+         |
 *                                                           IRQ 1 or 12
 *
 * Bytes wait on the left until the guest has read the output buffer; a reply goes first. The
 * buffer is filled as soon as it is empty, so the interrupt's wire falls with the read and rises
 * with the next byte: an edge for each. A controller has one reply at most; a newer one replaces
 * it, as a guest that gives commands without reading deserves.
 */
#include "devices/legacy/i8042.h"

#include <stddef.h>
#include <string.h>

#define ACK         0xfa
#define RESEND      0xfe
#define BAT_PASSED  0xaa
#define RELEASED    0xf0 /* prefix in scan code sets 2 and 3 */
#define OUTPUT_IRQ1 0x10 /* bits of the output port */
#define OUTPUT_IRQ2 0x20
#define OUTPUT_A20  0x02
#define OUTPUT_RUN  0x01 /* not in reset */

/* Scan code set 2 to set 1 (the controller's translation table; codes from 0x80 on pass, but for
 * 0x83 and 0x84). */
static const uint8_t to_set_1[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
	0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
	0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
	0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
	0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
	0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
	0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
	0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
	0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

static uint8_t translate(uint8_t code)
{
	if (code < sizeof(to_set_1))
		return to_set_1[code];
	return code == 0x83 ? 0x41 : code == 0x84 ? 0x54 : code;
}

/* The keyboard sends a byte; what does not fit into its buffer is lost. */
static void keyboard_send(struct i8042_keyboard *kb, uint8_t byte)
{
	if (kb->count == I8042_QUEUE)
		return;
	kb->queue[(kb->at + kb->count) % I8042_QUEUE] = byte;
	kb->count++;
}

/* Takes the keyboard's next byte as the controller passes it on; false if there is none. */
static bool next_from_keyboard(struct i8042_state *s, uint8_t *byte)
{
	struct i8042_keyboard *kb = &s->keyboard;

	while (kb->count && !(s->ram[0] & I8042_CTR_KBD_OFF)) {
		*byte = kb->last = kb->queue[kb->at];
		kb->at = (kb->at + 1) % I8042_QUEUE;
		kb->count--;
		if (!(s->ram[0] & I8042_CTR_XLATE))
			return true;
		if (*byte == RELEASED) {
			s->release = true;
			continue;
		}
		*byte = translate(*byte) | (s->release ? 0x80 : 0);
		s->release = false;
		return true;
	}
	return false;
}

static void update_irqs(struct i8042 *k)
{
	const struct i8042_state *s = &k->s;
	bool full = s->status & I8042_OBF;
	bool aux = s->status & I8042_AUX;

	irq_set(&k->kbd_irq, full && !aux && (s->ram[0] & I8042_CTR_KBD_IRQ));
	irq_set(&k->aux_irq, full && aux && (s->ram[0] & I8042_CTR_AUX_IRQ));
}

/* Fills the output buffer if it is empty and something waits. */
static void fill_output(struct i8042 *k)
{
	struct i8042_state *s = &k->s;

	if (!(s->status & I8042_OBF)) {
		if (s->reply) {
			s->reply = false;
			s->output = s->reply_byte;
			s->status |= I8042_OBF | s->reply_status;
		} else if (next_from_keyboard(s, &s->output)) {
			s->status |= I8042_OBF;
		}
	}
	update_irqs(k);
}

/* The controller answers. */
static void reply(struct i8042_state *s, uint8_t byte, uint8_t status)
{
	s->reply = true;
	s->reply_byte = byte;
	s->reply_status = status;
}

static void keyboard_defaults(struct i8042_keyboard *kb)
{
	*kb = (struct i8042_keyboard){.set = 2, .typematic = 0x2b, .scanning = true};
}

/* The argument of a keyboard command. */
static void keyboard_argument(struct i8042_keyboard *kb, uint8_t command, uint8_t v)
{
	switch (command) {
	case 0xed:
		kb->leds = v;
		break;
	case 0xf3:
		kb->typematic = v;
		break;
	case 0xf0:
		if (v > 3) {
			keyboard_send(kb, RESEND);
			return;
		}
		if (v)
			kb->set = v;
		break;
	}
	keyboard_send(kb, ACK);
	if (command == 0xf0 && !v)
		keyboard_send(kb, kb->set);
}

static void keyboard_command(struct i8042_keyboard *kb, uint8_t v)
{
	uint8_t last = kb->last;

	switch (v) {
	case 0xed: /* LEDs */
	case 0xf0: /* scan code set */
	case 0xf3: /* typematic rate and delay */
		kb->argument_of = v;
		keyboard_send(kb, ACK);
		break;
	case 0xee:
		keyboard_send(kb, 0xee); /* echo */
		break;
	case 0xf2:
		keyboard_send(kb, ACK);
		keyboard_send(kb, 0xab);
		keyboard_send(kb, 0x83);
		break;
	case 0xf4: /* enable */
		kb->count = 0;
		kb->scanning = true;
		keyboard_send(kb, ACK);
		break;
	case 0xf5: /* defaults, disable */
	case 0xf6: /* defaults */
		keyboard_defaults(kb);
		kb->scanning = v == 0xf6;
		keyboard_send(kb, ACK);
		break;
	case 0xf7: /* modes of all keys, which only set 3 has */
	case 0xf8:
	case 0xf9:
	case 0xfa:
		keyboard_send(kb, ACK);
		break;
	case 0xfe:
		keyboard_send(kb, last);
		break;
	case 0xff: /* reset and self-test */
		keyboard_defaults(kb);
		keyboard_send(kb, ACK);
		keyboard_send(kb, BAT_PASSED);
		break;
	default:
		keyboard_send(kb, RESEND);
		break;
	}
}

/* A byte arrives at the keyboard. A command in the place of an argument is a command. */
static void keyboard_receive(struct i8042_keyboard *kb, uint8_t v)
{
	uint8_t command = kb->argument_of;

	kb->argument_of = 0;
	if (command && v < 0xed)
		keyboard_argument(kb, command, v);
	else
		keyboard_command(kb, v);
}

/* The output port's lowest bit is the reset line, active low. */
static void write_output_port(struct i8042 *k, uint8_t v)
{
	k->s.output_port = v & ~(OUTPUT_IRQ1 | OUTPUT_IRQ2);
	if (!(v & OUTPUT_RUN) && k->reset)
		k->reset(k->reset_opaque);
}

static uint8_t read_output_port(const struct i8042_state *s)
{
	if (!(s->status & I8042_OBF))
		return s->output_port;
	return s->output_port | (s->status & I8042_AUX ? OUTPUT_IRQ2 : OUTPUT_IRQ1);
}

static void write_argument(struct i8042 *k, uint8_t command, uint8_t v)
{
	struct i8042_state *s = &k->s;

	switch (command) {
	case 0xd1:
		write_output_port(k, v);
		break;
	case 0xd2: /* as if the keyboard had sent it */
		reply(s, v, 0);
		break;
	case 0xd3: /* as if the auxiliary device had */
		reply(s, v, I8042_AUX);
		break;
	case 0xd4: /* to the auxiliary device: nobody there */
		s->ram[0] &= ~I8042_CTR_AUX_OFF;
		reply(s, RESEND, I8042_AUX | I8042_TIMEOUT);
		break;
	default: /* 0x60 to 0x7f */
		s->ram[command & 0x1f] = v;
		break;
	}
}

static void write_command(struct i8042 *k, uint8_t v)
{
	struct i8042_state *s = &k->s;

	s->argument_of = 0;
	if (v >= 0x20 && v <= 0x3f) {
		reply(s, s->ram[v & 0x1f], 0);
		return;
	}
	if ((v >= 0x60 && v <= 0x7f) || (v >= 0xd1 && v <= 0xd4)) {
		s->argument_of = v;
		return;
	}
	if (v >= 0xf0) { /* pulls the output port's lines whose bits are 0 */
		if (!(v & OUTPUT_RUN) && k->reset)
			k->reset(k->reset_opaque);
		return;
	}
	switch (v) {
	case 0xa7:
		s->ram[0] |= I8042_CTR_AUX_OFF;
		break;
	case 0xa8:
		s->ram[0] &= ~I8042_CTR_AUX_OFF;
		break;
	case 0xa9: /* tests of the wires to the devices */
	case 0xab:
		reply(s, 0x00, 0);
		break;
	case 0xaa:
		s->ram[0] |= I8042_CTR_SYSTEM;
		reply(s, 0x55, 0);
		break;
	case 0xad:
		s->ram[0] |= I8042_CTR_KBD_OFF;
		break;
	case 0xae:
		s->ram[0] &= ~I8042_CTR_KBD_OFF;
		break;
	case 0xc0: /* input port: not locked, no manufacturing jumper */
		reply(s, 0xb0, 0);
		break;
	case 0xd0:
		reply(s, read_output_port(s), 0);
		break;
	case 0xe0: /* levels of the devices' clock and data lines: idle */
		reply(s, 0x03, 0);
		break;
	}
}

static uint64_t data_read(void *dev, uint64_t offset, unsigned size)
{
	struct i8042 *k = dev;
	uint8_t byte = k->s.output;

	(void)offset;
	(void)size;
	k->s.status &= ~(I8042_OBF | I8042_AUX | I8042_TIMEOUT);
	update_irqs(k);
	fill_output(k);
	return byte;
}

static void data_write(void *dev, uint64_t offset, unsigned size, uint64_t v)
{
	struct i8042 *k = dev;
	struct i8042_state *s = &k->s;
	uint8_t command = s->argument_of;

	(void)offset;
	(void)size;
	s->status &= ~I8042_COMMAND;
	s->argument_of = 0;
	if (command) {
		write_argument(k, command, (uint8_t)v);
	} else {
		s->ram[0] &= ~I8042_CTR_KBD_OFF; /* sending enables the interface */
		keyboard_receive(&s->keyboard, (uint8_t)v);
	}
	fill_output(k);
}

static uint64_t status_read(void *dev, uint64_t offset, unsigned size)
{
	const struct i8042 *k = dev;

	(void)offset;
	(void)size;
	return k->s.status | (k->s.ram[0] & I8042_CTR_SYSTEM ? I8042_SYSTEM : 0);
}

static void command_write(void *dev, uint64_t offset, unsigned size, uint64_t v)
{
	struct i8042 *k = dev;

	(void)offset;
	(void)size;
	k->s.status |= I8042_COMMAND;
	write_command(k, (uint8_t)v);
	fill_output(k);
}

const struct bus_ops i8042_data_ops = {
	.name = "i8042-data",
	.width = 1,
	.read = data_read,
	.write = data_write,
};

const struct bus_ops i8042_command_ops = {
	.name = "i8042-command",
	.width = 1,
	.read = status_read,
	.write = command_write,
};

bool i8042_ctrl_alt_del(struct i8042 *k)
{
	/* Press, then release in the opposite order; by scan code set. */
	static const uint8_t codes[3][11] = {
		{0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d},
		{0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14},
		{0x11, 0x19, 0x64, 0xf0, 0x64, 0xf0, 0x19, 0xf0, 0x11},
	};
	static const uint8_t lengths[3] = {8, 11, 9};
	struct i8042_keyboard *kb = &k->s.keyboard;
	unsigned set;
	bool sent;

	pthread_mutex_lock(&k->lock);
	set = kb->set - 1u;
	sent = kb->scanning && !(k->s.ram[0] & I8042_CTR_KBD_OFF) &&
	       kb->count + lengths[set] <= I8042_QUEUE;
	if (sent) {
		for (unsigned i = 0; i < lengths[set]; i++)
			keyboard_send(kb, codes[set][i]);
		fill_output(k);
	}
	pthread_mutex_unlock(&k->lock);
	return sent;
}

static void power_on(struct i8042 *k)
{
	memset(&k->s, 0, sizeof(k->s));
	k->s.status = I8042_KEYLOCK;
	k->s.ram[0] = I8042_CTR_KBD_IRQ | I8042_CTR_SYSTEM | I8042_CTR_AUX_OFF | I8042_CTR_XLATE;
	k->s.output_port = 0xc0 | OUTPUT_A20 | OUTPUT_RUN;
	keyboard_defaults(&k->s.keyboard);
}

void i8042_init(struct i8042 *k, struct irq_line kbd_irq, struct irq_line aux_irq,
		void (*reset)(void *opaque), void *opaque)
{
	*k = (struct i8042){
		.kbd_irq = kbd_irq, .aux_irq = aux_irq, .reset = reset, .reset_opaque = opaque};
	pthread_mutex_init(&k->lock, NULL);
	power_on(k);
}

void i8042_reset(struct i8042 *k)
{
	pthread_mutex_lock(&k->lock);
	power_on(k);
	update_irqs(k);
	pthread_mutex_unlock(&k->lock);
}

void i8042_release(struct i8042 *k)
{
	pthread_mutex_destroy(&k->lock);
}
