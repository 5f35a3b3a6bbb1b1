/* SPDX-License-Identifier: Apache-2.0 */
/* Local APICs on a manual clock, whose wires are recorded. */
#ifndef LODGE_TESTS_DEVICES_LAPIC_RIG_H
#define LODGE_TESTS_DEVICES_LAPIC_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "devices/irqchip/lapic.h"

#define RIG_APICS 20

struct lapic_rig {
	struct clock clock;
	struct lapics all;
	struct {
		bool intr;
		unsigned intr_calls;
		unsigned nmis;
		unsigned inits;
		unsigned sipis;
		uint8_t sipi_vector;
	} cpu[RIG_APICS];
	bool threads; /* several use them: the wires do not look whether the lock is free */
	unsigned intacks;
	_Atomic unsigned eois;
	uint8_t eoi_vector;
};

extern struct lapic_rig lr;

/* cmocka's: APICs in xAPIC mode that may have x2APIC mode and the TSC deadline; all are
 * software-enabled with spurious vector 0xff. */
int lapic_rig_setup(void **state);
int lapic_rig_teardown(void **state);

/* APIC id's registers: in xAPIC mode; in x2APIC mode, where the access must be possible. */
uint32_t rd(unsigned id, unsigned offset);
void wr(unsigned id, unsigned offset, uint32_t value);
uint64_t rdmsr(unsigned id, unsigned offset);
void wrmsr(unsigned id, unsigned offset, uint64_t value);
void to_x2apic(unsigned id);

/* Whether a fixed interrupt with this vector waits in IRR, is in ISR, has its TMR bit. */
bool in_irr(unsigned id, unsigned vector);
bool in_isr(unsigned id, unsigned vector);
bool in_tmr(unsigned id, unsigned vector);

/* A message to a physical destination. */
void msi(unsigned dest, uint32_t data);

/* The APICs that have vector in IRR, as bits; takes it away from there. */
uint32_t who_got(unsigned vector);

#define TEST(f) cmocka_unit_test_setup_teardown(f, lapic_rig_setup, lapic_rig_teardown)

#define ID      0x020
#define VERSION 0x030
#define TPR     0x080
#define APR     0x090
#define PPR     0x0a0
#define EOI     0x0b0
#define RRD     0x0c0
#define LDR     0x0d0
#define DFR     0x0e0
#define SVR     0x0f0
#define ISR     0x100
#define TMR     0x180
#define IRR     0x200
#define ESR     0x280
#define ICR     0x300
#define ICR2    0x310
#define TIMER   0x320
#define THERMAL 0x330
#define PERF    0x340
#define LINT0   0x350
#define LINT1   0x360
#define ERROR   0x370
#define INITIAL 0x380
#define CURRENT 0x390
#define DIVIDE  0x3e0
#define SELF    0x3f0

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

#define BASE_OFF    0xfee00000u
#define BASE_XAPIC  0xfee00800u
#define BASE_X2APIC 0xfee00c00u

#endif
