/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An access names a bus, a device and function, and a register:
 *
 *	ECAM     offset  bus 27:20, devfn 19:12, register 11:0
 *	0xCF8    address enable 31, bus 23:16, devfn 15:8, register 7:2;
 *	         0xCFC-0xCFF are the bytes of that register
 *
 * The address register takes whole dwords only: narrower accesses to its ports are
 * ordinary I/O, of which port 0xCF9 has an owner. Where no function answers, reads
 * give all ones and writes vanish.
 */
#include "devices/pci/host.h"

#include <assert.h>
#include <stddef.h>

#include "base/bits.h"

#define ADDRESS_ENABLE   (1u << 31)
#define ADDRESS_WRITABLE (ADDRESS_ENABLE | 0x00fffffc)
#define DATA_PORT        4
#define CF9_PORT         1

#define CLASS_HOST_BRIDGE 0x060000

static uint32_t config_read(struct pci_host *h, uint64_t bdf, unsigned reg, unsigned size)
{
	/* bdf above 255 is another bus, and there is none */
	struct pci_function *f = bdf < PCI_DEVFNS ? h->functions[bdf] : NULL;

	return f ? pci_function_read(f, reg, size) : (uint32_t)MASK(size * 8);
}

static void config_write(struct pci_host *h, uint64_t bdf, unsigned reg, unsigned size,
			 uint32_t value)
{
	struct pci_function *f = bdf < PCI_DEVFNS ? h->functions[bdf] : NULL;

	if (f)
		pci_function_write(f, reg, size, value);
}

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned size)
{
	return config_read(dev, offset >> 12, offset & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	config_write(dev, offset >> 12, offset & 0xfff, size, value);
}

static bool is_address(uint64_t offset, unsigned size)
{
	return offset == 0 && size == 4;
}

static bool is_data(const struct pci_host *h, uint64_t offset)
{
	return offset >= DATA_PORT && (h->state.address & ADDRESS_ENABLE);
}

static bool is_cf9(const struct pci_host *h, uint64_t offset, unsigned size)
{
	return offset == CF9_PORT && size == 1 && h->cf9_ops;
}

static uint64_t port_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_host *h = dev;
	uint32_t address = h->state.address;
	uint64_t value;

	if (is_address(offset, size))
		return address;
	if (is_data(h, offset))
		return config_read(h, (address & ~ADDRESS_ENABLE) >> 8,
				   (address & 0xfc) + (offset - DATA_PORT), size);
	if (!is_cf9(h, offset, size))
		return MASK(size * 8);
	pthread_mutex_lock(h->cf9_lock);
	value = h->cf9_ops->read(h->cf9, 0, 1);
	pthread_mutex_unlock(h->cf9_lock);
	return value;
}

static void port_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *h = dev;
	uint32_t address = h->state.address;

	if (is_address(offset, size)) {
		h->state.address = value & ADDRESS_WRITABLE;
	} else if (is_data(h, offset)) {
		config_write(h, (address & ~ADDRESS_ENABLE) >> 8,
			     (address & 0xfc) + (offset - DATA_PORT), size, value);
	} else if (is_cf9(h, offset, size)) {
		pthread_mutex_lock(h->cf9_lock);
		h->cf9_ops->write(h->cf9, 0, 1, value);
		pthread_mutex_unlock(h->cf9_lock);
	}
}

const struct bus_ops pci_host_port_ops = {"pci configuration ports", 4, port_read, port_write};
const struct bus_ops pci_host_ecam_ops = {"pci ecam", 4, ecam_read, ecam_write};

void pci_host_init(struct pci_host *h)
{
	const struct pci_identity id = {
		.vendor = PCI_HOST_VENDOR,
		.device = PCI_HOST_DEVICE,
		.class_code = CLASS_HOST_BRIDGE,
	};

	*h = (struct pci_host){.cf9_ops = NULL};
	pthread_mutex_init(&h->lock, NULL);
	pci_function_init(&h->self, &id, NULL, NULL);
	pci_host_attach(h, PCI_DEVFN(0, 0), &h->self);
}

void pci_host_reset(struct pci_host *h)
{
	pthread_mutex_lock(&h->lock);
	h->state = (struct pci_host_state){0};
	for (unsigned i = 0; i < PCI_DEVFNS; i++)
		if (h->functions[i])
			pci_function_reset(h->functions[i]);
	pthread_mutex_unlock(&h->lock);
}

void pci_host_release(struct pci_host *h)
{
	pthread_mutex_destroy(&h->lock);
}

void pci_host_set_cf9(struct pci_host *h, const struct bus_ops *ops, void *dev,
		      pthread_mutex_t *lock)
{
	h->cf9_ops = ops;
	h->cf9 = dev;
	h->cf9_lock = lock;
}

void pci_host_attach(struct pci_host *h, unsigned devfn, struct pci_function *f)
{
	unsigned first = devfn & ~7u;
	unsigned others = 0;

	assert(devfn < PCI_DEVFNS && !h->functions[devfn]);
	pthread_mutex_lock(&h->lock);
	h->functions[devfn] = f;
	for (unsigned fn = 1; fn < 8; fn++)
		others += h->functions[first + fn] != NULL;
	if (h->functions[first] && others)
		h->functions[first]->state.bytes[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIPLE;
	pthread_mutex_unlock(&h->lock);
}

/* The header type of function 0 keeps saying that there are others: what is not there does not
 * answer, and nothing here takes one function of several away. */
bool pci_host_detach(struct pci_host *h, unsigned devfn)
{
	struct pci_function *f;

	assert(devfn < PCI_DEVFNS);
	pthread_mutex_lock(&h->lock);
	f = h->functions[devfn];
	h->functions[devfn] = NULL;
	if (f)
		pci_function_reset(f);
	pthread_mutex_unlock(&h->lock);
	return f;
}
