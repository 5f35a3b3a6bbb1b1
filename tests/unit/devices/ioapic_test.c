/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC against the 82093AA datasheet, and its messages against SDM 3A, 11.11. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/time.h"
#include "core/bus.h"
#include "devices/irqchip/ioapic.h"

struct route {
	bool announced;
	struct msi_msg msg;
	unsigned calls;
};

static struct ioapic io;
static struct clock clk;
static struct msi_msg last;
static unsigned sent;
static struct route routes[IOAPIC_PINS];

static void on_send(void *opaque, const struct msi_msg *msg)
{
	(void)opaque;
	last = *msg;
	sent++;
}

static void on_route(void *opaque, unsigned pin, const struct msi_msg *msg)
{
	struct route *r = opaque;

	r[pin].calls++;
	r[pin].announced = msg != NULL;
	if (msg)
		r[pin].msg = *msg;
}

static int setup(void **state)
{
	const struct msi_sink sink = {.send = on_send};

	(void)state;
	sent = 0;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		routes[i] = (struct route){0};
	clock_init_manual(&clk);
	ioapic_init(&io, &sink, &clk, on_route, routes);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ioapic_release(&io);
	clock_release(&clk);
	return 0;
}

static uint32_t get(unsigned index)
{
	ioapic_ops.write(&io, 0x00, 4, index);
	return ioapic_ops.read(&io, 0x10, 4);
}

static void set(unsigned index, uint32_t value)
{
	ioapic_ops.write(&io, 0x00, 4, index);
	ioapic_ops.write(&io, 0x10, 4, value);
}

static void set_entry(unsigned pin, uint8_t dest, uint32_t low)
{
	set(0x11 + 2 * pin, (uint32_t)dest << 24);
	set(0x10 + 2 * pin, low);
}

#define EDGE    0x0000u
#define LEVEL   0x8000u
#define MASKED  0x10000u
#define LOGICAL 0x800u

static void registers_identify_themselves(void **state)
{
	(void)state;
	assert_int_equal(get(0x01), 0x00170020);
	assert_int_equal(get(0x00), 0);
	set(0x00, 0xffffffff);
	assert_int_equal(get(0x00), 0x0f000000);
	assert_int_equal(get(0x02), 0x0f000000);
	set(0x01, 0);
	assert_int_equal(get(0x01), 0x00170020);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		assert_int_equal(get(0x10 + 2 * pin), MASKED);
		assert_int_equal(get(0x11 + 2 * pin), 0);
	}
	/* beyond the last entry, and the whole index range, nothing happens */
	for (unsigned i = 0; i < 256; i++)
		if (i < 0x10 || i >= 0x40)
			set(i, 0xffff0000);
	assert_int_equal(get(0x40), 0);
	assert_int_equal(get(0x0f), 0);
	assert_int_equal(get(0xff), 0);
}

static void entries_have_read_only_and_reserved_bits(void **state)
{
	(void)state;
	set(0x10 + 2 * 5, 0xffffffff);
	set(0x11 + 2 * 5, 0xffffffff);
	/* 31:17 reserved, remote IRR and delivery status read-only */
	assert_int_equal(get(0x10 + 2 * 5), 0x0001afff);
	assert_int_equal(get(0x11 + 2 * 5), 0xff000000);
}

static void widths_are_those_of_the_registers(void **state)
{
	(void)state;
	ioapic_ops.write(&io, 0x00, 1, 0x1a);
	assert_int_equal(ioapic_ops.read(&io, 0x00, 1), 0x1a);
	ioapic_ops.write(&io, 0x10, 4, MASKED | 0x77);
	ioapic_ops.write(&io, 0x10, 1, 0x55); /* part of the window: ignored */
	ioapic_ops.write(&io, 0x12, 2, 0);
	assert_int_equal(get(0x1a), MASKED | 0x77);
	assert_int_equal(ioapic_ops.read(&io, 0x10, 1), 0x77);
	assert_int_equal(ioapic_ops.read(&io, 0x12, 2) & 0xffff, 1);
	assert_int_equal(ioapic_ops.read(&io, 0x20, 4), 0);
	assert_int_equal(ioapic_ops.read(&io, 0x40, 4), 0);
	assert_int_equal(ioapic_ops.read(&io, IOAPIC_SIZE - 4, 4), 0);
}

static void an_edge_sends_one_message(void **state)
{
	(void)state;
	set_entry(4, 3, 0x34);
	ioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.addr, 0xfee03000);
	assert_int_equal(last.data, 0x4034);
	ioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 1);
	ioapic_set_irq(&io, 4, false);
	ioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 2);
	/* an EOI is nothing to it */
	ioapic_eoi(&io, 0x34);
	assert_int_equal(sent, 2);
	assert_int_equal(get(0x18), 0x34);
}

static void an_edge_while_masked_is_lost(void **state)
{
	(void)state;
	set_entry(4, 0, MASKED | 0x34);
	ioapic_set_irq(&io, 4, true);
	set_entry(4, 0, 0x34);
	assert_int_equal(sent, 0);
	ioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 0);
	ioapic_set_irq(&io, 4, false);
	ioapic_set_irq(&io, 4, true);
	assert_int_equal(sent, 1);
}

static void messages_carry_mode_and_destination(void **state)
{
	static const unsigned modes[] = {IOAPIC_FIXED, IOAPIC_LOWEST, IOAPIC_SMI,
					 IOAPIC_NMI,   IOAPIC_INIT,   IOAPIC_EXTINT};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		set_entry(7, 0xff, LOGICAL | modes[i] << 8 | 0x41);
		irq_pulse(&(struct irq_line){ioapic_set_irq, &io, 7});
		assert_int_equal(sent, i + 1);
		assert_int_equal(last.addr, 0xfeeff004);
		assert_int_equal(last.data, 0x4041 | modes[i] << 8);
	}
	/* reserved modes */
	set_entry(7, 0, 3 << 8 | 0x41);
	irq_pulse(&(struct irq_line){ioapic_set_irq, &io, 7});
	set_entry(7, 0, 6 << 8 | LEVEL | 0x41);
	irq_pulse(&(struct irq_line){ioapic_set_irq, &io, 7});
	assert_int_equal(sent, 6);
}

static void a_level_is_sent_once_until_its_eoi(void **state)
{
	(void)state;
	set_entry(9, 1, LEVEL | 0x51);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.addr, 0xfee01000);
	assert_int_equal(last.data, 0xc051);
	assert_int_equal(get(0x22), LEVEL | 0x4000 | 0x51);
	ioapic_set_irq(&io, 9, true);
	ioapic_set_irq(&io, 9, false);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, 1);
	ioapic_eoi(&io, 0x50);
	assert_int_equal(sent, 1);
	ioapic_eoi(&io, 0x51); /* still asserted: again */
	assert_int_equal(sent, 2);
	ioapic_set_irq(&io, 9, false);
	ioapic_eoi(&io, 0x51);
	assert_int_equal(sent, 2);
	assert_int_equal(get(0x22), LEVEL | 0x51);
}

static void a_level_while_masked_waits(void **state)
{
	(void)state;
	set_entry(9, 0, LEVEL | MASKED | 0x51);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, 0);
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 1);
	/* masked in service: the EOI counts, and unmasking finds the line still asserted */
	set_entry(9, 0, LEVEL | MASKED | 0x51);
	ioapic_eoi(&io, 0x51);
	assert_int_equal(sent, 1);
	assert_int_equal(get(0x22), LEVEL | MASKED | 0x51);
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 2);
	/* unmasked while in service: no second message before the EOI */
	set_entry(9, 0, LEVEL | MASKED | 0x51);
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 2);
}

static void the_eoi_register_ends_a_level(void **state)
{
	(void)state;
	set_entry(9, 0, LEVEL | 0x51);
	ioapic_set_irq(&io, 9, true);
	ioapic_set_irq(&io, 9, false);
	ioapic_ops.write(&io, 0x40, 4, 0x51);
	assert_int_equal(get(0x22), LEVEL | 0x51);
}

static void becoming_edge_triggered_ends_a_level(void **state)
{
	(void)state;
	set_entry(9, 0, LEVEL | 0x51);
	ioapic_set_irq(&io, 9, true);
	set_entry(9, 0, MASKED | 0x51);
	set_entry(9, 0, MASKED | LEVEL | 0x51);
	assert_int_equal(get(0x22), MASKED | LEVEL | 0x51);
	assert_int_equal(sent, 1);
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 2);
}

static void pins_that_share_a_vector_end_together(void **state)
{
	(void)state;
	set_entry(16, 0, LEVEL | 0x60);
	set_entry(17, 0, LEVEL | 0x60);
	ioapic_set_irq(&io, 16, true);
	ioapic_set_irq(&io, 17, true);
	ioapic_set_irq(&io, 16, false);
	assert_int_equal(sent, 2);
	ioapic_eoi(&io, 0x60);
	assert_int_equal(sent, 3);
	assert_int_equal(get(0x30) & 0x4000, 0);
	assert_int_equal(get(0x32) & 0x4000, 0x4000);
}

static void a_level_nmi_needs_no_eoi(void **state)
{
	(void)state;
	set_entry(9, 0, LEVEL | IOAPIC_NMI << 8);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(last.data & MSI_DATA_LEVEL, 0);
	assert_int_equal(get(0x22) & 0x4000, 0);
	ioapic_set_irq(&io, 9, false);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, 2);
}

static void a_storm_is_slowed_down(void **state)
{
	unsigned before;

	(void)state;
	set_entry(9, 0, LEVEL | 0x51);
	ioapic_set_irq(&io, 9, true);
	for (unsigned i = 0; i < 20000; i++)
		ioapic_eoi(&io, 0x51);
	assert_int_equal(sent, 10000);
	ioapic_set_irq(&io, 9, true); /* being set anew changes nothing */
	assert_int_equal(sent, 10000);
	clock_advance(&clk, 10 * NS_PER_MS);
	assert_int_equal(sent, 10001);
	/* a guest that does something about it is served at once: the entry is written anew ... */
	for (unsigned i = 0; i < 20000; i++)
		ioapic_eoi(&io, 0x51);
	before = sent;
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, before + 1);
	/* ... or the line falls, and rises again */
	for (unsigned i = 0; i < 20000; i++)
		ioapic_eoi(&io, 0x51);
	before = sent;
	ioapic_set_irq(&io, 9, false);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, before + 1);
	/* a line that falls meanwhile sends nothing */
	before = sent;
	for (unsigned i = 0; i < 20000; i++)
		ioapic_eoi(&io, 0x51);
	ioapic_set_irq(&io, 9, false);
	clock_advance(&clk, 10 * NS_PER_MS);
	assert_int_equal(sent, before + 9999);
	ioapic_set_irq(&io, 9, true);
	assert_int_equal(sent, before + 10000);
}

static void routes_tell_changes_only(void **state)
{
	struct route *r = &routes[9];

	(void)state;
	set(0x23, 0x01000000);
	assert_int_equal(r->calls, 0);
	set(0x22, LEVEL | 0x51);
	assert_int_equal(r->calls, 1);
	assert_true(r->announced);
	assert_int_equal(r->msg.addr, 0xfee01000);
	assert_int_equal(r->msg.data, 0xc051);
	set(0x22, LEVEL | 0x51);
	assert_int_equal(r->calls, 1);
	/* masking a level entry keeps its route: its EOI may be still to come */
	ioapic_set_irq(&io, 9, true);
	set(0x22, LEVEL | MASKED | 0x51);
	set(0x22, LEVEL | 0x51);
	assert_int_equal(r->calls, 1);
	set(0x22, LEVEL | MASKED | 0x52);
	assert_int_equal(r->calls, 1);
	set(0x22, LEVEL | 0x52);
	assert_int_equal(r->calls, 2);
	assert_int_equal(r->msg.data, 0xc052);
	/* to edge: gone */
	set(0x22, MASKED);
	assert_int_equal(r->calls, 3);
	assert_false(r->announced);
	/* an edge entry goes with its mask */
	set(0x22, 0x33);
	assert_true(r->announced);
	assert_int_equal(r->msg.data, 0x4033);
	set(0x22, MASKED | 0x33);
	assert_false(r->announced);
}

static void reset_masks_and_takes_routes_back(void **state)
{
	(void)state;
	set_entry(9, 0, LEVEL | 0x51);
	set_entry(4, 0, 0x34);
	set(0, 0x05000000);
	ioapic_set_irq(&io, 9, true);
	ioapic_reset(&io);
	assert_false(routes[9].announced);
	assert_false(routes[4].announced);
	assert_int_equal(get(0x22), MASKED);
	assert_int_equal(get(0), 0);
	/* the wire is still driven */
	sent = 0;
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 1);
}

static void a_restored_state_announces_itself(void **state)
{
	struct ioapic_state saved;

	(void)state;
	set_entry(9, 0, LEVEL | 0x51);
	set_entry(4, 0, 0x34);
	ioapic_set_irq(&io, 9, true);
	set_entry(9, 0, LEVEL | MASKED | 0x51);
	saved = io.state;
	ioapic_reset(&io);
	io.state = saved;
	ioapic_announce(&io);
	assert_true(routes[4].announced);
	assert_true(routes[9].announced);
	assert_int_equal(routes[9].msg.data, 0xc051);
	ioapic_eoi(&io, 0x51);
	set_entry(9, 0, LEVEL | 0x51);
	assert_int_equal(sent, 2);
}

static void pins_beyond_the_last_are_nothing(void **state)
{
	(void)state;
	ioapic_set_irq(&io, IOAPIC_PINS, true);
	ioapic_set_irq(&io, ~0u, true);
	assert_int_equal(io.state.lines, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers_identify_themselves),
		TEST(entries_have_read_only_and_reserved_bits),
		TEST(widths_are_those_of_the_registers),
		TEST(an_edge_sends_one_message),
		TEST(an_edge_while_masked_is_lost),
		TEST(messages_carry_mode_and_destination),
		TEST(a_level_is_sent_once_until_its_eoi),
		TEST(a_level_while_masked_waits),
		TEST(the_eoi_register_ends_a_level),
		TEST(becoming_edge_triggered_ends_a_level),
		TEST(pins_that_share_a_vector_end_together),
		TEST(a_level_nmi_needs_no_eoi),
		TEST(a_storm_is_slowed_down),
		TEST(routes_tell_changes_only),
		TEST(reset_masks_and_takes_routes_back),
		TEST(a_restored_state_announces_itself),
		TEST(pins_beyond_the_last_are_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
