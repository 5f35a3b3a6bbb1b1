/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine described to its guest by ACPI tables (ACPI 6.3, chapter 5).
 *
 * There is no SPCR table: COM1 is found by PNP0501 and by its port, Linux on x86
 * takes its console from the command line whether or not SPCR names one, and each
 * table costs the guest a mapping and a checksum. So console=ttyS0 is given.
 */
#ifndef LODGE_MACHINE_ACPI_TABLES_H
#define LODGE_MACHINE_ACPI_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/mem.h"
#include "devices/acpi/erst.h"

/* A device with one block of registers and one interrupt that no bus finds: virtio-mmio. */
struct acpi_mmio_device {
	char name[5];    /* in \_SB: four characters, A to Z, 0 to 9 and _; unique */
	const char *hid; /* as a string, e.g. "LNRO0005" */
	unsigned uid;    /* unique among those with the same hid */
	uint32_t base;
	uint32_t size;
	unsigned gsi;
	bool edge; /* the interrupt is edge-triggered, not level; it is active high */
};

struct acpi_config {
	unsigned cpus;       /* 1 to ENGINE_VCPUS_MAX; local APIC ids count from 0 */
	uint64_t pci64_base; /* 64-bit PCI window; size 0: there is none */
	uint64_t pci64_size;
	unsigned pci_slots;   /* slots 0.. of bus 0 that may hold a device with INTx: 0 to 32 */
	unsigned eject_slots; /* devices/acpi/slots.h serves those from this one on; 0: none */
	bool keyboard;        /* the i8042 is there; its keyboard port */
	bool mouse;           /* and its auxiliary port */
	bool pvpanic;         /* at LAYOUT_PVPANIC */
	const struct acpi_mmio_device *devices;
	unsigned device_count;
	const struct erst_instruction *erst; /* as erst_instructions gives them */
	unsigned erst_count;                 /* 0: no ERST table */
};

/*
 * Writes the tables into guest RAM from LAYOUT_ACPI, the RSDP first so that a scan of 0xE0000 to
 * 0xFFFFF finds it too, and stores its address in *rsdp. Nothing in config is kept. Before vCPUs
 * run. 0; -EINVAL for numbers out of range, -EFAULT where there is no RAM at LAYOUT_ACPI, -ENOSPC
 * where the tables do not fit in LAYOUT_ACPI_SIZE, with e set.
 */
int acpi_build(const struct acpi_config *config, struct mem *mem, uint64_t *rsdp, struct err *e);

#endif
