/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How device and driver speak of ports (5.3.6.2), each on a queue of its own:
 *
 *	driver                          device
 *	DEVICE_READY            -->
 *	                        <--     PORT_ADD, of each port
 *	PORT_READY, of a port   -->
 *	                        <--     PORT_NAME, PORT_OPEN if it is open here
 *	PORT_OPEN               -->     (somebody in the guest opens or closes it)
 *	                        <--     PORT_OPEN (somebody on the host does)
 *
 * What is to be told waits as bits of its port until the driver has a buffer for it:
 * there is no queue of messages that a driver could let grow. Of several changes
 * meanwhile the last one counts.
 */
#include <string.h>

#include "virtio/console_int.h"

#define MESSAGE_SIZE 8u

enum event {
	DEVICE_READY = 0,
	PORT_ADD = 1,
	PORT_READY = 3,
	PORT_OPEN = 6,
	PORT_NAME = 7,
};

/* Composes the port's next message, and which news it is. */
static unsigned compose(const struct port *p, uint8_t message[], unsigned *len)
{
	static const enum event events[] = {
		[NEWS_ADD] = PORT_ADD, [NEWS_NAME] = PORT_NAME, [NEWS_OPEN] = PORT_OPEN};
	unsigned news = p->news & -p->news;

	store_le(message, 4, p->id);
	store_le(message + 4, 2, events[news]);
	store_le(message + 6, 2, news != NEWS_OPEN || p->host_open);
	*len = MESSAGE_SIZE;
	if (news == NEWS_NAME) {
		unsigned name = strlen(p->name);

		memcpy(message + MESSAGE_SIZE, p->name, name);
		*len += name;
	}
	return news;
}

/* Tells the next news; false if there is no buffer for it. */
static bool tell(struct virtio_console *c, struct port *p)
{
	struct virtio_device *d = &c->device;
	uint8_t message[MESSAGE_SIZE + VIRTIO_PORT_NAME_MAX];
	unsigned len, news = compose(p, message, &len);

	if (!virtio_take(d, QUEUE_CONTROL_RX, &d->chain))
		return false;
	if (d->chain.readable || d->chain.writable_len < len) {
		virtio_need_reset(d);
		return false;
	}
	virtq_chain_write(&d->queues[QUEUE_CONTROL_RX].ring, &d->chain, 0, message, len);
	virtio_put(d, QUEUE_CONTROL_RX, &d->chain, len);
	p->news &= ~news;
	return true;
}

void virtio_control_send(struct virtio_console *c)
{
	if (!virtio_console_has_ports(c))
		return;
	for (unsigned i = 0; i < c->port_count; i++)
		while (c->ports[i].news && tell(c, &c->ports[i]))
			;
	virtio_finish(&c->device, QUEUE_CONTROL_RX);
}

static void heard_of(struct port *p, unsigned event, unsigned value)
{
	switch (event) {
	case PORT_READY:
		p->announced = value;
		if (value)
			p->news |= NEWS_NAME | (p->host_open ? NEWS_OPEN : 0);
		break;
	case PORT_OPEN:
		p->guest_open = value;
		break;
	}
}

static void heard(struct virtio_console *c, const uint8_t message[])
{
	uint32_t id = load_le(message, 4);
	unsigned event = load_le(message + 4, 2), value = load_le(message + 6, 2);

	if (event == DEVICE_READY && value) {
		for (unsigned i = 0; i < c->port_count; i++)
			c->ports[i].news |= NEWS_ADD;
	} else if (id < c->port_count) {
		heard_of(&c->ports[id], event, value);
	}
}

void virtio_control_receive(struct virtio_console *c)
{
	struct virtio_device *d = &c->device;
	uint8_t message[MESSAGE_SIZE];

	if (!virtio_console_has_ports(c))
		return;
	while (virtio_take(d, QUEUE_CONTROL_TX, &d->chain)) {
		if (d->chain.writable || d->chain.readable_len < MESSAGE_SIZE) {
			virtio_need_reset(d);
			break;
		}
		virtq_chain_read(&d->chain, 0, message, MESSAGE_SIZE);
		virtio_put(d, QUEUE_CONTROL_TX, &d->chain, 0);
		heard(c, message);
	}
	virtio_finish(d, QUEUE_CONTROL_TX);
	virtio_control_send(c);
	for (unsigned i = 0; i < c->port_count; i++)
		virtio_port_receive(&c->ports[i]);
}
