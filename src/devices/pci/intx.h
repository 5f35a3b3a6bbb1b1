/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INTA# of all slots, on a few wires: slots that share a wire are open-drain outputs of
 * it, as on a board. It is high while any of them drives it, and one that lets go of it
 * does not take it from another.
 *
 * Threads: any; the lock comes after a device's and before an interrupt controller's.
 */
#ifndef LODGE_DEVICES_PCI_INTX_H
#define LODGE_DEVICES_PCI_INTX_H

#include <pthread.h>
#include <stdint.h>

#include "core/irq.h"

#define PCI_INTX_LINES 8u
#define PCI_INTX_SLOTS 32u

struct pci_intx {
	pthread_mutex_t lock;
	struct irq_line lines[PCI_INTX_LINES]; /* of slot n: n modulo their number */
	uint32_t driven;                       /* slots that drive theirs */
};

/* Makes wires that end at these lines. */
void pci_intx_init(struct pci_intx *x, const struct irq_line lines[PCI_INTX_LINES]);
void pci_intx_release(struct pci_intx *x);

/* What a slot's function drives. The wires outlive it. */
struct irq_line pci_intx_line(struct pci_intx *x, unsigned slot);

#endif
