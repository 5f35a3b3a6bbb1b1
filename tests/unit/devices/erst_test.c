/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ERST device against ACPI 6.4, 18.5: the test is an interpreter of the serialization
 * instructions, and does with them what an operating system does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/bus.h"
#include "devices/acpi/erst.h"

#define BASE 0xc0008000ULL

static struct bus mmio;
static struct erst *erst;
static struct erst_instruction table[ERST_INSTRUCTIONS_MAX];
static unsigned entries;
static unsigned told;
static size_t told_len;
static uint8_t told_bytes[ERST_BUFFER_SIZE];

static void on_record(void *opaque, const uint8_t *record, size_t len)
{
	(void)opaque;
	told++;
	told_len = len;
	memcpy(told_bytes, record, len);
}

static int setup(void **state)
{
	(void)state;
	told = 0;
	erst = malloc(sizeof(*erst));
	memset(erst, 0xa5, sizeof(*erst)); /* init leaves nothing to chance */
	bus_init(&mmio, "mmio", BIT(46));
	erst_init(erst, on_record, NULL);
	bus_add(&mmio, BASE, ERST_SIZE, &erst_ops, erst, &erst->lock, NULL);
	entries = erst_instructions(BASE, table);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	erst_release(erst);
	bus_release(&mmio);
	free(erst);
	return 0;
}

/* Runs an action's instructions on value, the interpreter's accumulator. */
static uint64_t run(uint8_t action, uint64_t value)
{
	unsigned steps = 0;

	for (unsigned i = 0; i < entries; i++) {
		const struct erst_instruction *in = &table[i];
		unsigned size = in->reg_width / 8;

		if (in->action != action)
			continue;
		steps++;
		switch (in->instruction) {
		case ERST_READ_REGISTER:
			value = bus_read(&mmio, in->reg, size) & in->mask;
			break;
		case ERST_READ_REGISTER_VALUE:
			value = (bus_read(&mmio, in->reg, size) & in->mask) == in->value;
			break;
		case ERST_WRITE_REGISTER:
			bus_write(&mmio, in->reg, size, value & in->mask);
			break;
		case ERST_WRITE_REGISTER_VALUE:
			value = in->value;
			bus_write(&mmio, in->reg, size, value & in->mask);
			break;
		default:
			fail();
		}
	}
	assert_int_not_equal(steps, 0);
	return value;
}

static unsigned execute(void)
{
	run(ERST_EXECUTE, 0);
	assert_int_equal(run(ERST_CHECK_BUSY, 0), 0);
	return run(ERST_GET_STATUS, 0);
}

static unsigned write_at(uint64_t offset)
{
	unsigned status;

	run(ERST_BEGIN_WRITE, 0);
	run(ERST_SET_RECORD_OFFSET, offset);
	status = execute();
	run(ERST_END, 0);
	return status;
}

static unsigned read_to(uint64_t offset, uint64_t id)
{
	unsigned status;

	run(ERST_BEGIN_READ, 0);
	run(ERST_SET_RECORD_OFFSET, offset);
	run(ERST_SET_RECORD_ID, id);
	status = execute();
	run(ERST_END, 0);
	return status;
}

static unsigned clear(uint64_t id)
{
	unsigned status;

	run(ERST_BEGIN_CLEAR, 0);
	run(ERST_SET_RECORD_ID, id);
	status = execute();
	run(ERST_END, 0);
	return status;
}

static uint64_t buffer(void)
{
	return run(ERST_GET_RANGE, 0);
}

/* Puts a record into the exchange buffer; its bytes after the header are made of its id. */
static void put_record(uint64_t offset, uint64_t id, uint32_t len)
{
	uint8_t header[128] = "CPER";

	store_le(header + 20, 4, len);
	store_le(header + 96, 8, id);
	for (unsigned i = 0; i < sizeof(header) && offset + i < ERST_BUFFER_SIZE; i++)
		bus_write(&mmio, buffer() + offset + i, 1, header[i]);
	for (unsigned i = sizeof(header); i < len && offset + i < ERST_BUFFER_SIZE; i++)
		bus_write(&mmio, BASE + ERST_BUFFER + offset + i, 1, (id * 7 + i) & 0xff);
}

static void check_record(uint64_t offset, uint64_t id, uint32_t len)
{
	assert_int_equal(bus_read(&mmio, buffer() + offset, 4), 0x52455043);
	assert_int_equal(bus_read(&mmio, buffer() + offset + 20, 4), len);
	assert_int_equal(bus_read(&mmio, buffer() + offset + 96, 8), id);
	for (unsigned i = 128; i < len; i++)
		assert_int_equal(bus_read(&mmio, BASE + ERST_BUFFER + offset + i, 1),
				 (id * 7 + i) & 0xff);
}

static void the_table_is_well_formed(void **state)
{
	(void)state;
	assert_in_range(entries, 1, ERST_INSTRUCTIONS_MAX);
	for (unsigned i = 0; i < entries; i++) {
		const struct erst_instruction *in = &table[i];

		assert_true(in->reg_width == 32 || in->reg_width == 64);
		assert_in_range(in->reg, BASE, BASE + ERST_BUFFER - 8);
		assert_int_equal(in->reg % 8, 0);
		assert_int_equal(in->flags, 0);
		assert_int_equal(in->mask, MASK(in->reg_width));
	}
}

static void the_error_log_range(void **state)
{
	(void)state;
	assert_int_equal(run(ERST_GET_RANGE, 0), BASE + ERST_BUFFER);
	assert_int_equal(run(ERST_GET_RANGE_LENGTH, 0), ERST_BUFFER_SIZE);
	assert_int_equal(run(ERST_GET_RANGE_ATTRIBUTES, 0), 0);
	assert_int_equal(run(ERST_GET_TIMINGS, 0) >> 32, 1000);
	bus_write(&mmio, BASE + ERST_BUFFER + 3, 8, 0x1122334455667788);
	assert_int_equal(bus_read(&mmio, BASE + ERST_BUFFER + 3, 8), 0x1122334455667788);
	bus_write(&mmio, BASE + ERST_SIZE - 1, 1, 0x99);
	assert_int_equal(bus_read(&mmio, BASE + ERST_SIZE - 1, 1), 0x99);
	/* between the registers and the buffer is nothing */
	bus_write(&mmio, BASE + ERST_BUFFER - 4, 8, UINT64_MAX);
	assert_int_equal(bus_read(&mmio, BASE + ERST_BUFFER - 4, 8), 0);
}

static void an_empty_store(void **state)
{
	(void)state;
	assert_int_equal(run(ERST_GET_RECORD_COUNT, 0), 0);
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), UINT64_MAX);
	assert_int_equal(read_to(0, 0), ERST_STORE_EMPTY);
	assert_int_equal(read_to(0, 5), ERST_STORE_EMPTY);
	assert_int_equal(clear(5), ERST_STORE_EMPTY);
	run(ERST_END, 0);
	assert_int_equal(execute(), ERST_FAILED); /* no operation has begun */
	run(ERST_BEGIN_DUMMY_WRITE, 0);
	assert_int_equal(execute(), ERST_SUCCESS);
	assert_int_equal(told, 0);
}

static void records_are_kept(void **state)
{
	(void)state;
	put_record(0, 77, 300);
	assert_int_equal(write_at(0), ERST_SUCCESS);
	assert_int_equal(told, 1);
	assert_int_equal(told_len, 300);
	assert_int_equal(load_le(told_bytes + 96, 8), 77);
	put_record(1000, 78, ERST_BUFFER_SIZE - 1000);
	assert_int_equal(write_at(1000), ERST_SUCCESS);
	assert_int_equal(run(ERST_GET_RECORD_COUNT, 0), 2);
	put_record(0, 1, ERST_BUFFER_SIZE); /* scribbles over the buffer */
	assert_int_equal(read_to(16, 77), ERST_SUCCESS);
	check_record(16, 77, 300);
	assert_int_equal(read_to(0, 78), ERST_SUCCESS);
	check_record(0, 78, ERST_BUFFER_SIZE - 1000);
	assert_int_equal(read_to(0, 79), ERST_RECORD_NOT_FOUND);
	/* no room behind the offset */
	assert_int_equal(read_to(1001, 78), ERST_FAILED);
	assert_int_equal(read_to(UINT64_MAX, 78), ERST_FAILED);
	/* identifier 0 means the first, wherever the stepping through is */
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), 77);
	assert_int_equal(read_to(0, 0), ERST_SUCCESS);
	check_record(0, 77, 300);
	/* the same identifier is written over */
	put_record(0, 77, 200);
	assert_int_equal(write_at(0), ERST_SUCCESS);
	assert_int_equal(run(ERST_GET_RECORD_COUNT, 0), 2);
	assert_int_equal(read_to(0, 77), ERST_SUCCESS);
	check_record(0, 77, 200);
}

static void identifiers_are_stepped_through(void **state)
{
	(void)state;
	for (unsigned id = 10; id < 13; id++) {
		put_record(0, id, 128);
		assert_int_equal(write_at(0), ERST_SUCCESS);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned id = 10; id < 13; id++)
			assert_int_equal(run(ERST_GET_RECORD_ID, 0), id);
		assert_int_equal(run(ERST_GET_RECORD_ID, 0), UINT64_MAX);
	}
	assert_int_equal(clear(11), ERST_SUCCESS);
	assert_int_equal(clear(11), ERST_RECORD_NOT_FOUND);
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), 10);
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), 12);
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), UINT64_MAX);
	assert_int_equal(run(ERST_GET_RECORD_COUNT, 0), 2);
}

static void a_full_store_still_tells(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= ERST_RECORDS_MAX; i++) {
		put_record(0, i, 150);
		assert_int_equal(write_at(0), ERST_SUCCESS);
	}
	put_record(0, 99, 150);
	assert_int_equal(write_at(0), ERST_NOT_ENOUGH_SPACE);
	assert_int_equal(told, ERST_RECORDS_MAX + 1);
	assert_int_equal(run(ERST_GET_RECORD_COUNT, 0), ERST_RECORDS_MAX);
	put_record(0, 3, 151); /* over one that is there */
	assert_int_equal(write_at(0), ERST_SUCCESS);
	assert_int_equal(clear(5), ERST_SUCCESS);
	put_record(0, 99, 150);
	assert_int_equal(write_at(0), ERST_SUCCESS);
	assert_int_equal(read_to(0, 99), ERST_SUCCESS);
	check_record(0, 99, 150);
}

static void records_that_are_none_fail(void **state)
{
	(void)state;
	put_record(0, 5, 127); /* shorter than its header */
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(0, 5, ERST_BUFFER_SIZE + 1);
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(0, 5, 0xffffffff);
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(0, 0, 200);
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(0, UINT64_MAX, 200);
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(0, 5, 200);
	bus_write(&mmio, BASE + ERST_BUFFER, 1, 'X');
	assert_int_equal(write_at(0), ERST_FAILED);
	put_record(ERST_BUFFER_SIZE - 127, 5, 128);
	assert_int_equal(write_at(ERST_BUFFER_SIZE - 127), ERST_FAILED);
	assert_int_equal(write_at(ERST_BUFFER_SIZE), ERST_FAILED);
	assert_int_equal(write_at(UINT64_MAX), ERST_FAILED);
	assert_int_equal(told, 0);
	put_record(ERST_BUFFER_SIZE - 128, 5, 128);
	assert_int_equal(write_at(ERST_BUFFER_SIZE - 128), ERST_SUCCESS);
}

static void records_outlive_a_reset(void **state)
{
	(void)state;
	put_record(0, 42, 500);
	write_at(0);
	run(ERST_BEGIN_WRITE, 0);
	erst_reset(erst);
	assert_int_equal(execute(), ERST_FAILED);
	assert_int_equal(bus_read(&mmio, buffer(), 8), 0);
	assert_int_equal(run(ERST_GET_RECORD_ID, 0), 42);
	assert_int_equal(read_to(0, 42), ERST_SUCCESS);
	check_record(0, 42, 500);
}

static void a_register_in_two_accesses(void **state)
{
	(void)state;
	put_record(0, 0x1122334455667788, 128);
	write_at(0);
	/* a 32-bit guest: the halves of the id register, and of the command's */
	for (unsigned i = 0; i < entries; i++) {
		if (table[i].action != ERST_SET_RECORD_ID)
			continue;
		bus_write(&mmio, table[i].reg, 4, 0x55667788);
		bus_write(&mmio, table[i].reg + 4, 4, 0x11223344);
	}
	run(ERST_BEGIN_CLEAR, 0);
	assert_int_equal(execute(), ERST_SUCCESS);
	run(ERST_BEGIN_DUMMY_WRITE, 0);
	bus_write(&mmio, BASE + 4, 4, 0); /* the command's upper half: no ERST_BEGIN_WRITE */
	told = 0;
	assert_int_equal(execute(), ERST_SUCCESS);
	assert_int_equal(told, 0);
	/* unknown commands */
	bus_write(&mmio, BASE, 4, 0x1234);
	bus_write(&mmio, BASE, 4, 0xc);
	assert_int_equal(execute(), ERST_SUCCESS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_table_is_well_formed),
		TEST(the_error_log_range),
		TEST(an_empty_store),
		TEST(records_are_kept),
		TEST(identifiers_are_stepped_through),
		TEST(a_full_store_still_tells),
		TEST(records_that_are_none_fail),
		TEST(records_outlive_a_reset),
		TEST(a_register_in_two_accesses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
