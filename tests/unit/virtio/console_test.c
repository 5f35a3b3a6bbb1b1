/* SPDX-License-Identifier: Apache-2.0 */
/* The console device (virtio 1.2, 5.3): bytes both ways, the window, ports that open and close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "transport_rig.h"
#include "virtio/console.h"

#define F_SIZE        BIT(0)
#define F_MULTIPORT   BIT(1)
#define F_EMERG_WRITE BIT(2)

#define AREA   0x10000u /* of queue n: n * 0x10000 behind it */
#define DATA   0x200000u
#define QUEUES 6

#define TIMES_MAX 60000 /* milliseconds */

enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1 };
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

static struct transport_rig rig;
static struct virtio_console *console;
static struct driver drivers[QUEUES];
static struct chardev *chardevs[2];
static int host[2]; /* the host's ends of the ports */
static pthread_t thread;

static void *run_loop(void *opaque)
{
	event_loop_run(opaque);
	return NULL;
}

/* The steps of vrig_start, for several queues. */
static void start(uint64_t features, unsigned queues)
{
	vrig_set_status(&rig, 0);
	vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vrig_accept(&rig, features | VIRTIO_F_VERSION_1);
	vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < queues; i++) {
		struct driver *d = &drivers[i];
		struct virtq_place place;

		driver_init(d, &rig.mem, false, 16, AREA + i * 0x10000);
		place = (struct virtq_place){(uint16_t)d->size, d->desc, d->driver, d->device};
		vrig_place_queue(&rig, i, &place);
		vrig_enable_queue(&rig, i);
	}
	vrig_set_status(&rig,
			VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

static void make_chardev(unsigned n)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	chardevs[n] = chardev_new(rig.loop, ends[0], ends[0], NULL);
	assert_non_null(chardevs[n]);
	close(ends[0]);
	host[n] = ends[1];
}

static void run(void)
{
	vrig_connect(&rig, virtio_console_device(console));
	assert_int_equal(pthread_create(&thread, NULL, run_loop, rig.loop), 0);
}

static int setup(void **state)
{
	(void)state;
	vrig_make(&rig, true, false);
	make_chardev(0);
	console = virtio_console_new(&rig.mem, chardevs[0], NULL);
	run();
	return 0;
}

static int setup_ports(void **state)
{
	struct virtio_port_config ports[2] = {{.name = "first", .open = true}, {.name = "second"}};

	(void)state;
	vrig_make(&rig, false, false);
	for (unsigned i = 0; i < 2; i++) {
		make_chardev(i);
		ports[i].chardev = chardevs[i];
	}
	console = virtio_ports_new(&rig.mem, ports, 2, NULL);
	run();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	event_loop_stop(rig.loop);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 2; i++) {
		chardev_free(chardevs[i], 0);
		chardevs[i] = NULL;
		if (host[i] > 0)
			close(host[i]);
		host[i] = 0;
	}
	vrig_release(&rig);
	virtio_console_free(console);
	return 0;
}

static void give(unsigned queue, uint32_t at, uint32_t len, bool write)
{
	const struct driver_buffer b = {DATA + at, len, write};

	assert_true(driver_add(&drivers[queue], &b, 1, false) >= 0);
	vrig_notify(&rig, queue);
}

/* Waits for a used buffer; how many bytes the device wrote to it. */
static uint32_t take(unsigned queue)
{
	uint32_t written = 0;

	for (unsigned i = 0; i < TIMES_MAX; i++) {
		if (driver_get_used(&drivers[queue], &written) >= 0)
			return written;
		usleep(1000);
	}
	fail_msg("no buffer of queue %u was used", queue);
	return 0;
}

static bool none(unsigned queue)
{
	uint32_t written;

	usleep(20000);
	return driver_get_used(&drivers[queue], &written) < 0;
}

static uint8_t *data(uint32_t at)
{
	return mem_ptr_rw(&rig.mem, DATA + at, 1);
}

static void expect_host(unsigned n, const void *bytes, size_t len)
{
	uint8_t got[256];

	assert_int_equal(recv(host[n], got, len, MSG_WAITALL), len);
	assert_memory_equal(got, bytes, len);
}

static void the_window(void **state)
{
	unsigned generation = vrig_generation(&rig);

	(void)state;
	assert_int_equal(vrig_features(&rig) & 7, F_SIZE | F_EMERG_WRITE);
	assert_int_equal(vrig_pci_read(&rig, PCI_DEVICE_ID, 2), 0x1043);
	start(F_SIZE, 2);
	vrig_interrupts(&rig);
	virtio_console_resize(console, 132, 50);
	assert_int_equal(vrig_config_read(&rig, 0, 2), 132);
	assert_int_equal(vrig_config_read(&rig, 2, 2), 50);
	assert_int_not_equal(vrig_generation(&rig), generation);
	assert_true(vrig_interrupts(&rig) & 2);
	/* A driver that comes later is told that there is one. */
	start(F_SIZE, 2);
	assert_true(vrig_interrupts(&rig) & 2);
}

static void output(void **state)
{
	const struct driver_buffer b[] = {{DATA, 3, false}, {DATA + 0x100, 4, false}};

	(void)state;
	start(0, 2);
	memcpy(data(0), "one", 3);
	memcpy(data(0x100), "two\n", 4);
	driver_add(&drivers[TX0], b, 2, false);
	vrig_notify(&rig, TX0);
	assert_int_equal(take(TX0), 0);
	expect_host(0, "onetwo\n", 7);
}

/* Before the driver has said anything. */
static void emergency_output(void **state)
{
	(void)state;
	vrig_config_write(&rig, 8, 4, 'E');
	vrig_config_write(&rig, 8, 4, '\n');
	expect_host(0, "E\n", 2);
}

static void input(void **state)
{
	(void)state;
	assert_int_equal(send(host[0], "typed", 5, 0), 5);
	start(0, 2);
	give(RX0, 0, 2, true);
	assert_int_equal(take(RX0), 2);
	give(RX0, 2, 64, true);
	assert_int_equal(take(RX0), 3);
	assert_memory_equal(data(0), "typed", 5);
	give(RX0, 0, 64, true);
	assert_true(none(RX0));
	assert_int_equal(send(host[0], "more", 4, 0), 4);
	assert_int_equal(take(RX0), 4);
	assert_memory_equal(data(0), "more", 4);
}

/* More than the host's end takes: buffers wait, and all comes in order. */
static void a_slow_reader(void **state)
{
	const uint32_t size = 0x100000;
	uint8_t *got = malloc(size);

	(void)state;
	start(0, 2);
	for (uint32_t i = 0; i < size; i++)
		*data(i) = i * 7 + (i >> 8) * 13;
	give(TX0, 0, size - 1, false);
	give(TX0, size - 1, 1, false);
	assert_true(none(TX0));
	assert_int_equal(recv(host[0], got, size, MSG_WAITALL), size);
	assert_memory_equal(got, data(0), size);
	assert_int_equal(take(TX0), 0);
	assert_int_equal(take(TX0), 0);
	free(got);
}

/* What a driver takes back by a reset is not sent afterwards. */
static void a_reset_in_the_middle(void **state)
{
	const uint32_t size = 0x100000;
	size_t rest = 0;
	uint8_t got[4096];
	ssize_t n;

	(void)state;
	start(0, 2);
	memset(data(0), 'a', size);
	give(TX0, 0, size, false);
	assert_true(none(TX0));
	start(0, 2);
	memset(data(0), 'b', size);
	give(TX0, 0, 1, false);
	while ((n = recv(host[0], got, sizeof(got), 0)) > 0 && got[n - 1] != 'b')
		rest += n;
	assert_int_equal(got[n - 1], 'b');
	assert_true(rest < size);
	assert_int_equal(take(TX0), 0);
}

static void buffers_of_the_wrong_kind_break_it(void **state)
{
	(void)state;
	start(0, 2);
	give(TX0, 0, 8, true);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	start(0, 2);
	give(RX0, 0, 8, false);
	assert_int_equal(send(host[0], "x", 1, 0), 1);
	for (unsigned i = 0; i < TIMES_MAX && !(vrig_status(&rig) & VIRTIO_NEEDS_RESET); i++)
		usleep(1000);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

static void say(unsigned id, unsigned event, unsigned value)
{
	store_le(data(0xf000), 4, id);
	store_le(data(0xf004), 2, event);
	store_le(data(0xf006), 2, value);
	give(CONTROL_TX, 0xf000, 8, false);
	assert_int_equal(take(CONTROL_TX), 0);
}

static void expect_said(unsigned id, unsigned event, unsigned value, const char *more)
{
	uint32_t len = take(CONTROL_RX);
	uint8_t *at = data(0x8000);

	assert_int_equal(len, 8 + strlen(more));
	assert_int_equal(load_le(at, 4), id);
	assert_int_equal(load_le(at + 4, 2), event);
	assert_int_equal(load_le(at + 6, 2), value);
	assert_memory_equal(at + 8, more, strlen(more));
	give(CONTROL_RX, 0x8000, 128, true);
}

/* Up to where port 1 is known; one buffer at a time for what the device says. */
static void start_ports(void)
{
	start(F_MULTIPORT, QUEUES);
	give(CONTROL_RX, 0x8000, 128, true);
	say(0, DEVICE_READY, 1);
	expect_said(0, PORT_ADD, 1, "");
	expect_said(1, PORT_ADD, 1, "");
	say(1, PORT_READY, 1);
	expect_said(1, PORT_NAME, 1, "second");
}

static void ports_are_introduced(void **state)
{
	(void)state;
	assert_int_equal(vrig_features(&rig) & 7, F_MULTIPORT);
	assert_int_equal(vrig_config_read(&rig, 4, 4), 2);
	start_ports();
	say(0, PORT_READY, 1);
	expect_said(0, PORT_NAME, 1, "first");
	expect_said(0, PORT_OPEN, 1, "");
	assert_true(none(CONTROL_RX));
	virtio_port_set_open(console, 1, true);
	expect_said(1, PORT_OPEN, 1, "");
	virtio_port_set_open(console, 1, false);
	expect_said(1, PORT_OPEN, 0, "");
}

static void a_closed_port_gets_no_input(void **state)
{
	(void)state;
	start_ports();
	give(RX1, 0, 16, true);
	assert_int_equal(send(host[1], "early", 5, 0), 5);
	assert_true(none(RX1));
	say(1, PORT_OPEN, 1);
	assert_int_equal(take(RX1), 5);
	assert_memory_equal(data(0), "early", 5);
	say(1, PORT_OPEN, 0);
	give(RX1, 0, 16, true);
	assert_int_equal(send(host[1], "later", 5, 0), 5);
	assert_true(none(RX1));
	say(1, PORT_OPEN, 1);
	assert_int_equal(take(RX1), 5);
	memcpy(data(0), "out\n", 4);
	give(TX1, 0, 4, false);
	assert_int_equal(take(TX1), 0);
	expect_host(1, "out\n", 4);
}

/* A driver without the feature has port 0, as a console. */
static void a_driver_of_one_port(void **state)
{
	(void)state;
	start(0, 2);
	assert_int_equal(send(host[0], "in", 2, 0), 2);
	give(RX0, 0, 16, true);
	assert_int_equal(take(RX0), 2);
}

static void hostile_messages(void **state)
{
	(void)state;
	start_ports();
	say(2, PORT_READY, 1);
	say(0xffffffff, PORT_OPEN, 1);
	say(1, 0xffff, 1);
	say(0, DEVICE_READY, 0);
	assert_true(none(CONTROL_RX));
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	give(CONTROL_TX, 0, 7, false);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	start(F_MULTIPORT, QUEUES);
	give(CONTROL_RX, 0, 7, true);
	say(0, DEVICE_READY, 1);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

#define TEST(f)       cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_PORTS(f) cmocka_unit_test_setup_teardown(f, setup_ports, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_window),
		TEST(output),
		TEST(emergency_output),
		TEST(input),
		TEST(a_slow_reader),
		TEST(a_reset_in_the_middle),
		TEST(buffers_of_the_wrong_kind_break_it),
		TEST_PORTS(ports_are_introduced),
		TEST_PORTS(a_closed_port_gets_no_input),
		TEST_PORTS(a_driver_of_one_port),
		TEST_PORTS(hostile_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
