/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's virtio consoles: hvc0, whose character device is the PC's (machine/pc.h), and the
 * named ports, each with an end of its own on the host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/endpoint.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/console.h"

/* How long the last output may take to leave when the machine goes away. */
#define FLUSH_MS 2000

_Static_assert(MACHINE_PORTS_MAX <= VIRTIO_PORTS_MAX &&
		       MACHINE_PORT_NAME_MAX == VIRTIO_PORT_NAME_MAX,
	       "what may be configured can be made");

struct port {
	struct consoles *all;
	struct endpoint *end;
	char *path;
};

struct consoles {
	struct machine *machine;
	struct virtio_console *console; /* NULL: none, as is the next */
	struct virtio_console *ports_device;
	struct port ports[MACHINE_PORTS_MAX];
	unsigned count;
};

static void on_changed(void *opaque, bool open)
{
	struct port *port = opaque;

	virtio_port_set_open(port->all->ports_device, (unsigned)(port - port->all->ports), open);
}

/* Whoever hangs up wants no more; anything else is the user's concern. */
static void on_loss(void *opaque, int error)
{
	struct port *port = opaque;

	if (error != EPIPE && error != ECONNRESET && error != ETIMEDOUT)
		machine_warn(port->all->machine,
			     "cannot write to the port's end %s: %s: what the guest sent there is "
			     "lost: make room on the host",
			     port->path, strerror(error));
}

static int open_port(struct consoles *all, const struct machine_port *from, struct err *e)
{
	struct port *port = &all->ports[all->count++];

	port->all = all;
	port->path = strdup(from->path);
	if (!port->path)
		return err_errno(e, ENOMEM, "cannot make virtio-console");
	port->end = endpoint_new(all->machine->loop, from->kind, from->path, e);
	if (!port->end)
		return e->code;
	chardev_on_loss(endpoint_chardev(port->end), on_loss, port);
	return 0;
}

static int make_ports(struct paravirt *p, struct consoles *all, struct err *e)
{
	const struct machine_config *c = &all->machine->config;
	struct virtio_port_config ports[MACHINE_PORTS_MAX];

	for (unsigned i = 0; i < c->port_count; i++) {
		if (open_port(all, &c->ports[i], e))
			return e->code;
		ports[i] = (struct virtio_port_config){
			.name = c->ports[i].name,
			.chardev = endpoint_chardev(all->ports[i].end),
			.open = endpoint_is_open(all->ports[i].end),
		};
	}
	all->ports_device = virtio_ports_new(&all->machine->mem, ports, all->count, e);
	if (!all->ports_device ||
	    paravirt_add(p, virtio_console_device(all->ports_device), PARAVIRT_CLASS_SERIAL, e))
		return e->code;
	for (unsigned i = 0; i < all->count; i++)
		endpoint_listen(all->ports[i].end, on_changed, &all->ports[i]);
	return 0;
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	struct chardev *chardev = paravirt_console_chardev(p);
	struct consoles *all;
	int rc = 0;

	if (!chardev && !m->config.port_count)
		return 0;
	*state = all = calloc(1, sizeof(*all));
	if (!all)
		return err_errno(e, ENOMEM, "cannot make virtio-console");
	all->machine = m;
	if (chardev) {
		all->console = virtio_console_new(&m->mem, chardev, e);
		if (!all->console)
			return e->code;
		rc = paravirt_add(p, virtio_console_device(all->console), PARAVIRT_CLASS_SERIAL, e);
	}
	if (!rc && m->config.port_count)
		rc = make_ports(p, all, e);
	if (!rc && chardev)
		paravirt_set_console(p, all->console);
	return rc;
}

static void release(void *state)
{
	struct consoles *all = state;

	if (all->console)
		virtio_console_free(all->console);
	if (all->ports_device)
		virtio_console_free(all->ports_device);
	for (unsigned i = 0; i < all->count; i++) {
		endpoint_free(all->ports[i].end, FLUSH_MS);
		free(all->ports[i].path);
	}
	free(all);
}

const struct paravirt_kind paravirt_consoles = {.make = make, .release = release};
