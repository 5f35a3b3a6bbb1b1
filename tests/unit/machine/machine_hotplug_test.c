/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that come to a machine and go from it, whose guest gives them back, keeps them, says
 * nothing, or is reset in the middle. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "devices/acpi/slots.h"
#include "devices/pci/host.h"
#include "machine/layout.h"
#include "machine_rig.h"

#define BAR          0xd0000000u
#define STATUS       20 /* of the device, in BAR 0 */
#define ROUNDS       40
#define QUIET_MS     50
#define PATIENCE     60000
#define REFUSED      0x80 /* _OST: the operation was refused */
#define NOBODYS_PORT 0x4321

static char path[] = "/tmp/lodge-hotplug-test-XXXXXX";

static int setup(void **state)
{
	int fd;

	(void)state;
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	return fd < 0 || ftruncate(fd, 1 << 20) || close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* Guests. What they are asked for they give back. */
static void gives(struct buf *p)
{
	fake_emit(p, FAKE_IN, GPR_RBX, 0, 4, LAYOUT_SLOTS + ACPI_SLOTS_EJECT);
	fake_emit(p, FAKE_OUT, GPR_RBX, 0, 4, LAYOUT_SLOTS + ACPI_SLOTS_EJECT);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -3);
}

/* Once there is one in such a register, goes on. */
static void wait_for(struct buf *p, unsigned reg)
{
	fake_emit(p, FAKE_IN, GPR_RBX, 0, 4, LAYOUT_SLOTS + reg);
	fake_emit(p, FAKE_JNZ, GPR_RBX, 0, 0, 1);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -3);
}

static void gives_and_resets(struct buf *p)
{
	wait_for(p, ACPI_SLOTS_EJECT);
	fake_emit(p, FAKE_OUT, GPR_RBX, 0, 4, LAYOUT_SLOTS + ACPI_SLOTS_EJECT);
	rig_out(p, 1, LAYOUT_RESET, 6);
	rig_spin(p);
}

/* It keeps quiet, and starts anew when something comes. */
static void resets_when_one_comes(struct buf *p)
{
	wait_for(p, ACPI_SLOTS_ARRIVED);
	rig_out(p, 1, LAYOUT_RESET, 6);
	rig_spin(p);
}

static void write_pci(struct buf *p, unsigned reg, uint32_t value)
{
	rig_out(p, 4, LAYOUT_PCI_CONFIG, 0x80000000u | PCI_DEVFN(LAYOUT_VIRTIO_SLOT, 0) << 8 | reg);
	rig_out(p, 4, LAYOUT_PCI_CONFIG + 4, value);
}

static void refuses(struct buf *p)
{
	rig_out(p, 4, LAYOUT_SLOTS + ACPI_SLOTS_ANSWER, LAYOUT_VIRTIO_SLOT << 16 | REFUSED);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -1 - RIG_OUT_INSNS);
}

static void has_a_driver_and_refuses(struct buf *p)
{
	write_pci(p, PCI_BAR(0), BAR);
	write_pci(p, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	rig_store(p, 1, BAR + STATUS, 1);
	rig_out(p, 1, NOBODYS_PORT, 'x');
	refuses(p);
}

/* Waits until the guest has written to that port. */
static void wait_for_driver(struct rig *r)
{
	uint64_t writes = 0;

	while (!writes) {
		struct engine_stat stats[256];
		size_t n = machine_stats(r->machine, stats, ARRAY_LEN(stats));

		for (size_t i = 0; i < n && i < ARRAY_LEN(stats); i++)
			if (!strcmp(stats[i].name, "pio unclaimed writes"))
				writes = stats[i].count;
		usleep(1000);
	}
}

static void start(struct rig *r, void (*program)(struct buf *p), const struct machine_disk *disk)
{
	struct buf p = BUF_INIT;

	program(&p);
	rig_init(r, &p);
	r->config.disks = disk;
	r->config.disk_count = disk != NULL;
	rig_start(r);
}

/* The next event but resets: it is this one, of this device. */
static void expect(struct rig *r, enum machine_event_kind kind, const char *device)
{
	struct machine_event event;

	do {
		assert_true(rig_readable(machine_events_fd(r->machine), PATIENCE));
		assert_true(machine_next_event(r->machine, &event));
	} while (event.kind == MACHINE_EVENT_RESET);
	assert_int_equal(event.kind, kind);
	assert_string_equal(event.text, device);
}

static void expect_nothing(struct rig *r)
{
	struct machine_event event;

	while (rig_readable(machine_events_fd(r->machine), QUIET_MS)) {
		assert_true(machine_next_event(r->machine, &event));
		assert_int_equal(event.kind, MACHINE_EVENT_RESET);
	}
}

static int attach(struct rig *r, const struct machine_disk *disk)
{
	const struct machine_attachment a = {.disk = disk};
	struct err e = ERR_INIT;

	return machine_attach(r->machine, &a, &e);
}

static int detach(struct rig *r, unsigned number)
{
	struct err e = ERR_INIT;

	return machine_detach(r->machine, MACHINE_DEVICE_DISK, number, &e);
}

/* Read only, so that one file can be many disks. */
static struct machine_disk readonly(void)
{
	return (struct machine_disk){.path = path, .readonly = true};
}

static struct machine_disk writable(void)
{
	return (struct machine_disk){.path = path};
}

static void come_and_go(struct rig *r, const struct machine_disk *disk)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		assert_int_equal(attach(r, disk), 0);
		expect(r, MACHINE_EVENT_ATTACHED, "disk0");
		assert_int_equal(detach(r, 0), 0);
		expect(r, MACHINE_EVENT_DETACHED, "disk0");
		assert_int_equal(detach(r, 0), -ENOENT);
	}
}

/* Its file is free each time: the next one could not lock it. */
static void a_disk_comes_and_goes(void **state)
{
	const struct machine_disk disk = writable();
	struct rig r;

	(void)state;
	start(&r, gives, NULL);
	come_and_go(&r, &disk);
	rig_release(&r);
}

/* The ejection is not quite done when the reset comes, or it is. */
static void a_reset_right_after_an_ejection(void **state)
{
	const struct machine_disk disk = writable();
	struct rig r;

	(void)state;
	start(&r, gives_and_resets, NULL);
	come_and_go(&r, &disk);
	rig_release(&r);
}

static void a_guest_that_does_not_answer(void **state)
{
	const struct machine_disk disk = readonly();
	struct rig r;

	(void)state;
	start(&r, resets_when_one_comes, &disk);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(detach(&r, 0), 0);
		expect_nothing(&r);
	}
	assert_int_equal(attach(&r, &disk), 1);
	expect(&r, MACHINE_EVENT_ATTACHED, "disk1");
	expect(&r, MACHINE_EVENT_DETACHED, "disk0"); /* by the reset */
	/* What has come stays. */
	assert_int_equal(detach(&r, 0), -ENOENT);
	expect_nothing(&r);
	assert_int_equal(detach(&r, 1), 0);
	assert_int_equal(attach(&r, &disk), 0);
	expect(&r, MACHINE_EVENT_ATTACHED, "disk0");
	expect(&r, MACHINE_EVENT_DETACHED, "disk1");
	rig_release(&r);
}

static void a_guest_that_refuses(void **state)
{
	const struct machine_disk disk = readonly();
	struct rig r;

	(void)state;
	start(&r, has_a_driver_and_refuses, &disk);
	wait_for_driver(&r);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(detach(&r, 0), 0);
		expect(&r, MACHINE_EVENT_DETACH_REFUSED, "disk0");
	}
	expect_nothing(&r);
	rig_release(&r);
}

static void a_device_without_a_driver_cannot_be_kept(void **state)
{
	const struct machine_disk disk = readonly();
	struct rig r;

	(void)state;
	start(&r, refuses, &disk);
	assert_int_equal(detach(&r, 0), 0);
	expect(&r, MACHINE_EVENT_DETACHED, "disk0");
	assert_int_equal(attach(&r, &disk), 0);
	expect(&r, MACHINE_EVENT_ATTACHED, "disk0");
	rig_release(&r);
}

static void a_machine_ends_with_a_disk_that_was_asked_for(void **state)
{
	const struct machine_disk disk = writable(), other = readonly();
	unsigned before = rig_descriptors();
	struct rig r;

	(void)state;
	start(&r, rig_spin, &disk);
	assert_int_equal(detach(&r, 0), 0);
	assert_true(attach(&r, &other) < 0); /* the file is in use */
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	assert_int_equal(attach(&r, &other), -ESRCH);
	assert_int_equal(detach(&r, 0), -ESRCH);
	rig_release(&r);
	assert_int_equal(rig_descriptors(), before);
}

static void slots_are_used_up_and_free_again(void **state)
{
	const struct machine_disk disk = readonly();
	int count = 0, n;
	struct rig r;

	(void)state;
	start(&r, gives, NULL);
	while ((n = attach(&r, &disk)) >= 0) {
		char name[16];

		assert_int_equal(n, count);
		snprintf(name, sizeof(name), "disk%d", count++);
		expect(&r, MACHINE_EVENT_ATTACHED, name);
	}
	assert_int_equal(n, -ENOSPC);
	assert_int_equal(detach(&r, 3), 0);
	expect(&r, MACHINE_EVENT_DETACHED, "disk3");
	assert_int_equal(attach(&r, &disk), 3);
	expect(&r, MACHINE_EVENT_ATTACHED, "disk3");
	assert_true(attach(&r, &disk) < 0);
	expect_nothing(&r);
	rig_release(&r);
}

static void devices_stay(bool mmio)
{
	const struct machine_disk disk = readonly();
	struct buf p = BUF_INIT;
	struct rig r;

	gives(&p);
	rig_init(&r, &p);
	r.config.virtio_mmio = mmio;
	r.config.fixed = !mmio;
	r.config.disks = &disk;
	r.config.disk_count = 1;
	rig_start(&r);
	assert_int_equal(attach(&r, &disk), -EOPNOTSUPP);
	assert_int_equal(detach(&r, 0), -EOPNOTSUPP);
	assert_int_equal(detach(&r, 1), -ENOENT);
	expect_nothing(&r);
	rig_release(&r);
}

static void devices_on_mmio_stay(void **state)
{
	(void)state;
	devices_stay(true);
}

static void devices_of_a_guest_without_slots_stay(void **state)
{
	(void)state;
	devices_stay(false);
}

static int tell_size(struct rig *r, unsigned number, struct err *e)
{
	const struct machine_change change = {.kind = MACHINE_CHANGE_DISK_SIZE, .device = number};

	err_clear(e);
	return machine_change(r->machine, &change, e);
}

static void raw_disks_grow_and_qcow2_says_why_not(void **state)
{
	struct machine_disk disk = readonly();
	char words[128], image[64];
	struct err e = ERR_INIT;
	struct rig r;

	(void)state;
	start(&r, gives, &disk);
	assert_int_equal(truncate(path, 2 << 20), 0);
	assert_int_equal(tell_size(&r, 0, &e), 0);
	snprintf(image, sizeof(image), "%s.qcow2", path);
	snprintf(words, sizeof(words), "qemu-img create -q -f qcow2 %s 1M", image);
	assert_int_equal(system(words), 0);
	disk = (struct machine_disk){.path = image, .format = DISK_QCOW2};
	assert_int_equal(attach(&r, &disk), 1);
	assert_int_equal(tell_size(&r, 1, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "qemu-img resize"));
	rig_release(&r);
	unlink(image);
}

#define MACHINES 3u

static void *use_machine(void *opaque)
{
	const struct machine_disk disk = readonly();

	come_and_go(opaque, &disk);
	return NULL;
}

static void machines_are_each_their_own(void **state)
{
	pthread_t threads[MACHINES];
	struct rig r[MACHINES];

	(void)state;
	for (unsigned i = 0; i < MACHINES; i++)
		start(&r[i], i % 2 ? gives_and_resets : gives, NULL);
	for (unsigned i = 0; i < MACHINES; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_machine, &r[i]), 0);
	for (unsigned i = 0; i < MACHINES; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < MACHINES; i++)
		rig_release(&r[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_disk_comes_and_goes),
		T(a_reset_right_after_an_ejection),
		T(a_guest_that_does_not_answer),
		T(a_guest_that_refuses),
		T(a_device_without_a_driver_cannot_be_kept),
		T(a_machine_ends_with_a_disk_that_was_asked_for),
		T(slots_are_used_up_and_free_again),
		T(devices_on_mmio_stay),
		T(devices_of_a_guest_without_slots_stay),
		T(raw_disks_grow_and_qcow2_says_why_not),
		T(machines_are_each_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
