/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed form, virtio 1.2, 2.8: one ring of descriptors, read and written by
 * both sides.
 *
 *	desc     size x {addr 8, len 4, id 2, flags 2}
 *	driver   offset and wrap 2, flags 2
 *	device   the same
 *
 * A descriptor is available when its AVAIL flag equals the ring's wrap counter and
 * its USED flag does not; used when both equal it. The counter begins with 1 and
 * changes each time round. A chain lies in consecutive descriptors; its one used
 * descriptor is written where the first of the oldest buffer not yet used lies, and
 * as many are then skipped as that chain had. What it overwrites was read before,
 * because no more descriptors are taken than the ring has.
 */
#include "base/bits.h"
#include "virtio/queue_int.h"

#define DESC_AVAIL (1u << 7)
#define DESC_USED  (1u << 15)

#define DESC_LEN   8
#define DESC_ID    12
#define DESC_FLAGS 14

/* The event suppression structures, 2.8.10. */
#define EVENT_OFFSET  0
#define EVENT_FLAGS   2
#define EVENT_SIZE    4
#define EVENT_WRAP    (1u << 15)
#define EVENT_ENABLE  0
#define EVENT_DISABLE 1
#define EVENT_DESC    2
#define EVENT_MASK    3

static bool shapes(unsigned size, struct virtq_shape shape[3])
{
	shape[0] = (struct virtq_shape){(uint64_t)size * VIRTQ_DESC_SIZE, 16};
	shape[1] = (struct virtq_shape){EVENT_SIZE, 4};
	shape[2] = (struct virtq_shape){EVENT_SIZE, 4};
	return true;
}

static void start(struct virtq *q)
{
	q->next_avail = 0;
	q->next_used = 0;
	q->avail_wrap = true;
	q->used_wrap = true;
}

static bool is_available(uint16_t flags, bool wrap)
{
	return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

/* Moves a place in the ring on. */
static void advance(const struct virtq *q, uint16_t *at, bool *wrap, unsigned by)
{
	unsigned next = *at + by;

	if (next >= q->size) {
		next -= q->size;
		*wrap = !*wrap;
	}
	*at = next;
}

/* Of an indirect table's descriptors only WRITE counts: they are in order, and all of them. */
static const char *gather_table(struct virtq *q, struct virtq_chain *chain,
				const struct virtq_desc *desc)
{
	const uint8_t *table;
	unsigned count;
	const char *wrong = virtq_find_table(q, desc, &table, &count);

	for (unsigned i = 0; !wrong && i < count; i++) {
		struct virtq_desc entry = virtq_load_desc(table + (size_t)i * VIRTQ_DESC_SIZE);

		wrong = virtq_chain_add(q, chain, &entry, entry.high & VIRTQ_DESC_WRITE);
	}
	return wrong;
}

static const char *gather(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t at = q->next_avail;
	bool wrap = q->avail_wrap;
	struct virtq_desc desc;
	const char *wrong;

	for (;;) {
		if (q->slots + chain->slots == q->size)
			return "more descriptors are available than the queue has";
		desc = virtq_load_desc(q->desc.host + at * VIRTQ_DESC_SIZE);
		if (!is_available(desc.high, wrap))
			return "a chain's descriptor is not available";
		chain->slots++;
		advance(q, &at, &wrap, 1);
		if (desc.high & VIRTQ_DESC_INDIRECT) {
			if (chain->slots > 1 || desc.high & VIRTQ_DESC_NEXT)
				return "an indirect descriptor is part of a chain";
			chain->id = desc.low;
			return gather_table(q, chain, &desc);
		}
		wrong = virtq_chain_add(q, chain, &desc, desc.high & VIRTQ_DESC_WRITE);
		if (wrong)
			return wrong;
		if (!(desc.high & VIRTQ_DESC_NEXT)) {
			chain->id = desc.low;
			return NULL;
		}
	}
}

static enum virtq_taken take(struct virtq *q, struct virtq_chain *chain, const char **broken)
{
	const uint8_t *first = q->desc.host + q->next_avail * VIRTQ_DESC_SIZE;

	if (q->slots == q->size ||
	    !is_available(virtq_load16_acquire(first + DESC_FLAGS), q->avail_wrap))
		return VIRTQ_EMPTY;
	virtq_chain_begin(q, chain);
	*broken = gather(q, chain);
	if (*broken)
		return VIRTQ_BROKEN;
	advance(q, &q->next_avail, &q->avail_wrap, chain->slots);
	return VIRTQ_CHAIN;
}

static void show(struct virtq *q, unsigned n, uint16_t flags)
{
	uint64_t at = n * VIRTQ_DESC_SIZE;

	virtq_store16_release(q->desc.host + at + DESC_FLAGS, flags);
	virtq_wrote(q, &q->desc, at + DESC_LEN, VIRTQ_DESC_SIZE - DESC_LEN);
}

static void publish(struct virtq *q)
{
	if (q->held)
		show(q, q->held_at, q->held_flags);
	q->held = false;
}

static void use(struct virtq *q, const struct virtq_done *buffer)
{
	uint64_t at = q->next_used * VIRTQ_DESC_SIZE;
	uint16_t flags = (q->used_wrap ? DESC_AVAIL | DESC_USED : 0) |
			 (buffer->written ? VIRTQ_DESC_WRITE : 0);

	store_le(q->desc.host + at + DESC_LEN, 4, buffer->written);
	store_le(q->desc.host + at + DESC_ID, 2, buffer->id);
	/* The driver looks at them in order: the first that it does not see hides all others. */
	if (q->holding && !q->held) {
		q->held = true;
		q->held_at = q->next_used;
		q->held_flags = flags;
	} else {
		show(q, q->next_used, flags);
	}
	advance(q, &q->next_used, &q->used_wrap, buffer->slots);
	q->unsignalled += buffer->slots;
}

static bool should_interrupt(struct virtq *q)
{
	uint16_t old = q->next_used - q->unsignalled;
	uint16_t flags = virtq_load16(q->driver.host + EVENT_FLAGS) & EVENT_MASK;
	uint16_t event = virtq_load16(q->driver.host + EVENT_OFFSET);
	uint16_t at = event & ~EVENT_WRAP;

	q->unsignalled = 0;
	if (flags == EVENT_DISABLE)
		return false;
	if (flags != EVENT_DESC || !q->features.event_idx)
		return true; /* a value that is not defined: better once too often */
	if (!!(event & EVENT_WRAP) != q->used_wrap)
		at -= q->size;
	return virtq_passes(at, q->next_used, old);
}

static void want_kicks(struct virtq *q, bool want)
{
	uint16_t flags = !want ? EVENT_DISABLE : q->features.event_idx ? EVENT_DESC : EVENT_ENABLE;

	store_le(q->device.host + EVENT_OFFSET, 2,
		 q->next_avail | (q->avail_wrap ? EVENT_WRAP : 0));
	virtq_store16_release(q->device.host + EVENT_FLAGS, flags);
	virtq_wrote(q, &q->device, 0, EVENT_SIZE);
}

const struct virtq_form virtq_packed = {shapes,           start,     take, use, publish,
					should_interrupt, want_kicks};
