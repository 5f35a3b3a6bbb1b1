/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of a PCI function: a table of messages, a mask for each and one for all,
 * and a bit for each that is pending while masked.
 *
 * Source: PCI Local Bus Specification 3.0, 6.8.2 "MSI-X Capability and Table
 * Structures".
 *
 * The table and the pending bits are memory of one BAR, MSIX_SIZE bytes, which the
 * device gives to msix_bar_ops (dev = the struct msix, which locks by itself). The
 * message control register is in configuration space, under the host bridge's lock.
 * Lock order: host bridge, device, MSI-X, interrupt controller.
 */
#ifndef LODGE_DEVICES_PCI_MSIX_H
#define LODGE_DEVICES_PCI_MSIX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/irq.h"
#include "devices/pci/config.h"

#define MSIX_VECTORS_MAX 32
#define MSIX_SIZE        0x1000u /* of the BAR */

struct msix_entry {
	uint64_t addr;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix_state {
	struct msix_entry table[MSIX_VECTORS_MAX];
	uint64_t pending; /* a bit a vector */
	bool enabled;
	bool masked; /* all of them */
};

struct msix {
	pthread_mutex_t lock; /* guards state */
	struct msix_state state;
	struct pci_function *function;
	unsigned cap; /* the capability's register */
	unsigned vectors;
	struct msi_sink sink;
};

/* Gives the function BAR bar and an MSI-X capability with that many vectors (1 to
 * MSIX_VECTORS_MAX). While the function is built. */
void msix_init(struct msix *m, struct pci_function *f, unsigned bar, unsigned vectors,
	       const struct msi_sink *sink);
void msix_release(struct msix *m);

/* To the power-on state. Any thread. */
void msix_reset(struct msix *m);

/* To be called when the guest has written size bytes of configuration space at reg; whether that
 * switched MSI-X on or off. */
bool msix_config_written(struct msix *m, unsigned reg, unsigned size);

/* Whether the function's interrupts are MSI-X ones now. Any thread. */
bool msix_enabled(struct msix *m);

/* Sends the vector's message, or keeps it pending while that is masked; does nothing while MSI-X
 * is off or for a vector that is not there. Any thread. */
void msix_raise(struct msix *m, unsigned vector);

extern const struct bus_ops msix_bar_ops;

#endif
