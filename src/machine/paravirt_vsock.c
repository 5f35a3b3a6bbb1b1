/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's socket device, on Unix sockets of the host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/portal_unix.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/vsock.h"

struct sockets {
	struct machine *machine;
	struct portal *portal;
	struct virtio_vsock *vsock; /* NULL: not made */
};

static void on_exhausted(void *opaque, int error)
{
	const struct sockets *s = opaque;

	machine_warn(s->machine,
		     "vsock: no more connections can be made: %s: they are refused: raise the "
		     "limit of open files (ulimit -n)",
		     strerror(error));
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	struct virtio_vsock_config config = {.exhausted = on_exhausted};
	struct sockets *s;

	if (!m->config.vsock)
		return 0;
	*state = s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, ENOMEM, "cannot make virtio-vsock");
	s->machine = m;
	s->portal = portal_unix_open(m->loop, m->config.vsock->path, e);
	if (!s->portal)
		return e->code;
	config.cid = m->config.vsock->cid;
	config.portal = s->portal;
	config.opaque = s;
	s->vsock = virtio_vsock_new(&m->mem, &config, e);
	return s->vsock ? paravirt_add(p, virtio_vsock_device(s->vsock), PARAVIRT_CLASS_OTHER, e)
			: e->code;
}

static void release(void *state)
{
	struct sockets *s = state;

	if (s->vsock)
		virtio_vsock_free(s->vsock);
	portal_free(s->portal);
	free(s);
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct sockets *s = state;

	return s && s->vsock && !number ? virtio_vsock_device(s->vsock) : NULL;
}

const struct paravirt_kind paravirt_vsock = {.make = make, .release = release, .device = device};
