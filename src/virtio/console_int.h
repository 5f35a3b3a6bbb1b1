/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the console device share: not for others. */
#ifndef LODGE_VIRTIO_CONSOLE_INT_H
#define LODGE_VIRTIO_CONSOLE_INT_H

#include "virtio/console.h"

/* Queues, 5.3.2: those of port 0, of control, and from then on two a port. */
#define QUEUE_CONTROL_RX 2u
#define QUEUE_CONTROL_TX 3u

static inline unsigned port_rx(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static inline unsigned port_tx(unsigned port)
{
	return port_rx(port) + 1;
}

/* What the driver is still to be told of a port, in this order. */
enum port_news { NEWS_ADD = 1, NEWS_NAME = 2, NEWS_OPEN = 4 };

struct port {
	struct virtio_console *console;
	unsigned id;
	const char *name;
	struct chardev *chardev;
	/* guarded by the device's lock: */
	bool host_open;
	bool guest_open;
	bool announced; /* the driver is ready for it */
	unsigned news;  /* enum port_news */
	bool sending;   /* a buffer is not wholly sent yet */
	uint64_t sent;  /* bytes of it that are */
	struct virtq_chain tx;
};

#define CONFIG_SIZE 12

struct virtio_console {
	struct virtio_device device;
	uint8_t config[CONFIG_SIZE];
	bool multiport; /* offered */
	unsigned port_count;
	struct port ports[VIRTIO_PORTS_MAX];
};

/* The driver may give input to the port's buffers: does so. Lock held. */
void virtio_port_receive(struct port *p);

/* console_control.c: both ways of the control queues. Lock held. */
void virtio_control_send(struct virtio_console *c);
void virtio_control_receive(struct virtio_console *c);

/* Whether driver and device speak of more than port 0. Lock held. */
bool virtio_console_has_ports(const struct virtio_console *c);

#endif
