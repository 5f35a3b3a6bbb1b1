/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device, in its two forms:
 *
 *	a console   one port, which the guest has as hvc0; with the size of its window, and
 *	            a register to which early code writes a byte at a time
 *	ports       named ones, which open and close at either end (VIRTIO_CONSOLE_F_MULTIPORT)
 *
 * They are two devices, so that a driver that knows no more than the first has its console, and
 * because the window's size is then a matter of configuration space: in the control message that
 * tells it otherwise, Linux has rows and columns the other way round than the specification.
 *
 * What a port sends and receives goes through a character device of the host (host/chardev.h).
 * Nothing is lost on the way: while the host's end takes no more, the driver's buffer waits, and
 * while the driver has given no buffer, or has not opened the port, the host's input waits.
 *
 * Source: virtio 1.2, 5.3 "Console Device".
 */
#ifndef LODGE_VIRTIO_CONSOLE_H
#define LODGE_VIRTIO_CONSOLE_H

#include "base/err.h"
#include "host/chardev.h"
#include "virtio/device.h"

/* Two queues each, and two for control. */
#define VIRTIO_PORTS_MAX ((VIRTIO_QUEUES_MAX - 2) / 2)

#define VIRTIO_PORT_NAME_MAX 64

struct virtio_console;

struct virtio_port_config {
	const char *name; /* 1 to VIRTIO_PORT_NAME_MAX characters; the caller's, as is the next */
	struct chardev *chardev; /* outlives the device, which connects to it */
	bool open;               /* at the host's end */
};

/* Makes a console, or count ports, 1 to VIRTIO_PORTS_MAX. Before the event loop and vCPUs run. NULL
 * with e set if memory is out. */
struct virtio_console *virtio_console_new(struct mem *mem, struct chardev *chardev, struct err *e);
struct virtio_console *virtio_ports_new(struct mem *mem, const struct virtio_port_config *ports,
					unsigned count, struct err *e);

/* No thread uses it any more. */
void virtio_console_free(struct virtio_console *c);

struct virtio_device *virtio_console_device(struct virtio_console *c);

/* Tells the driver of a console that its window has that size, in characters; 0: not known. Any
 * thread, the device's lock not held. */
void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows);

/* Tells the driver that the port is open at the host's end, or is no more. As above. */
void virtio_port_set_open(struct virtio_console *c, unsigned port, bool open);

#endif
