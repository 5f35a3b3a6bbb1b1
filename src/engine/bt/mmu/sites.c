/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/mmu/sites.h"

#include <stddef.h>
#include <string.h>

#define WORD sizeof(uint64_t)

static void empty_chunk(struct tlb_site *site)
{
	for (unsigned n = 0; n < TLB_SITES_CHUNK; n++)
		site[n].limit = 0;
}

void sites_empty(struct tlb_sites *s, unsigned set)
{
	uint8_t *marks = s->filled[set];

	for (size_t at = 0; at < sizeof(s->filled[set]); at += WORD) {
		uint64_t filled;

		memcpy(&filled, marks + at, WORD);
		if (!filled)
			continue;
		for (size_t chunk = at; chunk < at + WORD; chunk++)
			if (marks[chunk])
				empty_chunk(s->site + chunk * TLB_SITES_CHUNK);
		memset(marks + at, 0, WORD);
	}
}

void sites_empty_all(struct tlb_sites *s)
{
	for (unsigned set = 0; set < TLB_SITES_SETS; set++)
		sites_empty(s, set);
}
