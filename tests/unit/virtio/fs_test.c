/* SPDX-License-Identifier: Apache-2.0 */
/* The file system device (virtio 1.2, 5.11), with a daemon that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../host/vhost_rig.h"
#include "transport_rig.h"
#include "virtio/fs.h"

#define AREA     0x10000u
#define HIPRIO   0x40000u
#define REQUEST  0x300000u
#define ANSWER   0x310000u
#define REQUESTS 1u

static struct transport_rig rig;
static struct vdaemon daemon_;
static struct vhost_user *front;
static struct virtio_fs *fs;
static struct driver driver, hiprio;
static unsigned losses;
/* What was written by devices, of the pages from ANSWER on; and the used index at that time. */
static uint64_t reported;
static uint64_t used_then;

static void on_lost(void *opaque, const char *why)
{
	(void)opaque;
	assert_non_null(why);
	__atomic_fetch_add(&losses, 1, __ATOMIC_RELEASE);
}

static void on_written(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	if (gpa < ANSWER || gpa >= ANSWER + 64 * GUEST_PAGE_SIZE)
		return;
	for (uint64_t at = gpa; at < gpa + len; at += GUEST_PAGE_SIZE)
		reported |= BIT((at - ANSWER) / GUEST_PAGE_SIZE);
	used_then = driver_peek(&driver, driver.device + 2, 2);
}

static void start(bool packed)
{
	const struct virtq_place places[] = {
		{hiprio.size, hiprio.desc, hiprio.driver, hiprio.device},
		{driver.size, driver.desc, driver.driver, driver.device},
	};

	vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE);
	vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vrig_accept(&rig, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_RING_RESET |
				  (packed ? VIRTIO_F_RING_PACKED : 0));
	vrig_set_status(&rig, vrig_status(&rig) | VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < 2; i++) {
		vrig_place_queue(&rig, i, &places[i]);
		vrig_enable_queue(&rig, i);
	}
	vrig_set_status(&rig, vrig_status(&rig) | VIRTIO_DRIVER_OK);
}

static void make(bool packed)
{
	const struct virtio_fs_config config = {.tag = "a-tag", .lost = on_lost};
	struct virtio_fs_config whole = config;
	struct vhost_user_config vc;

	losses = 0;
	reported = used_then = 0;
	vrig_make(&rig, true, false);
	mem_release(&rig.mem); /* it has to be one that can be shared */
	assert_int_equal(mem_init(&rig.mem, MEM_SHARED, NULL), 0);
	assert_int_equal(mem_add_ram(&rig.mem, 0, VRIG_RAM, NULL), 0);
	rig.mem.observer.written = on_written;
	vdaemon_start(&daemon_);
	vc = vdaemon_config(&daemon_, &rig.mem);
	whole.daemon = front = vhost_user_open(rig.loop, &vc, NULL);
	assert_non_null(front);
	fs = virtio_fs_new(&rig.mem, &whole, NULL);
	assert_non_null(fs);
	vrig_connect(&rig, virtio_fs_device(fs));
	driver_init(&driver, &rig.mem, packed, 16, AREA);
	driver_init(&hiprio, &rig.mem, packed, 16, HIPRIO);
	start(packed);
}

static int setup(void **state)
{
	(void)state;
	make(false);
	return 0;
}

static int setup_packed(void **state)
{
	(void)state;
	make(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vdaemon_end_loop(&daemon_);
	virtio_fs_free(fs);
	vhost_user_free(front);
	vdaemon_stop(&daemon_);
	vrig_release(&rig);
	return 0;
}

/* A request by that name, with room for the answer at page first, of as many pages. */
static int ask(uint64_t unique, unsigned first, unsigned pages)
{
	const struct driver_buffer b[] = {
		{REQUEST, 24, false},
		{REQUEST + 24, 60, false},
		{ANSWER + first * GUEST_PAGE_SIZE, 16, true},
		{ANSWER + (first + 1) * GUEST_PAGE_SIZE, (pages - 1) * GUEST_PAGE_SIZE, true},
	};
	int id;

	driver_poke(&driver, REQUEST, 4, 84);
	driver_poke(&driver, REQUEST + 8, 8, unique);
	id = driver_add(&driver, b, pages > 1 ? 4 : pages ? 3 : 2, true);
	assert_true(id >= 0);
	vrig_notify(&rig, REQUESTS);
	return id;
}

static void answer(unsigned head, uint32_t written)
{
	vdaemon_use(&daemon_, REQUESTS, head, written, 0);
	vdaemon_call(&daemon_, REQUESTS);
}

/* Waits until the device has looked. */
static bool used(uint32_t *written, int *id)
{
	struct virtio_device *d = virtio_fs_device(fs);

	for (unsigned i = 0; i < 60000; i++) {
		pthread_mutex_lock(&d->lock);
		*id = driver_get_used(&driver, written);
		pthread_mutex_unlock(&d->lock);
		if (*id >= 0)
			return true;
		usleep(1000);
	}
	return false;
}

static void it_is_a_file_system_device(void **state)
{
	char tag[37] = "";

	(void)state;
	assert_int_equal(vrig_pci_read(&rig, PCI_DEVICE_ID, 2), 0x1040 + 26);
	for (unsigned i = 0; i < 36; i++)
		tag[i] = (char)vrig_config_read(&rig, i, 1);
	assert_string_equal(tag, "a-tag");
	assert_int_equal(vrig_config_read(&rig, 36, 4), 1);
	assert_true(daemon_.queues[0].enabled && daemon_.queues[1].enabled);
}

static void a_request_goes_there_and_back(void **state)
{
	struct vdaemon_buffer b;
	uint32_t written;
	int id, got;

	(void)state;
	vdaemon_run_loop(&daemon_, rig.loop);
	for (unsigned i = 0; i < 600; i++) {
		id = ask(i, 3, 4);
		assert_true(vdaemon_kicked(&daemon_, REQUESTS));
		assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
		assert_int_equal(b.readable, 2);
		assert_int_equal(b.writable, 2);
		assert_int_equal(b.pieces[1].gpa, REQUEST + 24);
		assert_int_equal(b.pieces[3].len, 3 * GUEST_PAGE_SIZE);
		memset(vdaemon_at(&daemon_, b.pieces[3].gpa, 8), 0x5a, 8);
		reported = 0;
		answer(b.head, 16 + i);
		assert_true(used(&written, &got));
		assert_int_equal(got, id);
		assert_int_equal(written, 16 + i);
		assert_int_equal(reported, 0x78); /* pages 3 to 6 */
		assert_int_equal(driver_peek(&driver, ANSWER + 4 * GUEST_PAGE_SIZE, 1), 0x5a);
	}
	assert_int_equal(losses, 0);
}

/* What the daemon wrote is known before the driver can see the buffer used. */
static void it_is_known_before_it_is_used(void **state)
{
	struct vdaemon_buffer b;
	uint32_t written;
	int id;

	(void)state;
	vdaemon_run_loop(&daemon_, rig.loop);
	for (uint64_t i = 0; i < 50; i++) {
		ask(i, 0, 2);
		assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
		answer(b.head, 20);
		assert_true(used(&written, &id));
		assert_int_equal(used_then, i);
	}
}

/* The daemon's number is not for lodge to trust: all of it may have been written. */
static void all_of_a_buffer_counts(void **state)
{
	struct vdaemon_buffer b;
	uint32_t written;
	int id;

	(void)state;
	vdaemon_run_loop(&daemon_, rig.loop);
	ask(1, 0, 4);
	assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
	answer(b.head, 0);
	assert_true(used(&written, &id));
	assert_int_equal(written, 0);
	assert_int_equal(reported, 0xf);
	ask(2, 0, 4);
	assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
	answer(b.head, UINT32_MAX);
	assert_true(used(&written, &id));
	assert_int_equal(written, 16 + 3 * GUEST_PAGE_SIZE);
}

static void a_reset_ends_it(void **state)
{
	struct vdaemon_buffer b;
	uint32_t written;
	int id;

	(void)state;
	ask(1, 5, 2);
	assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
	vrig_set_status(&rig, 0);
	assert_false(daemon_.queues[0].enabled || daemon_.queues[1].enabled);
	assert_int_equal(reported, 0x60);
	reported = 0;
	answer(b.head, 16); /* too late */
	for (unsigned i = 0; i < 3; i++) {
		driver_init(&driver, &rig.mem, false, 16, AREA);
		driver_init(&hiprio, &rig.mem, false, 16, HIPRIO);
		start(false);
		assert_int_equal(driver_get_used(&driver, &written), -1);
		assert_int_equal(reported, 0);
		if (!i)
			vdaemon_run_loop(&daemon_, rig.loop);
		ask(2, 0, 1);
		assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
		answer(b.head, 16);
		assert_true(used(&written, &id));
		reported = 0;
		vrig_set_status(&rig, 0);
	}
	assert_int_equal(losses, 0);
}

static void one_queue_is_reset(void **state)
{
	struct vdaemon_buffer b;
	const struct virtq_place place = {driver.size, driver.desc, driver.driver, driver.device};

	(void)state;
	ask(1, 5, 2);
	vrig_reset_queue(&rig, REQUESTS);
	assert_true(daemon_.queues[0].enabled && !daemon_.queues[1].enabled);
	assert_int_equal(reported, 0x60);
	driver_init(&driver, &rig.mem, false, 16, AREA);
	vrig_place_queue(&rig, REQUESTS, &place);
	vrig_enable_queue(&rig, REQUESTS);
	assert_true(daemon_.queues[1].enabled);
	assert_false(vdaemon_take(&daemon_, REQUESTS, &b));
	ask(2, 0, 1);
	assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
}

static void expect_refused(int id, uint64_t unique, unsigned page)
{
	uint64_t at = ANSWER + page * GUEST_PAGE_SIZE;
	uint32_t written;
	int got;

	assert_true(used(&written, &got));
	assert_int_equal(got, id);
	assert_int_equal(written, 16);
	assert_int_equal(driver_peek(&driver, at, 4), 16);
	assert_int_equal((int32_t)driver_peek(&driver, at + 4, 4), -ENOTCONN);
	assert_int_equal(driver_peek(&driver, at + 8, 8), unique);
}

/* What it had, and what comes then, is answered with an error. */
static void a_daemon_that_is_gone(void **state)
{
	struct vdaemon_buffer b;
	uint32_t written;
	int id, first;

	(void)state;
	first = ask(0x1122334455667788, 1, 2);
	assert_true(vdaemon_take(&daemon_, REQUESTS, &b));
	vdaemon_run_loop(&daemon_, rig.loop);
	shutdown(daemon_.socket, SHUT_RDWR);
	assert_true(vdaemon_wait(&losses, 1));
	expect_refused(first, 0x1122334455667788, 1);
	assert_true(reported & 6);
	id = ask(77, 8, 1);
	expect_refused(id, 77, 8);
	id = ask(78, 0, 0); /* as FORGET, which has no answer */
	assert_true(used(&written, &first) && first == id && !written);
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	vrig_set_status(&rig, 0);
	driver_init(&driver, &rig.mem, false, 16, AREA);
	driver_init(&hiprio, &rig.mem, false, 16, HIPRIO);
	start(false);
	expect_refused(ask(79, 0, 1), 79, 0);
	assert_int_equal(losses, 1);
}

static void a_daemon_that_lies(void **state)
{
	int id;

	(void)state;
	id = ask(5, 0, 2);
	vdaemon_run_loop(&daemon_, rig.loop);
	answer(200, 16);
	assert_true(vdaemon_wait(&losses, 1));
	expect_refused(id, 5, 0);
}

static void a_daemon_that_is_lost_at_a_reset(void **state)
{
	(void)state;
	ask(5, 0, 2);
	daemon_.fault = VDAEMON_DIES;
	daemon_.at = 11;
	vrig_set_status(&rig, 0);
	assert_int_equal(losses, 1);
	assert_int_equal(reported, 3);
	/* It is the driver's no more: nothing was written there. */
	assert_int_equal(driver_peek(&driver, ANSWER, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_a_file_system_device, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_goes_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_goes_there_and_back, setup_packed,
						teardown),
		cmocka_unit_test_setup_teardown(it_is_known_before_it_is_used, setup, teardown),
		cmocka_unit_test_setup_teardown(all_of_a_buffer_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(one_queue_is_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_is_lost_at_a_reset, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
