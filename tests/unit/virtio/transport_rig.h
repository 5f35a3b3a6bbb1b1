/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device behind either transport, with the functions that a driver needs to work with it:
 * the registers as virtio 1.2 has them in 4.1 and 4.2. The device is the test's own.
 */
#ifndef LODGE_TESTS_UNIT_VIRTIO_TRANSPORT_RIG_H
#define LODGE_TESTS_UNIT_VIRTIO_TRANSPORT_RIG_H

#include "base/event.h"
#include "devices/pci/host.h"
#include "queue_driver.h"
#include "virtio/device.h"
#include "virtio/transport/mmio.h"
#include "virtio/transport/pci.h"

#define VRIG_RAM     0x400000u
#define VRIG_BAR     0xd0000000u /* and the MSI-X table behind it */
#define VRIG_MSIX    0xd0010000u
#define VRIG_MMIO    0xc0100000u
#define VRIG_SLOT    3
#define VRIG_MSI_MAX 64
#define VRIG_BELLS   8

struct transport_rig {
	bool pci;
	struct mem mem;
	struct bus mmio, pio;
	struct event_loop *loop;
	struct pci_host host;
	struct virtio_env env;
	struct virtio_device *device;
	struct virtio_mmio by_mmio;
	struct virtio_pci by_pci;
	bool line;      /* the interrupt line's level */
	unsigned edges; /* how often it rose */
	unsigned messages;
	struct msi_msg message[VRIG_MSI_MAX];
	struct virtio_bell bells[VRIG_BELLS]; /* that ring now; size 0: none */
};

/* Puts the device, which is the caller's, behind a transport; rings: the engine has doorbells. PCI:
 * its BARs are placed, MSI-X is off. */
void vrig_make(struct transport_rig *r, bool pci, bool rings);
void vrig_connect(struct transport_rig *r, struct virtio_device *d);
void vrig_release(struct transport_rig *r);

uint64_t vrig_features(struct transport_rig *r);
void vrig_accept(struct transport_rig *r, uint64_t features);
uint8_t vrig_status(struct transport_rig *r);
void vrig_set_status(struct transport_rig *r, uint8_t status);
void vrig_place_queue(struct transport_rig *r, unsigned queue, const struct virtq_place *place);
void vrig_enable_queue(struct transport_rig *r, unsigned queue);
bool vrig_queue_enabled(struct transport_rig *r, unsigned queue);
unsigned vrig_queue_size(struct transport_rig *r, unsigned queue);
void vrig_reset_queue(struct transport_rig *r, unsigned queue);
void vrig_notify(struct transport_rig *r, unsigned queue);
uint64_t vrig_config_read(struct transport_rig *r, unsigned offset, unsigned size);
void vrig_config_write(struct transport_rig *r, unsigned offset, unsigned size, uint64_t value);
unsigned vrig_generation(struct transport_rig *r);

/* What the interrupt status says; after it a driver has acknowledged all of it. */
unsigned vrig_interrupts(struct transport_rig *r);

/* A register of the PCI function. */
uint32_t vrig_pci_read(struct transport_rig *r, unsigned reg, unsigned size);
void vrig_pci_write(struct transport_rig *r, unsigned reg, unsigned size, uint32_t value);

/* The n-th vendor-specific capability of this type; 0: there is none. */
unsigned vrig_pci_cap(struct transport_rig *r, unsigned id, unsigned type);

/* All steps up to DRIVER_OK with these features, VERSION_1 added, and one driver's queue as queue
 * 0. */
void vrig_start(struct transport_rig *r, uint64_t features, const struct driver *d);

#endif
