/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is watched for is changed on the I/O thread alone. Another thread that wants
 * it changed leaves a mark in the port and wakes that thread. A mark is never lost
 * between the user's decision to pause and the pause itself: both are made on the I/O
 * thread, and the wake-up is handled after them.
 */
#include "host/netif.h"

#include <errno.h>
#include <string.h>

static void watch(struct netif_port *p)
{
	unsigned events = (p->paused ? 0 : EVENT_READ) | (p->watching_write ? EVENT_WRITE : 0);

	if (p->src.added && events != p->src.wanted)
		event_want(p->netif->loop, &p->src, events);
}

static void tell_gone(struct netif *n)
{
	if (n->told)
		return;
	n->told = true;
	for (unsigned i = 0; i < n->queues; i++)
		event_remove(n->loop, &n->ports[i].src);
	n->user.gone(n->user.opaque, n->why);
}

static bool aside_waits(const struct netif *n, unsigned queue)
{
	return !queue && n->aside.takes && n->aside.waiting(n->aside.opaque);
}

static void read_frames(struct netif_port *p)
{
	struct netif *n = p->netif;

	p->paused = !n->user.readable(n->user.opaque, p->queue);
	if (!p->paused && (n->ops->staged(n, p->queue) || aside_waits(n, p->queue)))
		netif_resume(n, p->queue);
}

static void ready(void *opaque, unsigned events)
{
	struct netif_port *p = opaque;
	struct netif *n = p->netif;

	if (events & EVENT_WRITE) {
		p->watching_write = false;
		n->user.writable(n->user.opaque, p->queue);
	}
	if (events & EVENT_READ && !p->paused)
		read_frames(p);
	if (n->why)
		tell_gone(n);
	watch(p);
}

static void woken(void *opaque)
{
	struct netif_port *p = opaque;

	if (atomic_exchange(&p->blocked, false))
		p->watching_write = true;
	if (atomic_exchange(&p->resume, false))
		read_frames(p);
	if (p->netif->why)
		tell_gone(p->netif);
	watch(p);
}

int netif_open_ports(struct netif *n, const int *fds, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < n->queues; i++) {
		struct netif_port *p = &n->ports[i];

		p->netif = n;
		p->queue = i;
		p->paused = true;
		p->src = (struct event_source){.ready = ready, .opaque = p, .fd = fds[i]};
		rc = event_wake_init(&p->wake, n->loop, woken, p);
		/* Watched for nothing yet, which also means: not for a hang-up. */
		if (!rc)
			rc = event_add(n->loop, &p->src, EVENT_READ);
		if (!rc)
			rc = event_want(n->loop, &p->src, 0);
	}
	if (!rc)
		return 0;
	netif_close_ports(n);
	return err_errno(e, rc, "cannot watch a network interface");
}

void netif_close_ports(struct netif *n)
{
	for (unsigned i = 0; i < n->queues; i++) {
		event_remove(n->loop, &n->ports[i].src);
		event_wake_release(&n->ports[i].wake, n->loop);
	}
}

void netif_connect(struct netif *n, const struct netif_user *user)
{
	n->user = *user;
}

void netif_attach(struct netif *n, const struct netif_aside *aside)
{
	n->aside = *aside;
}

void netif_reset(struct netif *n)
{
	if (!n->aside.takes)
		return;
	if (n->front == NETIF_FRONT_ASIDE)
		n->front = NETIF_FRONT_NONE;
	n->aside.reset(n->aside.opaque);
}

void netif_free(struct netif *n)
{
	if (n)
		n->ops->free(n);
}

static void mark(struct netif_port *p, atomic_bool *what)
{
	if (!atomic_exchange(what, true))
		event_wake_signal(&p->wake);
}

void netif_blocked(struct netif *n, unsigned queue)
{
	mark(&n->ports[queue], &n->ports[queue].blocked);
}

int netif_send(struct netif *n, unsigned queue, const struct netif_span *spans, unsigned count)
{
	int rc;

	if (n->aside.takes && n->aside.takes(n->aside.opaque, spans, count))
		return 0;
	rc = n->why ? -ENODEV : n->ops->send(n, queue, spans, count);
	if (rc == -EAGAIN)
		netif_blocked(n, queue);
	return rc;
}

int netif_flush(struct netif *n, unsigned queue)
{
	int rc = n->why || !n->ops->flush ? 0 : n->ops->flush(n, queue);

	if (rc == -EAGAIN)
		netif_blocked(n, queue);
	return rc;
}

/* A frame of the interface's own. */
static int receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	return n->why ? -EAGAIN : n->ops->receive(n, queue, frame, len);
}

int netif_receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	int rc;

	if (queue || !n->aside.takes)
		return receive(n, queue, frame, len);
	/* The user may be in the middle of a frame: it stays the same one until it is done with. */
	if (n->front == NETIF_FRONT_NONE &&
	    n->aside.next(n->aside.opaque, &n->aside_frame, &n->aside_len))
		n->front = NETIF_FRONT_ASIDE;
	if (n->front == NETIF_FRONT_ASIDE) {
		*frame = n->aside_frame;
		*len = n->aside_len;
		return 0;
	}
	rc = receive(n, queue, frame, len);
	n->front = rc ? NETIF_FRONT_NONE : NETIF_FRONT_OWN;
	return rc;
}

void netif_received(struct netif *n, unsigned queue)
{
	bool aside = !queue && n->front == NETIF_FRONT_ASIDE;

	if (!queue)
		n->front = NETIF_FRONT_NONE;
	if (!aside)
		n->ops->received(n, queue);
}

void netif_resume(struct netif *n, unsigned queue)
{
	mark(&n->ports[queue], &n->ports[queue].resume);
}

int netif_offload(struct netif *n, unsigned offloads)
{
	return n->ops->offload ? n->ops->offload(n, offloads) : 0;
}

int netif_use(struct netif *n, unsigned queues)
{
	return n->ops->use ? n->ops->use(n, queues) : 0;
}

void netif_lost(struct netif *n, const char *why)
{
	if (n->why)
		return;
	n->why = why;
	event_wake_signal(&n->ports[0].wake);
}
