/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "devices/legacy/boot_timer.h"

static void on_booted(void *opaque)
{
	++*(unsigned *)opaque;
}

static void only_one_byte_of_123_counts(void **state)
{
	unsigned calls = 0;
	struct boot_timer t;
	struct bus bus;

	(void)state;
	bus_init(&bus, "mmio", 0x100000000);
	boot_timer_init(&t, on_booted, &calls);
	assert_int_equal(
		bus_add(&bus, 0xc0000000, BOOT_TIMER_SIZE, &boot_timer_ops, &t, NULL, NULL), 0);
	bus_write(&bus, 0xc0000000, 1, 122);
	bus_write(&bus, 0xc0000000, 4, 123);
	bus_write(&bus, 0xc0000001, 1, 123);
	bus_write(&bus, 0xc0000fff, 1, 123);
	assert_int_equal(bus_read(&bus, 0xc0000000, 1), 0);
	assert_int_equal(calls, 0);
	bus_write(&bus, 0xc0000000, 1, 123);
	assert_int_equal(calls, 1);
	bus_write(&bus, 0xc0000000, 1, 123);
	assert_int_equal(calls, 2);
	bus_release(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_byte_of_123_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
