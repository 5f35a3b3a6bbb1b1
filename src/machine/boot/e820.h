/* SPDX-License-Identifier: Apache-2.0 */
/* The map of physical memory that the guest is told, in the terms of ACPI's INT 15h E820. */
#ifndef LODGE_MACHINE_BOOT_E820_H
#define LODGE_MACHINE_BOOT_E820_H

#include <stdint.h>

#include "core/mem.h"

/* Address range types, ACPI specification 6.5, table 15.374. */
#define E820_RAM      1
#define E820_RESERVED 2
#define E820_ACPI     3 /* ACPI tables: RAM once the system has read them */

/* Each region of RAM, two holes in the first, ECAM. */
#define E820_MAX (MEM_REGIONS_MAX + 4)

struct e820_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
};

/* Writes the map of a machine with memory m to map, sorted by address, without overlaps, and
 * returns how many entries it has. */
unsigned e820_build(const struct mem *m, struct e820_entry map[E820_MAX]);

#endif
