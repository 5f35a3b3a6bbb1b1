/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of PCI slots whose devices come and go, as a guest's methods use them and as a
 * hostile guest does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "devices/acpi/slots.h"

#define BASE 0x620

static struct acpi_slots slots;
static struct bus bus;
static unsigned events;
static uint32_t ejected, refused; /* slots; each may be told once between two looks */

static void on_event(void *opaque)
{
	(void)opaque;
	events++;
}

static void on_ejected(void *opaque, unsigned slot)
{
	(void)opaque;
	assert_true(slot < ACPI_SLOTS_MAX && !(ejected & 1u << slot));
	ejected |= 1u << slot;
}

static void on_refused(void *opaque, unsigned slot)
{
	(void)opaque;
	assert_true(slot < ACPI_SLOTS_MAX && !(refused & 1u << slot));
	refused |= 1u << slot;
}

static int setup(void **state)
{
	const struct acpi_slots_user user = {on_event, on_ejected, on_refused, NULL};

	(void)state;
	events = ejected = refused = 0;
	acpi_slots_init(&slots, &user);
	bus_init(&bus, "pio", 0x10000);
	return bus_add(&bus, BASE, ACPI_SLOTS_SIZE, &acpi_slots_ops, &slots, &slots.lock, NULL);
}

static int teardown(void **state)
{
	(void)state;
	bus_release(&bus);
	acpi_slots_release(&slots);
	return 0;
}

static uint32_t get(unsigned reg)
{
	return bus_read(&bus, BASE + reg, 4);
}

static void put(unsigned reg, uint32_t value)
{
	bus_write(&bus, BASE + reg, 4, value);
}

static void expect(uint32_t arrived, uint32_t asked, uint32_t leaving)
{
	assert_int_equal(get(ACPI_SLOTS_ARRIVED), arrived);
	assert_int_equal(get(ACPI_SLOTS_ASKED), asked);
	assert_int_equal(get(ACPI_SLOTS_EJECT), leaving);
}

static void what_has_come_is_told_once(void **state)
{
	(void)state;
	expect(0, 0, 0);
	acpi_slots_arrive(&slots, 1);
	acpi_slots_arrive(&slots, 31);
	assert_int_equal(events, 2);
	expect(0x80000002, 0, 0);
	put(ACPI_SLOTS_ARRIVED, 2);
	expect(0x80000000, 0, 0);
	put(ACPI_SLOTS_ARRIVED, 0xffffffff);
	expect(0, 0, 0);
	put(ACPI_SLOTS_EJECT, 0xffffffff); /* nobody has asked */
	assert_int_equal(ejected, 0);
}

static void what_is_asked_for_is_given_back_once(void **state)
{
	(void)state;
	acpi_slots_ask(&slots, 3);
	acpi_slots_ask(&slots, 4);
	acpi_slots_ask(&slots, 4); /* it has not answered */
	assert_int_equal(events, 3);
	expect(0, 0x18, 0x18);
	put(ACPI_SLOTS_ASKED, 0x18);
	expect(0, 0, 0x18);
	put(ACPI_SLOTS_EJECT, 1u << 4 | 1u << 5);
	assert_int_equal(ejected, 1u << 4);
	expect(0, 0, 0x08);
	put(ACPI_SLOTS_EJECT, 1u << 4); /* on_ejected would fail */
	acpi_slots_forget(&slots, 3);
	put(ACPI_SLOTS_EJECT, 0xffffffff);
	assert_int_equal(ejected, 1u << 4);
	expect(0, 0, 0);
}

static void a_refusal_ends_the_asking(void **state)
{
	static const uint32_t no_refusals[] = {
		2u << 16 | 0x00, /* success: the ejection says so itself */
		2u << 16 | 0x84, /* it is under way */
		3u << 16 | 0x80, /* another slot */
		32u << 16 | 0x80, 0xff0081,
	};

	(void)state;
	acpi_slots_ask(&slots, 2);
	for (unsigned i = 0; i < sizeof(no_refusals) / sizeof(no_refusals[0]); i++)
		put(ACPI_SLOTS_ANSWER, no_refusals[i]);
	assert_int_equal(refused, 0);
	expect(0, 4, 4);
	put(ACPI_SLOTS_ANSWER, 2u << 16 | 0x82);
	assert_int_equal(refused, 4);
	put(ACPI_SLOTS_ANSWER, 2u << 16 | 0x82);
	put(ACPI_SLOTS_EJECT, 4);
	assert_int_equal(ejected, 0);
	acpi_slots_ask(&slots, 2);
	put(ACPI_SLOTS_EJECT, 4);
	assert_int_equal(ejected, 4);
	assert_int_equal(get(ACPI_SLOTS_ANSWER), 0);
}

static void other_accesses_do_nothing(void **state)
{
	(void)state;
	acpi_slots_ask(&slots, 0);
	acpi_slots_arrive(&slots, 0);
	bus_write(&bus, BASE + ACPI_SLOTS_EJECT, 1, 1);
	bus_write(&bus, BASE + ACPI_SLOTS_EJECT, 2, 1);
	bus_write(&bus, BASE + ACPI_SLOTS_EJECT - 1, 4, 0xffffffff);
	bus_write(&bus, BASE + ACPI_SLOTS_ANSWER + 3, 4, 0xffffffff); /* over the end */
	assert_int_equal(bus_read(&bus, BASE, 1), 0xff);
	assert_int_equal(bus_read(&bus, BASE + 2, 4), 0xffffffff);
	assert_int_equal(ejected | refused, 0);
	expect(1, 1, 1);
	/* one of 8 bytes is two of 4 */
	bus_write(&bus, BASE, 8, 0xffffffffffffffff);
	expect(0, 0, 1);
}

static void a_reset_tells_what_was_asked_for(void **state)
{
	(void)state;
	acpi_slots_ask(&slots, 7);
	acpi_slots_arrive(&slots, 8);
	assert_int_equal(acpi_slots_reset(&slots), 1u << 7);
	expect(0, 0, 0);
	assert_int_equal(acpi_slots_reset(&slots), 0);
}

/* Whatever a guest writes: it gives back what it was asked for, once, and nothing else. */
static void any_writes(void **state)
{
	uint32_t leaving = 0;

	(void)state;
	srand(1);
	for (unsigned i = 0; i < 100000; i++) {
		unsigned slot = (unsigned)rand() % ACPI_SLOTS_MAX, reg = (unsigned)rand() % 16;
		unsigned size = 1u << rand() % 4;

		if (rand() % 4 == 0) {
			acpi_slots_ask(&slots, slot);
			leaving |= 1u << slot;
		}
		bus_write(&bus, BASE + reg, size, (uint64_t)rand() << 32 | (unsigned)rand());
		assert_int_equal((ejected | refused) & ~leaving, 0);
		leaving &= ~(ejected | refused);
		ejected = refused = 0;
		assert_int_equal(get(ACPI_SLOTS_EJECT), leaving);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_has_come_is_told_once),       T(what_is_asked_for_is_given_back_once),
		T(a_refusal_ends_the_asking),        T(other_accesses_do_nothing),
		T(a_reset_tells_what_was_asked_for), T(any_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
