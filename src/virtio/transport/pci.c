/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BAR 0 holds the virtio structures, a page each:
 *
 *	0x0000  common configuration     0x2000  the device's configuration
 *	0x1000  ISR status               0x3000  notifications, 4 bytes a queue
 *
 * and BAR 1 the MSI-X table. A structure is found by a vendor-specific capability;
 * one capability more is a window through which BAR 0 is reached from configuration
 * space (4.1.4.9).
 *
 * INTA# is high while the ISR status register is not 0, MSI-X is off and the command
 * register does not disable it. All that concerns it is under the device's lock; what
 * configuration space says of it is noted there when it changes.
 */
#include "virtio/transport/pci.h"

#include "base/bits.h"
#include "base/checked.h"

#define VENDOR_ID     0x1af4
#define DEVICE_ID(id) (0x1040 + (id))
#define REVISION      1
#define PIN_INTA      1

#define BAR      0
#define BAR_SIZE 0x4000u
#define BAR_MSIX 1
#define COMMON   0x0000u
#define ISR      0x1000u
#define CONFIG   0x2000u
#define NOTIFY   0x3000u
#define REGION   0x1000u

#define NOTIFY_MULTIPLIER 4u

/* struct virtio_pci_cap, 4.1.4, without its first two bytes. */
#define CAP_VENDOR     0x09
#define CAP_LEN        2
#define CAP_TYPE       3
#define CAP_BAR        4
#define CAP_OFFSET     8
#define CAP_LENGTH     12
#define CAP_SIZE       16
#define CAP_MULTIPLIER 16 /* of notifications */
#define CAP_DATA       16 /* of the window */

enum { TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_ISR = 3, TYPE_DEVICE = 4, TYPE_WINDOW = 5 };

#define ISR_QUEUE  1u
#define ISR_CONFIG 2u

#define STATUS_INTERRUPT 0x08 /* in the PCI status register */

/* Offsets in struct virtio_pci_common_cfg, 4.1.4.3. */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0,
	COMMON_DEVICE_FEATURE = 4,
	COMMON_DRIVER_FEATURE_SELECT = 8,
	COMMON_DRIVER_FEATURE = 12,
	COMMON_CONFIG_VECTOR = 16,
	COMMON_NUM_QUEUES = 18,
	COMMON_STATUS = 20,
	COMMON_GENERATION = 21,
	COMMON_QUEUE_SELECT = 22,
	COMMON_QUEUE_SIZE = 24,
	COMMON_QUEUE_VECTOR = 26,
	COMMON_QUEUE_ENABLE = 28,
	COMMON_QUEUE_NOTIFY_OFF = 30,
	COMMON_QUEUE_DESC = 32,
	COMMON_QUEUE_DRIVER = 40,
	COMMON_QUEUE_DEVICE = 48,
	COMMON_QUEUE_NOTIF_DATA = 56,
	COMMON_QUEUE_RESET = 58,
	COMMON_SIZE = 60,
};

static void drive_intx(struct virtio_pci *t)
{
	irq_set(&t->intx, t->isr && !t->intx_disabled);
}

static void interrupt(struct virtio_pci *t, uint8_t why, uint16_t vector)
{
	if (msix_enabled(&t->msix)) {
		if (why & ISR_CONFIG)
			t->isr |= why; /* 4.1.4.5.1: also with MSI-X */
		if (vector != VIRTIO_PCI_NO_VECTOR)
			msix_raise(&t->msix, vector);
		return;
	}
	t->isr |= why;
	drive_intx(t);
}

static void on_queue_used(void *opaque, unsigned queue)
{
	struct virtio_pci *t = opaque;

	interrupt(t, ISR_QUEUE, t->queue_vectors[queue]);
}

static void on_config_changed(void *opaque)
{
	struct virtio_pci *t = opaque;

	interrupt(t, ISR_CONFIG, t->config_vector);
}

static void on_again(void *opaque, unsigned queue)
{
	struct virtio_pci *t = opaque;

	virtio_doorbell_ring(&t->doorbells, queue);
}

static uint64_t read_queue(struct virtio_pci *t, uint64_t field)
{
	const struct virtio_queue *q = virtio_queue(t->device, t->queue_select);

	if (!q)
		return field == COMMON_QUEUE_VECTOR ? VIRTIO_PCI_NO_VECTOR : 0;
	switch (field) {
	case COMMON_QUEUE_SIZE:
		return q->place.size;
	case COMMON_QUEUE_VECTOR:
		return t->queue_vectors[t->queue_select];
	case COMMON_QUEUE_ENABLE:
		return q->enabled;
	case COMMON_QUEUE_NOTIFY_OFF:
		return t->queue_select;
	case COMMON_QUEUE_DESC:
		return q->place.desc;
	case COMMON_QUEUE_DRIVER:
		return q->place.driver;
	case COMMON_QUEUE_DEVICE:
		return q->place.device;
	}
	return 0;
}

static uint64_t read_field(struct virtio_pci *t, uint64_t field)
{
	const struct virtio_device *d = t->device;

	switch (field) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return t->device_feature_select;
	case COMMON_DEVICE_FEATURE:
		return virtio_offered(d, t->device_feature_select);
	case COMMON_DRIVER_FEATURE_SELECT:
		return t->driver_feature_select;
	case COMMON_DRIVER_FEATURE:
		return virtio_accepted(d, t->driver_feature_select);
	case COMMON_CONFIG_VECTOR:
		return t->config_vector;
	case COMMON_NUM_QUEUES:
		return d->queue_count;
	case COMMON_STATUS:
		return d->status;
	case COMMON_GENERATION:
		return d->generation & 0xff;
	case COMMON_QUEUE_SELECT:
		return t->queue_select;
	}
	return read_queue(t, field);
}

/* The fields, and how wide each is: 8 is two registers of 4. */
static const uint8_t widths[COMMON_SIZE] = {
	[COMMON_DEVICE_FEATURE_SELECT] = 4,
	[COMMON_DEVICE_FEATURE] = 4,
	[COMMON_DRIVER_FEATURE_SELECT] = 4,
	[COMMON_DRIVER_FEATURE] = 4,
	[COMMON_CONFIG_VECTOR] = 2,
	[COMMON_NUM_QUEUES] = 2,
	[COMMON_STATUS] = 1,
	[COMMON_GENERATION] = 1,
	[COMMON_QUEUE_SELECT] = 2,
	[COMMON_QUEUE_SIZE] = 2,
	[COMMON_QUEUE_VECTOR] = 2,
	[COMMON_QUEUE_ENABLE] = 2,
	[COMMON_QUEUE_NOTIFY_OFF] = 2,
	[COMMON_QUEUE_DESC] = 8,
	[COMMON_QUEUE_DRIVER] = 8,
	[COMMON_QUEUE_DEVICE] = 8,
	[COMMON_QUEUE_NOTIF_DATA] = 2,
	[COMMON_QUEUE_RESET] = 2,
};

/* The field that an access is for, and which half of it; false: the access is not one that a driver
 * may make (4.1.3.1). */
static bool find_field(uint64_t offset, unsigned size, uint64_t *field, unsigned *shift)
{
	if (offset >= COMMON_SIZE)
		return false;
	*field = offset;
	*shift = 0;
	if (widths[offset] == size)
		return true;
	if (size != 4)
		return false;
	if (offset >= 4 && widths[offset - 4] == 8) {
		*field = offset - 4;
		*shift = 32;
	}
	return widths[*field] == 8;
}

static uint64_t common_read(struct virtio_pci *t, uint64_t offset, unsigned size)
{
	uint64_t field;
	unsigned shift;

	return find_field(offset, size, &field, &shift) ? read_field(t, field) >> shift : 0;
}

static uint16_t checked_vector(const struct virtio_pci *t, uint16_t vector)
{
	return vector < t->msix.vectors ? vector : VIRTIO_PCI_NO_VECTOR;
}

static void write_half(uint64_t *address, unsigned shift, uint32_t value)
{
	*address = (*address & ~(MASK(32) << shift)) | (uint64_t)value << shift;
}

/* A queue's place is fixed while it is enabled; where it interrupts to is not. */
static void write_queue(struct virtio_pci *t, uint64_t field, unsigned shift, uint64_t value)
{
	struct virtio_queue *q = virtio_queue(t->device, t->queue_select);

	if (!q)
		return;
	if (field == COMMON_QUEUE_VECTOR) {
		t->queue_vectors[t->queue_select] = checked_vector(t, value);
	} else if (field == COMMON_QUEUE_RESET) {
		if (value == 1 && virtio_has(t->device, VIRTIO_F_RING_RESET))
			virtio_queue_reset(t->device, t->queue_select);
	} else if (q->enabled) {
		return;
	} else if (field == COMMON_QUEUE_ENABLE) {
		if (value == 1)
			virtio_queue_enable(t->device, t->queue_select);
	} else if (field == COMMON_QUEUE_SIZE) {
		q->place.size = value;
	} else if (field == COMMON_QUEUE_DESC) {
		write_half(&q->place.desc, shift, value);
	} else if (field == COMMON_QUEUE_DRIVER) {
		write_half(&q->place.driver, shift, value);
	} else if (field == COMMON_QUEUE_DEVICE) {
		write_half(&q->place.device, shift, value);
	}
}

static void registers_to_power_on(struct virtio_pci *t)
{
	t->device_feature_select = 0;
	t->driver_feature_select = 0;
	t->queue_select = 0;
	t->config_vector = VIRTIO_PCI_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		t->queue_vectors[i] = VIRTIO_PCI_NO_VECTOR;
	t->isr = 0;
	drive_intx(t);
}

static void common_write(struct virtio_pci *t, uint64_t offset, unsigned size, uint64_t value)
{
	uint64_t field;
	unsigned shift;

	if (!find_field(offset, size, &field, &shift))
		return;
	switch (field) {
	case COMMON_DEVICE_FEATURE_SELECT:
		t->device_feature_select = value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		t->driver_feature_select = value;
		break;
	case COMMON_DRIVER_FEATURE:
		virtio_accept(t->device, t->driver_feature_select, value);
		break;
	case COMMON_CONFIG_VECTOR:
		t->config_vector = checked_vector(t, value);
		break;
	case COMMON_STATUS:
		virtio_set_status(t->device, value);
		if (!value)
			registers_to_power_on(t);
		break;
	case COMMON_QUEUE_SELECT:
		t->queue_select = value;
		break;
	default:
		write_queue(t, field, shift, value);
	}
}

static uint64_t isr_read(struct virtio_pci *t)
{
	uint8_t isr = t->isr;

	t->isr = 0;
	drive_intx(t);
	return isr;
}

static uint64_t bar_read(void *dev, uint64_t offset, unsigned size)
{
	struct virtio_pci *t = dev;

	switch (align_down(offset, REGION)) {
	case COMMON:
		return common_read(t, offset, size);
	case ISR:
		return offset == ISR ? isr_read(t) : 0;
	case CONFIG:
		return virtio_config_read(t->device, offset - CONFIG, size);
	}
	return 0;
}

static void bar_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_pci *t = dev;

	switch (align_down(offset, REGION)) {
	case COMMON:
		common_write(t, offset, size, value);
		break;
	case CONFIG:
		virtio_config_write(t->device, offset - CONFIG, size, value);
		break;
	case NOTIFY:
		virtio_notify(t->device, (offset - NOTIFY) / NOTIFY_MULTIPLIER);
		break;
	}
}

static const struct bus_ops bar_ops = {"virtio-pci", 4, bar_read, bar_write};

static void place_doorbells(struct virtio_pci *t, uint64_t addr, bool mapped)
{
	for (unsigned i = 0; i < t->device->queue_count; i++) {
		const struct virtio_bell bell = {.addr = addr + NOTIFY + i * NOTIFY_MULTIPLIER,
						 .size = 2};

		virtio_doorbell_place(&t->doorbells, i, mapped ? &bell : NULL);
	}
}

/* A guest may put a BAR where something else is: then it is not reached until it is moved, and
 * nothing else is hurt. */
static void bar_moved(void *opaque, unsigned bar, uint64_t addr, bool mapped)
{
	struct virtio_pci *t = opaque;
	struct bus *bus = t->doorbells.env->mmio;

	if (!mapped) {
		if (bar == BAR)
			place_doorbells(t, addr, false);
		if (t->claimed[bar])
			bus_remove(bus, addr);
		t->claimed[bar] = false;
		return;
	}
	if (bar == BAR)
		t->claimed[bar] = !bus_add(bus, addr, BAR_SIZE, &bar_ops, t, &t->device->lock,
					   NULL);
	else
		t->claimed[bar] = !bus_add(bus, addr, MSIX_SIZE, &msix_bar_ops, &t->msix, NULL,
					   NULL);
	if (bar == BAR && t->claimed[bar])
		place_doorbells(t, addr, true);
}

/* The window's place in BAR 0 as the guest has set it; false: not one that a driver may set. */
static bool window_place(struct virtio_pci *t, uint64_t *offset, unsigned *size)
{
	*offset = pci_function_get(&t->function, t->window + CAP_OFFSET, 4);
	*size = pci_function_get(&t->function, t->window + CAP_LENGTH, 4);
	return pci_function_get(&t->function, t->window + CAP_BAR, 1) == BAR &&
	       (*size == 1 || *size == 2 || *size == 4) && !(*offset % *size) &&
	       range_within(*offset, *size, BAR_SIZE);
}

static bool is_window(const struct virtio_pci *t, unsigned reg, unsigned size)
{
	return ranges_overlap(reg, size, t->window + CAP_DATA, 4);
}

static void reading(void *opaque, unsigned reg, unsigned size)
{
	struct virtio_pci *t = opaque;
	bool pending;
	uint64_t offset;
	unsigned len;

	pthread_mutex_lock(&t->device->lock);
	pending = t->isr;
	if (is_window(t, reg, size) && window_place(t, &offset, &len))
		pci_function_set(&t->function, t->window + CAP_DATA, 4,
				 bar_read(t, offset, len) & MASK(len * 8));
	pthread_mutex_unlock(&t->device->lock);
	if (ranges_overlap(reg, size, PCI_STATUS, 1)) {
		unsigned status = pci_function_get(&t->function, PCI_STATUS, 2);

		status &= ~(unsigned)STATUS_INTERRUPT;
		pci_function_set(&t->function, PCI_STATUS, 2,
				 status | (pending ? STATUS_INTERRUPT : 0));
	}
}

static void update_intx(struct virtio_pci *t)
{
	unsigned command = pci_function_get(&t->function, PCI_COMMAND, 2);

	t->intx_disabled = command & PCI_COMMAND_INTX_DISABLE || msix_enabled(&t->msix);
	drive_intx(t);
}

static void written(void *opaque, unsigned reg, unsigned size)
{
	struct virtio_pci *t = opaque;
	uint64_t offset;
	unsigned len;

	pthread_mutex_lock(&t->device->lock);
	if (is_window(t, reg, size) && window_place(t, &offset, &len))
		bar_write(t, offset, len,
			  pci_function_get(&t->function, t->window + CAP_DATA, 4) & MASK(len * 8));
	if (msix_config_written(&t->msix, reg, size) || ranges_overlap(reg, size, PCI_COMMAND, 2))
		update_intx(t);
	pthread_mutex_unlock(&t->device->lock);
}

static const struct pci_function_ops function_ops = {reading, written, bar_moved};

static unsigned add_cap(struct virtio_pci *t, unsigned type, unsigned len, uint32_t offset,
			uint32_t length)
{
	unsigned cap = pci_function_add_cap(&t->function, CAP_VENDOR, len);

	pci_function_set(&t->function, cap + CAP_LEN, 1, len);
	pci_function_set(&t->function, cap + CAP_TYPE, 1, type);
	pci_function_set(&t->function, cap + CAP_BAR, 1, BAR);
	pci_function_set(&t->function, cap + CAP_OFFSET, 4, offset);
	pci_function_set(&t->function, cap + CAP_LENGTH, 4, length);
	return cap;
}

static void add_caps(struct virtio_pci *t)
{
	struct virtio_device *d = t->device;
	struct pci_function *f = &t->function;
	unsigned cap;

	add_cap(t, TYPE_COMMON, CAP_SIZE, COMMON, COMMON_SIZE);
	cap = add_cap(t, TYPE_NOTIFY, CAP_SIZE + 4, NOTIFY, d->queue_count * NOTIFY_MULTIPLIER);
	pci_function_set(f, cap + CAP_MULTIPLIER, 4, NOTIFY_MULTIPLIER);
	add_cap(t, TYPE_ISR, CAP_SIZE, ISR, 1);
	if (d->config_len)
		add_cap(t, TYPE_DEVICE, CAP_SIZE, CONFIG, d->config_len);
	t->window = add_cap(t, TYPE_WINDOW, CAP_SIZE + 4, 0, 0);
	pci_function_allow(f, t->window + CAP_BAR, 1, 0xff);
	pci_function_allow(f, t->window + CAP_OFFSET, 4, 0xffffffff);
	pci_function_allow(f, t->window + CAP_LENGTH, 4, 0xffffffff);
	pci_function_allow(f, t->window + CAP_DATA, 4, 0xffffffff);
}

int virtio_pci_init(struct virtio_pci *t, struct virtio_device *d,
		    const struct virtio_pci_config *config, struct err *e)
{
	const struct virtio_link link = {on_queue_used, on_config_changed, on_again, t};
	const struct pci_identity id = {
		.vendor = VENDOR_ID,
		.device = DEVICE_ID(d->ops->id),
		.class_code = config->class_code,
		.revision = REVISION,
		.subsystem_vendor = VENDOR_ID,
		.subsystem = DEVICE_ID(d->ops->id),
		.interrupt_pin = PIN_INTA,
	};
	int rc = virtio_doorbells_init(&t->doorbells, config->env, d, e);

	if (rc)
		return rc;
	t->device = d;
	t->intx = config->intx;
	t->intx_disabled = false;
	t->claimed[BAR] = t->claimed[BAR_MSIX] = false;
	pci_function_init(&t->function, &id, &function_ops, t);
	pci_function_add_bar(&t->function, BAR, PCI_BAR_MEM32, BAR_SIZE);
	msix_init(&t->msix, &t->function, BAR_MSIX, d->queue_count + 1, &config->msi);
	add_caps(t);
	registers_to_power_on(t);
	virtio_device_link(d, &link);
	return 0;
}

void virtio_pci_release(struct virtio_pci *t)
{
	virtio_doorbells_release(&t->doorbells);
	msix_release(&t->msix);
}

void virtio_pci_reset(struct virtio_pci *t)
{
	msix_reset(&t->msix);
	pthread_mutex_lock(&t->device->lock);
	virtio_reset(t->device);
	t->intx_disabled = false;
	registers_to_power_on(t);
	pthread_mutex_unlock(&t->device->lock);
}
