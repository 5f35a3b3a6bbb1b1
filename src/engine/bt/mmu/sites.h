/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages remembered at single accesses of translated code, its sites: in hot code one looks at the
 * page that it accessed last before it looks into the TLB (translate/site.c).
 *
 * A site that is filled is a copy of one TLB entry: of its read or its write tag, and of the host's
 * address. This is kept so, and so all that has been argued of TLB entries holds for sites:
 *
 * - Who fills a site marks the entry that it copies (tlb_set.sited).
 * - Who changes a marked entry in any way, be it that another page takes its place, that a right
 *   is taken away or that its page is translated anew, empties the sites of its set: all of
 *   them, since none knows which. Entries that programs use seldom go, but for flushes, of
 *   which one is enough. A process switch takes no global entries, so that sites of the
 *   kernel's set stay.
 * - A write tag that an entry gets in addition changes nothing that a site has copied.
 *
 * Emptied are those of chunks in which one has been filled since they were emptied last. Marks of
 * entries stay then; they cost an emptying that finds nothing to do.
 *
 * All is the vCPU's thread's, or others' while it stands still (as the TLB: tlb_drop_writable).
 */
#ifndef LODGE_ENGINE_BT_MMU_SITES_H
#define LODGE_ENGINE_BT_MMU_SITES_H

#include <stdint.h>

struct tlb_site {
	uint64_t page;  /* linear address; an access at page + n is within it if n < limit, */
	uint64_t limit; /* 0: the site is empty */
	uint64_t delta; /* ... and the host's address is this more than the linear one */
	int32_t left;   /* times that it may be filled until somebody has to look at it */
	uint32_t unused;
};

#define TLB_SITES       4096u
#define TLB_SITES_CHUNK 32u
#define TLB_SITES_SETS  3u /* sets of TLB entries, that sites are copies of */

struct tlb_sites {
	struct tlb_site site[TLB_SITES];
	uint8_t wandering; /* left of one has become 0 */
	/* not 0: one of the chunk may be, with an entry of that set */
	uint8_t filled[TLB_SITES_SETS][TLB_SITES / TLB_SITES_CHUNK];
};

/* Empties all that may be copies of entries of the set; and others with them. */
void sites_empty(struct tlb_sites *s, unsigned set);
void sites_empty_all(struct tlb_sites *s);

#endif
