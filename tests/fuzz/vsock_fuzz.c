/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver sends to the socket device, what buffers it gives, and what programs
 * of the host do at the other end of the lines, which here are made of nothing. Whatever it is,
 * lines are used as the portal's contract says, no byte goes outside guest memory, and after a
 * reset nothing is left.
 *
 *	steps x struct step
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "virtio/vsock.h"

#define RAM     0x80000u
#define CID     3u
#define SIZE    64u
#define AREA(q) (0x1000u + (q)*0x2000u)
#define HEADERS 0x10000u
#define DATA    0x20000u
#define LINES   32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind { STEP_SEND, STEP_GIVE, STEP_LINE, STEP_CALL, STEP_RESET, STEP_EVENT, STEP_KINDS };

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t op, type, flags;
	uint16_t ports; /* a few of each side */
	uint16_t n;
	uint32_t alloc, fwd;
};

struct fake {
	struct portal_line line;
	bool used;
	unsigned watched;
	uint32_t room, said; /* bytes that it takes and has */
	int end;             /* what comes after them, and refuses more */
};

static struct mem mem;
static struct portal portal;
static struct virtio_vsock *vsock;
static struct fake lines[LINES];
static uint16_t avail[3];
static bool refuse;

static struct fake *fake_of(struct portal_line *line)
{
	struct fake *f = container_of(line, struct fake, line);

	assert(f >= lines && f < lines + LINES && f->used);
	return f;
}

static struct fake *new_line(bool packets)
{
	for (unsigned i = 0; i < LINES; i++) {
		if (lines[i].used)
			continue;
		lines[i] = (struct fake){
			.line = {.packets = packets}, .used = true, .end = -EAGAIN};
		return &lines[i];
	}
	return NULL;
}

static int dial(struct portal *p, uint32_t port, bool packets, struct portal_line **line)
{
	struct fake *f = refuse ? NULL : new_line(packets);

	(void)p;
	(void)port;
	if (!f)
		return -ECONNREFUSED;
	*line = &f->line;
	return 0;
}

static int answer(struct portal *p, struct portal_line *line, uint32_t port)
{
	(void)p;
	return fake_of(line)->end == -EPIPE && port ? -EPIPE : 0;
}

static long move(struct fake *f, const struct portal_span *spans, unsigned count, uint32_t *room,
		 bool writes)
{
	volatile uint8_t sink = 0;
	size_t total = 0, done = 0;

	assert(count <= PORTAL_SPANS_MAX);
	for (unsigned i = 0; i < count; i++)
		total += spans[i].len;
	if (!*room || (f->line.packets && !writes && *room < total)) {
		if (writes) /* the end: nothing for who receives, an error for who sends */
			return f->end == -EPIPE ? 0 : f->end;
		return f->end ? f->end : -EAGAIN;
	}
	for (unsigned i = 0; i < count; i++) {
		size_t len = MIN(spans[i].len, *room - done);

		if (writes)
			memset(spans[i].base, 0x77, len);
		for (size_t b = 0; b < len; b += 61)
			sink ^= ((uint8_t *)spans[i].base)[b];
		done += len;
	}
	(void)sink; /* reading was all */
	*room -= (uint32_t)done;
	return (long)done;
}

static long send_spans(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		       unsigned count)
{
	struct fake *f = fake_of(line);

	(void)p;
	return move(f, spans, count, &f->room, false);
}

static long receive(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		    unsigned count)
{
	struct fake *f = fake_of(line);

	(void)p;
	return move(f, spans, count, &f->said, true);
}

static long packet_len(struct portal *p, struct portal_line *line)
{
	const struct fake *f = fake_of(line);

	(void)p;
	return f->said ? (long)f->said : f->end == -EPIPE ? 0 : f->end;
}

static bool deaf(struct portal *p, struct portal_line *line)
{
	(void)p;
	return fake_of(line)->end == -EPIPE;
}

static void shut(struct portal *p, struct portal_line *line, unsigned events)
{
	(void)p;
	(void)events;
	fake_of(line);
}

static void watch(struct portal *p, struct portal_line *line, unsigned events)
{
	(void)p;
	fake_of(line)->watched = events;
}

static void hang_up(struct portal *p, struct portal_line *line)
{
	(void)p;
	fake_of(line)->used = false;
}

static const struct portal_ops ops = {
	.dial = dial,
	.answer = answer,
	.send = send_spans,
	.receive = receive,
	.packet_len = packet_len,
	.deaf = deaf,
	.shut = shut,
	.watch = watch,
	.hang_up = hang_up,
};

static void on_used(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

static void on_changed(void *opaque)
{
	(void)opaque;
}

static void make(void)
{
	static const struct virtio_link link = {on_used, on_changed, on_used, NULL};
	const struct virtio_vsock_config config = {.cid = CID, .portal = &portal};

	if (mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL))
		abort();
	portal.ops = &ops;
	vsock = virtio_vsock_new(&mem, &config, NULL);
	if (!vsock)
		abort();
	virtio_device_link(virtio_vsock_device(vsock), &link);
}

static void start(uint32_t features)
{
	struct virtio_device *d = virtio_vsock_device(vsock);

	virtio_set_status(d, 0);
	for (unsigned i = 0; i < LINES; i++)
		assert(!lines[i].used);
	virtio_accept(d, 0, features & 3);
	virtio_accept(d, 1, 1);
	virtio_set_status(d, VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < 3; q++) {
		memset(mem_ptr_rw(&mem, AREA(q), 0x2000), 0, 0x2000);
		virtio_queue(d, q)->place = (struct virtq_place){SIZE, AREA(q), AREA(q) + 0x800,
								 AREA(q) + 0x1000};
		virtio_queue_enable(d, q);
		avail[q] = 0;
	}
	virtio_set_status(d, VIRTIO_DRIVER_OK);
}

static void describe(unsigned q, unsigned n, uint64_t addr, uint32_t len, unsigned flags)
{
	uint8_t *p = mem_ptr_rw(&mem, AREA(q) + n * 16, 16);

	store_le(p, 8, addr);
	store_le(p + 8, 4, len);
	store_le(p + 12, 2, flags);
	store_le(p + 14, 2, n + 1);
}

/* Makes a buffer of a header's bytes, perhaps not all of them, and others available. */
static void offer(unsigned q, uint32_t head, uint32_t len, unsigned flags)
{
	unsigned n = avail[q] % (SIZE / 2) * 2;
	uint8_t *ring = mem_ptr_rw(&mem, AREA(q) + 0x800, 4 + SIZE * 2);

	describe(q, n, HEADERS + n * 64, head, flags | (len ? 1 : 0));
	describe(q, n + 1, DATA, len, flags);
	store_le(ring + 4 + avail[q] % SIZE * 2, 2, n);
	store_le(ring + 2, 2, ++avail[q]);
	virtio_notify(virtio_vsock_device(vsock), q);
}

static void send_packet(const struct step *s)
{
	uint8_t *h = mem_ptr_rw(&mem, HEADERS + avail[1] % (SIZE / 2) * 128, 44);
	uint32_t len = s->op & 0x80 ? s->n * 4u : s->n;
	uint32_t port = 0x40000000u + (s->ports >> 8 & 3);

	store_le(h, 8, s->ports & 0x80 ? s->ports : CID);
	store_le(h + 8, 8, 2);
	store_le(h + 16, 4, s->ports & 3);
	store_le(h + 20, 4, s->ports & 4 ? port : s->ports >> 8 & 3);
	store_le(h + 24, 4, s->op & 0x40 ? s->fwd : len);
	store_le(h + 28, 2, s->type % 4);
	store_le(h + 30, 2, s->op % 9);
	store_le(h + 32, 4, s->flags);
	store_le(h + 36, 4, s->alloc);
	store_le(h + 40, 4, s->fwd);
	refuse = s->flags & 0x80;
	offer(1, 44, len, 0);
}

static void touch_line(const struct step *s)
{
	static const int ends[] = {-EAGAIN, -EAGAIN, -EPIPE, 0};
	struct fake *f = &lines[s->ports % LINES];
	unsigned events = f->watched & s->flags;

	if (!f->used)
		return;
	f->room += s->type & 1 ? s->n * 16u : 0;
	f->said += s->type & 2 ? s->n * 16u : 0;
	f->end = ends[s->op % ARRAY_LEN(ends)];
	if (!f->end && f->room)
		f->end = -EAGAIN;
	if (events)
		portal.user.ready(portal.user.opaque, &f->line, events);
}

static void call(const struct step *s)
{
	struct fake *f = new_line(s->type & 1);

	if (f && !portal.user.called(portal.user.opaque, &f->line, s->ports & 3))
		f->used = false;
}

static void do_step(const struct step *s)
{
	switch (s->kind % STEP_KINDS) {
	case STEP_SEND:
		send_packet(s);
		break;
	case STEP_GIVE:
		for (unsigned i = 0; i <= s->n % 16; i++)
			offer(0, s->flags & 0x80 ? s->n : 44, s->alloc % 0x20000, 2);
		break;
	case STEP_LINE:
		touch_line(s);
		break;
	case STEP_CALL:
		call(s);
		break;
	case STEP_RESET:
		start(s->flags);
		break;
	case STEP_EVENT:
		virtio_vsock_transport_reset(vsock);
		offer(2, s->n, 0, 2);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_device *d;
	struct step step;

	if (!vsock)
		make();
	d = virtio_vsock_device(vsock);
	pthread_mutex_lock(&d->lock);
	start(3);
	for (size_t at = 0; at + sizeof(step) <= size && at < 256 * sizeof(step);
	     at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		do_step(&step);
	}
	start(0);
	pthread_mutex_unlock(&d->lock);
	return 0;
}
