/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver does to a virtio-net device's registers (on MMIO) and to guest memory,
 * and that memory; what the host's interface does meanwhile: frames that come, frames that it does
 * not take; and time, for the device's limits. Whatever it is, the device lives, touches nothing
 * outside guest memory (RAM lies between guard pages), sends no frame longer than there are, and is
 * still after its reset.
 *
 *	struct head | steps x struct step | memory from 0 on
 *
 * The devices are made once; each input begins and ends with a reset.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bits.h"
#include "virtio/net.h"
#include "virtio/transport/mmio.h"

#define RAM       0x10000u
#define BASE      0xc0100000u
#define AREA      0x1000u /* where STEP_START puts the first queue */
#define AREA_SIZE 0xc00u
#define PAIRS     2u
#define QUEUES    (2 * PAIRS + 1)

#define REG_QUEUE  0x30u
#define REG_NOTIFY 0x50u
#define REG_STATUS 0x70u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct head {
	uint8_t device; /* bit 0: its interface has headers */
	uint8_t steps;
	uint16_t unused;
};

enum step_kind {
	STEP_WRITE,
	STEP_READ,
	STEP_POKE,
	STEP_NOTIFY,
	STEP_START,
	STEP_CAME,   /* value: its first bytes */
	STEP_TURN,   /* of the I/O thread */
	STEP_REFUSE, /* what is sent from now on; or not */
	STEP_TIME,
	STEP_KINDS
};

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t size; /* log2; of the queues in STEP_START; the queue or pair */
	uint16_t at;  /* offset of a register or in memory; a frame's length */
	uint32_t value;
};

/* An interface with at most one frame a pair. */
struct interface {
	struct netif netif;
	int fds[PAIRS];
	bool refuses;
	size_t len[PAIRS]; /* 0: none has come */
	uint8_t frame[PAIRS][NETIF_HEADER_SIZE + NETIF_FRAME_MAX];
};

struct place {
	struct bus mmio;
	struct virtio_mmio transport;
	struct virtio_device *device;
	struct interface interface;
};

static struct mem mem;
static struct clock guest;
static struct place places[2]; /* by head.device */
static uint64_t sum;           /* so that every byte sent is read */

static struct interface *interface_of(struct netif *n)
{
	return container_of(n, struct interface, netif);
}

static int send_frame(struct netif *n, unsigned queue, const struct netif_span *spans,
		      unsigned count)
{
	size_t len = 0;

	assert(queue < PAIRS && count && count <= NETIF_SPANS_MAX);
	if (interface_of(n)->refuses)
		return -EAGAIN;
	for (unsigned i = 0; i < count; i++) {
		len += spans[i].len;
		for (size_t at = 0; at < spans[i].len; at += 64)
			sum += ((const uint8_t *)spans[i].base)[at];
		sum += ((const uint8_t *)spans[i].base)[spans[i].len - 1];
	}
	assert(len <= NETIF_HEADER_SIZE + NETIF_FRAME_MAX);
	return 0;
}

static int receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	struct interface *f = interface_of(n);

	*frame = f->frame[queue];
	*len = f->len[queue];
	return *len ? 0 : -EAGAIN;
}

static void received(struct netif *n, unsigned queue)
{
	assert(interface_of(n)->len[queue]);
	interface_of(n)->len[queue] = 0;
}

static bool staged(struct netif *n, unsigned queue)
{
	return interface_of(n)->len[queue];
}

static int set(struct netif *n, unsigned value)
{
	(void)n;
	(void)value;
	return 0;
}

static const struct netif_ops ops = {
	.send = send_frame,
	.receive = receive,
	.received = received,
	.staged = staged,
	.offload = set,
	.use = set,
};

static void make(struct place *p, bool header, struct virtio_env *env)
{
	const struct irq_line line = {.set = NULL};
	struct interface *f = &p->interface;
	struct virtio_net_config config = {
		.netif = &f->netif,
		.mac = {2, 0, 0, 0, 0, 1},
		.mtu = 1500,
		.clock = &guest,
		.rx.ops = {.size = 50, .refill_ms = 1000},
		.tx.bandwidth = {.size = 100000, .refill_ms = 1000},
	};

	f->netif = (struct netif){.ops = &ops, .loop = env->loop, .queues = PAIRS};
	f->netif.header = header;
	f->netif.sends = f->netif.receives = NETIF_CSUM | NETIF_TSO4 | NETIF_TSO6 | NETIF_ECN;
	for (unsigned i = 0; i < PAIRS; i++)
		f->fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bus_init(&p->mmio, "mmio", BIT(46));
	if (netif_open_ports(&f->netif, f->fds, NULL))
		abort();
	p->device = virtio_net_device(virtio_net_new(&mem, &config, NULL));
	if (virtio_mmio_init(&p->transport, env, p->device, line, BASE, NULL) ||
	    bus_add(&p->mmio, BASE, VIRTIO_MMIO_SIZE, &virtio_mmio_ops, &p->transport,
		    &p->device->lock, NULL))
		abort();
}

static void make_all(void)
{
	static struct virtio_env env;

	if (mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL))
		abort();
	clock_init_manual(&guest);
	env.loop = event_loop_new(NULL);
	make(&places[0], false, &env);
	make(&places[1], true, &env);
}

static void write_register(struct place *p, unsigned reg, uint32_t value)
{
	bus_write(&p->mmio, BASE + reg, 4, value);
}

/* A driver's way to DRIVER_OK, which random registers would hardly find. */
static void start(struct place *p, unsigned size, uint32_t features)
{
	static const uint16_t areas[] = {0x80, 0, 0x90, 0x800, 0xa0, 0xa00};

	write_register(p, REG_STATUS, 0);
	write_register(p, 0x24, 0);
	write_register(p, 0x20, features & (uint32_t)p->device->offered);
	write_register(p, 0x24, 1);
	write_register(p, 0x20, 1 | (features >> 8 & (uint32_t)(p->device->offered >> 32)));
	write_register(p, REG_STATUS, VIRTIO_FEATURES_OK);
	for (unsigned queue = 0; queue < QUEUES; queue++) {
		write_register(p, REG_QUEUE, queue);
		write_register(p, 0x38, 1u << size);
		for (unsigned i = 0; i < ARRAY_LEN(areas); i += 2)
			write_register(p, areas[i], AREA + queue * AREA_SIZE + areas[i + 1]);
		write_register(p, 0x44, 1);
	}
	write_register(p, REG_STATUS, VIRTIO_DRIVER_OK);
}

static void poke(unsigned at, unsigned size, uint32_t value)
{
	uint8_t *p = mem_ptr_rw(&mem, at, size);

	if (p)
		store_le(p, size, value);
}

/* A frame of that length, by two bits of its first byte for all, or not. */
static void came(struct interface *f, const struct step *s)
{
	unsigned pair = s->size % PAIRS;

	if (f->len[pair])
		return;
	f->len[pair] = MIN(s->at + 1u + (s->size & 0x80 ? 2000u : 0), sizeof(f->frame[0]));
	memset(f->frame[pair], (int)(s->value >> 24), f->len[pair]);
	/* The kernel's headers are right: no segmentation, or that of TCP. */
	memset(f->frame[pair], 0, MIN(f->len[pair], NETIF_HEADER_SIZE));
	f->frame[pair][0] = s->value & 3;
	if (f->len[pair] > 1)
		f->frame[pair][1] = s->value >> 8;
}

static void turn(struct interface *f, unsigned pair)
{
	const struct netif_user *user = &f->netif.user;
	struct netif_port *port = &f->netif.ports[pair];

	if (atomic_exchange(&port->blocked, false) && !f->refuses)
		user->writable(user->opaque, pair);
	if (atomic_exchange(&port->resume, false))
		user->readable(user->opaque, pair);
}

static void do_step(struct place *p, const struct step *s)
{
	unsigned size = 1u << s->size % 3;

	switch (s->kind % STEP_KINDS) {
	case STEP_WRITE:
		bus_write(&p->mmio, BASE + s->at % VIRTIO_MMIO_SIZE, size, s->value);
		break;
	case STEP_READ:
		bus_read(&p->mmio, BASE + s->at % VIRTIO_MMIO_SIZE, size);
		break;
	case STEP_POKE:
		poke(s->at, size, s->value);
		break;
	case STEP_NOTIFY:
		write_register(p, REG_NOTIFY, s->size % (QUEUES + 1));
		break;
	case STEP_START:
		start(p, s->size % 8, s->value);
		break;
	case STEP_CAME:
		came(&p->interface, s);
		break;
	case STEP_TURN:
		turn(&p->interface, s->size % PAIRS);
		break;
	case STEP_REFUSE:
		p->interface.refuses = s->size & 1;
		break;
	case STEP_TIME:
		clock_advance(&guest, s->value);
		break;
	}
}

static void reset(struct place *p)
{
	write_register(p, REG_STATUS, 0);
	p->interface.refuses = false;
	memset(p->interface.len, 0, sizeof(p->interface.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head head;
	struct place *p;
	struct step step;
	size_t steps;

	if (!mem.count)
		make_all();
	if (size < sizeof(head))
		return -1;
	memcpy(&head, data, sizeof(head));
	data += sizeof(head);
	size -= sizeof(head);
	p = &places[head.device & 1];
	steps = MIN(head.steps, size / sizeof(step));
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	memcpy(mem_ptr_rw(&mem, 0, RAM), data + steps * sizeof(step),
	       MIN(size - steps * sizeof(step), RAM));
	reset(p);
	for (size_t i = 0; i < steps; i++) {
		memcpy(&step, data + i * sizeof(step), sizeof(step));
		do_step(p, &step);
	}
	reset(p);
	assert(!p->device->status && !p->device->queues[0].enabled);
	return 0;
}
