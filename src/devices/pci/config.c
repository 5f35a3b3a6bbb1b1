/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three byte arrays make the space: values, bits that can be written, bits that
 * are cleared by writing 1. Sizing a BAR needs nothing more: its address bits
 * below its size are not writable, so that all ones read back as the size.
 *
 * After each write to the command register or a BAR, where each BAR lies is
 * worked out anew and compared with where it lay.
 */
#include "devices/pci/config.h"

#include <assert.h>
#include <stddef.h>

#include "base/bits.h"
#include "base/checked.h"

#define COMMAND_WRITABLE                                                                 \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | \
	 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)
#define STATUS_CLEARS   0xf900 /* the error bits */
#define BAR_IO_FLAGS    0x3
#define BAR_MEM_FLAGS   0xf
#define BAR_64          0x4
#define CAP_ID          0
#define CAP_NEXT        1
#define CAP_HEADER_SIZE 2

void pci_function_set(struct pci_function *f, unsigned reg, unsigned size, uint32_t value)
{
	assert(size <= 4 && range_within(reg, size, PCI_CONFIG_SIZE));
	store_le(f->state.bytes + reg, size, value);
}

void pci_function_allow(struct pci_function *f, unsigned reg, unsigned size, uint32_t mask)
{
	assert(size <= 4 && range_within(reg, size, PCI_CONFIG_SIZE));
	store_le(f->writable + reg, size, mask);
}

uint32_t pci_function_get(const struct pci_function *f, unsigned reg, unsigned size)
{
	assert(size <= 4 && range_within(reg, size, PCI_CONFIG_SIZE));
	return load_le(f->state.bytes + reg, size);
}

void pci_function_init(struct pci_function *f, const struct pci_identity *id,
		       const struct pci_function_ops *ops, void *opaque)
{
	*f = (struct pci_function){
		.ops = ops,
		.opaque = opaque,
		.next_cap = PCI_HEADER_END,
		.last_link = PCI_CAPABILITIES,
	};
	pci_function_set(f, PCI_VENDOR_ID, 2, id->vendor);
	pci_function_set(f, PCI_DEVICE_ID, 2, id->device);
	pci_function_set(f, PCI_REVISION, 1, id->revision);
	pci_function_set(f, PCI_CLASS, 3, id->class_code);
	pci_function_set(f, PCI_SUBSYSTEM, 2, id->subsystem_vendor);
	pci_function_set(f, PCI_SUBSYSTEM + 2, 2, id->subsystem);
	pci_function_set(f, PCI_INTERRUPT_PIN, 1, id->interrupt_pin);
	pci_function_allow(f, PCI_COMMAND, 2, COMMAND_WRITABLE);
	pci_function_allow(f, PCI_CACHE_LINE, 1, 0xff);
	if (id->interrupt_pin)
		pci_function_allow(f, PCI_INTERRUPT_LINE, 1, 0xff);
	store_le(f->clears + PCI_STATUS, 2, STATUS_CLEARS);
}

void pci_function_add_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind,
			  uint64_t size)
{
	uint64_t flags = kind == PCI_BAR_IO ? BAR_IO_FLAGS : BAR_MEM_FLAGS;
	uint64_t mask = ~(size - 1) & ~flags;

	assert(bar < PCI_BARS && !f->bars[bar].size);
	assert(size > flags && !(size & (size - 1)));
	f->bars[bar] = (struct pci_bar){.kind = kind, .size = size};
	pci_function_set(f, PCI_BAR(bar), 4, kind);
	pci_function_allow(f, PCI_BAR(bar), 4, mask);
	if (kind & BAR_64) {
		assert(bar + 1 < PCI_BARS && !f->bars[bar + 1].size);
		pci_function_allow(f, PCI_BAR(bar + 1), 4, mask >> 32);
	} else {
		assert(size <= BIT(31));
	}
}

unsigned pci_function_add_cap(struct pci_function *f, uint8_t id, unsigned len)
{
	unsigned reg = f->next_cap;

	assert(len >= CAP_HEADER_SIZE && range_within(reg, len, PCI_CONVENTIONAL));
	pci_function_set(f, f->last_link, 1, reg);
	pci_function_set(f, reg + CAP_ID, 1, id);
	f->last_link = reg + CAP_NEXT;
	f->next_cap = align_up(reg + len, 4);
	f->state.bytes[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	return reg;
}

/* Where the registers say that a BAR is; false if it claims nothing. Address 0 is that of a BAR
 * which nobody has placed yet: enabling its decoding does not put it there. */
static bool bar_place(const struct pci_function *f, unsigned bar, uint64_t *addr)
{
	const struct pci_bar *b = &f->bars[bar];
	uint16_t command = pci_function_get(f, PCI_COMMAND, 2);
	uint16_t enable = b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	*addr = pci_function_get(f, PCI_BAR(bar), 4);
	if (b->kind & BAR_64)
		*addr |= (uint64_t)pci_function_get(f, PCI_BAR(bar + 1), 4) << 32;
	*addr = align_down(*addr, b->size);
	return (command & enable) && *addr;
}

static void move_bar(struct pci_function *f, unsigned bar, uint64_t addr, bool mapped)
{
	struct pci_bar *b = &f->bars[bar];

	b->addr = addr;
	b->mapped = mapped;
	if (f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f->opaque, bar, addr, mapped);
}

/* All that leave a place do so before any takes a new one: two BARs may change places. */
static void update_bars(struct pci_function *f)
{
	uint64_t addr;

	for (unsigned bar = 0; bar < PCI_BARS; bar++) {
		struct pci_bar *b = &f->bars[bar];

		if (b->mapped && (!bar_place(f, bar, &addr) || addr != b->addr))
			move_bar(f, bar, b->addr, false);
	}
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		if (f->bars[bar].size && !f->bars[bar].mapped && bar_place(f, bar, &addr))
			move_bar(f, bar, addr, true);
}

void pci_function_reset(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		f->state.bytes[i] &= ~(f->writable[i] | f->clears[i]);
	update_bars(f);
}

void pci_function_resume(struct pci_function *f)
{
	update_bars(f);
}

uint32_t pci_function_read(struct pci_function *f, unsigned reg, unsigned size)
{
	if (!range_within(reg, size, PCI_CONFIG_SIZE))
		return (uint32_t)MASK(size * 8);
	if (f->ops && f->ops->reading)
		f->ops->reading(f->opaque, reg, size);
	return pci_function_get(f, reg, size);
}

void pci_function_write(struct pci_function *f, unsigned reg, unsigned size, uint32_t value)
{
	if (!range_within(reg, size, PCI_CONFIG_SIZE))
		return;
	for (unsigned i = reg; i < reg + size; i++, value >>= 8) {
		uint8_t old = f->state.bytes[i] & ~(f->clears[i] & value);

		f->state.bytes[i] = (old & ~f->writable[i]) | (value & f->writable[i]);
	}
	if (ranges_overlap(reg, size, PCI_COMMAND, 1) ||
	    ranges_overlap(reg, size, PCI_BAR(0), 4 * PCI_BARS))
		update_bars(f);
	if (f->ops && f->ops->written)
		f->ops->written(f->opaque, reg, size);
}
