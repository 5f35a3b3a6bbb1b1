/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/irq.h"

struct pins {
	unsigned pin[4], count;
	bool level[4];
	struct msi_msg msg;
};

static void set(void *opaque, unsigned pin, bool level)
{
	struct pins *p = opaque;

	p->pin[p->count] = pin;
	p->level[p->count++] = level;
}

static void send(void *opaque, const struct msi_msg *msg)
{
	((struct pins *)opaque)->msg = *msg;
}

static void a_line_carries_its_pin_and_level(void **state)
{
	struct pins p = {.count = 0};
	struct irq_line line = {set, &p, 7};

	(void)state;
	irq_set(&line, true);
	irq_set(&line, true); /* also without change */
	irq_pulse(&line);
	assert_int_equal(p.count, 4);
	assert_int_equal(p.pin[0], 7);
	assert_true(p.level[0] && p.level[1] && p.level[2] && !p.level[3]);
}

static void an_open_end_goes_nowhere(void **state)
{
	struct irq_line line = {NULL, NULL, 0};
	struct msi_sink sink = {NULL, NULL};

	(void)state;
	irq_pulse(&line);
	msi_send(&sink, &(struct msi_msg){MSI_ADDR_BASE, 0x40});
}

static void a_message_arrives_as_it_was_sent(void **state)
{
	struct pins p = {.count = 0};
	struct msi_sink sink = {send, &p};

	(void)state;
	msi_send(&sink, &(struct msi_msg){MSI_ADDR_BASE | 5u << MSI_ADDR_DEST_SHIFT, 0x4031});
	assert_int_equal(p.msg.addr, 0xfee05000);
	assert_int_equal(p.msg.data & MSI_DATA_VECTOR, 0x31);
	assert_true(p.msg.data & MSI_DATA_ASSERT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_carries_its_pin_and_level),
		cmocka_unit_test(an_open_end_goes_nowhere),
		cmocka_unit_test(a_message_arrives_as_it_was_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
