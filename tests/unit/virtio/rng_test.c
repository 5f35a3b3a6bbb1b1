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
	virtio_rng_init(&rng, &rig.mem, count);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_an_entropy_device, setup, teardown),
		cmocka_unit_test_setup_teardown(buffers_are_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(a_huge_buffer_gets_a_portion, setup, teardown),
		cmocka_unit_test_setup_teardown(readable_buffers_break_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
