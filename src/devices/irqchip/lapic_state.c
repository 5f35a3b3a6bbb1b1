/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local APIC's state as a register page in the form of KVM's struct kvm_lapic_state
 * (Linux Documentation/virt/kvm/api.rst, KVM_GET_LAPIC, with 32-bit x2APIC ids): every
 * register at its xAPIC offset, the current count computed, the x2APIC's ICR split in
 * two.
 */
#include <string.h>

#include "core/x86/regs.h"
#include "devices/irqchip/lapic_int.h"

static const uint16_t saved[] = {
	REG_ID,  REG_VERSION, REG_TPR,  REG_PPR,     REG_LDR,     REG_DFR,    REG_SVR,
	REG_ESR, REG_ICR,     REG_ICR2, REG_INITIAL, REG_CURRENT, REG_DIVIDE,
};

void lapics_get(struct lapics *all, unsigned id, uint8_t *page)
{
	struct lapic *a = &all->apic[id];

	memset(page, 0, LAPIC_PAGE);
	pthread_mutex_lock(&all->lock);
	lapic_timer_settle(a);
	for (unsigned i = 0; i < ARRAY_LEN(saved); i++)
		store_le(page + saved[i], 4, lapic_register(a, saved[i]));
	for (unsigned reg = REG_ISR; reg < REG_ESR; reg += 16)
		store_le(page + reg, 4, lapic_register(a, reg));
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		store_le(page + REG_LVT + i * 16, 4, a->lvt[i]);
	pthread_mutex_unlock(&all->lock);
}

/* A register's writable bits on the page. */
static uint32_t value_of(const struct lapic *a, const uint8_t *page, unsigned reg)
{
	return (uint32_t)load_le(page + reg, 4) & lapic_writable(a, reg);
}

static void set_vectors(struct lapic_vectors *v, const uint8_t *page, unsigned reg)
{
	for (unsigned i = 0; i < 8; i++)
		v->word[i] = (uint32_t)load_le(page + reg + i * 16, 4);
	v->word[0] &= 0xffff0000;
}

static void set_lvt(struct lapic *a, const uint8_t *page)
{
	for (unsigned i = 0; i < LAPIC_LVTS; i++) {
		a->lvt[i] = value_of(a, page, REG_LVT + i * 16);
		if (!(a->svr & SVR_ENABLED))
			a->lvt[i] |= LVT_MASKED;
	}
	if ((a->lvt[LVT_LINT0] & (LVT_LEVEL | 0x700)) == LVT_LEVEL)
		a->lvt[LVT_LINT0] |= load_le(page + REG_LVT + LVT_LINT0 * 16, 4) & LVT_REMOTE_IRR;
}

static void set_timer(struct lapic *a, const uint8_t *page)
{
	uint32_t count = (uint32_t)load_le(page + REG_CURRENT, 4);
	bool periodic = (a->lvt[LVT_TIMER] >> LVT_TIMER_SHIFT & 3) == TIMER_PERIODIC;

	a->divide = value_of(a, page, REG_DIVIDE);
	a->initial = value_of(a, page, REG_INITIAL);
	if (count > a->initial || (periodic && !count))
		count = a->initial;
	lapic_timer_start(a, count);
}

void lapics_set(struct lapics *all, unsigned id, uint64_t apic_base, const uint8_t *page)
{
	struct lapic *a = &all->apic[id];

	pthread_mutex_lock(&all->lock);
	a->mode = !(apic_base & APIC_BASE_ENABLE) ? LAPIC_OFF
		  : apic_base & APIC_BASE_EXTD    ? LAPIC_X2APIC
						  : LAPIC_XAPIC;
	lapic_power_on(a);
	if (a->mode != LAPIC_OFF) {
		a->directed_eoi = load_le(page + REG_VERSION, 4) & VERSION_DIRECTED_EOI;
		a->tpr = value_of(a, page, REG_TPR);
		a->svr = value_of(a, page, REG_SVR);
		a->esr = (uint32_t)load_le(page + REG_ESR, 4) & 0xff;
		a->icr = value_of(a, page, REG_ICR);
		if (a->mode == LAPIC_X2APIC) {
			a->icr |= load_le(page + REG_ICR2, 4) << 32;
		} else {
			a->icr |= (uint64_t)value_of(a, page, REG_ICR2) << 32;
			a->ldr = value_of(a, page, REG_LDR);
			a->dfr = value_of(a, page, REG_DFR) | 0x0fffffff;
		}
		set_vectors(&a->isr, page, REG_ISR);
		set_vectors(&a->tmr, page, REG_TMR);
		set_vectors(&a->irr, page, REG_IRR);
		set_lvt(a, page);
		set_timer(a, page);
		lapic_level_pin(a);
		lapic_update(a);
	}
	pthread_mutex_unlock(&all->lock);
}
