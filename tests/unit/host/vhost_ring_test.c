/* SPDX-License-Identifier: Apache-2.0 */
/* A ring whose other end lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "host/vhost_ring.h"

#define ADDR 0x8000000000000ULL

static struct vhost_ring ring;
static uint8_t *bytes;
static uint16_t shown;

static int setup(void **state)
{
	(void)state;
	bytes = aligned_alloc(4096, VHOST_RING_BYTES);
	assert_non_null(bytes);
	memset(bytes, 0xee, VHOST_RING_BYTES);
	vhost_ring_init(&ring, bytes, ADDR);
	vhost_ring_reset(&ring);
	shown = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(bytes);
	return 0;
}

static unsigned add(void)
{
	const struct vhost_segment s = {0x1000, 8};
	unsigned slot = vhost_ring_free_slot(&ring);

	vhost_ring_add(&ring, slot, &s, 0, 1);
	return slot;
}

static void use(uint32_t id, uint32_t len)
{
	uint8_t *entry = bytes + VHOST_RING_USED + 4 + shown % VHOST_RING_SIZE * 8;

	store_le(entry, 4, id);
	store_le(entry + 4, 4, len);
	store_le(bytes + VHOST_RING_USED + 2, 2, ++shown);
}

static void expect(unsigned slot, uint32_t len)
{
	unsigned got;
	uint32_t written;

	assert_int_equal(vhost_ring_next(&ring, &got, &written), 1);
	assert_int_equal(got, slot);
	assert_int_equal(written, len);
}

static void refused(void)
{
	unsigned slot;
	uint32_t written;

	assert_int_equal(vhost_ring_next(&ring, &slot, &written), -EPROTO);
}

/* 2.7.5, 2.7.6: as a daemon reads it. */
static void the_form_of_a_buffer(void **state)
{
	const struct vhost_segment s[] = {{0x1000, 40}, {0x123456789000, 16}, {0x3000, 1}};
	const uint8_t *table = bytes + VHOST_RING_TABLES + 5 * VHOST_RING_TABLE;
	const uint8_t *desc = bytes + VHOST_RING_DESC + 5 * 16;

	(void)state;
	vhost_ring_add(&ring, 5, s, 2, 1);
	assert_int_equal(load_le(desc, 8), ADDR + (uint64_t)(table - bytes));
	assert_int_equal(load_le(desc + 8, 4), 48);
	assert_int_equal(load_le(desc + 12, 2), 4);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(load_le(table + i * 16, 8), s[i].gpa);
		assert_int_equal(load_le(table + i * 16 + 8, 4), s[i].len);
		assert_int_equal(load_le(table + i * 16 + 12, 2), i == 2 ? 2 : 1);
	}
	assert_int_equal(load_le(table + 14, 2), 1);
	assert_int_equal(load_le(bytes + VHOST_RING_AVAIL, 2), 0);
	assert_int_equal(load_le(bytes + VHOST_RING_AVAIL + 2, 2), 1);
	assert_int_equal(load_le(bytes + VHOST_RING_AVAIL + 4, 2), 5);
	assert_true(vhost_ring_wants_kick(&ring));
}

/* More often than indices have values, full most of the time, used in another order. */
static void it_goes_round(void **state)
{
	unsigned slots[VHOST_RING_SIZE];

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < VHOST_RING_SIZE; i++)
			slots[i] = add();
		for (unsigned i = 0; i < VHOST_RING_SIZE; i++)
			use(slots[(i * 37 + round) % VHOST_RING_SIZE], i);
		for (unsigned i = 0; i < VHOST_RING_SIZE; i++)
			expect(slots[(i * 37 + round) % VHOST_RING_SIZE], i);
		assert_int_equal(ring.under_way, 0);
	}
}

static void what_cannot_be(void **state)
{
	static const uint32_t ids[] = {1, 63, 64, 255, 256, 4096, 0x10000, UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		assert_int_equal(add(), 0);
		use(ids[i], 0);
		refused();
		teardown(NULL);
		setup(NULL);
	}
	add();
	add();
	use(1, 0);
	use(1, 0); /* twice */
	expect(1, 0);
	refused();
	teardown(NULL);
	setup(NULL);
	use(0, 0); /* nothing is under way */
	refused();
	teardown(NULL);
	setup(NULL);
	add();
	shown = 1;
	use(0, 0); /* an index that is one ahead; one that went back */
	refused();
	store_le(bytes + VHOST_RING_USED + 2, 2, UINT16_MAX);
	refused();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_form_of_a_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(it_goes_round, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
