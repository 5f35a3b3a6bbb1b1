/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MMIO transport: a virtio device as a block of registers and one interrupt.
 *
 * Source: virtio 1.2, 4.2 "Virtio Over MMIO", version 2 of the registers.
 *
 * virtio_mmio_ops covers VIRTIO_MMIO_SIZE bytes, with dev = the struct virtio_mmio
 * and lock = its device's. The interrupt is edge-triggered: each event is an edge,
 * and the status register says which there were, so that none is lost and no end
 * of interrupt has to be reported.
 */
#ifndef LODGE_VIRTIO_TRANSPORT_MMIO_H
#define LODGE_VIRTIO_TRANSPORT_MMIO_H

#include "core/bus.h"
#include "core/irq.h"
#include "virtio/device.h"
#include "virtio/transport/doorbell.h"

#define VIRTIO_MMIO_SIZE 0x200u

struct virtio_mmio {
	struct virtio_device *device;
	struct irq_line irq;
	struct virtio_doorbells doorbells;
	/* guarded by the device's lock: */
	uint32_t device_features_sel, driver_features_sel;
	uint32_t queue_sel;
	uint32_t interrupts; /* InterruptStatus */
};

/* Links the device with registers whose range will lie at base. Before the machine runs. 0, or
 * -errno with e set. */
int virtio_mmio_init(struct virtio_mmio *t, const struct virtio_env *env, struct virtio_device *d,
		     struct irq_line irq, uint64_t base, struct err *e);
void virtio_mmio_release(struct virtio_mmio *t);

/* Device and registers to their power-on state. Any thread. */
void virtio_mmio_reset(struct virtio_mmio *t);

extern const struct bus_ops virtio_mmio_ops;

#endif
