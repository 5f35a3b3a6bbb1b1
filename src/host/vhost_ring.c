/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In shared memory, each page-aligned:
 *
 *	descriptors     slot n: an indirect descriptor of table n
 *	available ring  slots, in the order of adding
 *	used ring       the daemon's
 *	tables          of VHOST_RING_SEGMENTS_MAX descriptors each
 */
#include "host/vhost_ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"

#define DESC_SIZE    16u
#define DESC_NEXT    1u
#define DESC_WRITE   2u
#define DESC_TABLE   4u
#define USED_NO_KICK 1u

/* Both rings: flags, index, entries. */
#define RING_INDEX   2u
#define RING_ENTRIES 4u

static void put_desc(uint8_t *at, const struct vhost_segment *s, unsigned flags, unsigned next)
{
	store_le(at, 8, s->gpa);
	store_le(at + 8, 4, s->len);
	store_le(at + 12, 2, flags);
	store_le(at + 14, 2, next);
}

static uint16_t *word(const struct vhost_ring *r, unsigned offset)
{
	return (uint16_t *)(void *)(r->base + offset);
}

void vhost_ring_init(struct vhost_ring *r, uint8_t *base, uint64_t addr)
{
	*r = (struct vhost_ring){.base = base, .addr = addr};
}

void vhost_ring_reset(struct vhost_ring *r)
{
	memset(r->base, 0, VHOST_RING_TABLES);
	vhost_ring_init(r, r->base, r->addr);
}

unsigned vhost_ring_free_slot(const struct vhost_ring *r)
{
	unsigned i = 0;

	while (r->busy[i] == UINT64_MAX) {
		i++;
		assert(i < ARRAY_LEN(r->busy));
	}
	return i * 64 + (unsigned)__builtin_ctzll(~r->busy[i]);
}

void vhost_ring_add(struct vhost_ring *r, unsigned slot, const struct vhost_segment *segments,
		    unsigned readable, unsigned writable)
{
	unsigned n = readable + writable, table = VHOST_RING_TABLES + slot * VHOST_RING_TABLE;
	const struct vhost_segment whole = {r->addr + table, n * DESC_SIZE};

	assert(slot < VHOST_RING_SIZE && !vhost_ring_busy(r, slot));
	assert(n && n <= VHOST_RING_SEGMENTS_MAX);
	for (unsigned i = 0; i < n; i++)
		put_desc(r->base + table + i * DESC_SIZE, &segments[i],
			 (i + 1 < n ? DESC_NEXT : 0) | (i >= readable ? DESC_WRITE : 0), i + 1);
	put_desc(r->base + VHOST_RING_DESC + slot * DESC_SIZE, &whole, DESC_TABLE, 0);
	*word(r, VHOST_RING_AVAIL + RING_ENTRIES + r->added % VHOST_RING_SIZE * 2) = (uint16_t)slot;
	r->busy[slot / 64] |= BIT(slot % 64);
	r->under_way++;
	r->added++;
	__atomic_store_n(word(r, VHOST_RING_AVAIL + RING_INDEX), r->added, __ATOMIC_RELEASE);
}

bool vhost_ring_wants_kick(const struct vhost_ring *r)
{
	/* The index must be seen by a daemon whose wish comes too late to be seen here. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(__atomic_load_n(word(r, VHOST_RING_USED), __ATOMIC_RELAXED) & USED_NO_KICK);
}

int vhost_ring_next(struct vhost_ring *r, unsigned *slot, uint32_t *written)
{
	uint16_t index = __atomic_load_n(word(r, VHOST_RING_USED + RING_INDEX), __ATOMIC_ACQUIRE);
	const volatile uint32_t *entry =
		(const volatile uint32_t *)(const void *)(r->base + VHOST_RING_USED + RING_ENTRIES +
							  r->used % VHOST_RING_SIZE * 8);
	uint32_t id = entry[0], len = entry[1];

	if (index == r->used)
		return 0;
	if ((uint16_t)(index - r->used) > r->under_way || id >= VHOST_RING_SIZE ||
	    !vhost_ring_busy(r, id))
		return -EPROTO;
	r->busy[id / 64] &= ~BIT(id % 64);
	r->under_way--;
	r->used++;
	*slot = id;
	*written = len;
	return 1;
}
