/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (virtio 1.2, 5.4), with bytes that the test knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "transport_rig.h"
#include "virtio/rng.h"

#define AREA 0x10000u
#define DATA 0x300000u

static struct transport_rig rig;
static struct virtio_rng rng;
static struct driver driver;
static uint8_t next;
static struct clock guest;

static void count(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = next++;
}

static int setup(void **state)
{
	(void)state;
	next = 1;
	vrig_make(&rig, true, false);
	clock_init_manual(&guest);
	virtio_rng_init(&rng, &rig.mem, count, &guest);
	vrig_connect(&rig, &rng.device);
	driver_init(&driver, &rig.mem, false, 8, AREA);
	vrig_start(&rig, 0, &driver);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_release(&rig);
	virtio_rng_release(&rng);
	return 0;
}

static void it_is_an_entropy_device(void **state)
{
	(void)state;
	assert_int_equal(vrig_pci_read(&rig, PCI_DEVICE_ID, 2), 0x1044);
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 18, 2), 1);
	assert_true(vrig_features(&rig) & VIRTIO_F_IN_ORDER);
}

static void buffers_are_filled(void **state)
{
	const struct driver_buffer b[] = {{DATA, 3, true}, {DATA + 0x100, 600, true}};
	const uint8_t *bytes = mem_ptr(&rig.mem, DATA, 0x1000);
	uint32_t written;

	(void)state;
	driver_add(&driver, b, 2, false);
	vrig_notify(&rig, 0);
	assert_true(driver_get_used(&driver, &written) >= 0);
	assert_int_equal(written, 603);
	for (unsigned i = 0; i < 603; i++)
		assert_int_equal(bytes[i < 3 ? i : 0x100 + i - 3], (i + 1) & 0xff);
	assert_int_equal(bytes[3], 0);
	assert_int_equal(bytes[0x100 + 600], 0);
	assert_int_equal(rig.edges, 1);
}

/* A device may use less than a whole buffer, and says so. */
static void a_huge_buffer_gets_a_portion(void **state)
{
	const struct driver_buffer b = {DATA, 0x80000, true};
	uint32_t written;

	(void)state;
	driver_add(&driver, &b, 1, false);
	vrig_notify(&rig, 0);
	assert_true(driver_get_used(&driver, &written) >= 0);
	assert_in_range(written, 256, 0x7ffff);
	assert_int_equal(*(const uint8_t *)mem_ptr(&rig.mem, DATA + written, 1), 0);
}

static void readable_buffers_break_it(void **state)
{
	const struct driver_buffer b[] = {{DATA, 3, false}, {DATA + 0x100, 600, true}};

	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		driver_init(&driver, &rig.mem, false, 8, AREA);
		vrig_start(&rig, 0, &driver);
		driver_add(&driver, b, n, false);
		vrig_notify(&rig, 0);
		assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	}
	assert_int_equal(next, 1);
}

static bool got(uint32_t expected)
{
	uint32_t written;

	if (driver_get_used(&driver, &written) < 0)
		return false;
	assert_int_equal(written, expected);
	return true;
}

/* A buffer that the limiter does not let pass is filled when there is time for it, and nothing
 * overtakes it. */
static void a_limit_makes_buffers_wait(void **state)
{
	const struct limiter_config limits = {.bandwidth = {.size = 100, .refill_ms = 10}};
	const struct driver_buffer b[] = {{DATA, 60, true}, {DATA, 50, true}, {DATA, 10, true}};

	(void)state;
	virtio_rng_limit(&rng, &limits);
	for (unsigned i = 0; i < 3; i++)
		driver_add(&driver, &b[i], 1, false);
	vrig_notify(&rig, 0);
	assert_true(got(60));
	assert_false(got(0));
	vrig_notify(&rig, 0);
	clock_advance(&guest, 999999);
	assert_false(got(0));
	clock_advance(&guest, 1);
	assert_true(got(50));
	assert_false(got(0));
	clock_advance(&guest, 1000000);
	assert_true(got(10));
	assert_false(got(0));
}

static void a_reset_forgets_what_waits(void **state)
{
	const struct limiter_config limits = {.ops = {.size = 1, .refill_ms = 10}};
	const struct driver_buffer b = {DATA, 60, true};

	(void)state;
	virtio_rng_limit(&rng, &limits);
	driver_add(&driver, &b, 1, false);
	driver_add(&driver, &b, 1, false);
	vrig_notify(&rig, 0);
	assert_true(got(60));
	pthread_mutex_lock(&rng.device.lock);
	virtio_reset(&rng.device);
	pthread_mutex_unlock(&rng.device.lock);
	clock_advance(&guest, 100000000);
	assert_int_equal(next, (uint8_t)257);
	driver_init(&driver, &rig.mem, false, 8, AREA);
	vrig_start(&rig, 0, &driver);
	driver_add(&driver, &b, 1, false);
	vrig_notify(&rig, 0);
	assert_true(got(60));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_an_entropy_device, setup, teardown),
		cmocka_unit_test_setup_teardown(buffers_are_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(a_huge_buffer_gets_a_portion, setup, teardown),
		cmocka_unit_test_setup_teardown(readable_buffers_break_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_makes_buffers_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset_forgets_what_waits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
