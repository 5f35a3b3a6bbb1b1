/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers are 32 bits wide and are only read and written whole: other accesses
 * read as 0 and change nothing (4.2.2.2 forbids them to the driver). Configuration
 * space, from 0x100 on, takes accesses of 1, 2 and 4 bytes.
 */
#include "virtio/transport/mmio.h"

#include "base/bits.h"

#define MAGIC   0x74726976u /* "virt" */
#define VERSION 2
#define VENDOR  0x47444f4cu /* "LODG" */

enum {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE_ID = 0x08,
	REG_VENDOR_ID = 0x0c,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_SIZE_MAX = 0x34,
	REG_QUEUE_SIZE = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC_LOW = 0x80,
	REG_QUEUE_DESC_HIGH = 0x84,
	REG_QUEUE_DRIVER_LOW = 0x90,
	REG_QUEUE_DRIVER_HIGH = 0x94,
	REG_QUEUE_DEVICE_LOW = 0xa0,
	REG_QUEUE_DEVICE_HIGH = 0xa4,
	REG_SHM_LEN_LOW = 0xb0,
	REG_SHM_BASE_HIGH = 0xbc,
	REG_QUEUE_RESET = 0xc0,
	REG_CONFIG_GENERATION = 0xfc,
	REG_CONFIG = 0x100,
};

#define INTERRUPT_USED   1u
#define INTERRUPT_CONFIG 2u

static void interrupt(struct virtio_mmio *t, uint32_t why)
{
	t->interrupts |= why;
	irq_pulse(&t->irq);
}

static void on_queue_used(void *opaque, unsigned queue)
{
	(void)queue;
	interrupt(opaque, INTERRUPT_USED);
}

static void on_config_changed(void *opaque)
{
	interrupt(opaque, INTERRUPT_CONFIG);
}

static void on_again(void *opaque, unsigned queue)
{
	struct virtio_mmio *t = opaque;

	virtio_doorbell_ring(&t->doorbells, queue);
}

static uint32_t read_register(struct virtio_mmio *t, uint64_t reg)
{
	struct virtio_device *d = t->device;
	const struct virtio_queue *q = virtio_queue(d, t->queue_sel);

	switch (reg) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return VERSION;
	case REG_DEVICE_ID:
		return d->ops->id;
	case REG_VENDOR_ID:
		return VENDOR;
	case REG_DEVICE_FEATURES:
		return virtio_offered(d, t->device_features_sel);
	case REG_QUEUE_SIZE_MAX:
		return q ? d->queue_size : 0;
	case REG_QUEUE_READY:
		return q && q->enabled;
	case REG_INTERRUPT_STATUS:
		return t->interrupts;
	case REG_STATUS:
		return d->status;
	case REG_CONFIG_GENERATION:
		return d->generation;
	}
	if (reg >= REG_SHM_LEN_LOW && reg <= REG_SHM_BASE_HIGH)
		return UINT32_MAX; /* there is no shared memory region */
	return 0;
}

static uint64_t mmio_read(void *dev, uint64_t offset, unsigned size)
{
	struct virtio_mmio *t = dev;

	if (offset >= REG_CONFIG)
		return virtio_config_read(t->device, offset - REG_CONFIG, size);
	return size == 4 && offset % 4 == 0 ? read_register(t, offset) : 0;
}

static void set_half(uint64_t *address, unsigned shift, uint32_t value)
{
	*address = (*address & ~(MASK(32) << shift)) | (uint64_t)value << shift;
}

/* Registers of the queue selected; its place is fixed while it is ready. */
static void write_queue(struct virtio_mmio *t, uint64_t reg, uint32_t value)
{
	struct virtio_queue *q = virtio_queue(t->device, t->queue_sel);

	if (!q)
		return;
	if (reg == REG_QUEUE_RESET) {
		if (value == 1 && virtio_has(t->device, VIRTIO_F_RING_RESET))
			virtio_queue_reset(t->device, t->queue_sel);
		return;
	}
	if (reg == REG_QUEUE_READY) {
		if (value & 1)
			virtio_queue_enable(t->device, t->queue_sel);
		else
			virtio_queue_reset(t->device, t->queue_sel);
		return;
	}
	if (q->enabled)
		return;
	switch (reg) {
	case REG_QUEUE_SIZE:
		q->place.size = MIN(value, UINT16_MAX);
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
		set_half(&q->place.desc, (reg - REG_QUEUE_DESC_LOW) * 8, value);
		break;
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
		set_half(&q->place.driver, (reg - REG_QUEUE_DRIVER_LOW) * 8, value);
		break;
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		set_half(&q->place.device, (reg - REG_QUEUE_DEVICE_LOW) * 8, value);
		break;
	}
}

static void registers_to_power_on(struct virtio_mmio *t)
{
	t->device_features_sel = 0;
	t->driver_features_sel = 0;
	t->queue_sel = 0;
	t->interrupts = 0;
}

static void write_register(struct virtio_mmio *t, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_accept(t->device, t->driver_features_sel, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		break;
	case REG_QUEUE_SEL:
		t->queue_sel = value;
		break;
	case REG_QUEUE_NOTIFY:
		virtio_notify(t->device, value);
		break;
	case REG_INTERRUPT_ACK:
		t->interrupts &= ~value;
		break;
	case REG_STATUS:
		virtio_set_status(t->device, value);
		if (!(value & 0xff))
			registers_to_power_on(t);
		break;
	default:
		write_queue(t, reg, value);
	}
}

static void mmio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *t = dev;

	if (offset >= REG_CONFIG)
		virtio_config_write(t->device, offset - REG_CONFIG, size, value);
	else if (size == 4 && offset % 4 == 0)
		write_register(t, offset, value);
}

const struct bus_ops virtio_mmio_ops = {"virtio-mmio", 4, mmio_read, mmio_write};

int virtio_mmio_init(struct virtio_mmio *t, const struct virtio_env *env, struct virtio_device *d,
		     struct irq_line irq, uint64_t base, struct err *e)
{
	const struct virtio_link link = {on_queue_used, on_config_changed, on_again, t};
	int rc;

	t->device = d;
	t->irq = irq;
	registers_to_power_on(t);
	rc = virtio_doorbells_init(&t->doorbells, env, d, e);
	if (rc)
		return rc;
	virtio_device_link(d, &link);
	for (unsigned i = 0; i < d->queue_count; i++) {
		const struct virtio_bell bell = {
			.addr = base + REG_QUEUE_NOTIFY, .size = 4, .matching = true, .match = i};

		virtio_doorbell_place(&t->doorbells, i, &bell);
	}
	return 0;
}

void virtio_mmio_release(struct virtio_mmio *t)
{
	virtio_doorbells_release(&t->doorbells);
}

void virtio_mmio_reset(struct virtio_mmio *t)
{
	pthread_mutex_lock(&t->device->lock);
	virtio_reset(t->device);
	registers_to_power_on(t);
	pthread_mutex_unlock(&t->device->lock);
}
