/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of 8259A against Intel's datasheet (231468). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "devices/irqchip/pic.h"

struct wire {
	bool level;
	unsigned changes;
};

static struct wire intr;
static struct pic pic;

static void on_intr(void *opaque, bool level)
{
	struct wire *w = opaque;

	assert_int_not_equal(w->level, level);
	w->level = level;
	w->changes++;
}

static void out_m(unsigned port, uint8_t v)
{
	pic_master_ops.write(&pic, port, 1, v);
}

static void out_s(unsigned port, uint8_t v)
{
	pic_slave_ops.write(&pic, port, 1, v);
}

static uint8_t in_m(unsigned port)
{
	return pic_master_ops.read(&pic, port, 1);
}

static uint8_t in_s(unsigned port)
{
	return pic_slave_ops.read(&pic, port, 1);
}

static uint8_t isr_m(void)
{
	out_m(0, 0x0b);
	return in_m(0);
}

static uint8_t isr_s(void)
{
	out_s(0, 0x0b);
	return in_s(0);
}

static uint8_t irr_m(void)
{
	out_m(0, 0x0a);
	return in_m(0);
}

/* Initializes the pair as a PC does: vectors 0x30 and 0x38, all unmasked. */
static void program(uint8_t icw4_master, uint8_t icw4_slave)
{
	out_m(0, 0x11);
	out_m(1, 0x30);
	out_m(1, 0x04);
	out_m(1, icw4_master);
	out_s(0, 0x11);
	out_s(1, 0x38);
	out_s(1, 0x02);
	out_s(1, icw4_slave);
}

static int setup(void **state)
{
	(void)state;
	intr = (struct wire){0};
	pic_init(&pic, on_intr, &intr);
	program(0x01, 0x01);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pic_release(&pic);
	return 0;
}

static void edge(unsigned pin)
{
	pic_set_irq(&pic, pin, true);
	pic_set_irq(&pic, pin, false);
}

static void nothing_interrupts_before_initialization(void **state)
{
	struct pic fresh;

	(void)state;
	pic_init(&fresh, on_intr, &intr);
	for (unsigned pin = 0; pin < PIC_PINS; pin++)
		pic_set_irq(&fresh, pin, true);
	assert_false(intr.level);
	pic_release(&fresh);
}

static void an_edge_interrupts_once(void **state)
{
	(void)state;
	pic_set_irq(&pic, 4, true);
	assert_true(intr.level);
	assert_int_equal(irr_m(), 0x10);
	assert_int_equal(pic_intack(&pic), 0x34);
	assert_false(intr.level);
	assert_int_equal(irr_m(), 0);
	assert_int_equal(isr_m(), 0x10);
	out_m(0, 0x20);
	assert_int_equal(isr_m(), 0);
	/* the input is still high, and set again: no new edge */
	pic_set_irq(&pic, 4, true);
	assert_false(intr.level);
	edge(4);
	assert_false(intr.level);
	edge(4);
	assert_true(intr.level);
}

static void an_edge_while_masked_waits(void **state)
{
	(void)state;
	out_m(1, 0x10);
	edge(4);
	assert_false(intr.level);
	out_m(1, 0x00);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x34);
}

static void priorities_nest(void **state)
{
	(void)state;
	edge(5);
	assert_int_equal(pic_intack(&pic), 0x35);
	edge(6); /* lower: waits */
	edge(5); /* equal: waits */
	assert_false(intr.level);
	edge(3);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x33);
	assert_int_equal(isr_m(), 0x28);
	out_m(0, 0x20); /* ends 3, the highest */
	assert_int_equal(isr_m(), 0x20);
	assert_false(intr.level);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x35);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x36);
}

static void the_highest_of_several_goes_first(void **state)
{
	(void)state;
	edge(7);
	edge(0);
	edge(3);
	assert_int_equal(pic_intack(&pic), 0x30);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x33);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x37);
}

static void a_specific_eoi_ends_that_input(void **state)
{
	(void)state;
	edge(5);
	pic_intack(&pic);
	edge(3);
	pic_intack(&pic);
	out_m(0, 0x65);
	assert_int_equal(isr_m(), 0x08);
	out_m(0, 0x43); /* no operation */
	assert_int_equal(isr_m(), 0x08);
}

static void the_slave_interrupts_by_input_2(void **state)
{
	(void)state;
	edge(12);
	assert_true(intr.level);
	assert_int_equal(irr_m(), 0x04);
	assert_int_equal(pic_intack(&pic), 0x3c);
	assert_int_equal(isr_m(), 0x04);
	assert_int_equal(isr_s(), 0x10);
	out_s(0, 0x20);
	out_m(0, 0x20);
	assert_int_equal(isr_m() | isr_s(), 0);
	assert_false(intr.level);
	/* input 2 is no pin of the pair */
	pic_set_irq(&pic, 2, true);
	pic_set_irq(&pic, 16, true);
	assert_false(intr.level);
}

static void the_slaves_second_request_is_not_lost(void **state)
{
	(void)state;
	edge(12);
	edge(14);
	assert_int_equal(pic_intack(&pic), 0x3c);
	out_s(0, 0x20);
	out_m(0, 0x20);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x3e);
	/* a higher one of the slave waits for the master's EOI in fully nested mode */
	edge(9);
	assert_false(intr.level);
	out_m(0, 0x20);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x39);
}

static void the_slaves_int_rises_anew_for_the_next_request(void **state)
{
	(void)state;
	program(0x01, 0x03);
	edge(12);
	edge(14);
	assert_int_equal(pic_intack(&pic), 0x3c);
	/* the slave ended it by itself and requests again at once: an edge at the master */
	assert_false(intr.level);
	out_m(0, 0x20);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x3e);
}

static void special_fully_nested_mode_lets_the_slave_nest(void **state)
{
	(void)state;
	program(0x11, 0x01);
	edge(12);
	assert_int_equal(pic_intack(&pic), 0x3c);
	edge(14); /* lower on the slave */
	assert_false(intr.level);
	edge(9);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x39);
	edge(5); /* lower on the master */
	assert_false(intr.level);
	edge(1);
	assert_int_equal(pic_intack(&pic), 0x31);
	edge(8); /* the slave stands below input 1, which is in service */
	assert_false(intr.level);
}

static void automatic_eoi_leaves_nothing_in_service(void **state)
{
	(void)state;
	program(0x03, 0x01);
	edge(5);
	edge(6);
	assert_int_equal(pic_intack(&pic), 0x35);
	assert_int_equal(isr_m(), 0);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x36);
	assert_false(intr.level);
}

static void rotation_in_automatic_eoi_mode(void **state)
{
	(void)state;
	program(0x03, 0x01);
	out_m(0, 0x80);
	edge(4);
	edge(5);
	assert_int_equal(pic_intack(&pic), 0x34);
	edge(4); /* now the lowest */
	assert_int_equal(pic_intack(&pic), 0x35);
	assert_int_equal(pic_intack(&pic), 0x34);
	out_m(0, 0x00); /* stop rotating: 4 stays the lowest */
	edge(6);
	edge(4);
	assert_int_equal(pic_intack(&pic), 0x36);
	edge(6);
	assert_int_equal(pic_intack(&pic), 0x36);
}

static void rotation_on_eoi(void **state)
{
	(void)state;
	edge(4);
	pic_intack(&pic);
	out_m(0, 0xa0); /* non-specific: 4 becomes the lowest */
	edge(4);
	edge(5);
	assert_int_equal(pic_intack(&pic), 0x35);
	out_m(0, 0xe6); /* specific for 6, which is not in service; 6 becomes the lowest */
	assert_int_equal(isr_m(), 0x20);
	out_m(0, 0x20);
	edge(7);
	assert_int_equal(pic_intack(&pic), 0x37);
	assert_int_equal(isr_m(), 0x80);
	/* rotation without anything in service changes nothing */
	out_m(0, 0x20);
	out_m(0, 0xa0);
	edge(7);
	assert_int_equal(pic_intack(&pic), 0x37);
}

static void priorities_are_set(void **state)
{
	(void)state;
	out_m(0, 0xc5); /* 5 lowest, 6 highest */
	edge(5);
	edge(0);
	edge(6);
	assert_int_equal(pic_intack(&pic), 0x36);
	edge(7);
	assert_false(intr.level);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x37);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x30);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x35);
}

static void special_mask_mode_enables_the_lower(void **state)
{
	(void)state;
	edge(3);
	pic_intack(&pic);
	edge(6);
	assert_false(intr.level);
	out_m(1, 0x08);
	assert_false(intr.level);
	out_m(0, 0x68); /* ESMM, SMM */
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x36);
	/* the non-specific EOI leaves a masked input in service */
	out_m(0, 0x20);
	assert_int_equal(isr_m(), 0x08);
	out_m(0, 0x20);
	assert_int_equal(isr_m(), 0x08);
	out_m(0, 0x28); /* SMM without ESMM: no change */
	edge(6);
	assert_true(intr.level);
	out_m(0, 0x48);
	assert_false(intr.level);
	out_m(0, 0x63);
	assert_true(intr.level);
}

static void a_poll_acknowledges(void **state)
{
	(void)state;
	edge(5);
	out_m(0, 0x0c);
	assert_int_equal(in_m(0), 0x85);
	assert_false(intr.level);
	assert_int_equal(isr_m(), 0x20);
	out_m(0, 0x0c);
	assert_int_equal(in_m(0) & 0x80, 0);
	/* one read only: the next gives the register selected */
	assert_int_equal(in_m(0), 0x20);
	out_m(0, 0x20);
	/* through the cascade: master, then slave */
	edge(14);
	out_m(0, 0x0c);
	assert_int_equal(in_m(0), 0x82);
	out_s(0, 0x0c);
	assert_int_equal(in_s(0), 0x86);
	out_s(0, 0x20);
	out_m(0, 0x20);
	assert_false(intr.level);
}

static void an_acknowledge_without_request_gives_ir7(void **state)
{
	(void)state;
	assert_int_equal(pic_intack(&pic), 0x37);
	assert_int_equal(isr_m(), 0);
	pic_elcr_ops.write(&pic, 0, 1, 0x20);
	pic_set_irq(&pic, 5, true);
	assert_true(intr.level);
	pic_set_irq(&pic, 5, false);
	assert_false(intr.level);
	assert_int_equal(pic_intack(&pic), 0x37);
	assert_int_equal(isr_m(), 0);
}

static void the_slaves_spurious_interrupt_is_in_service_at_the_master(void **state)
{
	(void)state;
	/* the slave's request goes away between the two acknowledge pulses */
	pic.state.master.latch |= 0x04;
	assert_int_equal(pic_intack(&pic), 0x3f);
	assert_int_equal(isr_s(), 0);
	assert_int_equal(isr_m(), 0x04);
}

static void a_slaves_request_withdrawn_is_no_interrupt(void **state)
{
	(void)state;
	edge(9);
	assert_true(intr.level);
	out_s(1, 0x02);
	assert_false(intr.level);
	assert_int_equal(irr_m(), 0);
	out_s(1, 0);
	assert_int_equal(pic_intack(&pic), 0x39);
}

static void level_inputs_request_while_high(void **state)
{
	(void)state;
	pic_elcr_ops.write(&pic, 1, 1, 0x02);
	pic_set_irq(&pic, 9, true);
	assert_int_equal(pic_intack(&pic), 0x39);
	assert_false(intr.level);
	out_s(0, 0x20);
	out_m(0, 0x20);
	assert_true(intr.level);
	assert_int_equal(pic_intack(&pic), 0x39);
	pic_set_irq(&pic, 9, false);
	out_s(0, 0x20);
	out_m(0, 0x20);
	assert_false(intr.level);
}

static void a_latched_edge_goes_with_its_kind_of_trigger(void **state)
{
	(void)state;
	out_m(1, 0x20);
	edge(5);
	assert_int_equal(irr_m(), 0x20);
	pic_elcr_ops.write(&pic, 0, 1, 0x20);
	assert_int_equal(irr_m(), 0);
	pic_elcr_ops.write(&pic, 0, 1, 0);
	assert_int_equal(irr_m(), 0);
}

static void elcr_has_fixed_bits(void **state)
{
	(void)state;
	pic_elcr_ops.write(&pic, 0, 1, 0xff);
	pic_elcr_ops.write(&pic, 1, 1, 0xff);
	assert_int_equal(pic_elcr_ops.read(&pic, 0, 1), 0xf8);
	assert_int_equal(pic_elcr_ops.read(&pic, 1, 1), 0xde);
}

static void icw1_starts_anew(void **state)
{
	(void)state;
	pic_set_irq(&pic, 6, true);
	edge(3);
	pic_intack(&pic);
	out_m(1, 0xff);
	out_m(0, 0xc2);
	out_m(0, 0x0b);
	out_m(0, 0x11);
	assert_int_equal(pic.state.master.imr, 0);
	out_m(1, 0x45); /* the low three bits are not the vector's */
	out_m(1, 0x04);
	out_m(1, 0x01);
	assert_int_equal(in_m(0), 0); /* IRR selected; the high input needs a new edge */
	assert_int_equal(isr_m(), 0);
	assert_int_equal(in_m(1), 0); /* IMR cleared */
	edge(7);
	edge(0);
	assert_int_equal(pic_intack(&pic), 0x40);
	out_m(0, 0x20);
	assert_int_equal(pic_intack(&pic), 0x47);
}

static void a_single_chip_takes_no_icw3(void **state)
{
	(void)state;
	out_m(0, 0x13);
	out_m(1, 0x50);
	out_m(1, 0x03); /* ICW4: AEOI */
	out_m(1, 0xf0); /* OCW1 */
	assert_int_equal(in_m(1), 0xf0);
	edge(1);
	assert_int_equal(pic_intack(&pic), 0x51);
	assert_int_equal(isr_m(), 0);
	/* without ICW4 its functions are off */
	out_m(0, 0x12);
	out_m(1, 0x50);
	out_m(1, 0x0f);
	assert_int_equal(in_m(1), 0x0f);
	edge(4);
	assert_int_equal(pic_intack(&pic), 0x54);
	assert_int_equal(isr_m(), 0x10);
}

static void reset_masks_everything_and_keeps_the_wires(void **state)
{
	(void)state;
	pic_set_irq(&pic, 5, true);
	assert_true(intr.level);
	pic_elcr_ops.write(&pic, 0, 1, 0x80);
	pic_reset(&pic);
	assert_false(intr.level);
	assert_int_equal(pic_elcr_ops.read(&pic, 0, 1), 0);
	program(0x01, 0x01);
	assert_false(intr.level);
	pic_elcr_ops.write(&pic, 0, 1, 0x20);
	assert_true(intr.level);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_interrupts_before_initialization),
		TEST(an_edge_interrupts_once),
		TEST(an_edge_while_masked_waits),
		TEST(priorities_nest),
		TEST(the_highest_of_several_goes_first),
		TEST(a_specific_eoi_ends_that_input),
		TEST(the_slave_interrupts_by_input_2),
		TEST(the_slaves_second_request_is_not_lost),
		TEST(the_slaves_int_rises_anew_for_the_next_request),
		TEST(special_fully_nested_mode_lets_the_slave_nest),
		TEST(automatic_eoi_leaves_nothing_in_service),
		TEST(rotation_in_automatic_eoi_mode),
		TEST(rotation_on_eoi),
		TEST(priorities_are_set),
		TEST(special_mask_mode_enables_the_lower),
		TEST(a_poll_acknowledges),
		TEST(an_acknowledge_without_request_gives_ir7),
		TEST(the_slaves_spurious_interrupt_is_in_service_at_the_master),
		TEST(a_slaves_request_withdrawn_is_no_interrupt),
		TEST(level_inputs_request_while_high),
		TEST(a_latched_edge_goes_with_its_kind_of_trigger),
		TEST(elcr_has_fixed_bits),
		TEST(icw1_starts_anew),
		TEST(a_single_chip_takes_no_icw3),
		TEST(reset_masks_everything_and_keeps_the_wires),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
