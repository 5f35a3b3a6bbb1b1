/* SPDX-License-Identifier: Apache-2.0 */
#include "lapic_rig.h"

#include <string.h>

struct lapic_rig lr;

static void on_intr(void *opaque, unsigned id, bool level)
{
	struct lapic_rig *r = opaque;

	r->cpu[id].intr = level;
	r->cpu[id].intr_calls++;
}

static void on_nmi(void *opaque, unsigned id)
{
	((struct lapic_rig *)opaque)->cpu[id].nmis++;
}

static void on_init(void *opaque, unsigned id)
{
	((struct lapic_rig *)opaque)->cpu[id].inits++;
}

static void on_sipi(void *opaque, unsigned id, uint8_t vector)
{
	struct lapic_rig *r = opaque;

	r->cpu[id].sipis++;
	r->cpu[id].sipi_vector = vector;
}

/* The last two come without the lock. */
static void check_free(struct lapic_rig *r)
{
	if (r->threads)
		return;
	assert_int_equal(pthread_mutex_trylock(&r->all.lock), 0);
	pthread_mutex_unlock(&r->all.lock);
}

static uint8_t on_intack(void *opaque)
{
	struct lapic_rig *r = opaque;

	check_free(r);
	r->intacks++;
	return 0x77;
}

static void on_eoi(void *opaque, uint8_t vector)
{
	struct lapic_rig *r = opaque;

	check_free(r);
	r->eois++;
	r->eoi_vector = vector;
}

int lapic_rig_setup(void **state)
{
	const struct lapic_wires wires = {on_intr,   on_nmi, on_init, on_sipi,
					  on_intack, on_eoi, &lr};

	(void)state;
	memset(&lr, 0, sizeof(lr));
	clock_init_manual(&lr.clock);
	clock_advance(&lr.clock, 1000000);
	lapics_init(&lr.all, RIG_APICS, &lr.clock, &wires);
	lapics_offer(&lr.all, true, true);
	for (unsigned i = 0; i < RIG_APICS; i++)
		wr(i, SVR, 0x1ff);
	return 0;
}

int lapic_rig_teardown(void **state)
{
	(void)state;
	lapics_release(&lr.all);
	clock_release(&lr.clock);
	return 0;
}

uint32_t rd(unsigned id, unsigned offset)
{
	return lapics_read(&lr.all, id, offset);
}

void wr(unsigned id, unsigned offset, uint32_t value)
{
	lapics_write(&lr.all, id, offset, value);
}

uint64_t rdmsr(unsigned id, unsigned offset)
{
	uint64_t value = 0;

	assert_true(lapics_x2apic_read(&lr.all, id, offset, &value));
	return value;
}

void wrmsr(unsigned id, unsigned offset, uint64_t value)
{
	assert_true(lapics_x2apic_write(&lr.all, id, offset, value));
}

void to_x2apic(unsigned id)
{
	assert_true(lapics_set_base(&lr.all, id, BASE_X2APIC));
}

/* The register page, whatever the mode. */
static bool bit_of(unsigned id, unsigned reg, unsigned vector)
{
	uint8_t page[LAPIC_PAGE];

	lapics_get(&lr.all, id, page);
	return load_le(page + reg + vector / 32 * 16, 4) >> vector % 32 & 1;
}

bool in_irr(unsigned id, unsigned vector)
{
	return bit_of(id, IRR, vector);
}

bool in_isr(unsigned id, unsigned vector)
{
	return bit_of(id, ISR, vector);
}

bool in_tmr(unsigned id, unsigned vector)
{
	return bit_of(id, TMR, vector);
}

void msi(unsigned dest, uint32_t data)
{
	const struct msi_msg m = {.addr = 0xfee00000 | dest << 12, .data = data};

	lapics_msi(&lr.all, &m);
}

uint32_t who_got(unsigned vector)
{
	uint32_t got = 0;

	for (unsigned i = 0; i < RIG_APICS; i++) {
		if (!in_irr(i, vector))
			continue;
		got |= 1u << i;
		assert_int_equal(lapics_ack(&lr.all, i), vector);
		if (lr.all.apic[i].mode == LAPIC_X2APIC)
			wrmsr(i, EOI, 0);
		else
			wr(i, EOI, 0);
	}
	return got;
}
