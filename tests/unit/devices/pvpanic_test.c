/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "devices/legacy/pvpanic.h"

struct told {
	unsigned calls;
	unsigned events;
};

static void on_event(void *opaque, unsigned events)
{
	struct told *t = opaque;

	t->calls++;
	t->events = events;
}

static void reads_tell_what_is_supported_and_writes_what_happened(void **state)
{
	struct told t = {0, 0};
	struct pvpanic p;

	(void)state;
	pvpanic_init(&p, on_event, &t);
	assert_int_equal(pvpanic_ops.read(&p, 0, 1), 3);
	pvpanic_ops.write(&p, 0, 1, 0x01);
	assert_int_equal(t.events, PVPANIC_PANICKED);
	pvpanic_ops.write(&p, 0, 1, 0x02);
	assert_int_equal(t.events, PVPANIC_CRASH_LOADED);
	pvpanic_ops.write(&p, 0, 1, 0xff);
	assert_int_equal(t.events, PVPANIC_EVENTS);
	assert_int_equal(t.calls, 3);
	pvpanic_ops.write(&p, 0, 1, 0xfc); /* bits that are not known are ignored */
	pvpanic_ops.write(&p, 0, 1, 0x00);
	assert_int_equal(t.calls, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_tell_what_is_supported_and_writes_what_happened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
