/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the local APICs share: not for others. All with the lock held. */
#ifndef LODGE_DEVICES_IRQCHIP_LAPIC_INT_H
#define LODGE_DEVICES_IRQCHIP_LAPIC_INT_H

#include "base/bits.h"
#include "devices/irqchip/lapic.h"

/* Registers by their offset on the page. */
#define REG_ID      0x020
#define REG_VERSION 0x030
#define REG_TPR     0x080
#define REG_APR     0x090
#define REG_PPR     0x0a0
#define REG_EOI     0x0b0
#define REG_RRD     0x0c0
#define REG_LDR     0x0d0
#define REG_DFR     0x0e0
#define REG_SVR     0x0f0
#define REG_ISR     0x100
#define REG_TMR     0x180
#define REG_IRR     0x200
#define REG_ESR     0x280
#define REG_ICR     0x300
#define REG_ICR2    0x310
#define REG_LVT     0x320 /* enum lapic_lvt, 0x10 apart */
#define REG_INITIAL 0x380
#define REG_CURRENT 0x390
#define REG_DIVIDE  0x3e0
#define REG_SELF    0x3f0 /* x2APIC mode only */

enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };

#define LVT_MASKED      (1u << 16)
#define LVT_LEVEL       (1u << 15)
#define LVT_REMOTE_IRR  (1u << 14)
#define LVT_MODE_SHIFT  8
#define LVT_TIMER_SHIFT 17

enum lapic_timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

#define SVR_ENABLED      (1u << 8)
#define SVR_SUPPRESS_EOI (1u << 12)

#define ESR_SEND_ILLEGAL    (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER        (1u << 7)

#define VERSION_BASE         (0x14 | (LAPIC_LVTS - 1) << 16)
#define VERSION_DIRECTED_EOI (1u << 24)

#define DFR_FLAT    0xf
#define DFR_CLUSTER 0x0

/* Delivery modes of LVT, ICR and messages. */
enum lapic_delivery {
	DELIVER_FIXED = 0,
	DELIVER_LOWEST = 1,
	DELIVER_SMI = 2,
	DELIVER_NMI = 4,
	DELIVER_INIT = 5,
	DELIVER_SIPI = 6,
	DELIVER_EXTINT = 7,
};

static inline bool vectors_has(const struct lapic_vectors *v, unsigned vector)
{
	return v->word[vector / 32] >> vector % 32 & 1;
}

static inline void vectors_set(struct lapic_vectors *v, unsigned vector, bool on)
{
	uint32_t bit = 1u << vector % 32;

	v->word[vector / 32] = on ? v->word[vector / 32] | bit : v->word[vector / 32] & ~bit;
}

/* The highest, or -1. */
int lapic_highest(const struct lapic_vectors *v);

/* lapic.c */
uint32_t lapic_ppr(const struct lapic *a);
void lapic_update(struct lapic *a);                              /* after any change: wires.intr */
void lapic_accept(struct lapic *a, unsigned vector, bool level); /* a fixed interrupt */
void lapic_local(struct lapic *a, enum lapic_lvt n);             /* what LVT entry n is for came */
void lapic_error(struct lapic *a, uint32_t bit);
void lapic_level_pin(struct lapic *a); /* a level-triggered LINT0, if it has reason to */
void lapic_end_of_interrupt(struct lapic *a);
void lapic_power_on(struct lapic *a); /* all registers; the mode is kept */

/* lapic_message.c */
void lapic_send_icr(struct lapic *a); /* what the ICR says now */
void lapic_send_self(struct lapic *a, uint8_t vector);

/* lapic_timer.c */
void lapic_timer_fired(void *opaque);                    /* the clock's callback; no lock held */
void lapic_timer_start(struct lapic *a, uint32_t count); /* counts down from there; 0: stops */
uint32_t lapic_timer_count(const struct lapic *a);
void lapic_timer_settle(struct lapic *a); /* what is due by now happens */
void lapic_timer_arm(struct lapic *a);    /* after a change of expiry or mask */
void lapic_timer_set_lvt(struct lapic *a, uint32_t value);
void lapic_timer_set_divide(struct lapic *a, uint32_t value);

/* lapic_regs.c */
uint32_t lapic_register(const struct lapic *a, unsigned offset);
uint32_t lapic_writable(const struct lapic *a, unsigned offset); /* the bits of it */

#endif
