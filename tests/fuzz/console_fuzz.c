/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver does with a console's queues, or with those of three ports and of
 * their control, and what goes on at the host's end of the lines. Whatever it is, nothing is sent
 * twice, no more is taken than a line has, and after a reset nothing is in hand.
 *
 *	which device | steps x struct step
 *
 * The lines are this program's own: what host/chardev.h says, without descriptors and threads.
 */
#include <assert.h>
#include <stdlib.h>

#include "queue_guest.h"
#include "virtio/console_int.h"

#define RAM     0x40000u
#define PORTS   3u
#define QUEUES  (2 * PORTS + 2)
#define CONTENT 0x20000u
#define STEPS   256u

#define F_MULTIPORT BIT(1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind {
	STEP_CHAINS,
	STEP_MESSAGE,
	STEP_INPUT,
	STEP_ROOM,
	STEP_OPEN,
	STEP_SIZE,
	STEP_AGAIN,
	STEP_CONFIG,
	STEP_START,
	STEP_RING,
	STEP_QUEUE,
	STEP_KINDS
};

struct step {
	uint8_t kind;  /* modulo STEP_KINDS */
	uint8_t queue; /* or port */
	uint8_t shape; /* low bits: further descriptors; the others: which of them are written */
	uint8_t way;
	uint32_t n;
	uint32_t value;
};

struct chardev {
	struct chardev_user user;
	uint32_t room, input;
};

struct place {
	struct virtio_console *console;
	struct virtio_device *device;
	struct chardev lines[PORTS];
	struct queue_guest queues[QUEUES];
	unsigned ports;
};

static struct mem mem;
static struct place places[2]; /* a console; ports */
static unsigned again;         /* queues that are to be notified of */

void chardev_connect(struct chardev *c, const struct chardev_user *user)
{
	c->user = *user;
}

size_t chardev_write(struct chardev *c, const void *bytes, size_t len)
{
	size_t taken = MIN(len, c->room);
	volatile uint8_t sink = 0;

	for (size_t i = 0; i < len; i++)
		sink ^= ((const uint8_t *)bytes)[i];
	(void)sink; /* reading was all */
	c->room -= (uint32_t)taken;
	return taken;
}

bool chardev_put(struct chardev *c, uint8_t byte)
{
	return chardev_write(c, &byte, 1) == 1;
}

void chardev_flush(struct chardev *c)
{
	(void)c;
}

bool chardev_has_input(const struct chardev *c)
{
	return c->input;
}

size_t chardev_read(struct chardev *c, void *bytes, size_t len)
{
	size_t n = MIN(len, c->input);

	memset(bytes, 0x5a, n);
	c->input -= (uint32_t)n;
	return n;
}

static void on_used(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

static void on_changed(void *opaque)
{
	(void)opaque;
}

static void on_again(void *opaque, unsigned queue)
{
	(void)opaque;
	again |= 1u << queue;
}

static void make(struct place *p, bool named)
{
	static const struct virtio_link link = {on_used, on_changed, on_again, NULL};
	const struct virtio_port_config ports[PORTS] = {
		{.name = "first", .chardev = &p->lines[0], .open = true},
		{.name = "a name that is longer than the others are", .chardev = &p->lines[1]},
		{.name = "3", .chardev = &p->lines[2], .open = true},
	};

	p->console = named ? virtio_ports_new(&mem, ports, PORTS, NULL)
			   : virtio_console_new(&mem, &p->lines[0], NULL);
	if (!p->console)
		abort();
	p->ports = named ? PORTS : 1;
	p->device = virtio_console_device(p->console);
	virtio_device_link(p->device, &link);
}

/* A port that is neither known nor open, with nothing in hand. */
static void check_stopped(const struct place *p)
{
	for (unsigned i = 0; i < p->ports; i++) {
		const struct port *port = &p->console->ports[i];

		assert(!port->sending && !port->guest_open && !port->announced && !port->news);
	}
}

static void start(struct place *p, uint64_t features, unsigned without)
{
	struct virtio_device *d = p->device;

	queue_features(d, features);
	check_stopped(p);
	for (unsigned q = 0; q < d->queue_count; q++) {
		uint64_t area = QUEUE_AREA + q * QUEUE_LEN;

		if (without >> q & 1)
			continue;
		queue_place(&p->queues[q], d, q, area, mem_ptr_rw(&mem, area, QUEUE_LEN));
		virtio_queue_enable(d, q);
	}
	again = 0;
	virtio_set_status(d, VIRTIO_DRIVER_OK);
}

static struct queue_guest *queue_of(struct place *p, const struct step *s)
{
	return &p->queues[s->queue % p->device->queue_count];
}

/* As many as the step says, alike; what a queue is for says which are good. */
static void offer(struct place *p, const struct step *s)
{
	struct queue_guest *q = queue_of(p, s);
	unsigned count = 1 + s->shape % CHAIN_BUFFERS;
	struct queue_buffer b[CHAIN_BUFFERS];

	for (unsigned i = 0; i < count; i++)
		b[i] = (struct queue_buffer){CONTENT + (s->value >> 8 * i & 0xff), s->n,
					     s->shape & 0x80 ? q->number % 2 == 0
							     : s->shape >> (2 + i) & 1};
	if (!q->host)
		return;
	for (unsigned i = 0; i <= s->way % 8; i++)
		queue_offer(q, b, count);
	virtio_notify(p->device, q->number);
}

/* A control message. */
static void tell(struct place *p, const struct step *s)
{
	const struct queue_buffer b = {CONTENT, s->shape & 0x80 ? s->n % 16 : 8, false};
	uint8_t *message = mem_ptr_rw(&mem, CONTENT, 8);

	store_le(message, 4, s->shape & 0x40 ? s->n : s->queue % 4);
	store_le(message + 4, 2, s->way % 9);
	store_le(message + 6, 2, s->value);
	if (p->device->queue_count <= QUEUE_CONTROL_TX || !p->queues[QUEUE_CONTROL_TX].host)
		return;
	queue_offer(&p->queues[QUEUE_CONTROL_TX], &b, 1);
	virtio_notify(p->device, QUEUE_CONTROL_TX);
}

static void change_queue(struct place *p, const struct step *s)
{
	struct queue_guest *q = queue_of(p, s);

	virtio_queue_reset(p->device, s->queue % p->device->queue_count);
	if (!q->host || !(s->way & 1))
		return;
	queue_place(q, q->device, q->number, q->gpa, q->host);
	virtio_queue_enable(q->device, q->number);
}

static void do_locked_step(struct place *p, const struct step *s)
{
	unsigned due = again;

	switch (s->kind % STEP_KINDS) {
	case STEP_CHAINS:
		offer(p, s);
		break;
	case STEP_MESSAGE:
		tell(p, s);
		break;
	case STEP_AGAIN:
		again = 0;
		for (unsigned q = 0; q < QUEUES; q++)
			if (due >> q & 1)
				virtio_notify(p->device, q);
		break;
	case STEP_CONFIG:
		virtio_config_write(p->device, s->n % 14, 1u << s->way % 4, s->value);
		virtio_config_read(p->device, s->n % 14, 1u << s->way % 4);
		break;
	case STEP_START:
		start(p, s->value, s->queue);
		break;
	case STEP_RING:
		store_le(mem_ptr_rw(&mem, QUEUE_AREA + s->n % (QUEUES * QUEUE_LEN), 4), 4,
			 s->value);
		virtio_notify(p->device, s->queue);
		break;
	case STEP_QUEUE:
		change_queue(p, s);
		break;
	}
}

/* Those of the host, which take the lock themselves, and of the device. */
static void do_step(struct place *p, const struct step *s)
{
	struct chardev *line = &p->lines[s->queue % p->ports];

	switch (s->kind % STEP_KINDS) {
	case STEP_INPUT:
		line->input = s->n % 0x10000;
		line->user.readable(line->user.opaque);
		return;
	case STEP_ROOM:
		line->room = s->n % 0x1000000;
		line->user.writable(line->user.opaque);
		return;
	case STEP_OPEN:
		if (p->ports > 1)
			virtio_port_set_open(p->console, s->queue % PORTS, s->value & 1);
		return;
	case STEP_SIZE:
		if (p->ports == 1)
			virtio_console_resize(p->console, (uint16_t)s->n, (uint16_t)s->value);
		return;
	}
	pthread_mutex_lock(&p->device->lock);
	do_locked_step(p, s);
	pthread_mutex_unlock(&p->device->lock);
}

/* What is in hand is never more than sent, and ports' names stay theirs. */
static void check(const struct place *p)
{
	for (unsigned i = 0; i < p->ports; i++) {
		const struct port *port = &p->console->ports[i];

		assert(!port->sending || port->sent <= port->tx.readable_len);
		assert(port->id == i && port->chardev == &p->lines[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;
	struct place *p;

	if (!mem.count) {
		if (mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL))
			abort();
		make(&places[0], false);
		make(&places[1], true);
	}
	if (!size)
		return -1;
	p = &places[*data & 1];
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	for (unsigned i = 0; i < PORTS; i++)
		p->lines[i].room = p->lines[i].input = 0;
	pthread_mutex_lock(&p->device->lock);
	start(p, ~0ull, 0);
	pthread_mutex_unlock(&p->device->lock);
	for (size_t at = 1; at + sizeof(step) <= size && at < STEPS * sizeof(step);
	     at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		do_step(p, &step);
		check(p);
	}
	pthread_mutex_lock(&p->device->lock);
	virtio_set_status(p->device, 0);
	check_stopped(p);
	pthread_mutex_unlock(&p->device->lock);
	return 0;
}
