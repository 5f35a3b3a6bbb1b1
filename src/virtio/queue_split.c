/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split form, virtio 1.2, 2.7:
 *
 *	desc     size x {addr 8, len 4, flags 2, next 2}
 *	driver   flags 2, idx 2, ring size x 2, used_event 2
 *	device   flags 2, idx 2, ring size x {id 4, len 4}, avail_event 2
 *
 * Both indices run freely; an entry is at the index modulo size, a power of two.
 * The driver owns a buffer until its head is below driver.idx, and again once it is
 * below device.idx. Heads that are taken are remembered: one that is offered a
 * second time before it was used would be two buffers in one.
 */
#include "base/bits.h"
#include "virtio/queue_int.h"

#define FLAGS      0
#define IDX        2
#define RING       4
#define AVAIL_SIZE 2u
#define USED_SIZE  8u

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u

static bool shapes(unsigned size, struct virtq_shape shape[3])
{
	if (size & (size - 1))
		return false;
	shape[0] = (struct virtq_shape){(uint64_t)size * VIRTQ_DESC_SIZE, 16};
	/* The event fields are part of the areas whether or not they were negotiated. */
	shape[1] = (struct virtq_shape){RING + (uint64_t)size * AVAIL_SIZE + 2, 2};
	shape[2] = (struct virtq_shape){RING + (uint64_t)size * USED_SIZE + 2, 4};
	return true;
}

static uint64_t used_event(const struct virtq *q)
{
	return RING + (uint64_t)q->size * AVAIL_SIZE;
}

static uint64_t avail_event(const struct virtq *q)
{
	return RING + (uint64_t)q->size * USED_SIZE;
}

static void start(struct virtq *q)
{
	q->next_avail = 0;
	q->next_used = 0;
}

/* Gathers the chain that begins at descriptor head of the ring. A table can be no further followed
 * than it has entries: a loop ends there. */
static const char *gather(struct virtq *q, struct virtq_chain *chain, unsigned head)
{
	const uint8_t *table = q->desc.host;
	unsigned count = q->size, at = head, visited = 0;
	bool indirect = false;
	struct virtq_desc desc;
	const char *wrong;

	for (;;) {
		if (at >= count)
			return "a descriptor's number is beyond its table";
		if (visited++ == count)
			return "a chain of descriptors has a loop";
		desc = virtq_load_desc(table + at * VIRTQ_DESC_SIZE);
		chain->slots += !indirect;
		if (desc.low & VIRTQ_DESC_INDIRECT) {
			if (indirect || desc.low & VIRTQ_DESC_NEXT)
				return "an indirect descriptor is not the last of its chain";
			wrong = virtq_find_table(q, &desc, &table, &count);
			if (wrong)
				return wrong;
			indirect = true;
			visited = 0;
			at = 0;
			continue;
		}
		wrong = virtq_chain_add(q, chain, &desc, desc.low & VIRTQ_DESC_WRITE);
		if (wrong || !(desc.low & VIRTQ_DESC_NEXT))
			return wrong;
		at = desc.high;
	}
}

static enum virtq_taken take(struct virtq *q, struct virtq_chain *chain, const char **broken)
{
	uint16_t offered = virtq_load16_acquire(q->driver.host + IDX) - q->next_avail;
	unsigned head;

	if (!offered)
		return VIRTQ_EMPTY;
	*broken = "more buffers are available than the queue has descriptors";
	if (offered > q->size - (q->taken - q->used))
		return VIRTQ_BROKEN;
	head = virtq_load16(q->driver.host + RING + (q->next_avail & (q->size - 1)) * AVAIL_SIZE);
	*broken = "an available buffer's number is beyond the table";
	if (head >= q->size)
		return VIRTQ_BROKEN;
	*broken = "a buffer is available that is in use";
	if (q->busy[head / 64] & BIT(head % 64))
		return VIRTQ_BROKEN;
	virtq_chain_begin(q, chain);
	*broken = gather(q, chain, head);
	if (*broken)
		return VIRTQ_BROKEN;
	*broken = "buffers in use share descriptors";
	if (chain->slots > q->size - q->slots)
		return VIRTQ_BROKEN;
	chain->id = head;
	q->busy[head / 64] |= BIT(head % 64);
	q->next_avail++;
	return VIRTQ_CHAIN;
}

static void publish(struct virtq *q)
{
	virtq_store16_release(q->device.host + IDX, q->next_used);
	virtq_wrote(q, &q->device, IDX, 2);
}

static void use(struct virtq *q, const struct virtq_done *buffer)
{
	uint64_t at = RING + (q->next_used & (q->size - 1)) * USED_SIZE;

	store_le(q->device.host + at, 4, buffer->id);
	store_le(q->device.host + at + 4, 4, buffer->written);
	virtq_wrote(q, &q->device, at, USED_SIZE);
	q->next_used++;
	if (!q->holding)
		publish(q);
	q->busy[buffer->id / 64] &= ~BIT(buffer->id % 64);
	q->unsignalled++;
}

static bool should_interrupt(struct virtq *q)
{
	uint16_t old = q->next_used - q->unsignalled;

	q->unsignalled = 0;
	if (q->features.event_idx)
		return virtq_passes(virtq_load16(q->driver.host + used_event(q)), q->next_used,
				    old);
	return !(virtq_load16(q->driver.host + FLAGS) & AVAIL_NO_INTERRUPT);
}

static void want_kicks(struct virtq *q, bool want)
{
	uint64_t at = q->features.event_idx ? avail_event(q) : FLAGS;

	/* With an event index the one that is set stays behind, and is not passed again for long:
	 * that is as good as not wanting. */
	if (q->features.event_idx && !want)
		return;
	store_le(q->device.host + at, 2,
		 q->features.event_idx ? q->next_avail
		 : want                ? 0
				       : USED_NO_NOTIFY);
	virtq_wrote(q, &q->device, at, 2);
}

const struct virtq_form virtq_split = {shapes,           start,     take, use, publish,
				       should_interrupt, want_kicks};
