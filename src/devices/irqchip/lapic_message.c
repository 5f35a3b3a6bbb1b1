/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between APICs: who is meant, and what it does to them.
 *
 * A destination has 8 bits where an xAPIC or a device sends it, 32 where an x2APIC
 * does. An APIC in either mode compares it with what it has itself: so a device's
 * logical destination reaches an x2APIC of cluster 0, and 0xff is everybody for xAPICs
 * only.
 *
 * Sources: Intel SDM vol. 3A 11.6 (ICR, destinations, arbitration), 11.11 (message
 * signalled interrupts), 11.12.10 (x2APIC destinations).
 */
#include "devices/irqchip/lapic_int.h"

#define ICR_LOGICAL         (1u << 11)
#define ICR_ASSERT          (1u << 14)
#define ICR_LEVEL           (1u << 15)
#define ICR_SHORTHAND_SHIFT 18

#define VECTOR_MIN 16

enum shorthand { TO_DESTINATION, TO_SELF, TO_ALL, TO_OTHERS };

struct message {
	struct lapic *sender; /* NULL: a device */
	enum shorthand to;
	bool wide; /* dest has 32 bits */
	bool logical;
	uint32_t dest;
	unsigned mode; /* enum lapic_delivery */
	uint8_t vector;
	bool level;    /* -triggered */
	bool asserted; /* what a level message says */
};

static bool logical_match(const struct lapic *a, uint32_t dest)
{
	uint32_t ldr = a->ldr >> 24;

	if (a->mode == LAPIC_X2APIC)
		return dest >> 16 == a->ldr >> 16 && dest & a->ldr & 0xffff;
	if (dest > 0xff)
		return false;
	switch (a->dfr >> 28) {
	case DFR_FLAT:
		return ldr & dest;
	case DFR_CLUSTER:
		return ldr >> 4 == dest >> 4 && ldr & dest & 0xf;
	}
	return false;
}

static bool is_meant(const struct lapic *a, const struct message *m)
{
	if (a->mode == LAPIC_OFF)
		return false;
	switch (m->to) {
	case TO_SELF:
		return a == m->sender;
	case TO_ALL:
		return true;
	case TO_OTHERS:
		return a != m->sender;
	case TO_DESTINATION:
		break;
	}
	if (m->wide ? m->dest == 0xffffffff : m->dest == 0xff && a->mode == LAPIC_XAPIC)
		return true;
	return m->logical ? logical_match(a, m->dest) : m->dest == a->id;
}

static void deliver(struct lapic *a, const struct message *m)
{
	const struct lapic_wires *w = &a->all->wires;
	bool release = m->level && !m->asserted;

	switch (m->mode) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		/* A software-disabled APIC takes the other kinds only (SDM 11.4.7.2). */
		if (a->svr & SVR_ENABLED && !release)
			lapic_accept(a, m->vector, m->level);
		break;
	case DELIVER_NMI:
		w->nmi(w->opaque, a->id);
		break;
	case DELIVER_INIT:
		if (!release) /* "INIT level de-assert" reset arbitration ids, once */
			w->init(w->opaque, a->id);
		break;
	case DELIVER_SIPI:
		w->sipi(w->opaque, a->id, m->vector);
		break;
	case DELIVER_EXTINT:
		a->extint = true;
		lapic_update(a);
		break;
	}
}

/* Of those that are meant and can take it, the one that does the least; NULL: there is none. */
static struct lapic *arbitrate(struct lapics *all, const struct message *m)
{
	struct lapic *best = NULL;

	for (unsigned i = 1; i <= all->count; i++) {
		struct lapic *a = &all->apic[(all->turn + i) % all->count];

		if (is_meant(a, m) && a->svr & SVR_ENABLED &&
		    (!best || lapic_ppr(a) >> 4 < lapic_ppr(best) >> 4))
			best = a;
	}
	return best;
}

static void send(struct lapics *all, const struct message *m)
{
	if (m->mode == DELIVER_LOWEST) {
		struct lapic *a = arbitrate(all, m);

		if (a) {
			all->turn = a->id;
			deliver(a, m);
		}
		return;
	}
	for (unsigned i = 0; i < all->count; i++)
		if (is_meant(&all->apic[i], m))
			deliver(&all->apic[i], m);
}

static void check_vector(struct lapic *a, const struct message *m)
{
	if ((m->mode == DELIVER_FIXED || m->mode == DELIVER_LOWEST) && m->vector < VECTOR_MIN)
		lapic_error(a, ESR_SEND_ILLEGAL);
}

void lapic_send_icr(struct lapic *a)
{
	uint32_t low = (uint32_t)a->icr, high = (uint32_t)(a->icr >> 32);
	bool wide = a->mode == LAPIC_X2APIC;
	const struct message m = {
		.sender = a,
		.to = low >> ICR_SHORTHAND_SHIFT & 3,
		.wide = wide,
		.logical = low & ICR_LOGICAL,
		.dest = wide ? high : high >> 24,
		.mode = low >> 8 & 7,
		.vector = low & 0xff,
		.level = low & ICR_LEVEL,
		.asserted = low & ICR_ASSERT,
	};

	if (m.mode == DELIVER_EXTINT) /* reserved in the ICR */
		return;
	check_vector(a, &m);
	send(a->all, &m);
}

void lapic_send_self(struct lapic *a, uint8_t vector)
{
	const struct message m = {.sender = a, .to = TO_SELF, .vector = vector};

	check_vector(a, &m);
	send(a->all, &m);
}

void lapics_msi(struct lapics *all, const struct msi_msg *msg)
{
	struct message m = {
		.logical = msg->addr & MSI_ADDR_LOGICAL,
		.dest = msg->addr >> MSI_ADDR_DEST_SHIFT & 0xff,
		.mode = msg->data >> MSI_DATA_DELIVERY_SHIFT & 7,
		.vector = msg->data & MSI_DATA_VECTOR,
		.level = msg->data & MSI_DATA_LEVEL,
		.asserted = msg->data & MSI_DATA_ASSERT,
	};

	if (m.mode == DELIVER_SIPI) /* reserved in messages */
		return;
	/* The redirection hint chooses one of a logical destination. */
	if (m.mode == DELIVER_FIXED && m.logical && msg->addr & MSI_ADDR_REDIRECT_HINT)
		m.mode = DELIVER_LOWEST;
	pthread_mutex_lock(&all->lock);
	send(all, &m);
	pthread_mutex_unlock(&all->lock);
}
