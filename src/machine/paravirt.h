/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's virtio devices: which there are, and on which bus.
 *
 * On PCI each is a function in a slot of its own, from LAYOUT_VIRTIO_SLOT on; else a block of
 * registers from LAYOUT_VIRTIO_MMIO on, with an interrupt of its own, which ACPI tells the guest.
 */
#ifndef LODGE_MACHINE_PARAVIRT_H
#define LODGE_MACHINE_PARAVIRT_H

#include "base/err.h"
#include "core/irq.h"
#include "devices/acpi/slots.h"
#include "devices/pci/host.h"
#include "devices/pci/intx.h"
#include "machine/acpi/tables.h"
#include "machine/machine.h"

#define PARAVIRT_MAX 16

struct chardev;
struct machine;
struct machine_window;
struct paravirt;

/* Where the devices are wired to. */
struct paravirt_wires {
	struct pci_host *pci;
	struct acpi_slots *slots; /* its slots, which the devices are in */
	struct msi_sink msi;
	struct pci_intx *intx;
	struct chardev *console; /* of the virtio console, which outlives it; NULL: there is none */
	/* The line of an I/O APIC pin; those below 16 are ISA interrupts. */
	struct irq_line (*line)(void *opaque, unsigned gsi);
	void *opaque;
};

/* Makes the devices that the machine's configuration names. Before vCPUs run. 0, or -errno with e
 * set and nothing made. */
int paravirt_new(struct paravirt **p, struct machine *m, const struct paravirt_wires *wires,
		 struct err *e);

/* No vCPU runs and the event loop has ended. */
void paravirt_free(struct paravirt *p);

/* Every device as after power-on: none of them touches guest memory any more when this returns.
 * vCPUs parked, I/O thread. */
void paravirt_reset(struct paravirt *p);

/* See machine_change. I/O thread. */
struct machine_change;
int paravirt_change(struct paravirt *p, const struct machine_change *change, struct err *e);

/* See machine_device_stats and machine_device_at; 0, false: there is none. I/O thread. */
struct engine_stat;
struct machine_device_name;
size_t paravirt_device_stats(struct paravirt *p, const struct machine_device_name *device,
			     struct engine_stat *stats, size_t max);
bool paravirt_device_at(struct paravirt *p, unsigned n, struct machine_device_name *device);

/* See machine_attach and machine_detach. I/O thread. */
struct machine_attachment;
int paravirt_attach(struct paravirt *p, const struct machine_attachment *a, struct err *e);
int paravirt_detach(struct paravirt *p, enum machine_device kind, unsigned number, struct err *e);

/* What the guest has said of a slot whose device it was asked for: the device is off the bus; or it
 * stays. Any thread, the slots' lock held. */
void paravirt_ejected(struct paravirt *p, unsigned slot);
void paravirt_refused(struct paravirt *p, unsigned slot);

/* A reset: devices that the guest was asked for are gone. vCPUs parked, I/O thread. */
void paravirt_take_asked(struct paravirt *p);

/* The virtio console's window has that size. Any thread. */
void paravirt_set_window(struct paravirt *p, const struct machine_window *window);

/* Adds to config what a guest must know; devices has PARAVIRT_MAX places and lives as long as
 * config. */
void paravirt_describe(const struct paravirt *p, struct acpi_config *config,
		       struct acpi_mmio_device *devices);

#endif
