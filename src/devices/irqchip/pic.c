/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chip holds the levels of its inputs and a latch of the edges that it saw. The
 * interrupt request register is made of both: an edge-triggered input requests
 * while latched, a level-triggered one while high. Priorities are a rotation: the
 * input after the lowest is the highest.
 *
 *	lines --edge--> latch --+
 *	   |                    +--> IRR & ~IMR --> priority --> INT
 *	   +------ (ELCR) ------+                      ^
 *	                                              ISR
 *
 * After every change the slave's INT is driven into the master's input 2 and the
 * master's INT out of the pair.
 *
 * Two things differ from the 8259A's datasheet:
 *
 *   - A latched edge stays latched when the input falls before it is
 *     acknowledged. The chip would forget it and answer with IR7; but a pulse on
 *     a wire here has no width, so it could never be seen. The cascade input
 *     alone follows the chip: a slave's request that goes away is taken back.
 *   - ICW1.LTIM is ignored, ELCR takes its place, as in the PC chipsets since EISA.
 */
#include "devices/irqchip/pic.h"

#include "base/bits.h"

#define CASCADE_PIN  2
#define SPURIOUS_PIN 7

#define ICW1         0x10 /* in a write to the even port */
#define ICW1_IC4     0x01
#define ICW1_SNGL    0x02
#define ICW2_BASE    0xf8
#define ICW3_ID      0x07
#define ICW4_AEOI    0x02
#define ICW4_SFNM    0x10
#define OCW3         0x08 /* in a write to the even port without ICW1 */
#define OCW3_READ    0x02 /* RR: the bit below is meant */
#define OCW3_ISR     0x01
#define OCW3_POLL    0x04
#define OCW3_ESMM    0x40 /* the bit below is meant */
#define OCW3_SMM     0x20
#define OCW2_COMMAND 0xe0
#define OCW2_LEVEL   0x07
#define POLL_PENDING 0x80

/* OCW2's commands: R, SL, EOI. */
enum {
	OCW2_ROTATE_AEOI_CLEAR = 0x00,
	OCW2_EOI = 0x20,
	OCW2_NOP = 0x40,
	OCW2_EOI_SPECIFIC = 0x60,
	OCW2_ROTATE_AEOI_SET = 0x80,
	OCW2_ROTATE_EOI = 0xa0,
	OCW2_SET_PRIORITY = 0xc0,
	OCW2_ROTATE_EOI_SPECIFIC = 0xe0,
};

/* Inputs that ELCR can make level-triggered: not timer, keyboard and cascade, not RTC and FPU. */
#define ELCR_MASTER 0xf8
#define ELCR_SLAVE  0xde

static uint8_t chip_irr(const struct pic_chip *c)
{
	return (c->latch & ~c->elcr) | (c->lines & c->elcr);
}

/* The first input of set in order of priority, as its distance from the highest; 8 if none. */
static unsigned chip_rank(const struct pic_chip *c, uint8_t set)
{
	unsigned rank;

	for (rank = 0; rank < 8; rank++)
		if (set & BIT((c->lowest + 1 + rank) & 7))
			break;
	return rank;
}

static unsigned chip_pin(const struct pic_chip *c, unsigned rank)
{
	return (c->lowest + 1 + rank) & 7;
}

/* The input that may interrupt now, or -1: the highest request above all that is in service. */
static int chip_pending(const struct pic_chip *c)
{
	uint8_t blocking = c->isr;
	unsigned rank = chip_rank(c, chip_irr(c) & ~c->imr);
	unsigned pin;

	if (rank == 8)
		return -1;
	pin = chip_pin(c, rank);
	if (c->special)
		blocking &= ~c->imr;
	/* A slave in service does not lock out its own further, higher requests. */
	if (c->nested && !c->single && (c->icw3 & BIT(pin)))
		blocking &= ~BIT(pin);
	return rank < chip_rank(c, blocking) ? (int)pin : -1;
}

static void chip_set_line(struct pic_chip *c, unsigned pin, bool level)
{
	uint8_t bit = BIT(pin);

	if (level && !(c->lines & bit))
		c->latch |= bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
}

/* Acknowledges: what the first INTA pulse, or a poll's read, does. Gives the input, or -1. */
static int chip_ack(struct pic_chip *c)
{
	int pin = chip_pending(c);

	if (pin < 0)
		return -1;
	c->latch &= ~BIT(pin);
	if (!c->auto_eoi)
		c->isr |= BIT(pin);
	else if (c->rotate_aeoi)
		c->lowest = pin;
	return pin;
}

/* Drives the wires that go out of the chips. */
static void update(struct pic *p)
{
	struct pic_state *s = &p->state;
	bool cascade = chip_pending(&s->slave) >= 0;
	bool intr;

	chip_set_line(&s->master, CASCADE_PIN, cascade);
	if (!cascade)
		s->master.latch &= ~BIT(CASCADE_PIN);
	intr = chip_pending(&s->master) >= 0;
	if (intr == s->intr)
		return;
	s->intr = intr;
	if (p->intr)
		p->intr(p->opaque, intr);
}

/* The slave's INT falls at its acknowledge, and rises again if another request waits. */
static int slave_ack(struct pic *p)
{
	int pin = chip_ack(&p->state.slave);

	chip_set_line(&p->state.master, CASCADE_PIN, false);
	return pin;
}

static uint8_t vector(const struct pic_chip *c, int pin)
{
	return c->base + (pin < 0 ? SPURIOUS_PIN : pin);
}

static uint8_t intack(struct pic *p)
{
	struct pic_chip *m = &p->state.master, *s = &p->state.slave;
	int pin = chip_ack(m);

	if (pin != CASCADE_PIN || m->single || !(m->icw3 & BIT(CASCADE_PIN)))
		return vector(m, pin);
	/* The master is silent in the second pulse; so is a slave with another identity. */
	if (s->icw3 != CASCADE_PIN)
		return 0xff;
	return vector(s, slave_ack(p));
}

uint8_t pic_intack(struct pic *p)
{
	uint8_t v;

	pthread_mutex_lock(&p->lock);
	v = intack(p);
	update(p);
	pthread_mutex_unlock(&p->lock);
	return v;
}

void pic_set_irq(void *opaque, unsigned pin, bool level)
{
	struct pic *p = opaque;

	if (pin >= PIC_PINS || pin == CASCADE_PIN)
		return;
	pthread_mutex_lock(&p->lock);
	chip_set_line(pin < 8 ? &p->state.master : &p->state.slave, pin & 7, level);
	update(p);
	pthread_mutex_unlock(&p->lock);
}

/* ICW1 starts the initialization; of the inputs only their levels and ELCR survive. */
static void write_icw1(struct pic_chip *c, uint8_t v)
{
	uint8_t lines = c->lines, elcr = c->elcr;

	*c = (struct pic_chip){
		.lines = lines,
		.elcr = elcr,
		.base = c->base,
		.icw3 = c->icw3,
		.lowest = 7,
		.next_icw = 2,
		.single = v & ICW1_SNGL,
		.want_icw4 = v & ICW1_IC4,
	};
}

static void write_icw(struct pic_chip *c, bool master, uint8_t v)
{
	switch (c->next_icw) {
	case 2:
		c->base = v & ICW2_BASE;
		c->next_icw = !c->single ? 3 : c->want_icw4 ? 4 : 0;
		break;
	case 3:
		c->icw3 = master ? v : v & ICW3_ID;
		c->next_icw = c->want_icw4 ? 4 : 0;
		break;
	default:
		c->auto_eoi = v & ICW4_AEOI;
		c->nested = v & ICW4_SFNM;
		c->next_icw = 0;
		break;
	}
}

/* Ends the highest input in service and gives it, or -1. */
static int end_highest(struct pic_chip *c)
{
	/* In special mask mode a masked input's bit is left to the specific EOI. */
	unsigned rank = chip_rank(c, c->special ? c->isr & ~c->imr : c->isr);

	if (rank == 8)
		return -1;
	c->isr &= ~BIT(chip_pin(c, rank));
	return chip_pin(c, rank);
}

static void write_ocw2(struct pic_chip *c, uint8_t v)
{
	unsigned level = v & OCW2_LEVEL;
	int ended;

	switch (v & OCW2_COMMAND) {
	case OCW2_ROTATE_AEOI_CLEAR:
		c->rotate_aeoi = false;
		break;
	case OCW2_ROTATE_AEOI_SET:
		c->rotate_aeoi = true;
		break;
	case OCW2_EOI:
		end_highest(c);
		break;
	case OCW2_ROTATE_EOI:
		ended = end_highest(c);
		if (ended >= 0)
			c->lowest = ended;
		break;
	case OCW2_EOI_SPECIFIC:
		c->isr &= ~BIT(level);
		break;
	case OCW2_ROTATE_EOI_SPECIFIC:
		c->isr &= ~BIT(level);
		c->lowest = level;
		break;
	case OCW2_SET_PRIORITY:
		c->lowest = level;
		break;
	case OCW2_NOP:
		break;
	}
}

static void write_ocw3(struct pic_chip *c, uint8_t v)
{
	if (v & OCW3_ESMM)
		c->special = v & OCW3_SMM;
	if (v & OCW3_READ)
		c->read_isr = v & OCW3_ISR;
	/* A poll command overrides the register selection in the same write. */
	c->poll = v & OCW3_POLL;
}

static void chip_write(struct pic *p, struct pic_chip *c, uint64_t port, uint8_t v)
{
	if (port == 0 && (v & ICW1))
		write_icw1(c, v);
	else if (port == 0 && (v & OCW3))
		write_ocw3(c, v);
	else if (port == 0)
		write_ocw2(c, v);
	else if (c->next_icw)
		write_icw(c, c == &p->state.master, v);
	else
		c->imr = v;
	update(p);
}

static uint8_t chip_poll(struct pic *p, struct pic_chip *c)
{
	int pin = c == &p->state.slave ? slave_ack(p) : chip_ack(c);

	c->poll = false;
	update(p);
	return pin < 0 ? 0 : POLL_PENDING | pin;
}

static uint8_t chip_read(struct pic *p, struct pic_chip *c, uint64_t port)
{
	if (c->poll)
		return chip_poll(p, c);
	if (port == 1)
		return c->imr;
	return c->read_isr ? c->isr : chip_irr(c);
}

static uint64_t master_read(void *dev, uint64_t offset, unsigned size)
{
	struct pic *p = dev;

	(void)size;
	return chip_read(p, &p->state.master, offset);
}

static void master_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pic *p = dev;

	(void)size;
	chip_write(p, &p->state.master, offset, value);
}

static uint64_t slave_read(void *dev, uint64_t offset, unsigned size)
{
	struct pic *p = dev;

	(void)size;
	return chip_read(p, &p->state.slave, offset);
}

static void slave_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pic *p = dev;

	(void)size;
	chip_write(p, &p->state.slave, offset, value);
}

static uint64_t elcr_read(void *dev, uint64_t offset, unsigned size)
{
	struct pic *p = dev;

	(void)size;
	return offset ? p->state.slave.elcr : p->state.master.elcr;
}

static void elcr_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pic *p = dev;
	struct pic_chip *c = offset ? &p->state.slave : &p->state.master;

	(void)size;
	c->elcr = value & (offset ? ELCR_SLAVE : ELCR_MASTER);
	/* What was latched belongs to the old kind of trigger. */
	c->latch &= ~c->elcr;
	update(p);
}

const struct bus_ops pic_master_ops = {"pic", 1, master_read, master_write};
const struct bus_ops pic_slave_ops = {"pic slave", 1, slave_read, slave_write};
const struct bus_ops pic_elcr_ops = {"pic elcr", 1, elcr_read, elcr_write};

static void power_on(struct pic_state *s)
{
	const struct pic_chip chip = {.imr = 0xff, .lowest = 7};
	uint8_t master_lines = s->master.lines, slave_lines = s->slave.lines;

	/* The chip's own state is undefined before ICW1; all masked is the quiet one. The inputs
	 * are not the chip's: whoever drives them high still does. */
	s->master = chip;
	s->slave = chip;
	s->master.icw3 = BIT(CASCADE_PIN);
	s->slave.icw3 = CASCADE_PIN;
	s->master.lines = master_lines;
	s->slave.lines = slave_lines;
}

void pic_init(struct pic *p, void (*intr)(void *opaque, bool level), void *opaque)
{
	*p = (struct pic){.intr = intr, .opaque = opaque};
	pthread_mutex_init(&p->lock, NULL);
	power_on(&p->state);
}

void pic_reset(struct pic *p)
{
	pthread_mutex_lock(&p->lock);
	power_on(&p->state);
	update(p);
	pthread_mutex_unlock(&p->lock);
}

void pic_release(struct pic *p)
{
	pthread_mutex_destroy(&p->lock);
}
