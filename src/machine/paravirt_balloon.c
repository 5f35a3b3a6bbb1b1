/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's memory balloon. */
#include <errno.h>
#include <stdlib.h>

#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/balloon.h"

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	const struct machine_balloon *from = &m->config.balloon;
	const struct virtio_balloon_config config = {
		.size = from->size,
		.deflate_on_oom = from->deflate_on_oom,
		.reporting = from->reporting,
	};
	struct virtio_balloon *b;

	if (!from->present)
		return 0;
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_errno(e, ENOMEM, "cannot make virtio-balloon");
	virtio_balloon_init(b, &m->mem, &config);
	*state = b;
	return paravirt_add(p, &b->device, PARAVIRT_CLASS_OTHER, e);
}

static void release(void *state)
{
	struct virtio_balloon *b = state;

	virtio_balloon_release(b);
	free(b);
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct virtio_balloon *b = state;

	if (!b)
		return err_set(e, ENOENT, "the machine has no balloon");
	if (c->size > b->device.mem->size)
		return err_set(e, EINVAL, "the balloon is larger than the memory: give less");
	pthread_mutex_lock(&b->device.lock);
	virtio_balloon_resize(b, c->size);
	pthread_mutex_unlock(&b->device.lock);
	return 0;
}

const struct paravirt_kind paravirt_balloon = {make, release, change};
