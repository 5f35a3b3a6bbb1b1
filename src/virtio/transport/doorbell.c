/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/transport/doorbell.h"

/* I/O thread. */
static void rang(void *opaque)
{
	struct virtio_doorbell *bell = opaque;

	pthread_mutex_lock(&bell->device->lock);
	virtio_notify(bell->device, bell->queue);
	pthread_mutex_unlock(&bell->device->lock);
}

int virtio_doorbells_init(struct virtio_doorbells *b, const struct virtio_env *env,
			  struct virtio_device *d, struct err *e)
{
	int rc;

	b->env = env;
	b->count = 0;
	for (unsigned i = 0; i < d->queue_count; i++) {
		struct virtio_doorbell *bell = &b->bells[i];

		bell->device = d;
		bell->queue = i;
		bell->on = false;
		rc = event_wake_init(&bell->wake, env->loop, rang, bell);
		if (rc) {
			virtio_doorbells_release(b);
			return err_errno(e, rc, "cannot make a doorbell for %s", d->ops->name);
		}
		b->count++;
	}
	return 0;
}

void virtio_doorbells_release(struct virtio_doorbells *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		virtio_doorbell_place(b, i, NULL);
		event_wake_release(&b->bells[i].wake, b->env->loop);
	}
	b->count = 0;
}

void virtio_doorbell_ring(struct virtio_doorbells *b, unsigned queue)
{
	event_wake_signal(&b->bells[queue].wake);
}

void virtio_doorbell_place(struct virtio_doorbells *b, unsigned queue, const struct virtio_bell *at)
{
	struct virtio_doorbell *bell = &b->bells[queue];

	if (bell->on)
		b->env->ring(b->env->opaque, &bell->bell, false);
	bell->on = false;
	if (!at || !b->env->ring || bell->device->prompt >> queue & 1)
		return;
	bell->bell = *at;
	bell->bell.eventfd = bell->wake.src.fd;
	bell->on = b->env->ring(b->env->opaque, &bell->bell, true);
}
