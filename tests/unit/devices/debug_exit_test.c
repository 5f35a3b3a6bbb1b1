/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "devices/legacy/debug_exit.h"

struct told {
	unsigned calls;
	uint32_t value;
};

static void on_exit_port(void *opaque, uint32_t value)
{
	struct told *t = opaque;

	t->calls++;
	t->value = value;
}

static void a_write_of_any_width_tells_its_value(void **state)
{
	struct told t = {0, 0};
	struct debug_exit d;
	struct bus bus;

	(void)state;
	bus_init(&bus, "pio", 0x10000);
	debug_exit_init(&d, on_exit_port, &t);
	assert_int_equal(bus_add(&bus, 0xf4, DEBUG_EXIT_PORTS, &debug_exit_ops, &d, NULL, NULL), 0);
	bus_write(&bus, 0xf4, 1, 0x31);
	assert_int_equal(t.value, 0x31);
	bus_write(&bus, 0xf4, 2, 0x1234);
	assert_int_equal(t.value, 0x1234);
	bus_write(&bus, 0xf4, 4, 0xdeadbeef);
	assert_int_equal(t.value, 0xdeadbeef);
	assert_int_equal(t.calls, 3);
	assert_int_equal(bus_read(&bus, 0xf4, 4), 0);
	assert_int_equal(t.calls, 3);
	bus_release(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_of_any_width_tells_its_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
