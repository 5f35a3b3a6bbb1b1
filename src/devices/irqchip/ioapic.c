/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pin does:
 *
 *	edge   when it becomes asserted and its entry is not masked, sends its message;
 *	       an edge at a masked entry is lost (82093AA, "Interrupt Mask").
 *	level  while asserted, not masked and remote IRR clear: sends its message and
 *	       sets remote IRR, which the EOI of its vector clears; if it is then still
 *	       asserted, it sends again.
 *
 * Remote IRR also clears where the entry is made edge-triggered: system software
 * uses that as an EOI on parts without the EOI register. Only fixed and lowest
 * priority interrupts are ended by an EOI: the other delivery modes are sent as
 * edges, whatever the trigger bit says.
 *
 * A guest that ends a level interrupt without quieting its device is interrupted
 * again at once, for ever, and with interrupts taken ahead of instructions it gets
 * nowhere. A real bus is slow enough to let it progress. So after STORM_COUNT
 * resends in succession the next one waits for STORM_DELAY.
 *
 * ExtINT entries send an ExtINT message. The 8259's INTR wire reaches the first
 * processor by its own local APIC input (LINT0) and not by pin 0, which is not
 * connected.
 */
#include "devices/irqchip/ioapic.h"

#include <string.h>

#include "base/bits.h"
#include "base/time.h"

/* Memory-mapped registers. */
#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI    0x40

/* Registers behind the window. */
#define IND_ID      0x00
#define IND_VERSION 0x01
#define IND_ARB     0x02
#define IND_ENTRIES 0x10

#define VERSION  (0x20 | (IOAPIC_PINS - 1) << 16)
#define ID_SHIFT 24
#define ID_MASK  0xf

#define READ_ONLY (IOAPIC_PENDING | IOAPIC_REMOTE_IRR)
#define WRITABLE                                                                        \
	(IOAPIC_VECTOR | IOAPIC_DELIVERY | IOAPIC_LOGICAL | IOAPIC_LOW | IOAPIC_LEVEL | \
	 IOAPIC_MASKED | 0xffULL << IOAPIC_DEST_SHIFT)

#define STORM_COUNT 10000
#define STORM_DELAY (10 * NS_PER_MS)

/* Whether an interrupt by this entry stays in service until its EOI. */
static bool ended_by_eoi(uint64_t entry)
{
	unsigned mode = (entry & IOAPIC_DELIVERY) >> IOAPIC_DELIVERY_SHIFT;

	return (entry & IOAPIC_LEVEL) && (mode == IOAPIC_FIXED || mode == IOAPIC_LOWEST);
}

static struct msi_msg message(uint64_t entry)
{
	struct msi_msg m = {
		.addr = MSI_ADDR_BASE | (entry >> IOAPIC_DEST_SHIFT) << MSI_ADDR_DEST_SHIFT,
		.data = (entry & (IOAPIC_VECTOR | IOAPIC_DELIVERY)) | MSI_DATA_ASSERT,
	};

	if (entry & IOAPIC_LOGICAL)
		m.addr |= MSI_ADDR_LOGICAL;
	if (ended_by_eoi(entry))
		m.data |= MSI_DATA_LEVEL;
	return m;
}

/* Two of the eight delivery modes are reserved; nothing comes of them. */
static bool deliverable(uint64_t entry)
{
	unsigned mode = (entry & IOAPIC_DELIVERY) >> IOAPIC_DELIVERY_SHIFT;

	return mode != 3 && mode != 6;
}

static void send(struct ioapic *io, unsigned pin)
{
	uint64_t *entry = &io->state.entry[pin];
	struct msi_msg m = message(*entry);

	if (!deliverable(*entry))
		return;
	if (ended_by_eoi(*entry))
		*entry |= IOAPIC_REMOTE_IRR;
	msi_send(&io->sink, &m);
}

/* Sends for a level-triggered pin, if it has reason to. */
static void service_level(struct ioapic *io, unsigned pin)
{
	uint64_t entry = io->state.entry[pin];

	if (!ended_by_eoi(entry) || (entry & (IOAPIC_MASKED | IOAPIC_REMOTE_IRR)))
		return;
	if ((io->state.lines & BIT(pin)) && !(io->state.held & BIT(pin)))
		send(io, pin);
}

static void announce(struct ioapic *io, unsigned pin)
{
	uint64_t entry = io->state.entry[pin];
	struct msi_msg m = message(entry), *was = &io->routed[pin].msg;
	bool announced = io->routed[pin].announced;
	/* A snapshot may have been taken with a masked entry's interrupt in service. */
	bool live = !(entry & IOAPIC_MASKED) || (!announced && (entry & IOAPIC_REMOTE_IRR));

	if (live) {
		if (announced && was->addr == m.addr && was->data == m.data)
			return;
		io->routed[pin].announced = true;
		*was = m;
	} else {
		bool keep = ended_by_eoi(entry) && (was->data & MSI_DATA_LEVEL);

		if (!announced || keep)
			return;
		io->routed[pin].announced = false;
	}
	if (io->route)
		io->route(io->opaque, pin, io->routed[pin].announced ? was : NULL);
}

static void write_entry(struct ioapic *io, unsigned pin, bool high, uint32_t value)
{
	uint64_t *entry = &io->state.entry[pin];
	uint64_t half = high ? 0xffffffff00000000ULL : 0xffffffffULL;
	uint64_t set = high ? (uint64_t)value << 32 : value;
	uint64_t mask = half & WRITABLE;

	*entry = (*entry & ~mask) | (set & mask);
	if (!ended_by_eoi(*entry))
		*entry &= ~IOAPIC_REMOTE_IRR;
	io->state.held &= ~BIT(pin);
	io->state.resent[pin] = 0;
	announce(io, pin);
	service_level(io, pin);
}

static uint32_t window_read(const struct ioapic_state *s)
{
	unsigned pin = (s->select - IND_ENTRIES) / 2;

	switch (s->select) {
	case IND_ID:
	case IND_ARB:
		return (uint32_t)s->id << ID_SHIFT;
	case IND_VERSION:
		return VERSION;
	}
	if (s->select < IND_ENTRIES || pin >= IOAPIC_PINS)
		return 0;
	return s->select & 1 ? s->entry[pin] >> 32 : s->entry[pin];
}

static void window_write(struct ioapic *io, uint32_t value)
{
	struct ioapic_state *s = &io->state;
	unsigned pin = (s->select - IND_ENTRIES) / 2;

	if (s->select == IND_ID)
		s->id = value >> ID_SHIFT & ID_MASK;
	else if (s->select >= IND_ENTRIES && pin < IOAPIC_PINS)
		write_entry(io, pin, s->select & 1, value);
}

/* Resends, or lets the timer do it where this has become a storm. */
static void resend(struct ioapic *io, unsigned pin)
{
	struct ioapic_state *s = &io->state;

	if ((s->entry[pin] & IOAPIC_MASKED) || !(s->lines & BIT(pin))) {
		s->resent[pin] = 0;
		return;
	}
	if (++s->resent[pin] < STORM_COUNT) {
		service_level(io, pin);
		return;
	}
	s->resent[pin] = 0;
	s->held |= BIT(pin);
	clock_timer_set(io->clock, &io->timer, clock_now(io->clock) + STORM_DELAY);
}

static void storm_timer(void *opaque)
{
	struct ioapic *io = opaque;
	uint32_t held;

	pthread_mutex_lock(&io->lock);
	held = io->state.held;
	io->state.held = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		if (held & BIT(pin))
			service_level(io, pin);
	pthread_mutex_unlock(&io->lock);
}

static void eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *entry = &io->state.entry[pin];

		if ((*entry & IOAPIC_VECTOR) != vector || !(*entry & IOAPIC_REMOTE_IRR))
			continue;
		*entry &= ~IOAPIC_REMOTE_IRR;
		resend(io, pin);
	}
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	pthread_mutex_lock(&io->lock);
	eoi(io, vector);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_set_irq(void *opaque, unsigned pin, bool level)
{
	struct ioapic *io = opaque;
	struct ioapic_state *s = &io->state;
	uint64_t bit;
	bool rose;

	if (pin >= IOAPIC_PINS)
		return;
	bit = BIT(pin);
	pthread_mutex_lock(&io->lock);
	rose = level && !(s->lines & bit);
	s->lines = level ? s->lines | bit : s->lines & ~bit;
	if (!level)
		s->held &= ~bit;
	if (ended_by_eoi(s->entry[pin]))
		service_level(io, pin);
	else if (rose && !(s->entry[pin] & IOAPIC_MASKED))
		send(io, pin);
	pthread_mutex_unlock(&io->lock);
}

static uint64_t ioapic_read(void *dev, uint64_t offset, unsigned size)
{
	struct ioapic *io = dev;
	uint64_t reg = align_down(offset, 4);
	uint32_t value = 0;

	if (reg == REG_SELECT)
		value = io->state.select;
	else if (reg == REG_WINDOW)
		value = window_read(&io->state);
	return value >> (offset - reg) * 8 & MASK(size * 8);
}

/* The select register takes any width that holds its byte; the window whole dwords only. */
static void ioapic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct ioapic *io = dev;

	if (offset == REG_SELECT)
		io->state.select = value;
	else if (offset == REG_WINDOW && size == 4)
		window_write(io, value);
	else if (offset == REG_EOI)
		eoi(io, value);
}

const struct bus_ops ioapic_ops = {"ioapic", 4, ioapic_read, ioapic_write};

static void power_on(struct ioapic_state *s)
{
	*s = (struct ioapic_state){.lines = s->lines};
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		s->entry[pin] = IOAPIC_MASKED;
}

void ioapic_init(struct ioapic *io, const struct msi_sink *sink, struct clock *clock,
		 void (*route)(void *opaque, unsigned pin, const struct msi_msg *msg), void *opaque)
{
	*io = (struct ioapic){
		.timer = {.fired = storm_timer, .opaque = io},
		.clock = clock,
		.sink = *sink,
		.route = route,
		.opaque = opaque,
	};
	pthread_mutex_init(&io->lock, NULL);
	power_on(&io->state);
}

void ioapic_reset(struct ioapic *io)
{
	pthread_mutex_lock(&io->lock);
	clock_timer_cancel(io->clock, &io->timer);
	power_on(&io->state);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		announce(io, pin);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_announce(struct ioapic *io)
{
	pthread_mutex_lock(&io->lock);
	if (io->state.held)
		clock_timer_set(io->clock, &io->timer, clock_now(io->clock) + STORM_DELAY);
	memset(io->routed, 0, sizeof(io->routed));
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		announce(io, pin);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_release(struct ioapic *io)
{
	clock_timer_cancel(io->clock, &io->timer);
	pthread_mutex_destroy(&io->lock);
}
