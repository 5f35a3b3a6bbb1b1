/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INTA# of devices that share a pin of the I/O APIC: slots 1 and 9. A guest makes each device raise
 * its interrupt (a queue in an impossible place), quiets some by a reset, and then unmasks the pin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "machine/layout.h"
#include "machine_rig.h"

#define DISKS     9
#define DISK_SIZE 4096
#define VECTOR    0x51

/* Where pci_setup puts BAR 0 of the slots: each device has that one and its MSI-X table. */
#define BAR(slot) (LAYOUT_PCI32 + ((slot)-LAYOUT_VIRTIO_SLOT) * 0x8000u)

/* virtio 1.2, 4.1.4.3 */
#define FEATURE_SELECT 8
#define FEATURE        12
#define STATUS         20
#define QUEUE_SELECT   22
#define QUEUE_ENABLE   28
#define QUEUE_DESC     32

#define IOAPIC_WINDOW (LAYOUT_IOAPIC + 0x10)
#define ENTRY(pin)    (0x10 + 2 * (pin))
#define LEVEL_LOW     0xa000u

static atomic_uint messages; /* with VECTOR */

static void count_message(struct engine_vm *vm, const struct msi_msg *msg)
{
	(void)vm;
	messages += (msg->data & MSI_DATA_VECTOR) == VECTOR;
}

static void raise_line(struct buf *p, unsigned slot)
{
	uint32_t bar = BAR(slot);

	rig_store(p, 1, bar + STATUS, 3);
	rig_store(p, 4, bar + FEATURE_SELECT, 1);
	rig_store(p, 4, bar + FEATURE, 1);
	rig_store(p, 1, bar + STATUS, 11);
	rig_store(p, 2, bar + QUEUE_SELECT, 0);
	rig_store(p, 4, bar + QUEUE_DESC, 1);
	rig_store(p, 2, bar + QUEUE_ENABLE, 1);
	rig_store(p, 1, bar + STATUS, 15);
}

static void quiet(struct buf *p, unsigned slot)
{
	rig_store(p, 1, BAR(slot) + STATUS, 0);
}

/* How often the guest is interrupted, whose devices in these slots have raised the line and then
 * let go of it. */
static unsigned interrupts(uint32_t raised, uint32_t quieted)
{
	char path[] = "/tmp/lodge-intx-XXXXXX";
	struct machine_disk disks[DISKS];
	struct buf p = BUF_INIT;
	int fd = mkstemp(path);
	struct rig r;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	for (unsigned slot = 0; slot < 32; slot++)
		if (raised & BIT(slot))
			raise_line(&p, slot);
	for (unsigned slot = 0; slot < 32; slot++)
		if (quieted & BIT(slot))
			quiet(&p, slot);
	rig_store(&p, 4, LAYOUT_IOAPIC, ENTRY(layout_pci_gsi(1, 0)));
	rig_store(&p, 4, IOAPIC_WINDOW, LEVEL_LOW | VECTOR);
	rig_out(&p, 4, LAYOUT_DEBUG_EXIT, 1);
	rig_init(&r, &p);
	for (unsigned i = 0; i < DISKS; i++)
		disks[i] = (struct machine_disk){.path = path, .readonly = true};
	r.config.disks = disks;
	r.config.disk_count = DISKS;
	r.config.debug_exit = true;
	r.engine.msi = count_message;
	messages = 0;
	rig_start(&r);
	rig_ends(&r, MACHINE_DEBUG_EXIT);
	rig_release(&r);
	close(fd);
	unlink(path);
	return messages;
}

static void a_pin_is_high_while_any_device_of_it_has_reason(void **state)
{
	(void)state;
	assert_int_equal(layout_pci_gsi(1, 0), layout_pci_gsi(9, 0));
	assert_int_equal(interrupts(0, 0), 0);
	assert_int_equal(interrupts(BIT(1), 0), 1);
	assert_int_equal(interrupts(BIT(9), 0), 1);
	assert_int_equal(interrupts(BIT(1) | BIT(9), BIT(9)), 1);
	assert_int_equal(interrupts(BIT(1) | BIT(9), BIT(1)), 1);
	assert_int_equal(interrupts(BIT(1), BIT(9)), 1);
	assert_int_equal(interrupts(BIT(1) | BIT(9), BIT(1) | BIT(9)), 0);
	assert_int_equal(interrupts(BIT(1), BIT(1)), 0);
	assert_int_equal(interrupts(BIT(2), 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pin_is_high_while_any_device_of_it_has_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
