/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	guest --> transmit queue --> chardev_write      on the vCPU's thread, or the I/O thread
 *	guest <-- receive queue <-- chardev_read        the same
 *
 * Whatever may let bytes move again calls virtio_notify for the queue concerned: the
 * driver's notification, the host's end when it has input or room, the opening of a
 * port. So there is one way into each direction, and it looks at everything that can
 * hold it up.
 *
 * A buffer of the transmit queue that the host's end does not take whole is kept, and no
 * other is taken: bytes stay in order, and the driver sees its queue fill.
 *
 * The host's input is asked for before a buffer is taken, since an empty buffer could
 * not be given back but as used.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/console_int.h"

#define QUEUE_SIZE 64u
#define PIECE      4096u

/* Bytes that a port sends before others have their turn: a driver's one buffer may have 4 GiB. */
#define SEND_MAX (1u << 20)

#define F_SIZE        BIT(0)
#define F_MULTIPORT   BIT(1)
#define F_EMERG_WRITE BIT(2)

/* struct virtio_console_config, 5.3.4. */
#define CONFIG_COLUMNS 0
#define CONFIG_ROWS    2
#define CONFIG_PORTS   4
#define CONFIG_EMERG   8

static struct virtio_console *console_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_console, device);
}

bool virtio_console_has_ports(const struct virtio_console *c)
{
	return virtio_has(&c->device, F_MULTIPORT);
}

/* Sends the buffer in hand as far as the host's end takes it; false if bytes are left. */
static bool send_chain(struct port *p, uint64_t *budget)
{
	uint8_t bytes[PIECE];
	size_t n, taken;

	while (*budget && (n = virtq_chain_read(&p->tx, p->sent, bytes, PIECE))) {
		taken = chardev_write(p->chardev, bytes, n);
		p->sent += taken;
		*budget -= MIN(taken, *budget);
		if (taken < n)
			return false;
	}
	return p->sent == p->tx.readable_len;
}

static void send(struct port *p)
{
	struct virtio_device *d = &p->console->device;
	unsigned queue = port_tx(p->id);
	uint64_t budget = SEND_MAX;

	while (p->sending || virtio_take(d, queue, &p->tx)) {
		if (!p->sending) {
			p->sent = 0;
			p->sending = true;
		}
		if (p->tx.writable) { /* 5.3.6: characters are the driver's to give */
			p->sending = false;
			virtio_need_reset(d);
			break;
		}
		if (!send_chain(p, &budget)) {
			if (!budget)
				d->link.again(d->link.opaque, queue);
			break;
		}
		p->sending = false;
		virtio_put(d, queue, &p->tx, 0);
	}
	chardev_flush(p->chardev);
	virtio_finish(d, queue);
}

/* Fills a buffer with what input there is. */
static uint32_t fill(struct port *p, const struct virtq_chain *chain)
{
	struct virtq *ring = &p->console->device.queues[port_rx(p->id)].ring;
	uint8_t bytes[PIECE];
	uint64_t done = 0, room;
	size_t n;

	while ((room = MIN(chain->writable_len - done, SEND_MAX - done))) {
		n = chardev_read(p->chardev, bytes, MIN(room, PIECE));
		if (!n)
			break;
		virtq_chain_write(ring, chain, done, bytes, n);
		done += n;
	}
	explicit_bzero(bytes, sizeof(bytes)); /* it may have been a password */
	return done;
}

void virtio_port_receive(struct port *p)
{
	struct virtio_device *d = &p->console->device;
	unsigned queue = port_rx(p->id);

	if (!p->guest_open && virtio_console_has_ports(p->console))
		return;
	while (chardev_has_input(p->chardev) && virtio_take(d, queue, &d->chain)) {
		if (d->chain.readable) {
			virtio_need_reset(d);
			break;
		}
		virtio_put(d, queue, &d->chain, fill(p, &d->chain));
	}
	virtio_finish(d, queue);
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_console *c = console_of(d);
	bool out = queue & 1;
	unsigned port;

	if (c->multiport && queue == QUEUE_CONTROL_RX) {
		virtio_control_send(c);
	} else if (c->multiport && queue == QUEUE_CONTROL_TX) {
		virtio_control_receive(c);
	} else {
		port = queue < 2 ? 0 : queue / 2 - 1;
		if (out)
			send(&c->ports[port]);
		else
			virtio_port_receive(&c->ports[port]);
	}
}

/* Input may have come before the driver. It is told of its window's size, because Linux reads that
 * from configuration space when it has changed, and not before. */
static void started(struct virtio_device *d)
{
	struct virtio_console *c = console_of(d);

	for (unsigned i = 0; i < c->port_count; i++)
		virtio_notify(d, port_rx(i));
	if (c->multiport)
		virtio_notify(d, QUEUE_CONTROL_RX);
	else if (virtio_has(d, F_SIZE) && load_le(c->config, 4))
		virtio_config_changed(d);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_console *c = console_of(d);

	for (unsigned i = 0; i < c->port_count; i++) {
		struct port *p = &c->ports[i];

		if (queue == VIRTIO_QUEUES_MAX || queue == port_tx(i))
			p->sending = false;
		if (queue == VIRTIO_QUEUES_MAX) {
			p->guest_open = p->announced = false;
			p->news = 0;
		}
	}
}

/* 5.3.5.2: a byte that goes out at once, whatever the state of the device; where the host's end
 * takes no more it is lost. */
static void config_written(struct virtio_device *d, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio_console *c = console_of(d);

	(void)size;
	if (c->multiport || offset != CONFIG_EMERG)
		return;
	chardev_put(c->ports[0].chardev, value & 0xff);
}

static const struct virtio_device_ops ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.started = started,
	.notified = notified,
	.config_written = config_written,
	.stopped = stopped,
};

static void notify(struct port *p, unsigned queue)
{
	struct virtio_device *d = &p->console->device;

	pthread_mutex_lock(&d->lock);
	virtio_notify(d, queue);
	pthread_mutex_unlock(&d->lock);
}

/* Loop's thread, both. */
static void readable(void *opaque)
{
	struct port *p = opaque;

	notify(p, port_rx(p->id));
}

static void writable(void *opaque)
{
	struct port *p = opaque;

	notify(p, port_tx(p->id));
}

static void add_port(struct virtio_console *c, const struct virtio_port_config *config)
{
	struct port *p = &c->ports[c->port_count];
	const struct chardev_user user = {readable, writable, p};

	p->console = c;
	p->id = c->port_count++;
	p->name = config->name;
	p->chardev = config->chardev;
	p->host_open = config->open;
	chardev_connect(p->chardev, &user);
}

static struct virtio_console *make(struct mem *mem, uint64_t features, unsigned queues,
				   struct err *e)
{
	struct virtio_console *c = calloc(1, sizeof(*c));
	struct virtio_kind kind = {
		.ops = &ops,
		.features = features | VIRTIO_F_IN_ORDER,
		.config_len = CONFIG_SIZE,
		.queue_count = queues,
		.queue_size = QUEUE_SIZE,
	};

	if (!c) {
		err_errno(e, ENOMEM, "cannot make virtio-console");
		return NULL;
	}
	kind.config = c->config;
	c->multiport = features & F_MULTIPORT;
	virtio_device_init(&c->device, mem, &kind);
	return c;
}

struct virtio_console *virtio_console_new(struct mem *mem, struct chardev *chardev, struct err *e)
{
	const struct virtio_port_config config = {.chardev = chardev, .open = true};
	struct virtio_console *c = make(mem, F_SIZE | F_EMERG_WRITE, 2, e);

	if (c)
		add_port(c, &config);
	return c;
}

struct virtio_console *virtio_ports_new(struct mem *mem, const struct virtio_port_config *ports,
					unsigned count, struct err *e)
{
	struct virtio_console *c = make(mem, F_MULTIPORT, 2 * count + 2, e);

	if (!c)
		return NULL;
	store_le(c->config + CONFIG_PORTS, 4, count);
	for (unsigned i = 0; i < count; i++)
		add_port(c, &ports[i]);
	return c;
}

void virtio_console_free(struct virtio_console *c)
{
	virtio_device_release(&c->device);
	free(c);
}

struct virtio_device *virtio_console_device(struct virtio_console *c)
{
	return &c->device;
}

void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows)
{
	struct virtio_device *d = &c->device;

	pthread_mutex_lock(&d->lock);
	store_le(c->config + CONFIG_COLUMNS, 2, columns);
	store_le(c->config + CONFIG_ROWS, 2, rows);
	virtio_config_changed(d);
	pthread_mutex_unlock(&d->lock);
}

void virtio_port_set_open(struct virtio_console *c, unsigned port, bool open)
{
	struct virtio_device *d = &c->device;
	struct port *p = &c->ports[port];

	pthread_mutex_lock(&d->lock);
	p->host_open = open;
	/* Before the driver has said that it knows the port, NEWS_OPEN is not for it; it is told
	 * then. */
	if (p->announced)
		p->news |= NEWS_OPEN;
	virtio_notify(d, QUEUE_CONTROL_RX);
	pthread_mutex_unlock(&d->lock);
}
