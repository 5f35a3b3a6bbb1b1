/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux would place BARs itself; others expect them placed. Each lies at a multiple
 * of its size, slot after slot, so that a machine of the same devices has the same
 * addresses each time.
 */
#include "machine/pci_setup.h"

#include <assert.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/layout.h"

#define PAGE 0x1000u /* two functions share none */

/* Whether it has any to be decoded. */
static bool place_bars(struct pci_function *f, uint64_t *next)
{
	uint64_t first = *next;

	for (unsigned bar = 0; bar < PCI_BARS; bar++) {
		const struct pci_bar *b = &f->bars[bar];
		uint64_t addr = align_up(*next, MAX(b->size, PAGE));

		if (!b->size || b->kind == PCI_BAR_IO)
			continue;
		assert(range_within(addr - LAYOUT_PCI32, b->size, LAYOUT_PCI32_SIZE));
		pci_function_write(f, PCI_BAR(bar), 4, (uint32_t)addr);
		*next = addr + b->size;
	}
	return *next != first;
}

void pci_setup(struct pci_host *host)
{
	uint64_t next = LAYOUT_PCI32;

	pthread_mutex_lock(&host->lock);
	for (unsigned devfn = 0; devfn < PCI_DEVFNS; devfn++) {
		struct pci_function *f = host->functions[devfn];
		unsigned pin;

		if (!f)
			continue;
		if (place_bars(f, &next))
			pci_function_write(f, PCI_COMMAND, 2,
					   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		pin = pci_function_get(f, PCI_INTERRUPT_PIN, 1);
		if (pin)
			pci_function_write(f, PCI_INTERRUPT_LINE, 1,
					   layout_pci_gsi(devfn >> 3, pin - 1));
	}
	pthread_mutex_unlock(&host->lock);
}
