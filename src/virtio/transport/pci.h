/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI transport: a virtio device as a PCI function, with MSI-X or INTA#.
 *
 * Source: virtio 1.2, 4.1 "Virtio Over PCI Bus", without the legacy interface.
 *
 * Lock order: host bridge, device, MSI-X.
 */
#ifndef LODGE_VIRTIO_TRANSPORT_PCI_H
#define LODGE_VIRTIO_TRANSPORT_PCI_H

#include "core/bus.h"
#include "core/irq.h"
#include "devices/pci/config.h"
#include "devices/pci/msix.h"
#include "virtio/device.h"
#include "virtio/transport/doorbell.h"

#define VIRTIO_PCI_NO_VECTOR 0xffff

struct virtio_pci {
	struct pci_function function; /* to be attached to a host bridge */
	struct msix msix;
	struct virtio_device *device;
	struct virtio_doorbells doorbells;
	struct irq_line intx;
	unsigned window; /* register of the capability that is a window to the BAR */
	bool claimed[2]; /* which BARs have their range on the bus; host bridge's lock */
	/* guarded by the device's lock: */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint16_t queue_vectors[VIRTIO_QUEUES_MAX];
	uint8_t isr;
	bool intx_disabled; /* by the command register, or because MSI-X is on */
};

/* What the transport is given. */
struct virtio_pci_config {
	const struct virtio_env *env;
	struct irq_line intx; /* INTA#, a level */
	struct msi_sink msi;
	uint32_t class_code;
};

/* Makes the function of a device. Before the machine runs. 0, or -errno with e set. */
int virtio_pci_init(struct virtio_pci *t, struct virtio_device *d,
		    const struct virtio_pci_config *config, struct err *e);

/* The function is on no bus that is used any more. */
void virtio_pci_release(struct virtio_pci *t);

/* The device, and all but the function's configuration space, which its host bridge resets, to
 * their power-on state. Any thread. */
void virtio_pci_reset(struct virtio_pci *t);

#endif
