/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both forms of a virtqueue have in common: where it lies, the chain that is
 * being gathered and its rules, the order in which buffers are used.
 *
 * A chain is judged while it is gathered, descriptor by descriptor, each loaded
 * once into a local copy. The segments keep host pointers, which stay good until
 * guest memory is released, later than any device.
 *
 * That two segments of a chain overlap is no rule broken: a driver may well have
 * one page written to two sectors, or several sectors that it does not want read
 * into the same page. What a device writes may not lie in its queue's own areas,
 * though: that is never meant.
 */
#include "virtio/queue.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "virtio/queue_int.h"

#define TOTAL_MAX BIT(32) /* bytes of a chain, 2.7.5.2 */

struct unaligned64 {
	uint64_t v;
} __attribute__((packed));

struct unaligned16 {
	uint16_t v;
} __attribute__((packed));

struct virtq_desc virtq_load_desc(const uint8_t *p)
{
	const volatile struct unaligned64 *words = (const volatile struct unaligned64 *)p;
	uint64_t addr = words[0].v, rest = words[1].v;

	return (struct virtq_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.low = (uint16_t)(rest >> 32),
		.high = (uint16_t)(rest >> 48),
	};
}

uint16_t virtq_load16(const uint8_t *p)
{
	return ((const volatile struct unaligned16 *)p)->v;
}

uint16_t virtq_load16_acquire(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

void virtq_store16_release(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
}

void virtq_wrote(struct virtq *q, const struct virtq_part *part, uint64_t offset, uint64_t len)
{
	mem_written(q->mem, part->gpa + offset, len);
}

void virtq_init(struct virtq *q, struct mem *mem)
{
	*q = (struct virtq){.mem = mem};
}

static const char *find_part(struct virtq *q, struct virtq_part *part, uint64_t gpa,
			     const struct virtq_shape *shape)
{
	if (gpa & (shape->align - 1))
		return "an area of the queue is not aligned";
	*part = (struct virtq_part){gpa, shape->len, mem_ptr_rw(q->mem, gpa, shape->len)};
	return part->host ? NULL : "an area of the queue is not in RAM";
}

static bool parts_overlap(const struct virtq_part *a, const struct virtq_part *b)
{
	return ranges_overlap(a->gpa, a->len, b->gpa, b->len);
}

const char *virtq_start(struct virtq *q, const struct virtq_place *place,
			const struct virtq_features *features)
{
	const struct virtq_form *form = features->packed ? &virtq_packed : &virtq_split;
	struct virtq next = {.mem = q->mem, .features = *features};
	struct virtq_shape shapes[3];
	const char *wrong;

	virtq_stop(q);
	if (!place->size || place->size > VIRTQ_SIZE_MAX || !form->shapes(place->size, shapes))
		return "a queue cannot have that size";
	wrong = find_part(q, &next.desc, place->desc, &shapes[0]);
	if (!wrong)
		wrong = find_part(q, &next.driver, place->driver, &shapes[1]);
	if (!wrong)
		wrong = find_part(q, &next.device, place->device, &shapes[2]);
	if (wrong)
		return wrong;
	if (parts_overlap(&next.desc, &next.driver) || parts_overlap(&next.desc, &next.device) ||
	    parts_overlap(&next.driver, &next.device))
		return "areas of the queue overlap";
	next.size = place->size;
	next.form = form;
	next.epoch = q->epoch + 1;
	*q = next;
	form->start(q);
	return NULL;
}

void virtq_stop(struct virtq *q)
{
	q->form = NULL;
	q->broken = NULL;
	q->epoch++;
}

void virtq_chain_begin(struct virtq *q, struct virtq_chain *chain)
{
	chain->epoch = q->epoch;
	chain->turn = q->taken;
	chain->slots = 0;
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_len = 0;
	chain->writable_len = 0;
}

static bool in_part(const struct virtq_part *part, const struct virtq_desc *desc)
{
	return ranges_overlap(part->gpa, part->len, desc->addr, desc->len);
}

/* The first piece of [gpa, gpa + *len) that lies in one region, its length in *len: a driver knows
 * no border between regions that touch. NULL: it does not begin in RAM. */
static uint8_t *first_piece(struct virtq *q, uint64_t gpa, uint32_t *len)
{
	uint8_t *host = mem_ptr_rw(q->mem, gpa, *len);
	const struct mem_region *r = host ? NULL : mem_find(q->mem, gpa);

	if (!r || r->size - (gpa - r->gpa) >= *len)
		return host;
	*len = (uint32_t)(r->size - (gpa - r->gpa));
	return mem_ptr_rw(q->mem, gpa, *len);
}

static const char *add_segments(struct virtq *q, struct virtq_chain *chain,
				const struct virtq_desc *desc, bool write)
{
	uint64_t gpa = desc->addr;
	uint32_t part;

	for (uint32_t left = desc->len; left; left -= part, gpa += part) {
		unsigned n = chain->readable + chain->writable;
		uint8_t *host;

		if (n == VIRTQ_CHAIN_MAX)
			return "a chain of descriptors is too long";
		part = left;
		host = first_piece(q, gpa, &part);
		if (!host)
			return "a descriptor points outside RAM";
		chain->segments[n] = (struct virtq_segment){gpa, host, part};
		if (write)
			chain->writable++;
		else
			chain->readable++;
	}
	return NULL;
}

const char *virtq_chain_add(struct virtq *q, struct virtq_chain *chain,
			    const struct virtq_desc *desc, bool write)
{
	if (!desc->len)
		return "a descriptor has no length";
	if (chain->readable_len + chain->writable_len + desc->len > TOTAL_MAX)
		return "a chain has more than 2^32 bytes";
	if (write &&
	    (in_part(&q->desc, desc) || in_part(&q->driver, desc) || in_part(&q->device, desc)))
		return "a descriptor has the queue itself written";
	if (!write && chain->writable)
		return "a readable descriptor comes after a writable one";
	if (write)
		chain->writable_len += desc->len;
	else
		chain->readable_len += desc->len;
	return add_segments(q, chain, desc, write);
}

const char *virtq_find_table(struct virtq *q, const struct virtq_desc *desc, const uint8_t **table,
			     unsigned *count)
{
	if (!q->features.indirect)
		return "an indirect descriptor was not negotiated";
	if (!desc->len || desc->len % VIRTQ_DESC_SIZE)
		return "an indirect table is not a whole number of descriptors";
	*table = mem_ptr(q->mem, desc->addr, desc->len);
	*count = desc->len / VIRTQ_DESC_SIZE;
	return *table ? NULL : "an indirect table is not in RAM";
}

enum virtq_taken virtq_take(struct virtq *q, struct virtq_chain *chain)
{
	enum virtq_taken taken;
	const char *broken = NULL;

	if (!q->form)
		return VIRTQ_EMPTY;
	if (q->broken)
		return VIRTQ_BROKEN;
	taken = q->form->take(q, chain, &broken);
	if (taken == VIRTQ_BROKEN)
		q->broken = broken;
	if (taken != VIRTQ_CHAIN)
		return taken;
	q->taken++;
	q->slots += chain->slots;
	return VIRTQ_CHAIN;
}

static void use(struct virtq *q, const struct virtq_done *buffer)
{
	q->form->use(q, buffer);
	q->slots -= buffer->slots;
	q->used++;
}

/* Keeps a buffer until its turn has come, then uses it and those that waited for it. */
static void use_in_order(struct virtq *q, uint32_t turn, const struct virtq_done *buffer)
{
	struct virtq_done *next;

	q->done[turn % VIRTQ_SIZE_MAX] = *buffer;
	for (;;) {
		next = &q->done[q->used % VIRTQ_SIZE_MAX];
		if (!next->done)
			return;
		next->done = false;
		use(q, next);
	}
}

static bool is_current(const struct virtq *q, uint32_t epoch)
{
	return q->form && epoch == q->epoch;
}

static void put(struct virtq *q, const struct virtq_ticket *t)
{
	const struct virtq_done buffer = {true, t->id, t->slots, t->written};

	assert(q->used != q->taken);
	if (q->features.in_order)
		use_in_order(q, t->turn, &buffer);
	else
		use(q, &buffer);
}

void virtq_put(struct virtq *q, const struct virtq_chain *chain, uint32_t written)
{
	const struct virtq_ticket ticket = virtq_ticket(chain, written);

	if (!is_current(q, chain->epoch) || q->broken)
		return;
	assert(written <= chain->writable_len);
	put(q, &ticket);
}

void virtq_put_together(struct virtq *q, const struct virtq_ticket *tickets, unsigned n)
{
	if (!n || !is_current(q, tickets[0].epoch) || q->broken)
		return;
	q->holding = true;
	for (unsigned i = 0; i < n; i++)
		put(q, &tickets[i]);
	q->holding = false;
	q->form->publish(q);
}

bool virtq_should_interrupt(struct virtq *q)
{
	if (!q->form || q->broken || !q->unsignalled)
		return false;
	/* What was used must be seen by a driver that then finds itself not interrupted. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return q->form->should_interrupt(q);
}

void virtq_want_kicks(struct virtq *q, bool want)
{
	if (!q->form || q->broken)
		return;
	q->form->want_kicks(q, want);
	/* The wish must be seen by a driver whose new buffer the caller then does not find. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A walk over segments: left bytes, from offset bytes after the beginning of s on. */
struct cursor {
	const struct virtq_segment *s, *end;
	uint64_t offset;
	size_t left;
};

/* The next piece that lies in one segment: where the host has it, its guest address and length;
 * NULL when none is left. */
static uint8_t *step(struct cursor *c, uint64_t *gpa, size_t *len)
{
	uint8_t *host;

	for (; c->s < c->end && c->offset >= c->s->len; c->s++)
		c->offset -= c->s->len;
	if (c->s == c->end || !c->left)
		return NULL;
	host = c->s->host + c->offset;
	*gpa = c->s->gpa + c->offset;
	*len = MIN(c->left, c->s->len - c->offset);
	c->left -= *len;
	c->offset += *len;
	return host;
}

size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len)
{
	struct cursor c = {chain->segments, chain->segments + chain->readable, offset, len};
	const uint8_t *host;
	size_t done = 0, part;
	uint64_t gpa;

	for (; (host = step(&c, &gpa, &part)); done += part)
		memcpy((uint8_t *)buf + done, host, part);
	return done;
}

size_t virtq_chain_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset,
			 const void *buf, size_t len)
{
	const struct virtq_segment *first = chain->segments + chain->readable;
	struct cursor c = {first, first + chain->writable, offset, len};
	size_t done = 0, part;
	uint8_t *host;
	uint64_t gpa;

	if (!is_current(q, chain->epoch))
		return 0;
	for (; (host = step(&c, &gpa, &part)); done += part) {
		memcpy(host, (const uint8_t *)buf + done, part);
		mem_written(q->mem, gpa, part);
	}
	return done;
}
