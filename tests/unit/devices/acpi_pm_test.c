/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI fixed hardware against ACPI 6.4, 4.8; the reset control register against ICH9's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/time.h"
#include "devices/acpi/pm.h"
#include "devices/acpi/reset.h"

static struct acpi_pm pm;
static struct clock clk;
static bool sci;
static unsigned poweroffs;

static void on_sci(void *opaque, unsigned pin, bool level)
{
	(void)opaque;
	assert_int_equal(pin, 9);
	sci = level;
}

static void on_poweroff(void *opaque)
{
	++*(unsigned *)opaque;
}

static int setup(void **state)
{
	(void)state;
	sci = false;
	poweroffs = 0;
	clock_init_manual(&clk);
	acpi_pm_init(&pm, &clk, (struct irq_line){on_sci, NULL, 9}, on_poweroff, &poweroffs);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	acpi_pm_release(&pm);
	clock_release(&clk);
	return 0;
}

static uint32_t get(unsigned offset, unsigned size)
{
	return acpi_pm_ops.read(&pm, offset, size);
}

static void put(unsigned offset, unsigned size, uint32_t value)
{
	acpi_pm_ops.write(&pm, offset, size, value);
}

static void power_on_state(void **state)
{
	(void)state;
	assert_int_equal(get(0, 4), 0);
	assert_int_equal(get(4, 2), 1); /* SCI_EN */
	assert_int_equal(get(8, 4), 0);
	assert_int_equal(get(0x10, 4), 0);
	assert_false(sci);
}

static void the_power_button_interrupts_where_enabled(void **state)
{
	(void)state;
	acpi_pm_power_button(&pm);
	assert_false(sci);
	assert_int_equal(get(0, 2), 0x0100);
	put(2, 2, 0x0100);
	assert_true(sci);
	put(0, 2, 0xfeff); /* the other bits */
	assert_true(sci);
	assert_int_equal(get(0, 2), 0x0100);
	put(0, 2, 0x0100);
	assert_false(sci);
	assert_int_equal(get(0, 2), 0);
	acpi_pm_sleep_button(&pm);
	assert_false(sci);
	assert_int_equal(get(0, 4), 0x01000200);
}

static void enable_bits_that_exist(void **state)
{
	(void)state;
	put(2, 2, 0xffff);
	assert_int_equal(get(2, 2), 0x0721);
	put(2, 2, 0);
	assert_int_equal(get(2, 2), 0);
}

static void bytes_of_registers(void **state)
{
	(void)state;
	acpi_pm_power_button(&pm);
	put(3, 1, 0x01);
	assert_true(sci);
	assert_int_equal(get(3, 1), 0x01);
	assert_int_equal(get(1, 1), 0x01);
	put(0, 1, 0xff);
	assert_int_equal(get(1, 1), 0x01);
	put(1, 1, 0x01);
	assert_false(sci);
	/* status and enable in one access */
	acpi_pm_power_button(&pm);
	put(0, 4, 0x02000100);
	assert_int_equal(get(0, 4), 0x02000000);
	assert_false(sci);
}

static void soft_off(void **state)
{
	(void)state;
	put(4, 2, ACPI_PM_SLP_TYP_S5 << 10);
	assert_int_equal(poweroffs, 0);
	assert_int_equal(get(4, 2), 1 | ACPI_PM_SLP_TYP_S5 << 10);
	put(4, 2, ACPI_PM_SLP_TYP_S5 << 10 | 1 << 13);
	assert_int_equal(poweroffs, 1);
	assert_int_equal(get(4, 2) & 1 << 13, 0); /* SLP_EN is write-only */
	/* the type latched, the enable by a byte */
	put(5, 1, (ACPI_PM_SLP_TYP_S5 << 10 | 1 << 13) >> 8);
	assert_int_equal(poweroffs, 2);
	/* accesses elsewhere do not repeat it */
	put(0, 2, 0xffff);
	assert_int_equal(poweroffs, 2);
}

static void other_sleep_types_do_nothing(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 8; type++)
		if (type != ACPI_PM_SLP_TYP_S5)
			put(4, 2, type << 10 | 1 << 13);
	assert_int_equal(poweroffs, 0);
	put(4, 2, 0);
	assert_int_equal(get(4, 2), 1); /* SCI_EN cannot be cleared */
}

static void the_timer_counts_at_3_579545_mhz(void **state)
{
	uint32_t t;

	(void)state;
	clock_advance(&clk, NS_PER_SEC);
	assert_int_equal(get(8, 4), 3579545);
	clock_advance(&clk, 9 * NS_PER_SEC);
	t = get(8, 4);
	assert_int_equal(t, 35795450);
	assert_int_equal(get(8, 2), t & 0xffff);
	assert_int_equal(get(9, 1), t >> 8 & 0xff);
	put(8, 4, 0); /* read-only */
	assert_int_equal(get(8, 4), t);
	/* all 32 bits, and round: 2^32 ticks are 1199.86 s */
	clock_advance(&clk, 1190 * NS_PER_SEC);
	assert_int_equal(get(8, 4), (uint32_t)(1200ULL * 3579545));
}

static void the_timer_status_follows_bit_31(void **state)
{
	const uint64_t half = time_scale(BIT(31), NS_PER_SEC, ACPI_PM_TIMER_HZ) + 1;

	(void)state;
	clock_advance(&clk, half - 2);
	assert_int_equal(get(0, 2), 0);
	clock_advance(&clk, 2);
	assert_int_equal(get(8, 4), BIT(31));
	assert_int_equal(get(0, 2), 1);
	put(0, 2, 1);
	assert_int_equal(get(0, 2), 0);
	clock_advance(&clk, half); /* from set to clear counts as well */
	assert_int_equal(get(0, 2), 1);
	/* clearing is of what happened so far, looked at or not */
	put(0, 2, 1);
	clock_advance(&clk, half);
	put(0, 2, 1);
	assert_int_equal(get(0, 2), 0);
	assert_false(pm.timer.armed);
}

static void the_timer_interrupts_where_enabled(void **state)
{
	const uint64_t half = time_scale(BIT(31), NS_PER_SEC, ACPI_PM_TIMER_HZ) + 1;

	(void)state;
	assert_null(clk.first);
	put(2, 2, 1);
	assert_non_null(clk.first);
	clock_advance(&clk, half - 2);
	assert_false(sci);
	clock_advance(&clk, 2);
	assert_true(sci);
	put(0, 2, 1);
	assert_false(sci);
	clock_advance(&clk, half);
	assert_true(sci);
	put(2, 2, 0);
	assert_false(sci);
	assert_null(clk.first);
}

static void general_purpose_events(void **state)
{
	(void)state;
	put(0x12, 2, 0x8002);
	acpi_pm_gpe(&pm, 2);
	assert_false(sci);
	acpi_pm_gpe(&pm, 15);
	assert_true(sci);
	assert_int_equal(get(0x10, 4), 0x80028004);
	put(0x11, 1, 0x80);
	assert_false(sci);
	assert_int_equal(get(0x10, 2), 0x0004);
	acpi_pm_gpe(&pm, 16);
	assert_int_equal(get(0x10, 2), 0x0004);
	put(0x10, 2, 0x0004);
	assert_int_equal(get(0x10, 2), 0);
}

static void reset_releases_sci(void **state)
{
	(void)state;
	put(2, 2, 0x0101);
	acpi_pm_power_button(&pm);
	assert_true(sci);
	clock_advance(&clk, 700 * NS_PER_SEC);
	acpi_pm_reset(&pm);
	assert_false(sci);
	assert_int_equal(get(0, 4), 0);
	assert_null(clk.first);
}

static void a_restored_state_drives_sci(void **state)
{
	(void)state;
	pm.state.pm1_status = 0x0100;
	pm.state.pm1_enable = 0x0101;
	acpi_pm_resume(&pm);
	assert_true(sci);
	assert_non_null(clk.first);
}

static void the_reset_register_acts_on_a_rising_edge(void **state)
{
	struct reset_control r;
	unsigned resets = 0;

	(void)state;
	reset_control_init(&r, on_poweroff, &resets);
	assert_int_equal(reset_control_ops.read(&r, 0, 1), 0);
	reset_control_ops.write(&r, 0, 1, 0x02);
	reset_control_ops.write(&r, 0, 1, 0x0a);
	assert_int_equal(resets, 0);
	assert_int_equal(reset_control_ops.read(&r, 0, 1), 0x0a);
	reset_control_ops.write(&r, 0, 1, 0x0e);
	assert_int_equal(resets, 1);
	reset_control_ops.write(&r, 0, 1, 0x06);
	assert_int_equal(resets, 1);
	reset_control_ops.write(&r, 0, 1, 0xf1);
	assert_int_equal(reset_control_ops.read(&r, 0, 1), 0);
	reset_control_ops.write(&r, 0, 1, RESET_CONTROL_VALUE);
	assert_int_equal(resets, 2);
	reset_control_reset(&r);
	assert_int_equal(reset_control_ops.read(&r, 0, 1), 0);
	reset_control_ops.write(&r, 0, 1, RESET_CONTROL_VALUE);
	assert_int_equal(resets, 3);
	reset_control_release(&r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(power_on_state),
		TEST(the_power_button_interrupts_where_enabled),
		TEST(enable_bits_that_exist),
		TEST(bytes_of_registers),
		TEST(soft_off),
		TEST(other_sleep_types_do_nothing),
		TEST(the_timer_counts_at_3_579545_mhz),
		TEST(the_timer_status_follows_bit_31),
		TEST(the_timer_interrupts_where_enabled),
		TEST(general_purpose_events),
		TEST(reset_releases_sci),
		TEST(a_restored_state_drives_sci),
		cmocka_unit_test(the_reset_register_acts_on_a_rising_edge),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
