/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block that is met for the second time is hot, and so are those that its links lead to: its
 * loop, and a little of what is around it. They are forgotten, and when they are wanted again they
 * are translated as hot ones: translate/site.c.
 *
 * A process switch empties the sites of programs and of the kernel's accesses to them, and the
 * kernel's others are of another process's stack, then. Where there is one switch after the other
 * each site is filled for a use or two, which costs more than it spares: no blocks become hot.
 *
 * Sites are given out one after the other, and taken back all at once, when there are none left and
 * the last time is long enough ago. Until then blocks do without.
 */
#include "engine/bt/runtime/hot.h"

#include <string.h>

#include "engine/bt/cpu.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/blocks.h"

#define SAMPLES    2u       /* make a block hot */
#define LOOP_MAX   24u      /* blocks that are, with it */
#define PAUSE      1000000u /* cycles between two looks, at least */
#define MISS_EVERY 1024ul   /* cycles, or more: a site wanders */
#define GIVE_BACK  64u      /* looks between two times that all sites are taken back */
#define MARKS_MAX  (HOT_BITS / 4)

#define FLUSH_EVERY 131072u /* cycles, or less: the TLB is flushed too often for sites */

static void set(struct hot *h, uint64_t *bits, unsigned bit)
{
	if (h->marked++ == MARKS_MAX) {
		memset(h->blocks, 0, sizeof(h->blocks));
		memset(h->wanders, 0, sizeof(h->wanders));
		h->marked = 1;
	}
	bits[bit / 64] |= BIT(bit % 64);
}

/* Blocks that share instructions, most of the time by jumps into the middle of others. */
#define AROUND 8u

/* The blocks of the context that linear, in this page, lies in, up to AROUND. */
static unsigned blocks_around(struct translator *t, uint64_t gpa, uint64_t linear, unsigned context,
			      struct block *in[AROUND])
{
	unsigned count = 0;

	for (struct block *b = blocks_of_page(t, gpa); b && count < AROUND; b = b->next_in_page)
		if (b->context == context && !((b->gpa ^ gpa) >> GUEST_PAGE_SHIFT) &&
		    linear - b->linear < b->bytes)
			in[count++] = b;
	return count;
}

/* The block that begins there, or NULL. */
static struct block *block_at(struct translator *t, uint64_t gpa, uint64_t linear, unsigned context)
{
	for (struct block *b = blocks_of_page(t, gpa); b; b = b->next_in_page)
		if (b->context == context && b->linear == linear &&
		    !((b->gpa ^ gpa) >> GUEST_PAGE_SHIFT))
			return b;
	return NULL;
}

struct loop {
	struct block *block[2 * LOOP_MAX];
	unsigned count;
};

static void add(struct loop *l, struct block *b)
{
	if (!b || b->context >= BLOCK_PLAIN || l->count == ARRAY_LEN(l->block))
		return;
	for (unsigned n = 0; n < l->count; n++)
		if (l->block[n] == b)
			return;
	l->block[l->count++] = b;
}

/* The block, and those that its links lead to, but hot ones, are forgotten and known as hot. What a
 * call returns to is behind it. */
static void heat(struct translator *t, struct block *first)
{
	struct loop l = {{first}, 1};
	unsigned hot = 0;

	for (unsigned n = 0; n < l.count; n++) {
		const struct block *b = l.block[n];

		for (unsigned x = 0; x < BLOCK_EXITS; x++)
			add(&l, b->exit[x].to);
		if ((b->linear + b->bytes) & PAGE_OFFSET)
			add(&l, block_at(t, b->gpa, b->linear + b->bytes, b->context));
	}
	for (unsigned n = 0; n < l.count && hot < LOOP_MAX; n++) {
		if (l.block[n]->hot)
			continue;
		hot++;
		set(&t->hot, t->hot.blocks, hot_bit(l.block[n]->linear, l.block[n]->context));
		blocks_retire(t, l.block[n]);
	}
}

/* Site n costs more than it spares: its block is to do without. */
static void give_up(struct translator *t, unsigned n)
{
	struct hot *h = &t->hot;
	const struct site_owner *o = &h->owner[n];
	struct block *b = block_at(t, o->gpa, o->block, o->context);

	set(h, h->wanders, hot_bit(o->rip, o->context));
	if (!b || !b->hot)
		return;
	set(h, h->blocks, hot_bit(b->linear, b->context));
	blocks_retire(t, b);
}

/* Gives up sites that change their page too often, by the cycles since the last time. again: the
 * time begins anew. */
static void find_wandering(struct translator *t, uint64_t cycles, bool again)
{
	struct tlb_sites *s = t->cpu->tlb->sites;
	int64_t bound = (int64_t)(MAX(cycles, PAUSE) / MISS_EVERY);

	s->wandering = 0;
	for (unsigned n = 0; n < t->hot.sites; n++) {
		struct tlb_site *site = &s->site[n];

		if (SITE_MISSES - site->left > bound)
			give_up(t, n);
		if (again || site->left <= 0)
			site->left = SITE_MISSES;
	}
}

/* No block has a site any more. */
static void give_back(struct translator *t)
{
	for (unsigned n = 0; n < PARTS; n++)
		for (unsigned i = 0; i < t->part[n].used; i++)
			if (t->part[n].block[i].hot && !t->part[n].block[i].dead)
				blocks_retire(t, &t->part[n].block[i]);
	sites_empty_all(t->cpu->tlb->sites);
	t->hot.sites = 0;
	t->hot.looks = 0;
}

/* Where the vCPU was, as often as not the end of a loop's block. */
static void count_sample(struct translator *t, uint64_t gpa, uint64_t linear, unsigned context)
{
	struct block *in[AROUND];
	unsigned count = blocks_around(t, gpa, linear, context, in);

	for (unsigned n = 0; n < count; n++) {
		if (in[n]->dead || in[n]->samples++ < SAMPLES - 1)
			continue;
		in[n]->samples = SAMPLES;
		heat(t, in[n]);
	}
}

/* Whether the TLB is, by the cycles since the last time. */
static bool is_flushed(struct translator *t, uint64_t cycles)
{
	uint64_t flushes = t->cpu->stats.tlb_flushes, count = flushes - t->hot.flushes;

	t->hot.flushes = flushes;
	return count > cycles / FLUSH_EVERY;
}

void hot_sample(struct translator *t, uint64_t linear, enum block_context context)
{
	struct hot *h = &t->hot;
	uint64_t now = __builtin_ia32_rdtsc(), cycles = now - h->looked;
	const struct tlb_entry *e;
	bool flushed;

	if (cycles >= PAUSE || t->cpu->tlb->sites->wandering)
		find_wandering(t, cycles, cycles >= PAUSE);
	if (cycles < PAUSE || context == BLOCK_NONE)
		return;
	h->looked = now;
	h->looks++;
	flushed = is_flushed(t, cycles);
	if (h->sites == TLB_SITES && h->looks >= GIVE_BACK)
		give_back(t);
	e = tlb_entry(&t->cpu->tlb->set[block_access(context)], linear);
	if (!flushed && e->exec == (linear & ~PAGE_OFFSET))
		count_sample(t, e->gpa, linear, context);
}
