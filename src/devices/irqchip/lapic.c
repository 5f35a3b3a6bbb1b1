/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an interrupt travels through a local APIC:
 *
 *	messages, IPIs (lapic_message.c) --+
 *	timer (lapic_timer.c) --- LVT -----+--> IRR --(class above PPR's)--> wires.intr
 *	LINT0, LINT1, errors ---- LVT -----+                                    |
 *	                                      ISR <-------- lapics_ack <--------+
 *	                                      EOI: out of ISR, wires.eoi
 *
 * wires.intr is the level of "there is something to take", computed anew by
 * lapic_update after each change. ExtINT passes IRR by: while LINT0 is set up for
 * it, the pin's level itself is the request, and its vector the 8259s'.
 *
 * A switched-off APIC (IA32_APIC_BASE) receives nothing and its two pins are the
 * processor's INTR and NMI.
 */
#include "devices/irqchip/lapic.h"

#include <assert.h>
#include <string.h>

#include "core/x86/regs.h"
#include "devices/irqchip/lapic_int.h"

#define VECTOR_MIN 16 /* lower ones are illegal */

int lapic_highest(const struct lapic_vectors *v)
{
	for (int w = 7; w >= 0; w--)
		if (v->word[w])
			return w * 32 + 31 - __builtin_clz(v->word[w]);
	return -1;
}

/* SDM 11.8.3.1: the higher class of TPR and what is in service. */
uint32_t lapic_ppr(const struct lapic *a)
{
	int serving = lapic_highest(&a->isr);
	uint32_t isrv = serving < 0 ? 0 : (uint32_t)serving & 0xf0;

	return (a->tpr & 0xf0) >= isrv ? a->tpr : isrv;
}

/* The vector that the processor would be given; -1: none. */
static int deliverable(const struct lapic *a)
{
	int vector = lapic_highest(&a->irr);

	if (vector < 0 || ((uint32_t)vector & 0xf0) <= (lapic_ppr(a) & 0xf0))
		return -1;
	return vector;
}

static unsigned lvt_mode(uint32_t lvt)
{
	return lvt >> LVT_MODE_SHIFT & 7;
}

/* Whether the 8259s' wire asks for an interrupt. */
static bool pin_extint(const struct lapic *a)
{
	uint32_t lvt = a->lvt[LVT_LINT0];

	if (a->mode == LAPIC_OFF)
		return a->lint[0];
	return a->lint[0] && !(lvt & LVT_MASKED) && lvt_mode(lvt) == DELIVER_EXTINT;
}

void lapic_update(struct lapic *a)
{
	const struct lapic_wires *w = &a->all->wires;
	bool level = a->extint || pin_extint(a) || deliverable(a) >= 0;

	if (level == a->intr)
		return;
	a->intr = level;
	w->intr(w->opaque, a->id, level);
}

void lapic_error(struct lapic *a, uint32_t bit)
{
	bool first = !a->errors; /* writing ESR rearms the interrupt (SDM 11.5.3) */

	a->errors |= bit;
	if (first)
		lapic_local(a, LVT_ERROR);
}

void lapic_accept(struct lapic *a, unsigned vector, bool level)
{
	if (vector < VECTOR_MIN) {
		lapic_error(a, ESR_RECEIVE_ILLEGAL);
		return;
	}
	vectors_set(&a->irr, vector, true);
	vectors_set(&a->tmr, vector, level);
	lapic_update(a);
}

void lapic_local(struct lapic *a, enum lapic_lvt n)
{
	const struct lapic_wires *w = &a->all->wires;
	uint32_t lvt = a->lvt[n];

	if (lvt & LVT_MASKED)
		return;
	switch (lvt_mode(lvt)) { /* timer and error have no such field: it is 0 there */
	case DELIVER_FIXED:
		lapic_accept(a, lvt & 0xff, false);
		break;
	case DELIVER_NMI:
		w->nmi(w->opaque, a->id);
		break;
	case DELIVER_INIT:
		w->init(w->opaque, a->id);
		break;
	}
}

/* LINT0 alone may be level-triggered (SDM 11.5.1), and only a fixed interrupt is. */
static bool level_pin(const struct lapic *a)
{
	uint32_t lvt = a->lvt[LVT_LINT0];

	return lvt & LVT_LEVEL && lvt_mode(lvt) == DELIVER_FIXED;
}

void lapic_level_pin(struct lapic *a)
{
	uint32_t *lvt = &a->lvt[LVT_LINT0];

	if (!level_pin(a) || !a->lint[0] || *lvt & (LVT_MASKED | LVT_REMOTE_IRR))
		return;
	if ((*lvt & 0xff) >= VECTOR_MIN)
		*lvt |= LVT_REMOTE_IRR;
	lapic_accept(a, *lvt & 0xff, true);
}

void lapics_lint(struct lapics *all, unsigned id, unsigned pin, bool level)
{
	struct lapic *a = &all->apic[id];
	bool rose;

	pthread_mutex_lock(&all->lock);
	rose = level && !a->lint[pin];
	a->lint[pin] = level;
	if (a->mode == LAPIC_OFF && pin == 1 && rose)
		all->wires.nmi(all->wires.opaque, id);
	else if (a->mode != LAPIC_OFF && pin == 0 && level_pin(a))
		lapic_level_pin(a);
	else if (a->mode != LAPIC_OFF && rose)
		lapic_local(a, LVT_LINT0 + pin);
	lapic_update(a);
	pthread_mutex_unlock(&all->lock);
}

void lapic_end_of_interrupt(struct lapic *a)
{
	int vector = lapic_highest(&a->isr);
	uint32_t *lint0 = &a->lvt[LVT_LINT0];

	if (vector < 0)
		return;
	vectors_set(&a->isr, (unsigned)vector, false);
	if (vectors_has(&a->tmr, (unsigned)vector)) {
		if (!(a->directed_eoi && a->svr & SVR_SUPPRESS_EOI))
			a->ended = vector;
		if (*lint0 & LVT_REMOTE_IRR && (*lint0 & 0xff) == (uint32_t)vector) {
			*lint0 &= ~LVT_REMOTE_IRR;
			lapic_level_pin(a);
		}
	}
	lapic_update(a);
}

uint8_t lapics_ack(struct lapics *all, unsigned id)
{
	struct lapic *a = &all->apic[id];
	bool extint;
	int vector;

	pthread_mutex_lock(&all->lock);
	extint = a->extint || pin_extint(a);
	a->extint = false;
	vector = extint ? -1 : deliverable(a);
	if (vector >= 0) {
		vectors_set(&a->irr, (unsigned)vector, false);
		vectors_set(&a->isr, (unsigned)vector, true);
	} else {
		vector = (int)(a->svr & 0xff);
	}
	lapic_update(a);
	pthread_mutex_unlock(&all->lock);
	return extint ? all->wires.intack(all->wires.opaque) : (uint8_t)vector;
}

uint8_t lapics_cr8(struct lapics *all, unsigned id)
{
	uint8_t cr8;

	pthread_mutex_lock(&all->lock);
	cr8 = (uint8_t)(all->apic[id].tpr >> 4);
	pthread_mutex_unlock(&all->lock);
	return cr8;
}

void lapics_set_cr8(struct lapics *all, unsigned id, uint8_t cr8)
{
	pthread_mutex_lock(&all->lock);
	all->apic[id].tpr = (uint32_t)(cr8 & 0xf) << 4;
	lapic_update(&all->apic[id]);
	pthread_mutex_unlock(&all->lock);
}

/* SDM 11.4.7.1 and 11.12.5.1 */
void lapic_power_on(struct lapic *a)
{
	a->tpr = 0;
	a->ldr = a->mode == LAPIC_X2APIC ? a->id >> 4 << 16 | 1u << (a->id & 0xf) : 0;
	a->dfr = 0xffffffff;
	a->svr = 0xff;
	a->esr = 0;
	a->errors = 0;
	a->icr = 0;
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		a->lvt[i] = LVT_MASKED;
	a->initial = 0;
	a->divide = 0;
	memset(&a->isr, 0, sizeof(a->isr));
	memset(&a->tmr, 0, sizeof(a->tmr));
	memset(&a->irr, 0, sizeof(a->irr));
	a->expiry = 0;
	a->directed_eoi = false;
	a->extint = false;
	a->ended = -1;
	lapic_timer_arm(a);
	lapic_update(a);
}

/* SDM 11.12.5: x2APIC mode is entered from xAPIC mode and left by switching the APIC off, which
 * resets it. */
bool lapics_set_base(struct lapics *all, unsigned id, uint64_t value)
{
	struct lapic *a = &all->apic[id];
	bool enable = value & APIC_BASE_ENABLE, extended = value & APIC_BASE_EXTD;
	enum lapic_mode mode = extended ? LAPIC_X2APIC : enable ? LAPIC_XAPIC : LAPIC_OFF;
	bool possible;

	pthread_mutex_lock(&all->lock);
	possible = mode == a->mode || mode == LAPIC_OFF ||
		   (mode == LAPIC_XAPIC && a->mode == LAPIC_OFF) ||
		   (mode == LAPIC_X2APIC && a->mode == LAPIC_XAPIC && all->x2apic);
	if (extended && !enable)
		possible = false;
	if (possible && mode != a->mode) {
		a->mode = mode;
		if (mode == LAPIC_X2APIC) {
			a->ldr = id >> 4 << 16 | 1u << (id & 0xf);
			a->icr &= 0xffffffff;
		} else {
			lapic_power_on(a);
		}
		lapic_update(a);
	}
	pthread_mutex_unlock(&all->lock);
	return possible;
}

void lapics_restart(struct lapics *all, unsigned id)
{
	pthread_mutex_lock(&all->lock);
	lapic_power_on(&all->apic[id]);
	pthread_mutex_unlock(&all->lock);
}

void lapics_reset(struct lapics *all)
{
	pthread_mutex_lock(&all->lock);
	for (unsigned i = 0; i < all->count; i++) {
		all->apic[i].mode = LAPIC_XAPIC;
		lapic_power_on(&all->apic[i]);
	}
	all->turn = 0;
	pthread_mutex_unlock(&all->lock);
}

void lapics_announce(struct lapics *all, unsigned id)
{
	pthread_mutex_lock(&all->lock);
	all->wires.intr(all->wires.opaque, id, all->apic[id].intr);
	pthread_mutex_unlock(&all->lock);
}

void lapics_offer(struct lapics *all, bool x2apic, bool tsc_deadline)
{
	pthread_mutex_lock(&all->lock);
	all->x2apic = x2apic;
	all->tsc_deadline = tsc_deadline;
	pthread_mutex_unlock(&all->lock);
}

void lapics_init(struct lapics *all, unsigned count, struct clock *clock,
		 const struct lapic_wires *wires)
{
	assert(count <= LAPICS_MAX);
	memset(all, 0, sizeof(*all));
	pthread_mutex_init(&all->lock, NULL);
	all->clock = clock;
	all->wires = *wires;
	all->count = count;
	for (unsigned i = 0; i < LAPICS_MAX; i++) {
		struct lapic *a = &all->apic[i];

		a->all = all;
		a->id = i;
		a->timer = (struct clock_timer){.fired = lapic_timer_fired, .opaque = a};
	}
	lapics_reset(all);
}

void lapics_release(struct lapics *all)
{
	for (unsigned i = 0; i < all->count; i++)
		clock_timer_cancel(all->clock, &all->apic[i].timer);
	pthread_mutex_destroy(&all->lock);
}
