/* SPDX-License-Identifier: Apache-2.0 */
/* The table of connections, by both ports; their number is bounded. */
#include <stdlib.h>

#include "virtio/vsock_int.h"

/* Ports that the host's side of its own calls gets: beyond those that services have. */
#define PORT_FIRST BIT(30)
#define PORTS      BIT(30)

static struct vsock_conn **bucket(struct virtio_vsock *v, uint32_t local, uint32_t peer)
{
	uint32_t mixed = (local ^ (peer << 16 | peer >> 16)) * 0x9e3779b1u;

	return &v->buckets[(mixed >> 16) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_find(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer)
{
	struct vsock_conn *c;

	for (c = *bucket(v, local, peer); c; c = c->next)
		if (c->local == local && c->peer == peer && c->type == type &&
		    c->state != VSOCK_LINGERING)
			return c;
	return NULL;
}

struct vsock_conn *vsock_add(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer)
{
	struct vsock_conn **head = bucket(v, local, peer);
	struct vsock_conn *c;

	if (v->count == VSOCK_CONNS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->type = type;
	c->local = local;
	c->peer = peer;
	c->next = *head;
	c->link = head;
	if (c->next)
		c->next->link = &c->next;
	*head = c;
	v->count++;
	v->counts.added++;
	return c;
}

void vsock_remove(struct virtio_vsock *v, struct vsock_conn *c)
{
	vsock_forgive(v, c);
	v->counts.removed++;
	if (c->line)
		portal_hang_up(v->portal, c->line);
	v->buffered -= c->buffered;
	vsock_store_release(&c->out);
	free(c->packet);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	v->count--;
	free(c);
}

void vsock_remove_all(struct virtio_vsock *v)
{
	for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
		while (v->buckets[i])
			vsock_remove(v, v->buckets[i]);
}

uint32_t vsock_free_port(struct virtio_vsock *v, uint32_t peer)
{
	uint32_t port;

	/* There are more ports than connections: one is free. */
	do
		port = (uint32_t)(PORT_FIRST + v->next_port++ % PORTS);
	while (vsock_find(v, VSOCK_STREAM, port, peer) ||
	       vsock_find(v, VSOCK_SEQPACKET, port, peer));
	return port;
}
