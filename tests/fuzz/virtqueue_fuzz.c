/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a virtqueue's place and features, what its device and its driver do one after the
 * other, and the memory that the queue lies in. Whatever is there, the chains that come out of it
 * must be whole, what is written must be the device's to write, and nothing outside guest memory
 * may be touched (RAM lies between guard pages).
 *
 *	struct start | steps x struct step | memory from 0 on
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "virtio/queue.h"

#define RAM  0x4000u
#define HIGH 0x8000u
#define PAGE 0x1000u
#define HELD 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct start {
	uint8_t features; /* packed, indirect, event index, in order: bits 0 to 3 */
	uint8_t steps;
	uint16_t size;
	uint16_t desc, driver, device;
};

enum step_kind { STEP_TAKE, STEP_PUT, STEP_ASK, STEP_KICKS, STEP_POKE, STEP_AGAIN, STEP_KINDS };

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t which;
	uint16_t at;
	uint32_t value;
};

struct fuzzed {
	struct mem mem;
	struct virtq q;
	struct virtq_place place;
	struct virtq_features features;
	struct virtq_chain *held[HELD];
};

static bool in_part(const struct virtq_part *part, uint64_t gpa, uint64_t len)
{
	return gpa >= part->gpa && range_within(gpa - part->gpa, len, part->len);
}

static bool in_chain(const struct virtq_chain *c, uint64_t gpa, uint64_t len)
{
	for (unsigned i = c->readable; i < c->readable + c->writable; i++)
		if (gpa >= c->segments[i].gpa &&
		    range_within(gpa - c->segments[i].gpa, len, c->segments[i].len))
			return true;
	return false;
}

/* What the device writes is a writable segment, its own area, or the packed ring. */
static void on_written(void *opaque, uint64_t gpa, uint64_t len)
{
	struct fuzzed *f = opaque;
	bool ok = in_part(&f->q.device, gpa, len) ||
		  (f->features.packed && in_part(&f->q.desc, gpa, len));

	for (unsigned i = 0; i < HELD && !ok; i++)
		ok = f->held[i] && in_chain(f->held[i], gpa, len);
	assert(ok);
}

static void check(const struct fuzzed *f, const struct virtq_chain *c)
{
	uint64_t readable = 0, writable = 0;
	unsigned n = c->readable + c->writable;

	assert(n && n <= VIRTQ_CHAIN_MAX && c->slots && c->slots <= f->q.size);
	for (unsigned i = 0; i < n; i++) {
		const struct virtq_segment *s = &c->segments[i];

		assert(s->len && s->host == mem_ptr(&f->mem, s->gpa, s->len));
		*(i < c->readable ? &readable : &writable) += s->len;
	}
	assert(readable == c->readable_len && writable == c->writable_len);
	assert(f->q.taken - f->q.used <= f->q.size && f->q.slots <= f->q.size);
}

static void take(struct fuzzed *f, unsigned which)
{
	struct virtq_chain *c;
	const char *broken = f->q.broken;
	uint8_t bytes[64];

	if (f->held[which])
		return;
	c = malloc(sizeof(*c));
	switch (virtq_take(&f->q, c)) {
	case VIRTQ_CHAIN:
		assert(!broken);
		check(f, c);
		virtq_chain_read(c, which, bytes, sizeof(bytes));
		f->held[which] = c;
		return;
	case VIRTQ_EMPTY:
		assert(!broken);
		break;
	case VIRTQ_BROKEN:
		assert(f->q.broken);
		break;
	}
	free(c);
}

static void put(struct fuzzed *f, unsigned which, uint32_t value)
{
	struct virtq_chain *c = f->held[which];
	uint8_t bytes[64];

	if (!c)
		return;
	memset(bytes, (int)value, sizeof(bytes));
	virtq_chain_write(&f->q, c, value & 0xff, bytes, sizeof(bytes));
	virtq_put(&f->q, c, MIN(value, c->writable_len));
	f->held[which] = NULL;
	free(c);
}

static void poke(struct fuzzed *f, unsigned at, uint32_t value)
{
	uint8_t *p = mem_ptr_rw(&f->mem, at, sizeof(value));

	if (p)
		memcpy(p, &value, sizeof(value));
}

static void do_step(struct fuzzed *f, const struct step *s)
{
	switch (s->kind % STEP_KINDS) {
	case STEP_TAKE:
		take(f, s->which % HELD);
		break;
	case STEP_PUT:
		put(f, s->which % HELD, s->value);
		break;
	case STEP_ASK:
		virtq_should_interrupt(&f->q);
		break;
	case STEP_KICKS:
		virtq_want_kicks(&f->q, s->which & 1);
		break;
	case STEP_POKE:
		poke(f, s->at, s->value);
		break;
	case STEP_AGAIN:
		virtq_stop(&f->q);
		if (s->which & 1)
			virtq_start(&f->q, &f->place, &f->features);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzzed f;
	struct start start;
	struct step step;

	if (size < sizeof(start))
		return -1;
	memcpy(&start, data, sizeof(start));
	data += sizeof(start);
	size -= sizeof(start);
	f = (struct fuzzed){.features = {start.features & 1, start.features & 2, start.features & 4,
					 start.features & 8},
			    .place = {start.size, start.desc, start.driver, start.device}};
	if (mem_init(&f.mem, 0, NULL) || mem_add_ram(&f.mem, 0, RAM, NULL) ||
	    mem_add_ram(&f.mem, HIGH, PAGE, NULL))
		abort();
	f.mem.observer.written = on_written;
	f.mem.observer.opaque = &f;
	virtq_init(&f.q, &f.mem);
	if (size > start.steps * sizeof(step)) {
		size_t at = start.steps * sizeof(step);

		memcpy(mem_ptr_rw(&f.mem, 0, RAM), data + at, MIN(size - at, RAM));
	}
	virtq_start(&f.q, &f.place, &f.features);
	for (unsigned i = 0; i < start.steps && size >= sizeof(step); i++) {
		memcpy(&step, data, sizeof(step));
		do_step(&f, &step);
		data += sizeof(step);
		size -= sizeof(step);
	}
	for (unsigned i = 0; i < HELD; i++)
		free(f.held[i]);
	mem_release(&f.mem);
	return 0;
}
