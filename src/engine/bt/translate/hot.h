/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of hot code: which blocks are to be translated as such, and what the sites of
 * those that have been (mmu/sites.h) belong to. Who finds out is runtime/hot.c.
 *
 * Addresses are remembered by a bit a hash: others with the same bit are taken for them.
 * Hot code is right for any address, and so is code that is not.
 */
#ifndef LODGE_ENGINE_BT_TRANSLATE_HOT_H
#define LODGE_ENGINE_BT_TRANSLATE_HOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "engine/bt/mmu/sites.h"

#define HOT_BITS 65536u

/* Times that a site is filled between two looks at it (tlb_site.left): some 0.1 ms, if it is all
 * that the guest does. */
#define SITE_MISSES 16384

/* Which of all blocks are hot at first sight. */
enum hot_first { HOT_NONE, HOT_SOME, HOT_ALL };

/* Whom a site belongs to: the block, and its instruction. */
struct site_owner {
	uint64_t block, gpa; /* linear and guest physical address */
	uint64_t rip;
	uint8_t context;
};

struct hot {
	enum hot_first first;
	uint64_t blocks[HOT_BITS / 64];  /* by hot_bit of address and context */
	uint64_t wanders[HOT_BITS / 64]; /* instructions whose page changes all the time */
	unsigned marked;                 /* bits set in both, about */
	uint64_t looked;                 /* the host's TSC when it was looked last */
	unsigned looks;                  /* since the sites were given back */
	uint64_t flushes;                /* of the TLB, as they were counted then */
	unsigned sites;                  /* in use, the first ones */
	struct site_owner owner[TLB_SITES];
};

static inline unsigned hot_bit(uint64_t linear, unsigned context)
{
	return ((linear ^ (uint64_t)context << 60) * 0x9e3779b97f4a7c15ULL) >> 40 & (HOT_BITS - 1);
}

static inline bool hot_is(const uint64_t *bits, unsigned bit)
{
	return bits[bit / 64] & BIT(bit % 64);
}

/* Whether the block at linear is to be translated as a hot one. */
static inline bool hot_block(const struct hot *h, uint64_t linear, unsigned context)
{
	unsigned bit = hot_bit(linear, context);

	if (h->first == HOT_ALL || (h->first == HOT_SOME && bit & 1))
		return true;
	return hot_is(h->blocks, bit);
}

#endif
