/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "devices/pci/intx.h"

static bool level[PCI_INTX_LINES];
static struct pci_intx wires;

static void set(void *opaque, unsigned pin, bool high)
{
	assert_ptr_equal(opaque, level);
	level[pin] = high;
}

static int setup(void **state)
{
	struct irq_line lines[PCI_INTX_LINES];

	(void)state;
	for (unsigned i = 0; i < PCI_INTX_LINES; i++) {
		level[i] = false;
		lines[i] = (struct irq_line){.set = set, .opaque = level, .pin = i};
	}
	pci_intx_init(&wires, lines);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pci_intx_release(&wires);
	return 0;
}

static void drive(unsigned slot, bool high)
{
	const struct irq_line line = pci_intx_line(&wires, slot);

	irq_set(&line, high);
}

static void each_slot_has_its_wire(void **state)
{
	(void)state;
	for (unsigned slot = 0; slot < PCI_INTX_SLOTS; slot++) {
		drive(slot, true);
		for (unsigned i = 0; i < PCI_INTX_LINES; i++)
			assert_int_equal(level[i], i == slot % PCI_INTX_LINES);
		drive(slot, false);
		assert_false(level[slot % PCI_INTX_LINES]);
	}
}

/* A device that is acknowledged, reset, made or taken away says low. */
static void who_lets_go_takes_it_from_nobody(void **state)
{
	(void)state;
	drive(1, true);
	drive(9, false);
	assert_true(level[1]);
	drive(9, true);
	drive(9, true);
	drive(1, false);
	assert_true(level[1]);
	drive(17, false);
	assert_true(level[1]);
	drive(9, false);
	assert_false(level[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_slot_has_its_wire),
		T(who_lets_go_takes_it_from_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
