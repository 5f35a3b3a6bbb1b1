/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space of one PCI function: 4 KiB of registers, of which the
 * device says what the guest may write, base address registers (BARs) and the
 * list of capabilities.
 *
 * Source: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base
 * Specification 3.0, 7.2 (the extended space) and 7.5.1 (type 0 header).
 *
 * A device embeds a struct pci_function, builds it once (init, then BARs and
 * capabilities) and attaches it to a host bridge (pci/host.h), whose lock guards
 * it from then on and is held in every callback below. Lock order: the host
 * bridge's, then the device's own.
 */
#ifndef LODGE_DEVICES_PCI_CONFIG_H
#define LODGE_DEVICES_PCI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_CONFIG_SIZE 4096
#define PCI_BARS        6

/* Registers of the type 0 header. */
#define PCI_VENDOR_ID       0x00
#define PCI_DEVICE_ID       0x02
#define PCI_COMMAND         0x04
#define PCI_STATUS          0x06
#define PCI_REVISION        0x08
#define PCI_CLASS           0x09 /* programming interface, subclass, base class */
#define PCI_CACHE_LINE      0x0c
#define PCI_HEADER_TYPE     0x0e
#define PCI_BAR(n)          (0x10 + 4 * (n))
#define PCI_SUBSYSTEM       0x2c /* vendor, then device */
#define PCI_CAPABILITIES    0x34
#define PCI_INTERRUPT_LINE  0x3c
#define PCI_INTERRUPT_PIN   0x3d
#define PCI_HEADER_END      0x40
#define PCI_CONVENTIONAL    0x100 /* size of the space that mechanism #1 reaches */
#define PCI_HEADER_MULTIPLE 0x80  /* in the header type: the device has several functions */

#define PCI_COMMAND_IO           0x0001
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_PARITY       0x0040
#define PCI_COMMAND_SERR         0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS_CAPABILITIES  0x0010

/* Kinds of BAR; values as in its low bits. */
enum pci_bar_kind {
	PCI_BAR_MEM32 = 0x0,
	PCI_BAR_IO = 0x1,
	PCI_BAR_MEM64 = 0x4,
	PCI_BAR_MEM64_PREFETCH = 0xc,
};

struct pci_function_ops {
	/* optional: a read of these bytes is about to be answered; the device may set them. */
	void (*reading)(void *opaque, unsigned reg, unsigned size);
	/* optional: these bytes were written, and hold their new values. */
	void (*written)(void *opaque, unsigned reg, unsigned size);
	/* optional: BAR bar now claims its size at addr, or nothing if !mapped. Called for changes
	 * only; between two places the BAR is unmapped. */
	void (*bar_moved)(void *opaque, unsigned bar, uint64_t addr, bool mapped);
};

struct pci_bar {
	enum pci_bar_kind kind;
	uint64_t size; /* 0: not there */
	/* where it is claimed now */
	uint64_t addr;
	bool mapped;
};

struct pci_function_state {
	uint8_t bytes[PCI_CONFIG_SIZE];
};

struct pci_function {
	struct pci_function_state state;
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest sets and clears */
	uint8_t clears[PCI_CONFIG_SIZE];   /* bits that it clears by writing 1 */
	struct pci_bar bars[PCI_BARS];
	const struct pci_function_ops *ops; /* may be NULL */
	void *opaque;
	uint16_t next_cap;  /* where the next capability goes */
	uint16_t last_link; /* register that links to it */
};

/* What a function is; the fields are those of the header. */
struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code; /* base class << 16 | subclass << 8 | programming interface */
	uint8_t revision;
	uint16_t subsystem_vendor, subsystem;
	uint8_t interrupt_pin; /* 0: none, 1-4: INTA#-INTD# */
};

/* Makes a function with a type 0 header, no BARs and no capabilities. Nothing to release. */
void pci_function_init(struct pci_function *f, const struct pci_identity *id,
		       const struct pci_function_ops *ops, void *opaque);

/*
 * Gives the function BAR bar. size is a power of two, at least 16 (4 for I/O); a 64-bit BAR takes
 * the next index too, and both are free and exist. Only while it is built.
 */
void pci_function_add_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind,
			  uint64_t size);

/* Appends a capability of len bytes, its two header bytes included, to the list; gives its
 * register. The rest is zero and read-only. It fits. Only while the function is built. */
unsigned pci_function_add_cap(struct pci_function *f, uint8_t id, unsigned len);

/* Sets size (1-4) bytes at reg; what the guest may write of them. The device's side: not for what
 * the guest wrote. Under the host bridge's lock, or while the function is built. */
void pci_function_set(struct pci_function *f, unsigned reg, unsigned size, uint32_t value);
void pci_function_allow(struct pci_function *f, unsigned reg, unsigned size, uint32_t mask);
uint32_t pci_function_get(const struct pci_function *f, unsigned reg, unsigned size);

/* Writable bits to 0, as after power-on, and BARs unmapped; a device whose writable bits start
 * otherwise sets them anew. */
void pci_function_reset(struct pci_function *f);

/* Tells bar_moved where the BARs are after state was set from a snapshot. */
void pci_function_resume(struct pci_function *f);

/* A guest's access of size 1, 2 or 4; reg + size may lie beyond the space. */
uint32_t pci_function_read(struct pci_function *f, unsigned reg, unsigned size);
void pci_function_write(struct pci_function *f, unsigned reg, unsigned size, uint32_t value);

#endif
