/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI host bridge: bus 0, its own function 00:00.0, and the two ways to
 * configuration space.
 *
 * Source: PCI Local Bus Specification 3.0, 3.2.2.3.2 "Software Generation of
 * Configuration Transactions" (mechanism #1); PCI Express Base Specification 3.0,
 * 7.2.2 "PCI Express Enhanced Configuration Access Mechanism" (ECAM).
 *
 *	pci_host_port_ops  8 ports, at 0xCF8: address, then data
 *	pci_host_ecam_ops  1 MiB of memory for each bus
 *
 * both with dev = the struct pci_host and lock = its lock.
 */
#ifndef LODGE_DEVICES_PCI_HOST_H
#define LODGE_DEVICES_PCI_HOST_H

#include <pthread.h>
#include <stdint.h>

#include "core/bus.h"
#include "devices/pci/config.h"

#define PCI_DEVFN(dev, fn) ((dev) << 3 | (fn))
#define PCI_DEVFNS         256
#define PCI_HOST_PORTS     8

/* Identity of 00:00.0: that of an Intel 82G33/Q35 host bridge, which kernels know as one with no
 * quirks and no registers that they touch. */
#define PCI_HOST_VENDOR 0x8086
#define PCI_HOST_DEVICE 0x29c0

struct pci_host_state {
	uint32_t address; /* the register at 0xCF8 */
};

struct pci_host {
	pthread_mutex_t lock; /* guards everything below and the functions attached */
	struct pci_host_state state;
	struct pci_function self;
	struct pci_function *functions[PCI_DEVFNS]; /* of bus 0; NULL: absent */
	/* whose byte port 0xCF9 is */
	const struct bus_ops *cf9_ops;
	void *cf9;
	pthread_mutex_t *cf9_lock;
};

/* Makes a host bridge with nothing but itself on its bus. */
void pci_host_init(struct pci_host *h);

/* Every function to its power-on state (pci_function_reset). Any thread. */
void pci_host_reset(struct pci_host *h);
void pci_host_release(struct pci_host *h);

/* Gives byte accesses of port 0xCF9, which lies in the address register, to another device: in
 * chipsets that port is the reset control register. Before the machine runs. */
void pci_host_set_cf9(struct pci_host *h, const struct bus_ops *ops, void *dev,
		      pthread_mutex_t *lock);

/*
 * Puts a function, of which it keeps the address, on bus 0; the place is free. Function 0 of a
 * device is told apart as multi-function where there are others. Before the machine runs, or with
 * no guest looking there.
 */
void pci_host_attach(struct pci_host *h, unsigned devfn, struct pci_function *f);

/*
 * Takes the function that is there off the bus: its BARs are unmapped, and it is reached no more,
 * but by a vCPU that is in the middle of an access (core/bus.h). It is as after its reset. False:
 * there is none. Any thread that may call bus_remove for its BARs.
 */
bool pci_host_detach(struct pci_host *h, unsigned devfn);

extern const struct bus_ops pci_host_port_ops;
extern const struct bus_ops pci_host_ecam_ops;

#endif
