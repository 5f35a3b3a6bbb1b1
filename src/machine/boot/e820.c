/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map follows the regions of struct mem, with the PC's hole cut out of the
 * first: from LAYOUT_EBDA to 1 MiB a PC has no conventional memory, though here it
 * is backed by RAM, in which the ACPI tables lie. ECAM must be reserved here for
 * Linux to believe the MCFG table (PCI firmware specification 3.3, 4.1.2).
 */
#include "machine/boot/e820.h"

#include <assert.h>

#include "machine/layout.h"

struct map {
	struct e820_entry *entries;
	unsigned count;
};

static void map_add(struct map *map, uint64_t start, uint64_t end, uint32_t type)
{
	unsigned i = map->count;

	if (start >= end)
		return;
	assert(i < E820_MAX);
	for (; i && map->entries[i - 1].addr > start; i--)
		map->entries[i] = map->entries[i - 1];
	map->entries[i] = (struct e820_entry){start, end - start, type};
	map->count++;
}

unsigned e820_build(const struct mem *m, struct e820_entry map[E820_MAX])
{
	struct map out = {map, 0};

	for (unsigned i = 0; i < m->count; i++) {
		uint64_t start = m->regions[i].gpa;
		uint64_t end = start + m->regions[i].size;

		if (m->regions[i].kind != MEM_RAM)
			continue; /* their devices tell of them */
		if (start >= LAYOUT_KERNEL) {
			map_add(&out, start, end, E820_RAM);
			continue;
		}
		map_add(&out, start, MIN(end, LAYOUT_EBDA), E820_RAM);
		map_add(&out, MAX(start, LAYOUT_KERNEL), end, E820_RAM);
	}
	map_add(&out, LAYOUT_EBDA, LAYOUT_ACPI, E820_RESERVED);
	map_add(&out, LAYOUT_ACPI, LAYOUT_ACPI + LAYOUT_ACPI_SIZE, E820_ACPI);
	map_add(&out, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, E820_RESERVED);
	return out.count;
}
