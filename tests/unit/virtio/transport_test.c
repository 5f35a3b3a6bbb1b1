/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of virtio devices by way of both transports, with a device that hands its buffers back;
 * each test runs for virtio-mmio and for virtio-pci. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "transport_rig.h"

#define QUEUES     3u
#define QUEUE_SIZE 16u
#define AREA       0x10000u
#define DATA       0x300000u
#define FEATURE    BIT(5) /* the device's own */

#define USED   1u
#define CHANGE 2u

static struct transport_rig rig;
static struct driver driver;
static uint8_t config[12];

static struct {
	struct virtio_device device;
	unsigned started, stopped, notified[QUEUES];
	unsigned served;
	unsigned last_stopped;
	bool feeds; /* the driver makes a buffer available for each that it gets */
} dev;

static const struct driver_buffer buffer = {DATA, 64, true};

static void on_started(struct virtio_device *d)
{
	(void)d;
	dev.started++;
}

static void on_notified(struct virtio_device *d, unsigned queue)
{
	uint32_t written;

	dev.notified[queue]++;
	while (virtio_take(d, queue, &d->chain)) {
		virtq_chain_write(&d->queues[queue].ring, &d->chain, 0, "hello", 5);
		virtio_put(d, queue, &d->chain, 5);
		dev.served++;
		if (dev.feeds && driver_get_used(&driver, &written) >= 0)
			driver_add(&driver, &buffer, 1, false);
	}
	virtio_finish(d, queue);
}

static void on_config_written(struct virtio_device *d, unsigned offset, unsigned size,
			      uint64_t value)
{
	store_le(config + offset, size, value);
	virtio_config_changed(d);
}

static void on_stopped(struct virtio_device *d, unsigned queue)
{
	(void)d;
	dev.stopped++;
	dev.last_stopped = queue;
}

static const struct virtio_device_ops ops = {
	.name = "test",
	.id = 42,
	.started = on_started,
	.notified = on_notified,
	.config_written = on_config_written,
	.stopped = on_stopped,
};

static void make_with(void **state, bool rings)
{
	const struct virtio_kind kind = {&ops,   FEATURE,    config, sizeof(config),
					 QUEUES, QUEUE_SIZE, 0};

	vrig_make(&rig, **(bool **)state, rings);
	memset(&dev, 0, sizeof(dev));
	for (unsigned i = 0; i < sizeof(config); i++)
		config[i] = 0x10 + i;
	virtio_device_init(&dev.device, &rig.mem, &kind);
	vrig_connect(&rig, &dev.device);
	driver_init(&driver, &rig.mem, false, QUEUE_SIZE, AREA);
}

static void make(void **state)
{
	make_with(state, false);
}

static int teardown(void **state)
{
	(void)state;
	vrig_release(&rig);
	virtio_device_release(&dev.device);
	return 0;
}

static void the_device_is_identified(void **state)
{
	make(state);
	if (!rig.pci) {
		assert_int_equal(bus_read(&rig.mmio, VRIG_MMIO, 4), 0x74726976);
		assert_int_equal(bus_read(&rig.mmio, VRIG_MMIO + 4, 4), 2);
		assert_int_equal(bus_read(&rig.mmio, VRIG_MMIO + 8, 4), 42);
		assert_int_equal(bus_read(&rig.mmio, VRIG_MMIO, 2), 0); /* not a driver's access */
		assert_int_equal(bus_read(&rig.mmio, VRIG_MMIO + 0xb0, 4), 0xffffffff);
		return;
	}
	assert_int_equal(vrig_pci_read(&rig, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(vrig_pci_read(&rig, PCI_DEVICE_ID, 2), 0x1040 + 42);
	assert_true(vrig_pci_read(&rig, PCI_REVISION, 1) >= 1);
	for (unsigned type = 1; type <= 5; type++) {
		unsigned cap = vrig_pci_cap(&rig, 0x09, type);

		assert_int_not_equal(cap, 0);
		assert_int_equal(vrig_pci_read(&rig, cap + 4, 1), 0);
	}
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 18, 2), QUEUES);
}

static void features_are_negotiated(void **state)
{
	const uint64_t all = FEATURE | BIT(28) | BIT(29) | BIT(32) | BIT(34) | BIT(40);
	static const uint64_t bad[] = {0, FEATURE, BIT(32) | BIT(6), BIT(32) | BIT(63)};

	make(state);
	assert_int_equal(vrig_features(&rig), all);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		vrig_set_status(&rig, 0);
		vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
		vrig_accept(&rig, bad[i]);
		vrig_set_status(&rig, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
		assert_int_equal(vrig_status(&rig), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
		/* and so the device does not begin to work */
		vrig_set_status(&rig, VIRTIO_DRIVER_OK);
		assert_int_equal(vrig_status(&rig), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	}
	vrig_set_status(&rig, 0);
	vrig_accept(&rig, BIT(32) | FEATURE);
	vrig_set_status(&rig, VIRTIO_FEATURES_OK);
	assert_int_equal(vrig_status(&rig), VIRTIO_FEATURES_OK);
	vrig_accept(&rig, BIT(32)); /* too late */
	assert_true(virtio_has(&dev.device, FEATURE));
	assert_int_equal(dev.started, 0);
	vrig_set_status(&rig, VIRTIO_DRIVER_OK); /* no bit is taken away */
	assert_int_equal(vrig_status(&rig), VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	assert_int_equal(dev.started, 1);
	vrig_set_status(&rig, 0xff & ~VIRTIO_FAILED);
	assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
	vrig_set_status(&rig, VIRTIO_FAILED);
	assert_true(vrig_status(&rig) & VIRTIO_FAILED);
}

static void offer(unsigned n)
{
	while (n--)
		assert_true(driver_add(&driver, &buffer, 1, false) >= 0);
}

static void assert_served(unsigned n)
{
	uint32_t written;

	while (n--) {
		assert_true(driver_get_used(&driver, &written) >= 0);
		assert_int_equal(written, 5);
	}
	assert_int_equal(driver_get_used(&driver, &written), -1);
}

static void buffers_go_through_and_interrupt(void **state)
{
	make(state);
	vrig_notify(&rig, 0); /* there is nothing yet */
	assert_int_equal(dev.notified[0], 0);
	vrig_start(&rig, 0, &driver);
	assert_true(vrig_queue_enabled(&rig, 0));
	assert_false(vrig_queue_enabled(&rig, 1));
	offer(3);
	vrig_notify(&rig, 0);
	assert_int_equal(dev.notified[0], 1);
	assert_served(3);
	assert_int_equal(rig.edges, 1);
	assert_int_equal(rig.line, rig.pci); /* INTx stays up until the status is read */
	assert_int_equal(vrig_interrupts(&rig), USED);
	assert_int_equal(vrig_interrupts(&rig), 0);
	assert_false(rig.line);
	vrig_notify(&rig, 0);
	assert_int_equal(rig.edges, 1);
	vrig_notify(&rig, 1); /* not enabled */
	vrig_notify(&rig, QUEUES);
	assert_int_equal(dev.notified[1], 0);
}

static void packed_queues_with_an_event_index_work(void **state)
{
	make(state);
	driver_init(&driver, &rig.mem, true, 5, AREA);
	driver.event_idx = true;
	vrig_start(&rig, VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX, &driver);
	for (unsigned i = 0; i < 20; i++) {
		offer(3);
		if (driver_should_kick(&driver))
			vrig_notify(&rig, 0);
		assert_served(3);
	}
}

static void a_broken_queue_needs_a_reset_and_is_mended_by_it(void **state)
{
	const struct driver_buffer outside = {VRIG_RAM, 1, true};

	make(state);
	for (unsigned round = 0; round < 2; round++) {
		driver_init(&driver, &rig.mem, false, QUEUE_SIZE, AREA);
		vrig_start(&rig, 0, &driver);
		driver_add(&driver, &outside, 1, false);
		rig.edges = 0;
		vrig_notify(&rig, 0);
		assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
		assert_int_equal(rig.edges, 1);
		assert_int_equal(vrig_interrupts(&rig), CHANGE);
		vrig_notify(&rig, 0);
		assert_int_equal(dev.notified[0], 1 + round * 2);
		assert_int_equal(rig.edges, 1);

		driver_init(&driver, &rig.mem, false, QUEUE_SIZE, AREA);
		vrig_start(&rig, 0, &driver);
		offer(1);
		vrig_notify(&rig, 0);
		assert_served(1);
		vrig_interrupts(&rig);
	}
	assert_int_equal(dev.device.resets_needed, 2);
}

static void a_queue_that_cannot_be_breaks_the_device(void **state)
{
	static const struct virtq_place bad[] = {
		{QUEUE_SIZE, VRIG_RAM, AREA, AREA + 0x1000},
		{QUEUE_SIZE * 2, AREA, AREA + 0x1000, AREA + 0x2000}, /* more than it may have */
		{0, AREA, AREA + 0x1000, AREA + 0x2000},
		{QUEUE_SIZE, UINT64_MAX & ~15ull, AREA + 0x1000, AREA + 0x2000},
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		make(state);
		vrig_accept(&rig, VIRTIO_F_VERSION_1);
		vrig_place_queue(&rig, 1, &bad[i]);
		vrig_enable_queue(&rig, 1);
		vrig_set_status(&rig, VIRTIO_FEATURES_OK);
		assert_false(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
		vrig_set_status(&rig, VIRTIO_DRIVER_OK);
		assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
		assert_int_equal(dev.started, 0);
		if (i + 1 < ARRAY_LEN(bad))
			teardown(state);
	}
}

static void an_enabled_queue_stays_where_it_is(void **state)
{
	const struct virtq_place other = {4, AREA + 0x8000, AREA + 0x9000, AREA + 0xa000};

	make(state);
	vrig_start(&rig, 0, &driver);
	vrig_place_queue(&rig, 0, &other);
	assert_int_equal(dev.device.queues[0].place.size, QUEUE_SIZE);
	assert_int_equal(dev.device.queues[0].place.desc, driver.desc);
	offer(1);
	vrig_notify(&rig, 0);
	assert_served(1);
}

static void a_queue_is_reset_alone(void **state)
{
	make(state);
	vrig_start(&rig, 0, &driver);
	vrig_reset_queue(&rig, 0); /* was not negotiated */
	assert_true(vrig_queue_enabled(&rig, 0));
	vrig_start(&rig, VIRTIO_F_RING_RESET, &driver);
	dev.stopped = 0;
	vrig_reset_queue(&rig, 0);
	assert_int_equal(dev.stopped, 1);
	assert_int_equal(dev.last_stopped, 0);
	assert_false(vrig_queue_enabled(&rig, 0));
	assert_int_equal(vrig_queue_size(&rig, 0), QUEUE_SIZE);
	vrig_notify(&rig, 0);
	assert_int_equal(dev.notified[0], 0);

	driver_init(&driver, &rig.mem, false, 8, AREA + 0x8000);
	vrig_place_queue(&rig, 0,
			 &(struct virtq_place){8, driver.desc, driver.driver, driver.device});
	vrig_enable_queue(&rig, 0);
	offer(2);
	vrig_notify(&rig, 0);
	assert_served(2);
}

static void a_reset_is_whole(void **state)
{
	make(state);
	vrig_start(&rig, FEATURE, &driver);
	offer(1);
	vrig_notify(&rig, 0);
	dev.stopped = 0;
	vrig_set_status(&rig, 0);
	assert_int_equal(dev.stopped, 1);
	assert_int_equal(dev.last_stopped, VIRTIO_QUEUES_MAX);
	assert_int_equal(vrig_status(&rig), 0);
	assert_int_equal(vrig_interrupts(&rig), 0);
	assert_false(rig.line);
	assert_false(vrig_queue_enabled(&rig, 0));
	assert_int_equal(vrig_queue_size(&rig, 0), QUEUE_SIZE);
	assert_int_equal(dev.device.accepted, 0);
	assert_int_equal(dev.device.queues[0].place.desc, 0);
	assert_int_equal(vrig_queue_size(&rig, QUEUES), 0);
}

static void configuration_space_is_read_and_written(void **state)
{
	unsigned before;

	make(state);
	assert_int_equal(vrig_config_read(&rig, 0, 1), 0x10);
	assert_int_equal(vrig_config_read(&rig, 2, 2), 0x1312);
	assert_int_equal(vrig_config_read(&rig, 8, 4), 0x1b1a1918);
	assert_int_equal(vrig_config_read(&rig, 12, 4), 0);
	assert_int_equal(vrig_config_read(&rig, 10, 4), 0); /* partly beyond */
	before = vrig_generation(&rig);
	vrig_config_write(&rig, 4, 4, 0xa0b0c0d0);
	assert_int_equal(vrig_config_read(&rig, 4, 4), 0xa0b0c0d0);
	assert_int_not_equal(vrig_generation(&rig), before);
	assert_int_equal(rig.edges, 0); /* no driver yet that could be told */
	vrig_start(&rig, 0, &driver);
	vrig_config_write(&rig, 0, 1, 1);
	assert_int_equal(rig.edges, 1);
	assert_int_equal(vrig_interrupts(&rig), CHANGE);
	vrig_config_write(&rig, 12, 1, 1);
	assert_int_equal(rig.edges, 1);
}

static void stop(void *opaque)
{
	event_loop_stop(opaque);
}

/* Has the loop do what is waiting. */
static void run_loop(void)
{
	struct event_timer timer;

	assert_int_equal(event_timer_init(&timer, rig.loop, stop, rig.loop), 0);
	event_timer_set(&timer, 1);
	assert_int_equal(event_loop_run(rig.loop), 0);
	event_timer_release(&timer, rig.loop);
}

static void doorbells_ring_on_the_loop(void **state)
{
	const uint64_t at = **(bool **)state ? VRIG_BAR + 0x3000 : VRIG_MMIO + 0x50;
	struct event_wake wake = {.src.fd = -1};

	make_with(state, true);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(rig.bells[i].addr, at + (rig.pci ? i * 4 : 0));
		assert_int_equal(rig.bells[i].size, rig.pci ? 2 : 4);
		assert_int_equal(rig.bells[i].matching, !rig.pci);
		assert_int_equal(rig.bells[i].match, rig.pci ? 0 : i);
	}
	vrig_start(&rig, 0, &driver);
	offer(1);
	wake.src.fd = rig.bells[0].eventfd;
	event_wake_signal(&wake);
	run_loop();
	assert_int_equal(dev.notified[0], 1);
	assert_served(1);
	if (rig.pci) {
		vrig_pci_write(&rig, PCI_COMMAND, 2, 0);
		for (unsigned i = 0; i < QUEUES; i++)
			assert_int_equal(rig.bells[i].size, 0);
	}
}

/* A driver that adds a buffer for each that it gets back does not keep the thread for ever. */
static void a_driver_without_end_is_served_in_portions(void **state)
{
	struct pollfd fd = {.events = POLLIN};
	const struct virtio_doorbells *bells;

	make(state);
	bells = rig.pci ? &rig.by_pci.doorbells : &rig.by_mmio.doorbells;
	vrig_start(&rig, 0, &driver);
	dev.feeds = true;
	offer(4);
	vrig_notify(&rig, 0);
	assert_int_equal(dev.served, QUEUE_SIZE);
	fd.fd = bells->bells[0].wake.src.fd;
	assert_int_equal(poll(&fd, 1, 0), 1); /* it will be called again */
}

static uint32_t seed = 7;

static uint32_t any(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* The BARs where the rig has them, and MSI-X off. */
static void put_back(void)
{
	if (!rig.pci)
		return;
	vrig_pci_write(&rig, PCI_COMMAND, 2, 0);
	vrig_pci_write(&rig, PCI_BAR(0), 4, VRIG_BAR);
	vrig_pci_write(&rig, PCI_BAR(1), 4, VRIG_MSIX);
	vrig_pci_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	vrig_pci_write(&rig, vrig_pci_cap(&rig, 0x11, 0) + 2, 2, 0);
}

/* Whatever is written to the registers, memory is the driver's and the monitor lives. */
static void random_accesses_do_no_harm(void **state)
{
	static const unsigned sizes[] = {1, 2, 4, 8};

	make(state);
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t base = rig.pci ? (any() % 4 ? VRIG_BAR : VRIG_MSIX) : VRIG_MMIO;
		uint64_t at = base + (any() % 3 ? any() % 0x100 : any() % 0x4000);
		unsigned size = sizes[any() % 4];

		if (any() % 8 == 0)
			driver_poke(&driver, AREA + any() % 0x4000, 4, any());
		if (any() % 512 == 0) {
			put_back();
			driver_init(&driver, &rig.mem, any() & 1, QUEUE_SIZE, AREA);
			vrig_start(&rig, driver.packed ? VIRTIO_F_RING_PACKED : 0, &driver);
		}
		if (rig.pci && any() % 16 == 0) {
			vrig_pci_write(&rig, any() & 0xfc, 4, any() % 3 ? any() : 0xd0000002);
			vrig_pci_read(&rig, any() & 0xfc, 4);
		}
		if (any() % 2)
			bus_write(&rig.mmio, at, size, any() % 4 ? any() % 32 : any());
		else
			bus_read(&rig.mmio, at, size);
		rig.messages = 0;
	}
	put_back();
	dev.served = 0;
	driver_init(&driver, &rig.mem, false, QUEUE_SIZE, AREA);
	vrig_start(&rig, 0, &driver);
	offer(1);
	vrig_notify(&rig, 0);
	assert_int_equal(dev.served, 1);
}

/* --- PCI alone ------------------------------------------------------------------------------- */

static void put_vector(unsigned vector, uint64_t addr, uint32_t data, bool masked)
{
	bus_write(&rig.mmio, VRIG_MSIX + vector * 16, 8, addr);
	bus_write(&rig.mmio, VRIG_MSIX + vector * 16 + 8, 4, data);
	bus_write(&rig.mmio, VRIG_MSIX + vector * 16 + 12, 4, masked);
}

static void msix_replaces_the_line(void **state)
{
	unsigned cap;

	make(state);
	cap = vrig_pci_cap(&rig, 0x11, 0);
	assert_int_equal(vrig_pci_read(&rig, cap + 2, 2), QUEUES); /* + 1 for configuration, - 1 */
	vrig_start(&rig, 0, &driver);
	put_vector(0, 0xfee01000, 0x41, false);
	put_vector(2, 0xfee02000, 0x42, true);
	vrig_pci_write(&rig, cap + 2, 2, 0x8000);
	bus_write(&rig.mmio, VRIG_BAR + 16, 2, 0);
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 16, 2), 0);
	bus_write(&rig.mmio, VRIG_BAR + 22, 2, 0);
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 26, 2), 0xffff);
	bus_write(&rig.mmio, VRIG_BAR + 26, 2, QUEUES + 1); /* there is no such vector */
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 26, 2), 0xffff);
	offer(1);
	vrig_notify(&rig, 0);
	assert_int_equal(rig.messages, 0);
	bus_write(&rig.mmio, VRIG_BAR + 26, 2, 2);
	offer(1);
	vrig_notify(&rig, 0);
	assert_int_equal(rig.messages, 0);
	assert_int_equal(bus_read(&rig.mmio, VRIG_MSIX + 0x800, 4), 1 << 2);
	bus_write(&rig.mmio, VRIG_MSIX + 2 * 16 + 12, 4, 0);
	assert_int_equal(rig.messages, 1);
	assert_int_equal(rig.message[0].addr, 0xfee02000);
	assert_int_equal(rig.message[0].data, 0x42);
	assert_int_equal(bus_read(&rig.mmio, VRIG_MSIX + 0x800, 4), 0);
	vrig_config_write(&rig, 0, 1, 9);
	assert_int_equal(rig.messages, 2);
	assert_int_equal(rig.message[1].data, 0x41);
	assert_int_equal(rig.edges, 0);
	vrig_pci_write(&rig, cap + 2, 2, 0xc000); /* all masked */
	vrig_config_write(&rig, 0, 1, 9);
	assert_int_equal(rig.messages, 2);
	vrig_pci_write(&rig, cap + 2, 2, 0x8000);
	assert_int_equal(rig.messages, 3);
	vrig_set_status(&rig, 0);
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 16, 2), 0xffff);
}

static void the_line_obeys_the_command_register(void **state)
{
	make(state);
	vrig_start(&rig, 0, &driver);
	assert_int_equal(vrig_pci_read(&rig, PCI_STATUS, 2) & 8, 0);
	offer(1);
	vrig_notify(&rig, 0);
	assert_true(rig.line);
	assert_int_equal(vrig_pci_read(&rig, PCI_STATUS, 2) & 8, 8);
	vrig_pci_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	assert_false(rig.line);
	vrig_pci_write(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(rig.line);
	vrig_pci_write(&rig, vrig_pci_cap(&rig, 0x11, 0) + 2, 2, 0x8000);
	assert_false(rig.line);
	vrig_pci_write(&rig, vrig_pci_cap(&rig, 0x11, 0) + 2, 2, 0);
	assert_true(rig.line);
	assert_int_equal(vrig_interrupts(&rig), USED);
	assert_false(rig.line);
}

static void registers_are_reached_through_the_window(void **state)
{
	unsigned cap;

	make(state);
	cap = vrig_pci_cap(&rig, 0x09, 5);
	vrig_pci_write(&rig, PCI_COMMAND, 2, 0); /* the BAR itself is out of reach */
	assert_int_equal(bus_read(&rig.mmio, VRIG_BAR + 18, 2), 0xffff);
	vrig_pci_write(&rig, cap + 8, 4, 18);
	vrig_pci_write(&rig, cap + 12, 4, 2);
	assert_int_equal(vrig_pci_read(&rig, cap + 16, 4), QUEUES);
	vrig_pci_write(&rig, cap + 8, 4, 20);
	vrig_pci_write(&rig, cap + 12, 4, 1);
	vrig_pci_write(&rig, cap + 16, 4, VIRTIO_ACKNOWLEDGE);
	assert_int_equal(dev.device.status, VIRTIO_ACKNOWLEDGE);
	vrig_pci_write(&rig, cap + 12, 4, 3); /* not a length */
	vrig_pci_write(&rig, cap + 16, 4, 0);
	assert_int_equal(dev.device.status, VIRTIO_ACKNOWLEDGE);
}

static const struct bus_ops nothing = {"nothing", 8, NULL, NULL};

static void a_bar_on_top_of_something_else_is_not_reached(void **state)
{
	make(state);
	assert_int_equal(bus_add(&rig.mmio, 0xe0000000, 0x1000, &nothing, NULL, NULL, NULL), 0);
	vrig_pci_write(&rig, PCI_BAR(0), 4, 0xe0000000);
	assert_int_equal(bus_read(&rig.mmio, 0xe0000000 + 18, 2), 0xffff);
	vrig_pci_write(&rig, PCI_BAR(0), 4, 0xe0004000);
	assert_int_equal(bus_read(&rig.mmio, 0xe0004000 + 18, 2), QUEUES);
	assert_int_equal(bus_remove(&rig.mmio, 0xe0000000), 0); /* it is still there */
}

static bool transports[] = {false, true};

#define PCI(f)                                                 \
	{                                                      \
#f " (pci)", f, NULL, teardown, &transports[1] \
	}
#define BOTH(f) {#f " (mmio)", f, NULL, teardown, &transports[0]}, PCI(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(the_device_is_identified),
		BOTH(features_are_negotiated),
		BOTH(buffers_go_through_and_interrupt),
		BOTH(packed_queues_with_an_event_index_work),
		BOTH(a_broken_queue_needs_a_reset_and_is_mended_by_it),
		BOTH(a_queue_that_cannot_be_breaks_the_device),
		BOTH(an_enabled_queue_stays_where_it_is),
		BOTH(a_queue_is_reset_alone),
		BOTH(a_reset_is_whole),
		BOTH(configuration_space_is_read_and_written),
		BOTH(doorbells_ring_on_the_loop),
		BOTH(a_driver_without_end_is_served_in_portions),
		BOTH(random_accesses_do_no_harm),
		PCI(msix_replaces_the_line),
		PCI(the_line_obeys_the_command_register),
		PCI(registers_are_reached_through_the_window),
		PCI(a_bar_on_top_of_something_else_is_not_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
