/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pci/intx.h"

#include <assert.h>

#include "base/bits.h"

void pci_intx_init(struct pci_intx *x, const struct irq_line lines[PCI_INTX_LINES])
{
	*x = (struct pci_intx){.driven = 0};
	pthread_mutex_init(&x->lock, NULL);
	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		x->lines[i] = lines[i];
}

void pci_intx_release(struct pci_intx *x)
{
	pthread_mutex_destroy(&x->lock);
}

/* Slots that share the wire of this one, itself among them. */
static uint32_t sharers(unsigned slot)
{
	uint32_t slots = 0;

	for (unsigned i = slot % PCI_INTX_LINES; i < PCI_INTX_SLOTS; i += PCI_INTX_LINES)
		slots |= (uint32_t)BIT(i);
	return slots;
}

static void drive(void *opaque, unsigned slot, bool level)
{
	struct pci_intx *x = opaque;

	pthread_mutex_lock(&x->lock);
	if (level)
		x->driven |= (uint32_t)BIT(slot);
	else
		x->driven &= ~(uint32_t)BIT(slot);
	irq_set(&x->lines[slot % PCI_INTX_LINES], x->driven & sharers(slot));
	pthread_mutex_unlock(&x->lock);
}

struct irq_line pci_intx_line(struct pci_intx *x, unsigned slot)
{
	assert(slot < PCI_INTX_SLOTS);
	return (struct irq_line){.set = drive, .opaque = x, .pin = slot};
}
