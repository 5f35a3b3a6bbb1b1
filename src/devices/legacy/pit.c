/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing counts here. A counter remembers the tick at which its counting element was loaded, and
 * with what; its value and its output at any later tick are computed when somebody asks. Ticks are
 * those of the 1.193182 MHz input since power-on, computed from guest time.
 *
 * The only thing that happens by itself is a rising edge of counter 0's output. A timer is set for
 * the next one, if there is one; it stays set while the guest only reads. An idle guest that has
 * stopped counter 0 (or left it in a one-shot mode) costs nothing.
 *
 * Counter 0's falling edges are not followed: IRQ 0 is edge-triggered, so the wire falls just
 * before it rises.
 *
 * Missed ticks: where the host comes so late that several edges have passed, they are one edge. It
 * is what the interrupt controller makes of them on real hardware when the processor does not
 * answer: its request bit holds one. A guest that counts ticks falls behind then; one that reads
 * counters, the TSC or the PM timer does not. While the VM is paused, guest time stands still, and
 * no tick is missed.
 */
#include "devices/legacy/pit.h"

#include <stddef.h>

#include "base/bits.h"
#include "base/time.h"

#define NEVER INT64_MAX

/* Control word: bits 0 BCD, 1-3 mode, 4-5 how bytes are read and written, 6-7 counter. */
#define RW_LATCH 0
#define RW_LOW   1
#define RW_HIGH  2

#define REFRESH_NS 15085 /* 18 ticks of counter 1, as the BIOS programs it */

static unsigned mode_of(const struct pit_counter *c)
{
	unsigned mode = c->control >> 1 & 7;

	return mode > 5 ? mode - 4 : mode; /* bit 2 is "don't care" in modes 2 and 3 */
}

static unsigned rw_of(const struct pit_counter *c)
{
	return c->control >> 4 & 3;
}

static bool is_bcd(const struct pit_counter *c)
{
	return c->control & 1;
}

static bool is_periodic(const struct pit_counter *c)
{
	return mode_of(c) == 2 || mode_of(c) == 3;
}

static bool is_gate_triggered(const struct pit_counter *c)
{
	return mode_of(c) == 1 || mode_of(c) == 5;
}

/* How many values the counting element runs through before it wraps. */
static uint32_t modulus(const struct pit_counter *c)
{
	return is_bcd(c) ? 10000 : 65536;
}

/* A count as written, as a number of ticks; 0 stands for the modulus. Digits above 9 count for
 * what they are, as in a counter that borrows through them. */
static uint32_t count_to_ticks(const struct pit_counter *c)
{
	uint32_t v = c->count;

	if (is_bcd(c))
		v = (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
	v %= modulus(c);
	return v ? v : modulus(c);
}

static uint16_t value_to_register(const struct pit_counter *c, uint32_t v)
{
	v %= modulus(c);
	if (is_bcd(c))
		v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
	return (uint16_t)v;
}

static int64_t tick_now(struct pit *p)
{
	return (int64_t)time_scale(clock_now(p->clock), PIT_HZ, NS_PER_SEC);
}

/* Guest time at which the tick has come. */
static uint64_t tick_to_ns(int64_t tick)
{
	return time_scale((uint64_t)tick, NS_PER_SEC, PIT_HZ) + 1;
}

/* Ticks since the counting element was loaded; negative: it will be at the next tick. */
static int64_t elapsed(const struct pit_counter *c, int64_t now)
{
	return c->stopped ? c->held : now - c->start;
}

/* Ticks of a period of mode 3 for which the output is high. */
static int64_t high_half(uint32_t period)
{
	return (period + 1) / 2;
}

/* Loads the counting element at the given tick. */
static void load(struct pit_counter *c, int64_t at)
{
	c->loaded = true;
	c->period = count_to_ticks(c);
	c->start = at;
	c->held = 0;
	c->reload = false;
	c->stopped = !c->gate && !is_gate_triggered(c);
}

/* Loads a new count whose time has come by now. Mode 3 may load it in the middle of a period:
 * start is then where a whole period of the new length would have begun. */
static void sync(struct pit_counter *c, int64_t now)
{
	int64_t at = c->reload_at;
	bool low_half;

	if (!c->reload || !is_periodic(c) || c->stopped || now < at)
		return;
	low_half = (at - c->start) % c->period != 0;
	load(c, at);
	if (low_half)
		c->start -= high_half(c->period);
}

/* The output pin. The counter was synced to now. */
static bool output(const struct pit_counter *c, int64_t now)
{
	int64_t d = elapsed(c, now);
	unsigned mode = mode_of(c);

	if (!c->loaded || d < 0)
		return mode != 0;
	switch (mode) {
	case 0:
	case 1:
		return d >= c->period;
	case 2: /* a count of 1 is illegal in this mode: no pulse */
		return c->stopped || c->period == 1 || d % c->period != c->period - 1;
	case 3:
		return c->stopped || d % c->period < high_half(c->period);
	default:
		return d != c->period;
	}
}

/* The counting element's value. */
static uint16_t value(const struct pit_counter *c, int64_t now)
{
	int64_t d = MAX(elapsed(c, now), 0);
	int64_t left;

	if (!c->loaded)
		return value_to_register(c, c->written ? count_to_ticks(c) : 0);
	switch (mode_of(c)) {
	case 2:
		left = c->period - d % c->period;
		break;
	case 3: /* counts down twice a period, by two, from the even number */
		d %= c->period;
		if (d >= high_half(c->period))
			d -= high_half(c->period);
		left = (c->period & ~1u) - 2 * d;
		break;
	default:
		left = c->period + modulus(c) - d % modulus(c);
		break;
	}
	return value_to_register(c, (uint32_t)left);
}

/* The tick of the first rising edge of the output after now, NEVER if none comes by itself. */
static int64_t next_edge(const struct pit_counter *c, int64_t now)
{
	struct pit_counter after = *c;
	int64_t d = elapsed(c, now);

	if (!c->loaded || c->stopped)
		return NEVER;
	switch (mode_of(c)) {
	case 0:
	case 1:
		return d < c->period ? c->start + c->period : NEVER;
	case 2:
	case 3:
		if (c->reload && (c->reload_at - c->start) % c->period) {
			sync(&after, c->reload_at);
			return after.start + after.period;
		}
		if (c->period == 1)
			return c->reload ? c->reload_at : NEVER;
		return d < 0 ? c->start + c->period : c->start + (d / c->period + 1) * c->period;
	default:
		return d <= c->period ? c->start + c->period + 1 : NEVER;
	}
}

/* Sets the timer for counter 0's next edge. */
static void arm(struct pit *p, int64_t now)
{
	int64_t edge = next_edge(&p->s.counters[0], now);

	if (edge == p->edge)
		return;
	p->edge = edge;
	if (edge == NEVER)
		clock_timer_cancel(p->clock, &p->timer);
	else
		clock_timer_set(p->clock, &p->timer, tick_to_ns(edge));
}

static void timer_fired(void *opaque)
{
	struct pit *p = opaque;
	int64_t now;

	pthread_mutex_lock(&p->lock);
	now = tick_now(p);
	if (now >= p->edge) {
		p->edge = NEVER;
		sync(&p->s.counters[0], now);
		irq_set(&p->irq, false);
		irq_set(&p->irq, true);
		arm(p, now);
	}
	pthread_mutex_unlock(&p->lock);
}

/* Counter 0 was programmed: the wire and the timer follow. */
static void follow(struct pit *p, unsigned number, int64_t now)
{
	if (number)
		return;
	irq_set(&p->irq, output(&p->s.counters[0], now));
	arm(p, now);
}

/* The tick at which mode 2 or 3 loads a count written now: the end of the period, or in mode 3 of
 * the half period. */
static int64_t reload_time(const struct pit_counter *c, int64_t now)
{
	int64_t d = elapsed(c, now);
	int64_t begin, half;

	if (d < 0)
		return c->start;
	begin = c->start + d / c->period * c->period;
	half = begin + high_half(c->period);
	return mode_of(c) == 3 && now < half ? half : begin + c->period;
}

/* A whole count was written; the counting element takes it at the next tick, at the end of the
 * period, or when the gate rises. */
static void count_written(struct pit_counter *c, int64_t now)
{
	bool first = !c->written;

	c->written = true;
	if (is_gate_triggered(c)) {
		c->reload = true;
	} else if (is_periodic(c) && !first && !c->stopped && c->start <= now) {
		c->reload = true;
		c->reload_at = reload_time(c, now);
	} else {
		load(c, now + 1);
	}
}

static void write_count(struct pit_counter *c, uint8_t byte, int64_t now)
{
	switch (rw_of(c)) {
	case RW_LOW:
		c->count = byte;
		break;
	case RW_HIGH:
		c->count = (uint16_t)(byte << 8);
		break;
	default:
		if (!c->write_high) {
			c->low = byte;
			c->write_high = true;
			/* In mode 0 the first byte stops the count; the output is low. */
			if (mode_of(c) == 0)
				c->loaded = false;
			return;
		}
		c->write_high = false;
		c->count = (uint16_t)(byte << 8 | c->low);
		break;
	}
	count_written(c, now);
}

/* Whether the last count written has not reached the counting element yet. */
static bool null_count(const struct pit_counter *c, int64_t now)
{
	return !c->written || c->reload || !c->loaded || elapsed(c, now) < 0;
}

static void latch_count(struct pit_counter *c, int64_t now)
{
	if (c->latched)
		return; /* the first latch holds until it is read */
	c->latch = value(c, now);
	c->latched = rw_of(c) == 3 ? 2 : 1;
	c->read_high = rw_of(c) == RW_HIGH;
}

static void latch_status(struct pit_counter *c, int64_t now)
{
	if (c->status_latched)
		return;
	c->status_latched = true;
	c->status = (c->control & 0x3f) | (null_count(c, now) ? 0x40 : 0) |
		    (output(c, now) ? 0x80 : 0);
}

static void write_control(struct pit *p, uint8_t v, int64_t now)
{
	struct pit_counter *c;
	bool gate;

	if ((v & 0xc0) == PIT_READ_BACK) {
		for (unsigned i = 0; i < PIT_COUNTERS; i++) {
			if (!(v & 2u << i))
				continue;
			if (!(v & PIT_RB_NO_COUNT))
				latch_count(&p->s.counters[i], now);
			if (!(v & PIT_RB_NO_STATE))
				latch_status(&p->s.counters[i], now);
		}
		return;
	}
	c = &p->s.counters[v >> 6];
	if ((v >> 4 & 3) == RW_LATCH) {
		latch_count(c, now);
		return;
	}
	gate = c->gate;
	*c = (struct pit_counter){.control = v & 0x3f, .gate = gate};
	follow(p, v >> 6, now);
}

static uint8_t read_counter(struct pit_counter *c, int64_t now)
{
	uint16_t v;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->latched ? c->latch : value(c, now);
	high = rw_of(c) == RW_HIGH || (rw_of(c) == 3 && c->read_high);
	if (rw_of(c) == 3)
		c->read_high = !c->read_high;
	if (c->latched)
		c->latched--;
	return (uint8_t)(high ? v >> 8 : v);
}

static void sync_all(struct pit *p, int64_t now)
{
	for (unsigned i = 0; i < PIT_COUNTERS; i++)
		sync(&p->s.counters[i], now);
}

static uint64_t pit_read(void *dev, uint64_t offset, unsigned size)
{
	struct pit *p = dev;
	int64_t now = tick_now(p);

	(void)size;
	if (offset == PIT_CONTROL)
		return 0xff; /* cannot be read: the bus floats */
	sync_all(p, now);
	return read_counter(&p->s.counters[offset], now);
}

static void pit_write(void *dev, uint64_t offset, unsigned size, uint64_t v)
{
	struct pit *p = dev;
	int64_t now = tick_now(p);

	(void)size;
	sync_all(p, now);
	if (offset == PIT_CONTROL) {
		write_control(p, (uint8_t)v, now);
		return;
	}
	write_count(&p->s.counters[offset], (uint8_t)v, now);
	follow(p, (unsigned)offset, now);
}

const struct bus_ops pit_ops = {
	.name = "pit",
	.width = 1,
	.read = pit_read,
	.write = pit_write,
};

/* The gate input changes (figure "Gate Pin Operations Summary" of the datasheet). */
static void set_gate(struct pit_counter *c, bool gate, int64_t now)
{
	bool rises = gate && !c->gate;
	bool falls = !gate && c->gate;

	c->gate = gate;
	if (is_gate_triggered(c) || is_periodic(c)) {
		if (rises && c->written)
			load(c, now + 1); /* starts anew */
	} else if (rises && c->stopped) {
		c->stopped = false; /* goes on */
		c->start = now - c->held;
	}
	if (falls && c->loaded && !is_gate_triggered(c)) {
		c->held = elapsed(c, now);
		c->stopped = true;
	}
}

static uint64_t speaker_read(void *dev, uint64_t offset, unsigned size)
{
	struct pit *p = dev;
	struct pit_counter *c = &p->s.counters[2];
	int64_t now = tick_now(p);

	(void)offset;
	(void)size;
	sync(c, now);
	return p->s.speaker | (output(c, now) ? SPEAKER_OUT : 0) |
	       (clock_now(p->clock) / REFRESH_NS & 1 ? SPEAKER_REFRESH : 0);
}

static void speaker_write(void *dev, uint64_t offset, unsigned size, uint64_t v)
{
	struct pit *p = dev;
	struct pit_counter *c = &p->s.counters[2];
	int64_t now = tick_now(p);

	(void)offset;
	(void)size;
	sync(c, now);
	p->s.speaker = v & SPEAKER_WRITE;
	set_gate(c, v & SPEAKER_GATE, now);
}

const struct bus_ops speaker_ops = {
	.name = "speaker",
	.width = 1,
	.read = speaker_read,
	.write = speaker_write,
};

static void power_on(struct pit *p)
{
	p->s = (struct pit_state){.speaker = 0};
	for (unsigned i = 0; i < PIT_COUNTERS; i++) {
		p->s.counters[i].control = 0x30; /* undefined on the chip: mode 0, no count */
		p->s.counters[i].gate = i != 2;
	}
	p->edge = NEVER;
}

void pit_init(struct pit *p, struct clock *clock, struct irq_line irq0)
{
	*p = (struct pit){.clock = clock, .irq = irq0};
	pthread_mutex_init(&p->lock, NULL);
	p->timer = (struct clock_timer){.fired = timer_fired, .opaque = p};
	power_on(p);
}

void pit_reset(struct pit *p)
{
	pthread_mutex_lock(&p->lock);
	clock_timer_cancel(p->clock, &p->timer);
	power_on(p);
	irq_set(&p->irq, false);
	pthread_mutex_unlock(&p->lock);
}

void pit_release(struct pit *p)
{
	clock_timer_cancel(p->clock, &p->timer);
	pthread_mutex_destroy(&p->lock);
}
