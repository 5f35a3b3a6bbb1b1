/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers, on the page of xAPIC mode and as the MSRs of x2APIC mode. One table
 * says which there are in which mode, and their bits; the rest is what a write does.
 *
 * In xAPIC mode reserved bits are dropped, and a reserved register is an error that
 * ESR tells; in x2APIC mode both are #GP. Read-only bits may be written with anything
 * in both.
 *
 * Sources: Intel SDM vol. 3A table 11-1, table 11-6 and the figures of chapter 11.
 */
#include "core/x86/regs.h"
#include "devices/irqchip/lapic_int.h"

enum { /* may be accessed thus */
       PAGE_R = 1,
       PAGE_W = 2,
       MSR_R = 4,
       MSR_W = 8,
       READ = PAGE_R | MSR_R,
       WRITE = PAGE_W | MSR_W,
       BOTH = READ | WRITE,
       PAGE = PAGE_R | PAGE_W,
};

struct reg {
	uint8_t access;
	uint32_t writable;
	uint32_t read_only; /* bits that are neither writable nor reserved */
};

#define LVT_STATUS (1u << 12)
#define LVT_PIN    0x0001a7ffu /* vector, mode, polarity, trigger, mask */

/* clang-format off */
static const struct reg regs[LAPIC_PAGE / 16] = {
	[REG_ID / 16] = {READ, 0, 0},
	[REG_VERSION / 16] = {READ, 0, 0},
	[REG_TPR / 16] = {BOTH, 0xff, 0},
	[REG_APR / 16] = {PAGE_R, 0, 0}, /* of older processors: reads as 0 without an error */
	[REG_PPR / 16] = {READ, 0, 0},
	[REG_EOI / 16] = {WRITE, 0, 0},
	[REG_RRD / 16] = {PAGE_R, 0, 0}, /* as APR */
	[REG_LDR / 16] = {READ | PAGE_W, 0xff000000, 0},
	[REG_DFR / 16] = {PAGE, 0xf0000000, 0},
	[REG_SVR / 16] = {BOTH, 0x3ff, 0},
	[REG_ISR / 16 ... REG_ISR / 16 + 7] = {READ, 0, 0},
	[REG_TMR / 16 ... REG_TMR / 16 + 7] = {READ, 0, 0},
	[REG_IRR / 16 ... REG_IRR / 16 + 7] = {READ, 0, 0},
	[REG_ESR / 16] = {BOTH, 0, 0},
	[REG_ICR / 16] = {BOTH, 0x000ccfff, 1u << 12},
	[REG_ICR2 / 16] = {PAGE, 0xff000000, 0},
	[REG_LVT / 16 + LVT_TIMER] = {BOTH, 0x000300ff, LVT_STATUS},
	[REG_LVT / 16 + LVT_THERMAL] = {BOTH, 0x000107ff, LVT_STATUS},
	[REG_LVT / 16 + LVT_PERF] = {BOTH, 0x000107ff, LVT_STATUS},
	[REG_LVT / 16 + LVT_LINT0] = {BOTH, LVT_PIN, LVT_STATUS | LVT_REMOTE_IRR},
	[REG_LVT / 16 + LVT_LINT1] = {BOTH, LVT_PIN, LVT_STATUS | LVT_REMOTE_IRR},
	[REG_LVT / 16 + LVT_ERROR] = {BOTH, 0x000100ff, LVT_STATUS},
	[REG_INITIAL / 16] = {BOTH, 0xffffffff, 0},
	[REG_CURRENT / 16] = {READ, 0, 0},
	[REG_DIVIDE / 16] = {BOTH, 0xb, 0},
	[REG_SELF / 16] = {MSR_W, 0xff, 0},
};
/* clang-format on */

static uint8_t access_of(unsigned offset)
{
	return offset < LAPIC_PAGE ? regs[offset / 16].access : 0;
}

uint32_t lapic_writable(const struct lapic *a, unsigned offset)
{
	uint32_t bits = regs[offset / 16].writable;

	if (offset == REG_SVR && a->directed_eoi)
		bits |= SVR_SUPPRESS_EOI;
	if (offset == REG_LVT && a->all->tsc_deadline)
		bits |= 1u << (LVT_TIMER_SHIFT + 1);
	return bits;
}

uint32_t lapic_register(const struct lapic *a, unsigned offset)
{
	switch (offset) {
	case REG_ID:
		return a->mode == LAPIC_X2APIC ? a->id : a->id << 24;
	case REG_VERSION:
		return VERSION_BASE | (a->directed_eoi ? VERSION_DIRECTED_EOI : 0);
	case REG_TPR:
		return a->tpr;
	case REG_PPR:
		return lapic_ppr(a);
	case REG_LDR:
		return a->ldr;
	case REG_DFR:
		return a->dfr;
	case REG_SVR:
		return a->svr;
	case REG_ISR ... REG_ISR + 0x70:
		return a->isr.word[(offset - REG_ISR) / 16];
	case REG_TMR ... REG_TMR + 0x70:
		return a->tmr.word[(offset - REG_TMR) / 16];
	case REG_IRR ... REG_IRR + 0x70:
		return a->irr.word[(offset - REG_IRR) / 16];
	case REG_ESR:
		return a->esr;
	case REG_ICR:
		return (uint32_t)a->icr;
	case REG_ICR2:
		return (uint32_t)(a->icr >> 32);
	case REG_LVT ... REG_LVT + 0x50:
		return a->lvt[(offset - REG_LVT) / 16];
	case REG_INITIAL:
		return a->initial;
	case REG_CURRENT:
		return lapic_timer_count(a);
	case REG_DIVIDE:
		return a->divide;
	}
	return 0;
}

static void write_lvt(struct lapic *a, enum lapic_lvt n, uint32_t value)
{
	if (!(a->svr & SVR_ENABLED))
		value |= LVT_MASKED;
	if (n == LVT_TIMER) {
		lapic_timer_set_lvt(a, value);
		return;
	}
	/* Remote IRR is of level-triggered fixed interrupts only. */
	if (n == LVT_LINT0 && value & LVT_LEVEL && !(value & 0x700))
		value |= a->lvt[n] & LVT_REMOTE_IRR;
	a->lvt[n] = value;
	if (n == LVT_LINT0)
		lapic_level_pin(a);
}

/* Switching it off in software masks the LVT, for good (SDM 11.4.7.2). */
static void write_svr(struct lapic *a, uint32_t value)
{
	a->svr = value;
	for (unsigned i = 0; i < LAPIC_LVTS && !(value & SVR_ENABLED); i++)
		write_lvt(a, i, a->lvt[i]);
}

static void write_initial(struct lapic *a, uint32_t value)
{
	uint32_t mode = a->lvt[LVT_TIMER] >> LVT_TIMER_SHIFT & 3;

	if (mode == TIMER_DEADLINE)
		return;
	lapic_timer_settle(a);
	a->initial = value;
	lapic_timer_start(a, value);
}

/* A write of a register that there is, of its writable bits. */
static void write_register(struct lapic *a, unsigned offset, uint32_t value)
{
	switch (offset) {
	case REG_TPR:
		a->tpr = value;
		break;
	case REG_EOI:
		lapic_end_of_interrupt(a);
		break;
	case REG_LDR:
		a->ldr = value;
		break;
	case REG_DFR:
		a->dfr = value | 0x0fffffff;
		break;
	case REG_SVR:
		write_svr(a, value);
		break;
	case REG_ESR:
		a->esr = a->errors;
		a->errors = 0;
		break;
	case REG_ICR:
		a->icr = (a->icr & 0xffffffff00000000ULL) | value;
		lapic_send_icr(a);
		break;
	case REG_ICR2:
		a->icr = (a->icr & 0xffffffff) | (uint64_t)value << 32;
		break;
	case REG_LVT ... REG_LVT + 0x50:
		write_lvt(a, (offset - REG_LVT) / 16, value);
		break;
	case REG_INITIAL:
		write_initial(a, value);
		break;
	case REG_DIVIDE:
		lapic_timer_set_divide(a, value);
		break;
	case REG_SELF:
		lapic_send_self(a, (uint8_t)value);
		break;
	}
	lapic_update(a);
}

/* Lets go of the lock and sends the EOI message that the access left. */
static void unlock(struct lapic *a)
{
	struct lapics *all = a->all;
	int ended = a->ended;

	a->ended = -1;
	pthread_mutex_unlock(&all->lock);
	if (ended >= 0)
		all->wires.eoi(all->wires.opaque, (uint8_t)ended);
}

uint32_t lapics_read(struct lapics *all, unsigned id, unsigned offset)
{
	struct lapic *a = &all->apic[id];
	uint32_t value = 0;

	pthread_mutex_lock(&all->lock);
	if (a->mode != LAPIC_XAPIC)
		value = 0xffffffff;
	else if (!(access_of(offset) & PAGE))
		lapic_error(a, ESR_REGISTER);
	else
		value = lapic_register(a, offset);
	pthread_mutex_unlock(&all->lock);
	return value;
}

void lapics_write(struct lapics *all, unsigned id, unsigned offset, uint32_t value)
{
	struct lapic *a = &all->apic[id];

	pthread_mutex_lock(&all->lock);
	if (a->mode == LAPIC_XAPIC && !(access_of(offset) & PAGE))
		lapic_error(a, ESR_REGISTER);
	else if (a->mode == LAPIC_XAPIC && access_of(offset) & PAGE_W)
		write_register(a, offset, value & lapic_writable(a, offset));
	unlock(a);
}

bool lapics_x2apic_read(struct lapics *all, unsigned id, unsigned offset, uint64_t *value)
{
	struct lapic *a = &all->apic[id];
	bool there;

	pthread_mutex_lock(&all->lock);
	there = a->mode == LAPIC_X2APIC && access_of(offset) & MSR_R;
	if (there)
		*value = offset == REG_ICR ? a->icr : lapic_register(a, offset);
	pthread_mutex_unlock(&all->lock);
	return there;
}

/* Whether a write of an MSR sets no reserved bit. */
static bool well_formed(const struct lapic *a, unsigned offset, uint64_t value)
{
	uint64_t allowed = lapic_writable(a, offset) | regs[offset / 16].read_only;

	if (offset == REG_ICR)
		allowed |= 0xffffffff00000000ULL;
	return !(value & ~allowed);
}

bool lapics_x2apic_write(struct lapics *all, unsigned id, unsigned offset, uint64_t value)
{
	struct lapic *a = &all->apic[id];
	bool done;

	pthread_mutex_lock(&all->lock);
	done = a->mode == LAPIC_X2APIC && access_of(offset) & MSR_W &&
	       well_formed(a, offset, value);
	if (done) {
		if (offset == REG_ICR)
			a->icr = value & 0xffffffff00000000ULL;
		write_register(a, offset, (uint32_t)value & lapic_writable(a, offset));
	}
	unlock(a);
	return done;
}
