/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A translated block: the host code of guest instructions that follow each other, from one
 * that something jumps to up to a branch, the end of the page, or an instruction that is left
 * to the interpreter. The first conditional branches that lead forward within the page do not end
 * it: it goes on with what is behind them, so that more of what it has found out serves.
 *
 * Translated code is good for the linear address and the guest physical page that it was made
 * for, and in the context that it was made for (enum block_context).
 *
 * A block has two entries:
 *
 *	far    the guest's status flags are in cpu->native.flags
 *	near   they are in the host's flags, as far as the block looks at them
 *
 * and exits that know where they go. Such an exit is a jump, which at first leads
 * to a piece of code that asks the runtime for the target's block, and later to that
 * block directly. Jumps within one guest page are near ones. Jumps to other pages are far, and
 * rely on the page's translation: a comparison of cpu->native.epoch, which changes with
 * translations, guards them.
 */
#ifndef LODGE_ENGINE_BT_TRANSLATE_BLOCK_H
#define LODGE_ENGINE_BT_TRANSLATE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct page;
struct block;

/*
 * What code is translated for, besides its bytes: how it accesses memory, and its mode.
 *
 * Of 32-bit code ("narrow") that is in protected or compatibility mode with flat segments: CS can
 * be read, SS, DS and ES written, their bases are 0 and their limits 4 GiB, and the stack pointer
 * is ESP. FS and GS may be anything (cpu->native.whole).
 */
enum block_context {
	/* 64-bit code, in the contexts of mmu/tlb.h, in its order. */
	BLOCK_SUPERVISOR,
	BLOCK_SUPERVISOR_ANY,
	BLOCK_USER,
	BLOCK_NARROW, /* the same of 32-bit code */
	/* Added to these: each access is looked up by itself. Such a block is entered where
	 * a look-up for several did not do (access.h). */
	BLOCK_PLAIN = 2 * BLOCK_NARROW,
	BLOCK_CONTEXTS = 2 * BLOCK_PLAIN,
	BLOCK_NONE = BLOCK_CONTEXTS /* the interpreter's */
};

static inline bool block_narrow(enum block_context context)
{
	return context % BLOCK_PLAIN >= BLOCK_NARROW;
}

/* How it accesses memory: enum tlb_context. */
static inline unsigned block_access(enum block_context context)
{
	return context % BLOCK_NARROW;
}

/*
 * Addresses of code whose translations change together, roughly, by context: the lower and the
 * upper half, which processes and the kernel have. Most 32-bit kernels begin at 3 GiB.
 */
enum block_zone { ZONE_LOWER, ZONE_UPPER, ZONE_NARROW_LOWER, ZONE_NARROW_UPPER, BLOCK_ZONES };

static inline enum block_zone block_zone(enum block_context context, uint64_t linear)
{
	if (block_narrow(context))
		return linear >> 30 == 3 ? ZONE_NARROW_UPPER : ZONE_NARROW_LOWER;
	return linear >> 63 ? ZONE_UPPER : ZONE_LOWER;
}

static inline bool zone_narrow(enum block_zone zone)
{
	return zone >= ZONE_NARROW_LOWER;
}

/* Of the two zones that code of the context may be in, which: 0 or 1. */
static inline unsigned block_half(enum block_zone zone)
{
	return zone % 2;
}

/* Forward conditional branches within a block, and its end, which may be a branch. */
#define BLOCK_BRANCHES 2
#define BLOCK_EXITS    (BLOCK_BRANCHES + 2)

struct block_exit {
	struct block *to;         /* NULL: not linked */
	struct block_exit *next;  /* of those that lead to the same block */
	struct block_exit **link; /* where this one is listed: to->incoming, or another's next */
	uint64_t target;          /* linear */
	uint64_t gpa;             /* of the block that it belongs to */
	uint8_t *distance;        /* of the jump, in the writable mapping; NULL: no exit */
	uint8_t *guard;           /* the epoch that the jump is good for; NULL: within the page */
	const uint8_t *unlinked;  /* where the jump leads while it is not linked */
	uint8_t context;          /* enum block_context, of where it leads */
	bool far;                 /* to the far entry */
};

struct block {
	uint64_t linear;
	uint64_t gpa; /* of the first instruction */
	struct page *page;
	uint32_t generation; /* of the page when it was translated */
	uint8_t context;     /* enum block_context */
	bool dead;           /* in no table any more */
	bool hot;            /* with sites: translate/site.c */
	uint8_t samples;     /* times that it was met: runtime/hot.c */
	const uint8_t *far;
	const uint8_t *near;
	const uint8_t *dead_far; /* where the entries lead when the block is dead */
	const uint8_t *dead_near;
	uint16_t bytes;              /* of guest code */
	uint16_t host_bytes;         /* of host code, from far on */
	uint16_t count;              /* guest instructions; 0: the interpreter does the first */
	uint32_t runs;               /* found, for runtime/tandem.h */
	struct block *next;          /* in its hash chain */
	struct block *next_in_page;  /* in that of its page */
	struct block_exit *incoming; /* linked to this */
	struct block_exit exit[BLOCK_EXITS];
};

#endif
