/* SPDX-License-Identifier: Apache-2.0 */
/* What a firmware does on the PCI bus before it starts an operating system. */
#ifndef LODGE_MACHINE_PCI_SETUP_H
#define LODGE_MACHINE_PCI_SETUP_H

#include "devices/pci/host.h"

/* Gives each memory BAR its place in the 32-bit window, has functions decode theirs and be masters,
 * and notes which interrupt they have. The functions are as after their reset. vCPUs parked. */
void pci_setup(struct pci_host *host);

#endif
