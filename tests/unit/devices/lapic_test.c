/* SPDX-License-Identifier: Apache-2.0 */
/* One local APIC against SDM vol. 3A chapter 11: registers, priorities, pins, errors, modes. */
#include "lapic_rig.h"

static void power_on_state(void **state)
{
	(void)state;
	lapics_reset(&lr.all);
	assert_int_equal(rd(3, ID), 0x03000000);
	assert_int_equal(rd(3, VERSION), 0x00050014);
	assert_int_equal(rd(3, DFR), 0xffffffff);
	assert_int_equal(rd(3, SVR), 0xff);
	for (unsigned lvt = TIMER; lvt <= ERROR; lvt += 16)
		assert_int_equal(rd(3, lvt), MASKED);
	for (unsigned reg = ISR; reg < ESR; reg += 16)
		assert_int_equal(rd(3, reg), 0);
	assert_int_equal(rd(3, TPR), 0);
	assert_int_equal(rd(3, PPR), 0);
	assert_int_equal(rd(3, LDR), 0);
	assert_int_equal(rd(3, ICR), 0);
	assert_int_equal(rd(3, ICR2), 0);
	assert_int_equal(rd(3, INITIAL), 0);
	assert_int_equal(rd(3, CURRENT), 0);
	assert_int_equal(rd(3, DIVIDE), 0);
	assert_int_equal(rd(3, ESR), 0);
}

static void reserved_and_read_only_bits_stay(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t ones, zeroes;
	} cases[] = {
		{ID, 0, 0},
		{VERSION, 0x50014, 0x50014},
		{TPR, 0xff, 0},
		{PPR, 0, 0},
		{LDR, 0xff000000, 0},
		{DFR, 0xffffffff, 0x0fffffff},
		{ISR, 0, 0},
		{TMR + 0x70, 0, 0},
		{IRR + 0x70, 0, 0},
		{ICR2, 0xff000000, 0},
		{THERMAL, 0x107ff, 0},
		{PERF, 0x107ff, 0},
		{LINT1, 0x1a7ff, 0},
		{LINT0, 0x1a7ff, 0},
		{ERROR, 0x100ff, 0},
		{TIMER, 0x700ff, 0},
		{CURRENT, 0, 0},
		{DIVIDE, 0xb, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		wr(0, cases[i].reg, 0xffffffff);
		assert_int_equal(rd(0, cases[i].reg), cases[i].ones);
		wr(0, cases[i].reg, 0);
		assert_int_equal(rd(0, cases[i].reg), cases[i].zeroes);
	}
	wr(0, SVR, 0xffffffff);
	assert_int_equal(rd(0, SVR), 0x3ff); /* bit 12 is not there: version bit 24 is 0 */
	lapics_offer(&lr.all, true, false);
	wr(0, TIMER, 0xffffffff);
	assert_int_equal(rd(0, TIMER), 0x300ff);
}

static void an_interrupt_passes_irr_isr_eoi(void **state)
{
	(void)state;
	msi(2, 0x4051);
	assert_true(lr.cpu[2].intr);
	assert_int_equal(lr.cpu[2].intr_calls, 1);
	assert_false(lr.cpu[1].intr);
	assert_int_equal(rd(2, IRR + 0x20), 1u << 17);
	assert_int_equal(rd(2, TMR + 0x20), 0);
	assert_int_equal(lapics_ack(&lr.all, 2), 0x51);
	assert_false(lr.cpu[2].intr);
	assert_int_equal(rd(2, IRR + 0x20), 0);
	assert_int_equal(rd(2, ISR + 0x20), 1u << 17);
	assert_int_equal(rd(2, PPR), 0x50);
	wr(2, EOI, 0);
	assert_int_equal(rd(2, ISR + 0x20), 0);
	assert_int_equal(rd(2, PPR), 0);
	assert_int_equal(lr.eois, 0);
	wr(2, EOI, 0); /* nothing in service */
	assert_int_equal(lr.eois, 0);
}

static void a_request_twice_is_one(void **state)
{
	(void)state;
	msi(0, 0x4051);
	msi(0, 0x4051);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	assert_false(lr.cpu[0].intr);
	/* one more while it is served waits */
	msi(0, 0x4051);
	assert_false(lr.cpu[0].intr);
	wr(0, EOI, 0);
	assert_true(lr.cpu[0].intr);
}

static void a_level_interrupt_ends_with_a_message(void **state)
{
	(void)state;
	msi(1, 0xc0a3);
	assert_true(in_tmr(1, 0xa3));
	assert_int_equal(lapics_ack(&lr.all, 1), 0xa3);
	assert_int_equal(lr.eois, 0);
	wr(1, EOI, 0);
	assert_int_equal(lr.eois, 1);
	assert_int_equal(lr.eoi_vector, 0xa3);
	/* the next one of the vector is an edge */
	msi(1, 0x40a3);
	assert_false(in_tmr(1, 0xa3));
	assert_int_equal(lapics_ack(&lr.all, 1), 0xa3);
	wr(1, EOI, 0);
	assert_int_equal(lr.eois, 1);
	/* a level message that releases is none */
	msi(1, 0x80a3);
	assert_false(in_irr(1, 0xa3));
}

static void classes_nest(void **state)
{
	(void)state;
	msi(0, 0x4045);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x45);
	msi(0, 0x404f); /* of the same class: waits */
	assert_false(lr.cpu[0].intr);
	msi(0, 0x4051);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	assert_int_equal(rd(0, PPR), 0x50);
	wr(0, EOI, 0); /* of the highest in service */
	assert_false(in_isr(0, 0x51));
	assert_true(in_isr(0, 0x45));
	assert_int_equal(rd(0, PPR), 0x40);
	assert_false(lr.cpu[0].intr);
	wr(0, EOI, 0);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x4f);
}

static void the_highest_vector_comes_first(void **state)
{
	static const uint8_t order[] = {0xff, 0xe0, 0x80, 0x7f, 0x40, 0x3f, 0x20, 0x10};

	(void)state;
	for (unsigned i = ARRAY_LEN(order); i-- > 0;)
		msi(0, 0x4000 | order[i]);
	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		assert_true(lr.cpu[0].intr);
		assert_int_equal(lapics_ack(&lr.all, 0), order[i]);
		wr(0, EOI, 0);
	}
	assert_false(lr.cpu[0].intr);
}

static void the_task_priority_holds_off(void **state)
{
	(void)state;
	wr(0, TPR, 0x52);
	assert_int_equal(rd(0, PPR), 0x52);
	assert_int_equal(lapics_cr8(&lr.all, 0), 5);
	msi(0, 0x405f);
	assert_false(lr.cpu[0].intr);
	wr(0, TPR, 0x4f);
	assert_true(lr.cpu[0].intr);
	lapics_set_cr8(&lr.all, 0, 5);
	assert_int_equal(rd(0, TPR), 0x50);
	assert_false(lr.cpu[0].intr);
	lapics_set_cr8(&lr.all, 0, 0);
	assert_true(lr.cpu[0].intr);
	/* what is served counts more than a lower task priority, sub-class 0 then */
	assert_int_equal(lapics_ack(&lr.all, 0), 0x5f);
	wr(0, TPR, 0x3c);
	assert_int_equal(rd(0, PPR), 0x50);
	wr(0, TPR, 0x6c);
	assert_int_equal(rd(0, PPR), 0x6c);
	/* class 15 lets nothing through */
	wr(0, EOI, 0);
	lapics_set_cr8(&lr.all, 0, 15);
	msi(0, 0x40ff);
	assert_false(lr.cpu[0].intr);
}

static void nothing_to_take_is_spurious(void **state)
{
	(void)state;
	wr(0, SVR, 0x13f);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x3f);
	assert_false(in_isr(0, 0x3f));
	msi(0, 0x4051);
	wr(0, TPR, 0x50);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x3f);
	assert_true(in_irr(0, 0x51));
}

static void software_disabled(void **state)
{
	(void)state;
	msi(0, 0x4051);
	wr(0, ERROR, 0x33);
	wr(0, LINT1, 0x400);
	wr(0, SVR, 0xff);
	for (unsigned lvt = TIMER; lvt <= ERROR; lvt += 16)
		assert_int_equal(rd(0, lvt) & MASKED, MASKED);
	wr(0, ERROR, 0x33); /* cannot be unmasked */
	assert_int_equal(rd(0, ERROR), MASKED | 0x33);
	msi(0, 0x4061); /* is not taken; what was there stays */
	assert_false(in_irr(0, 0x61));
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	wr(0, EOI, 0);
	/* the other kinds of message come through */
	msi(0, 0x4400);
	msi(0, 0x4500);
	assert_int_equal(lr.cpu[0].nmis, 1);
	assert_int_equal(lr.cpu[0].inits, 1);
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].nmis, 1);
	/* and it can send */
	wr(0, ICR2, 1u << 24);
	wr(0, ICR, 0x4061);
	assert_true(in_irr(1, 0x61));
	wr(0, SVR, 0x1ff);
	assert_int_equal(rd(0, ERROR), MASKED | 0x33); /* masks stay */
}

static void the_8259s_wire(void **state)
{
	(void)state;
	lapics_lint(&lr.all, 0, 0, true);
	assert_false(lr.cpu[0].intr);
	wr(0, LINT0, 0x700);
	assert_true(lr.cpu[0].intr);
	wr(0, TPR, 0xff); /* priorities do not hold it off */
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x77);
	assert_int_equal(lr.intacks, 1);
	for (unsigned reg = ISR; reg < ESR; reg += 16)
		assert_int_equal(rd(0, reg), 0);
	/* it is the 8259s that take the wire back */
	assert_true(lr.cpu[0].intr);
	lapics_lint(&lr.all, 0, 0, false);
	assert_false(lr.cpu[0].intr);
	/* before fixed interrupts; masked it is nothing */
	wr(0, TPR, 0);
	msi(0, 0x4051);
	lapics_lint(&lr.all, 0, 0, true);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x77);
	wr(0, LINT0, MASKED | 0x700);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	assert_int_equal(lr.intacks, 2);
}

static void an_extint_message_is_taken_once(void **state)
{
	(void)state;
	wr(1, TPR, 0xff);
	msi(1, 0x4700);
	assert_true(lr.cpu[1].intr);
	assert_int_equal(lapics_ack(&lr.all, 1), 0x77);
	assert_false(lr.cpu[1].intr);
	assert_int_equal(lr.intacks, 1);
}

static void pins_as_edges(void **state)
{
	(void)state;
	wr(0, LINT0, 0x51);
	lapics_lint(&lr.all, 0, 0, true);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	assert_false(in_tmr(0, 0x51));
	lapics_lint(&lr.all, 0, 0, true); /* no edge */
	assert_false(in_irr(0, 0x51));
	lapics_lint(&lr.all, 0, 0, false);
	lapics_lint(&lr.all, 0, 0, true);
	assert_true(in_irr(0, 0x51));
	wr(0, LINT1, 0x400);
	lapics_lint(&lr.all, 0, 1, true);
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].nmis, 1);
	lapics_lint(&lr.all, 0, 1, false);
	wr(0, LINT1, MASKED | 0x400);
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].nmis, 1);
	lapics_lint(&lr.all, 0, 1, false);
	wr(0, LINT1, 0x500);
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].inits, 1);
	lapics_lint(&lr.all, 0, 1, false);
	wr(0, LINT1, 0x200); /* SMI */
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].nmis + lr.cpu[0].inits, 2);
}

static void lint0_as_a_level(void **state)
{
	(void)state;
	lapics_lint(&lr.all, 0, 0, true);
	wr(0, LINT0, 0x8051);
	assert_int_equal(rd(0, LINT0), 0xc051); /* remote IRR */
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	assert_false(lr.cpu[0].intr);
	wr(0, EOI, 0);
	assert_true(in_irr(0, 0x51)); /* it is still high */
	assert_int_equal(lapics_ack(&lr.all, 0), 0x51);
	lapics_lint(&lr.all, 0, 0, false);
	assert_int_equal(rd(0, LINT0), 0xc051);
	wr(0, EOI, 0);
	assert_int_equal(rd(0, LINT0), 0x8051);
	assert_false(lr.cpu[0].intr);
	/* made an edge, it forgets */
	lapics_lint(&lr.all, 0, 0, true);
	wr(0, LINT0, 0x51);
	assert_int_equal(rd(0, LINT0), 0x51);
}

static void illegal_vectors_are_errors(void **state)
{
	(void)state;
	wr(0, ERROR, 0x99);
	msi(0, 0x400f);
	assert_int_equal(rd(0, ESR), 0); /* shows what a write latches */
	assert_true(in_irr(0, 0x99));
	assert_false(in_irr(0, 0x0f));
	assert_int_equal(lapics_ack(&lr.all, 0), 0x99);
	wr(0, EOI, 0);
	msi(0, 0x4000); /* not told again before ESR is written */
	assert_false(lr.cpu[0].intr);
	wr(0, ESR, 0xffffffff);
	assert_int_equal(rd(0, ESR), 0x40);
	assert_int_equal(rd(0, ESR), 0x40);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0);
	msi(0, 0x4000);
	assert_true(in_irr(0, 0x99));
	/* an error vector that is one itself */
	wr(0, ESR, 0);
	wr(0, ERROR, 0x0f);
	msi(0, 0x4000);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0x40);
	/* the sender of an IPI */
	wr(2, ICR2, 3u << 24);
	wr(2, ICR, 0x4005);
	wr(2, ESR, 0);
	wr(3, ESR, 0);
	assert_int_equal(rd(2, ESR), 0x20);
	assert_int_equal(rd(3, ESR), 0x40);
	wr(2, ICR, 0x44405); /* itself: both */
	wr(2, ESR, 0);
	assert_int_equal(rd(2, ESR), 0x00); /* an NMI has no vector */
	assert_int_equal(lr.cpu[2].nmis, 1);
	wr(2, ICR, 0x44005);
	wr(2, ESR, 0);
	assert_int_equal(rd(2, ESR), 0x60);
	/* of a pin */
	wr(4, LINT0, 0x00f);
	lapics_lint(&lr.all, 4, 0, true);
	wr(4, ESR, 0);
	assert_int_equal(rd(4, ESR), 0x40);
}

static void reserved_registers_are_errors(void **state)
{
	static const unsigned reserved[] = {0x000, 0x010, 0x040, 0x070, 0x290, 0x2f0,
					    0x3a0, 0x3d0, SELF,  0x400, 0xff0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(reserved); i++) {
		assert_int_equal(rd(0, reserved[i]), 0);
		wr(0, ESR, 0);
		assert_int_equal(rd(0, ESR), 0x80);
		wr(0, reserved[i], 0x51);
		wr(0, ESR, 0);
		assert_int_equal(rd(0, ESR), 0x80);
	}
	wr(0, ESR, 0);
	/* those of older processors are none, nor is a write to one that can only be read */
	assert_int_equal(rd(0, APR), 0);
	assert_int_equal(rd(0, RRD), 0);
	assert_int_equal(rd(0, EOI), 0);
	wr(0, APR, 1);
	wr(0, CURRENT, 1);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0);
}

static bool set_base(uint64_t value)
{
	return lapics_set_base(&lr.all, 0, value);
}

static void modes_have_an_order(void **state)
{
	(void)state;
	assert_true(set_base(BASE_XAPIC | 0x100));
	assert_false(set_base(0xfee00400)); /* EXTD without EN */
	assert_true(set_base(BASE_X2APIC));
	assert_true(set_base(BASE_X2APIC));
	assert_false(set_base(BASE_XAPIC));
	assert_false(set_base(0xfee00400));
	assert_true(set_base(BASE_OFF));
	assert_false(set_base(BASE_X2APIC));
	assert_false(set_base(0xfee00400));
	assert_true(set_base(BASE_OFF));
	assert_true(set_base(BASE_XAPIC));
	lapics_offer(&lr.all, false, true);
	assert_false(set_base(BASE_X2APIC));
	assert_true(set_base(BASE_XAPIC));
}

static void entering_x2apic_mode_keeps_registers(void **state)
{
	(void)state;
	wr(18, TPR, 0x20);
	wr(18, LINT1, 0x400);
	wr(18, LDR, 0x12000000);
	msi(18, 0x4051);
	to_x2apic(18);
	assert_int_equal(rdmsr(18, TPR), 0x20);
	assert_int_equal(rdmsr(18, LINT1), 0x400);
	assert_int_equal(rdmsr(18, SVR), 0x1ff);
	assert_int_equal(rdmsr(18, ID), 18);
	assert_int_equal(rdmsr(18, LDR), 0x10004);
	assert_int_equal(rdmsr(18, IRR + 0x20), 1u << 17);
	assert_true(lr.cpu[18].intr);
	assert_int_equal(lapics_ack(&lr.all, 18), 0x51);
	wrmsr(18, EOI, 0);
	assert_int_equal(rd(18, TPR), 0xffffffff); /* there is no page now */
	wr(18, TPR, 0x30);
	assert_int_equal(rdmsr(18, TPR), 0x20);
}

static void switched_off(void **state)
{
	uint64_t value;

	(void)state;
	wr(0, LDR, 0x01000000);
	msi(0, 0x4051);
	assert_true(set_base(BASE_OFF));
	assert_false(lr.cpu[0].intr);
	msi(0, 0x4061);
	msi(0, 0x4400);
	msi(0, 0x4500);
	assert_int_equal(lr.cpu[0].nmis + lr.cpu[0].inits, 0);
	assert_false(lapics_x2apic_read(&lr.all, 0, TPR, &value));
	assert_false(lapics_x2apic_write(&lr.all, 0, TPR, 0));
	/* its pins are INTR and NMI */
	lapics_lint(&lr.all, 0, 0, true);
	assert_true(lr.cpu[0].intr);
	assert_int_equal(lapics_ack(&lr.all, 0), 0x77);
	lapics_lint(&lr.all, 0, 1, true);
	assert_int_equal(lr.cpu[0].nmis, 1);
	/* switched on it is as after power-on */
	assert_true(set_base(BASE_XAPIC));
	assert_false(lr.cpu[0].intr);
	assert_int_equal(rd(0, SVR), 0xff);
	assert_int_equal(rd(0, LDR), 0);
	assert_int_equal(rd(0, IRR + 0x20), 0);
}

static void init_resets_all_but_the_mode(void **state)
{
	(void)state;
	wr(0, TPR, 0x10);
	wr(0, LDR, 0x01000000);
	wr(0, DFR, 0);
	wr(0, ICR2, 0x01000000);
	wr(0, LINT0, 0x700);
	msi(0, 0x4051);
	lapics_restart(&lr.all, 0);
	assert_false(lr.cpu[0].intr);
	assert_int_equal(rd(0, TPR), 0);
	assert_int_equal(rd(0, LDR), 0);
	assert_int_equal(rd(0, DFR), 0xffffffff);
	assert_int_equal(rd(0, ICR2), 0);
	assert_int_equal(rd(0, SVR), 0xff);
	assert_int_equal(rd(0, LINT0), MASKED);
	assert_int_equal(rd(0, IRR + 0x20), 0);
	to_x2apic(17);
	wrmsr(17, TPR, 0x10);
	lapics_restart(&lr.all, 17);
	assert_int_equal(rdmsr(17, TPR), 0);
	assert_int_equal(rdmsr(17, LDR), 0x10002);
	assert_int_equal(rdmsr(17, ID), 17);
	/* a reset takes the mode too */
	lapics_reset(&lr.all);
	assert_int_equal(rd(17, ID), 17u << 24);
}

static void x2apic_registers(void **state)
{
	static const unsigned readable[] = {ID,    VERSION, TPR,   PPR,     LDR,     SVR,     ISR,
					    TMR,   IRR,     ESR,   ICR,     TIMER,   THERMAL, PERF,
					    LINT0, LINT1,   ERROR, INITIAL, CURRENT, DIVIDE};
	static const unsigned written[] = {TPR,  EOI,   SVR,   ESR,   ICR,     TIMER,  THERMAL,
					   PERF, LINT0, LINT1, ERROR, INITIAL, DIVIDE, SELF};

	(void)state;
	to_x2apic(0);
	for (unsigned offset = 0; offset < 0x1000; offset += 16) {
		bool r = false, w = false;
		uint64_t value;

		for (unsigned i = 0; i < ARRAY_LEN(readable); i++)
			r |= offset == readable[i];
		r |= offset >= ISR && offset < ESR;
		for (unsigned i = 0; i < ARRAY_LEN(written); i++)
			w |= offset == written[i];
		assert_int_equal(lapics_x2apic_read(&lr.all, 0, offset, &value), r);
		/* an IPI of vector 0 to nobody else is an error, not a fault */
		assert_int_equal(lapics_x2apic_write(&lr.all, 0, offset, 0), w);
	}
}

static void x2apic_reserved_bits_fault(void **state)
{
	static const struct {
		unsigned reg;
		uint64_t good, bad;
	} cases[] = {
		{TPR, 0xff, 0x100},
		{EOI, 0, 1},
		{SVR, 0x3ff, 0x400},
		{SVR, 0x3ff, 0x1000},
		{ESR, 0, 1},
		{ICR, 0xffffffff00044051, 0x2000},
		{ICR, 0x1000, 0x10000},
		{ICR, 0, 0x100000},
		{TIMER, 0x710ff, 0x100},
		{THERMAL, 0x117ff, 0x2000},
		{LINT0, 0x1f7ff, 0x800},
		{ERROR, 0x110ff, 0x100},
		{INITIAL, 0xffffffff, 0x100000000},
		{DIVIDE, 0xb, 4},
		{SELF, 0xff, 0x100},
	};

	(void)state;
	to_x2apic(0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_false(lapics_x2apic_write(&lr.all, 0, cases[i].reg, cases[i].bad));
		if (cases[i].reg != ICR)
			assert_false(lapics_x2apic_write(&lr.all, 0, cases[i].reg, BIT(63)));
		wrmsr(0, cases[i].reg, cases[i].good);
		if (cases[i].reg == ICR)
			assert_false(lapics_x2apic_write(&lr.all, 0, ICR, BIT(31)));
	}
	/* what may be written and does not count */
	assert_int_equal(rdmsr(0, TIMER), 0x700ff);
	assert_int_equal(rdmsr(0, LINT0), 0x1a7ff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(power_on_state),
		TEST(reserved_and_read_only_bits_stay),
		TEST(an_interrupt_passes_irr_isr_eoi),
		TEST(a_request_twice_is_one),
		TEST(a_level_interrupt_ends_with_a_message),
		TEST(classes_nest),
		TEST(the_highest_vector_comes_first),
		TEST(the_task_priority_holds_off),
		TEST(nothing_to_take_is_spurious),
		TEST(software_disabled),
		TEST(the_8259s_wire),
		TEST(an_extint_message_is_taken_once),
		TEST(pins_as_edges),
		TEST(lint0_as_a_level),
		TEST(illegal_vectors_are_errors),
		TEST(reserved_registers_are_errors),
		TEST(modes_have_an_order),
		TEST(entering_x2apic_mode_keeps_registers),
		TEST(switched_off),
		TEST(init_resets_all_but_the_mode),
		TEST(x2apic_registers),
		TEST(x2apic_reserved_bits_fault),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
