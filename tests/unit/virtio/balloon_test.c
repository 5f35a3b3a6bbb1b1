/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon (virtio 1.2, 5.5): what it gives back reads as zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "transport_rig.h"
#include "virtio/balloon.h"

#define AREA    0x10000u
#define NUMBERS 0x30000u
#define PAGES   0x300000u /* full of ones */
#define COUNT   16u

static struct transport_rig rig;
static struct virtio_balloon balloon;
static struct driver driver;

static int setup(void **state)
{
	const struct virtio_balloon_config config = {64 << 20, true, true};

	(void)state;
	vrig_make(&rig, true, false);
	virtio_balloon_init(&balloon, &rig.mem, &config);
	vrig_connect(&rig, &balloon.device);
	driver_init(&driver, &rig.mem, false, 8, AREA);
	vrig_start(&rig, 0, &driver);
	memset(mem_ptr_rw(&rig.mem, PAGES, COUNT << 12), 0xff, COUNT << 12);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_release(&rig);
	virtio_balloon_release(&balloon);
	return 0;
}

/* Which of the pages are still full of ones, as bits; each is so whole or not at all. */
static unsigned full(void)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		const uint8_t *p = mem_ptr(&rig.mem, PAGES + (i << 12), 4096);

		for (unsigned b = 1; b < 4096; b++)
			assert_int_equal(p[b], p[0]);
		bits |= p[0] ? 1u << i : 0;
	}
	return bits;
}

static void inflate(const uint32_t *numbers, unsigned count, bool write)
{
	const struct driver_buffer b = {NUMBERS, count * 4, write};
	uint32_t written;

	memcpy(mem_ptr_rw(&rig.mem, NUMBERS, count * 4), numbers, count * 4);
	driver_add(&driver, &b, 1, false);
	vrig_notify(&rig, 0);
	driver_get_used(&driver, &written);
}

static void pages_are_given_back(void **state)
{
	const uint32_t first = PAGES >> 12;
	/* upwards, downwards, twice, and what is no RAM among it */
	const uint32_t numbers[] = {first,     first + 1, 0xffffffffu,    first + 7,
				    first + 6, first + 6, VRIG_RAM >> 12, first + 12};

	(void)state;
	inflate(numbers, 8, false);
	assert_int_equal(full(), 0xffff & ~(1u << 0 | 1u << 1 | 1u << 6 | 1u << 7 | 1u << 12));
	assert_int_equal(balloon.ignored, 2);
	assert_int_equal(balloon.returned, 6 * 4096);
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

/* Pages up to the end of RAM and beyond it, in one run. */
static void a_run_that_leaves_ram(void **state)
{
	const uint32_t last = VRIG_RAM >> 12;
	const uint32_t numbers[] = {last - 2, last - 1, last, last + 1};

	(void)state;
	inflate(numbers, 4, false);
	assert_int_equal(balloon.returned, 2 * 4096);
	assert_int_equal(balloon.ignored, 2);
}

static void numbers_that_cannot_be_read_break_it(void **state)
{
	const uint32_t number = PAGES >> 12;

	(void)state;
	inflate(&number, 1, true);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	assert_int_equal(full(), 0xffff);
}

static void what_is_reported_is_given_back(void **state)
{
	const struct driver_buffer b[] = {{PAGES + 0x1800, 0x2800, true},
					  {PAGES + 0x8000, 0x2000, true}};
	struct virtq_place place = {8, AREA + 0x4000, AREA + 0x5000, AREA + 0x6000};
	struct driver reports;
	uint32_t written;

	(void)state;
	driver_init(&reports, &rig.mem, false, 8, AREA + 0x8000);
	place = (struct virtq_place){8, reports.desc, reports.driver, reports.device};
	vrig_place_queue(&rig, 2, &place);
	vrig_enable_queue(&rig, 2);
	driver_add(&reports, b, 2, false);
	vrig_notify(&rig, 2);
	assert_true(driver_get_used(&reports, &written) >= 0);
	assert_int_equal(written, 0);
	assert_int_equal(full(), 0xffff & ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 9));
}

static void it_asks_and_is_told(void **state)
{
	unsigned generation = vrig_generation(&rig);

	(void)state;
	assert_int_equal(vrig_config_read(&rig, 0, 4), (64 << 20) >> 12);
	vrig_config_write(&rig, 4, 4, 1000);
	vrig_config_write(&rig, 0, 4, 1000); /* not the driver's to write */
	assert_int_equal(virtio_balloon_actual(&balloon), 1000 << 12);
	pthread_mutex_lock(&balloon.device.lock);
	virtio_balloon_resize(&balloon, 32 << 20);
	pthread_mutex_unlock(&balloon.device.lock);
	assert_int_equal(vrig_config_read(&rig, 0, 4), (32 << 20) >> 12);
	assert_true(vrig_generation(&rig) != generation);
	vrig_set_status(&rig, 0);
	assert_int_equal(virtio_balloon_actual(&balloon), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_are_given_back),
		TEST(a_run_that_leaves_ram),
		TEST(numbers_that_cannot_be_read_break_it),
		TEST(what_is_reported_is_given_back),
		TEST(it_asks_and_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
