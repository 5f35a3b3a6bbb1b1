/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_rig.h"

#include <assert.h>
#include <string.h>

#define CONFIG_BASE (VRIG_BAR + 0x2000u)
#define CAP_VENDOR  0x09

static void on_line(void *opaque, unsigned pin, bool level)
{
	struct transport_rig *r = opaque;

	(void)pin;
	r->edges += level && !r->line;
	r->line = level;
}

static void on_message(void *opaque, const struct msi_msg *msg)
{
	struct transport_rig *r = opaque;

	assert(r->messages < VRIG_MSI_MAX);
	r->message[r->messages++] = *msg;
}

static bool on_ring(void *opaque, const struct virtio_bell *bell, bool on)
{
	struct transport_rig *r = opaque;
	unsigned i = 0;

	while (i < VRIG_BELLS && (on ? r->bells[i].size : r->bells[i].eventfd != bell->eventfd))
		i++;
	assert(i < VRIG_BELLS);
	r->bells[i] = on ? *bell : (struct virtio_bell){.eventfd = -1};
	return true;
}

void vrig_make(struct transport_rig *r, bool pci, bool rings)
{
	memset(r, 0, sizeof(*r));
	r->pci = pci;
	if (mem_init(&r->mem, 0, NULL) || mem_add_ram(&r->mem, 0, VRIG_RAM, NULL))
		assert(0);
	bus_init(&r->mmio, "mmio", BIT(46));
	bus_init(&r->pio, "pio", 0x10000);
	r->loop = event_loop_new(NULL);
	assert(r->loop);
	r->env = (struct virtio_env){
		.loop = r->loop, .mmio = &r->mmio, .ring = rings ? on_ring : NULL, .opaque = r};
}

static void connect_pci(struct transport_rig *r, struct virtio_device *d)
{
	const struct virtio_pci_config config = {
		.env = &r->env,
		.intx = {on_line, r, 0},
		.msi = {on_message, r},
		.class_code = 0xff0000,
	};
	int rc = virtio_pci_init(&r->by_pci, d, &config, NULL);

	assert(!rc);
	(void)rc;
	pci_host_init(&r->host);
	bus_add(&r->pio, 0xcf8, PCI_HOST_PORTS, &pci_host_port_ops, &r->host, &r->host.lock, NULL);
	pci_host_attach(&r->host, PCI_DEVFN(VRIG_SLOT, 0), &r->by_pci.function);
	vrig_pci_write(r, PCI_BAR(0), 4, VRIG_BAR);
	vrig_pci_write(r, PCI_BAR(1), 4, VRIG_MSIX);
	vrig_pci_write(r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void vrig_connect(struct transport_rig *r, struct virtio_device *d)
{
	const struct irq_line line = {on_line, r, 0};
	int rc;

	r->device = d;
	if (r->pci) {
		connect_pci(r, d);
		return;
	}
	rc = virtio_mmio_init(&r->by_mmio, &r->env, d, line, VRIG_MMIO, NULL);
	assert(!rc);
	(void)rc;
	bus_add(&r->mmio, VRIG_MMIO, VIRTIO_MMIO_SIZE, &virtio_mmio_ops, &r->by_mmio, &d->lock,
		NULL);
}

void vrig_release(struct transport_rig *r)
{
	if (r->pci) {
		virtio_pci_release(&r->by_pci);
		pci_host_release(&r->host);
	} else {
		virtio_mmio_release(&r->by_mmio);
	}
	event_loop_free(r->loop);
	bus_release(&r->mmio);
	bus_release(&r->pio);
	mem_release(&r->mem);
}

static void address(struct transport_rig *r, unsigned reg)
{
	bus_write(&r->pio, 0xcf8, 4, 1u << 31 | PCI_DEVFN(VRIG_SLOT, 0) << 8 | (reg & ~3u));
}

uint32_t vrig_pci_read(struct transport_rig *r, unsigned reg, unsigned size)
{
	address(r, reg);
	return bus_read(&r->pio, 0xcfc + (reg & 3), size);
}

void vrig_pci_write(struct transport_rig *r, unsigned reg, unsigned size, uint32_t value)
{
	address(r, reg);
	bus_write(&r->pio, 0xcfc + (reg & 3), size, value);
}

unsigned vrig_pci_cap(struct transport_rig *r, unsigned id, unsigned type)
{
	unsigned at = vrig_pci_read(r, PCI_CAPABILITIES, 1);

	for (; at; at = vrig_pci_read(r, at + 1, 1))
		if (vrig_pci_read(r, at, 1) == id &&
		    (id != CAP_VENDOR || vrig_pci_read(r, at + 3, 1) == type))
			return at;
	return 0;
}

static uint64_t get(struct transport_rig *r, unsigned mmio, unsigned pci, unsigned pci_size)
{
	return r->pci ? bus_read(&r->mmio, VRIG_BAR + pci, pci_size)
		      : bus_read(&r->mmio, VRIG_MMIO + mmio, 4);
}

static void put(struct transport_rig *r, unsigned mmio, unsigned pci, unsigned pci_size,
		uint64_t value)
{
	if (r->pci)
		bus_write(&r->mmio, VRIG_BAR + pci, pci_size, value);
	else
		bus_write(&r->mmio, VRIG_MMIO + mmio, 4, value);
}

uint64_t vrig_features(struct transport_rig *r)
{
	uint64_t features = 0;

	for (unsigned i = 0; i < 2; i++) {
		put(r, 0x14, 0, 4, i);
		features |= get(r, 0x10, 4, 4) << (i * 32);
	}
	return features;
}

void vrig_accept(struct transport_rig *r, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		put(r, 0x24, 8, 4, i);
		put(r, 0x20, 12, 4, features >> (i * 32) & 0xffffffff);
	}
}

uint8_t vrig_status(struct transport_rig *r)
{
	return get(r, 0x70, 20, 1);
}

void vrig_set_status(struct transport_rig *r, uint8_t status)
{
	put(r, 0x70, 20, 1, status);
}

static void select(struct transport_rig *r, unsigned queue)
{
	put(r, 0x30, 22, 2, queue);
}

static void put_address(struct transport_rig *r, unsigned mmio, unsigned pci, uint64_t value)
{
	put(r, mmio, pci, 4, value & 0xffffffff);
	put(r, mmio + 4, pci + 4, 4, value >> 32);
}

void vrig_place_queue(struct transport_rig *r, unsigned queue, const struct virtq_place *place)
{
	select(r, queue);
	put(r, 0x38, 24, 2, place->size);
	put_address(r, 0x80, 32, place->desc);
	put_address(r, 0x90, 40, place->driver);
	put_address(r, 0xa0, 48, place->device);
}

void vrig_enable_queue(struct transport_rig *r, unsigned queue)
{
	select(r, queue);
	put(r, 0x44, 28, 2, 1);
}

bool vrig_queue_enabled(struct transport_rig *r, unsigned queue)
{
	select(r, queue);
	return get(r, 0x44, 28, 2);
}

unsigned vrig_queue_size(struct transport_rig *r, unsigned queue)
{
	select(r, queue);
	return get(r, 0x34, 24, 2);
}

void vrig_reset_queue(struct transport_rig *r, unsigned queue)
{
	select(r, queue);
	put(r, 0xc0, 58, 2, 1);
}

void vrig_notify(struct transport_rig *r, unsigned queue)
{
	unsigned cap;

	if (!r->pci) {
		bus_write(&r->mmio, VRIG_MMIO + 0x50, 4, queue);
		return;
	}
	cap = vrig_pci_cap(r, CAP_VENDOR, 2);
	select(r, queue);
	bus_write(&r->mmio,
		  VRIG_BAR + vrig_pci_read(r, cap + 8, 4) +
			  get(r, 0, 30, 2) * vrig_pci_read(r, cap + 16, 4),
		  2, queue);
}

uint64_t vrig_config_read(struct transport_rig *r, unsigned offset, unsigned size)
{
	return bus_read(&r->mmio, (r->pci ? CONFIG_BASE : VRIG_MMIO + 0x100) + offset, size);
}

void vrig_config_write(struct transport_rig *r, unsigned offset, unsigned size, uint64_t value)
{
	bus_write(&r->mmio, (r->pci ? CONFIG_BASE : VRIG_MMIO + 0x100) + offset, size, value);
}

unsigned vrig_generation(struct transport_rig *r)
{
	return get(r, 0xfc, 21, 1);
}

unsigned vrig_interrupts(struct transport_rig *r)
{
	unsigned why = r->pci ? bus_read(&r->mmio, VRIG_BAR + 0x1000, 1)
			      : bus_read(&r->mmio, VRIG_MMIO + 0x60, 4);

	if (!r->pci)
		bus_write(&r->mmio, VRIG_MMIO + 0x64, 4, why);
	return why;
}

void vrig_start(struct transport_rig *r, uint64_t features, const struct driver *d)
{
	const struct virtq_place place = {d->size, d->desc, d->driver, d->device};

	vrig_set_status(r, 0);
	assert(vrig_status(r) == 0);
	vrig_set_status(r, VIRTIO_ACKNOWLEDGE);
	vrig_set_status(r, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vrig_accept(r, features | VIRTIO_F_VERSION_1);
	vrig_set_status(r, vrig_status(r) | VIRTIO_FEATURES_OK);
	assert(vrig_status(r) & VIRTIO_FEATURES_OK);
	vrig_place_queue(r, 0, &place);
	vrig_enable_queue(r, 0);
	vrig_set_status(r, vrig_status(r) | VIRTIO_DRIVER_OK);
}
