/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon (virtio 1.2, 5.5): what it gives back reads as zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/time.h"
#include "transport_rig.h"
#include "virtio/balloon.h"

#define AREA    0x10000u
#define NUMBERS 0x30000u
#define PAGES   0x300000u /* full of ones */
#define COUNT   16u

#define STATS     BIT(1)
#define HINTS     BIT(3)
#define POISON    BIT(4)
#define REPORTING BIT(5)

static struct transport_rig rig;
static struct virtio_balloon balloon;
static struct clock guest;
static struct driver driver;

static int setup(void **state)
{
	const struct virtio_balloon_config config = {.size = 64 << 20,
						     .deflate_on_oom = true,
						     .reporting = true,
						     .hinting = true,
						     .stats_s = 10,
						     .clock = &guest};

	(void)state;
	clock_init_manual(&guest);
	vrig_make(&rig, true, false);
	virtio_balloon_init(&balloon, &rig.mem, &config);
	vrig_connect(&rig, &balloon.device);
	driver_init(&driver, &rig.mem, false, 8, AREA);
	vrig_start(&rig, STATS | HINTS | POISON | REPORTING, &driver);
	memset(mem_ptr_rw(&rig.mem, PAGES, COUNT << 12), 0xff, COUNT << 12);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_release(&rig);
	virtio_balloon_release(&balloon);
	clock_release(&guest);
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

/* A driver of further queues. */
static void add_queue(struct driver *d, unsigned queue, unsigned n)
{
	struct virtq_place place;

	driver_init(d, &rig.mem, false, 8, AREA + 0x8000 * n);
	place = (struct virtq_place){8, d->desc, d->driver, d->device};
	vrig_place_queue(&rig, queue, &place);
	vrig_enable_queue(&rig, queue);
}

static void what_is_reported_is_given_back(void **state)
{
	const struct driver_buffer b[] = {{PAGES + 0x1800, 0x2800, true},
					  {PAGES + 0x8000, 0x2000, true}};
	struct driver reports;
	uint32_t written;

	(void)state;
	add_queue(&reports, 4, 1);
	driver_add(&reports, b, 2, false);
	vrig_notify(&rig, 4);
	assert_true(driver_get_used(&reports, &written) >= 0);
	assert_int_equal(written, 0);
	assert_int_equal(full(), 0xffff & ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 9));
}

/* Tags and values, as a driver's buffer has them. */
static void give_stats(struct driver *d, unsigned queue, const uint64_t (*stats)[2], unsigned count)
{
	const struct driver_buffer b = {NUMBERS, count * 10, false};

	for (unsigned i = 0; i < count; i++) {
		uint8_t *p = mem_ptr_rw(&rig.mem, NUMBERS + i * 10, 10);

		store_le(p, 2, stats[i][0]);
		store_le(p + 2, 8, stats[i][1]);
	}
	driver_add(d, &b, 1, false);
	vrig_notify(&rig, queue);
}

/* 5.5.6.3: the buffer stays with the device until it wants new ones. */
static void statistics_are_asked_for(void **state)
{
	static const uint64_t first[][2] = {{4, 1000}, {5, 2000}, {99, 1}},
			      second[][2] = {{5, 3000}, {15, 7}};
	struct driver stats;
	uint32_t written;

	(void)state;
	add_queue(&stats, 2, 1);
	give_stats(&stats, 2, first, 3);
	assert_int_equal(balloon.stats.known, 1 << BALLOON_FREE | 1 << BALLOON_TOTAL);
	assert_int_equal(balloon.stats.value[BALLOON_FREE], 1000);
	clock_advance(&guest, 9 * NS_PER_SEC);
	assert_int_equal(driver_get_used(&stats, &written), -1);
	clock_advance(&guest, NS_PER_SEC);
	assert_true(driver_get_used(&stats, &written) >= 0);
	assert_null(guest.first); /* nobody is woken for a guest that does not answer */
	give_stats(&stats, 2, second, 2);
	assert_int_equal(balloon.stats.known, 1 << BALLOON_TOTAL | 1 << BALLOON_DIRECT_RECLAIMS);
	assert_int_equal(balloon.stats.value[BALLOON_TOTAL], 3000);
	pthread_mutex_lock(&balloon.device.lock);
	assert_true(virtio_balloon_poll(&balloon, 1));
	pthread_mutex_unlock(&balloon.device.lock);
	assert_true(driver_get_used(&stats, &written) >= 0);
	give_stats(&stats, 2, first, 3);
	clock_advance(&guest, NS_PER_SEC);
	assert_true(driver_get_used(&stats, &written) >= 0);
	give_stats(&stats, 2, first, 3);
	vrig_set_status(&rig, 0);
	assert_null(guest.first);
	assert_int_equal(balloon.stats.known, 0);
	clock_advance(&guest, 100 * NS_PER_SEC);
}

static void a_second_buffer_for_statistics_breaks_it(void **state)
{
	static const uint64_t some[][2] = {{4, 1000}};
	struct driver stats;

	(void)state;
	add_queue(&stats, 2, 1);
	give_stats(&stats, 2, some, 1);
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	give_stats(&stats, 2, some, 1);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

static void command(struct driver *d, unsigned queue, uint32_t number)
{
	const struct driver_buffer b = {NUMBERS, 4, false};
	uint32_t written;

	store_le(mem_ptr_rw(&rig.mem, NUMBERS, 4), 4, number);
	driver_add(d, &b, 1, false);
	vrig_notify(&rig, queue);
	assert_true(driver_get_used(d, &written) >= 0);
}

static void hint(struct driver *d, unsigned queue, unsigned page)
{
	const struct driver_buffer b = {PAGES + (page << 12), 4096, true};
	uint32_t written;

	driver_add(d, &b, 1, false);
	vrig_notify(&rig, queue);
	assert_true(driver_get_used(d, &written) >= 0);
}

static void ask_for_hints(bool acknowledge)
{
	pthread_mutex_lock(&balloon.device.lock);
	assert_true(virtio_balloon_hint(&balloon, acknowledge));
	pthread_mutex_unlock(&balloon.device.lock);
}

/* 5.5.6.6: only what belongs to the run that was asked for. */
static void hints_are_given_back(void **state)
{
	struct driver hints;

	(void)state;
	add_queue(&hints, 3, 1);
	hint(&hints, 3, 0);
	command(&hints, 3, 2);
	hint(&hints, 3, 1);
	assert_int_equal(full(), 0xffff);
	ask_for_hints(true);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 2);
	command(&hints, 3, 2);
	hint(&hints, 3, 2);
	hint(&hints, 3, 3);
	command(&hints, 3, 0);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 1);
	hint(&hints, 3, 4);
	ask_for_hints(false);
	hint(&hints, 3, 5); /* of no run */
	command(&hints, 3, 3);
	hint(&hints, 3, 6);
	command(&hints, 3, 0);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 3);
	vrig_config_write(&rig, 8, 4, 77);
	vrig_config_write(&rig, 6, 4, 77 << 16); /* of two fields */
	vrig_config_write(&rig, 7, 2, 77 << 8);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 3);
	pthread_mutex_lock(&balloon.device.lock);
	assert_true(virtio_balloon_stop_hints(&balloon));
	pthread_mutex_unlock(&balloon.device.lock);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 1);
	assert_int_equal(full(), 0xffff & ~(1u << 2 | 1u << 3 | 1u << 6));
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

/* 5.5.6.7: a pattern in the free pages must be found again. */
static void poisoned_pages_stay(void **state)
{
	struct driver hints;

	(void)state;
	add_queue(&hints, 3, 1);
	vrig_config_write(&rig, 12, 4, 0xaaaaaaaa);
	ask_for_hints(true);
	command(&hints, 3, 2);
	hint(&hints, 3, 2);
	assert_int_equal(full(), 0xffff);
	vrig_config_write(&rig, 12, 4, 0);
	hint(&hints, 3, 2);
	assert_int_equal(full(), 0xffff & ~(1u << 2));
}

/* Linux counts the queues that it uses: without statistics and hints, reports come third. */
static void queues_that_are_counted(void **state)
{
	const struct driver_buffer b = {PAGES, 4096, true};
	struct driver reports;
	uint32_t written;

	(void)state;
	driver_init(&driver, &rig.mem, false, 8, AREA);
	vrig_start(&rig, REPORTING, &driver);
	add_queue(&reports, 2, 1);
	driver_add(&reports, &b, 1, false);
	vrig_notify(&rig, 2);
	assert_true(driver_get_used(&reports, &written) >= 0);
	assert_int_equal(full(), 0xffff & ~1u);
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
		TEST(statistics_are_asked_for),
		TEST(a_second_buffer_for_statistics_breaks_it),
		TEST(hints_are_given_back),
		TEST(poisoned_pages_stay),
		TEST(queues_that_are_counted),
		TEST(it_asks_and_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
