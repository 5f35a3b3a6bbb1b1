/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection.
 *
 *	guest calls:  REQUEST -> portal_dial -> RESPONSE           | RST: nobody there
 *	host calls:   called -> REQUEST -> RESPONSE -> portal_answer | RST: line hung up
 *	then          RW both ways, with credit
 *	guest ends:   SHUTDOWN of both directions -> RST, and what is in the store goes out
 *	host ends:    its last byte -> SHUTDOWN -> the guest's RST
 *
 * Bytes of the guest's go to the line where they lie in guest memory, and what it does
 * not take now is stored, never more than the guest was told that there is room for:
 * a host's program that does not read stops its own connection and no other. Bytes of
 * the host's stay in the host's kernel until the guest has a buffer and room.
 *
 * A guest that breaks a rule of credit, or speaks of a connection that there is not,
 * gets RST. Its own counters are its own affair: wrong ones make it get less.
 */
#include <errno.h>
#include <string.h>

#include "virtio/vsock_int.h"

void vsock_watch(struct virtio_vsock *v, struct vsock_conn *c)
{
	unsigned events = 0;

	if (!c->line)
		return;
	if (c->state == VSOCK_OPEN && !((c->owed & VSOCK_OWE_DATA) || c->starved || c->packet) &&
	    !(c->shut_host & VSOCK_SHUT_SEND) && !(c->shut_guest & VSOCK_SHUT_RECEIVE))
		events |= PORTAL_READ;
	if (c->out.len > c->out.open && c->state != VSOCK_CALLING)
		events |= PORTAL_WRITE;
	portal_watch(v->portal, c->line, events);
}

void vsock_break(struct virtio_vsock *v, struct vsock_conn *c)
{
	v->counts.broken++;
	vsock_owe_reset(v, c->type, c->local, c->peer);
	vsock_remove(v, c);
}

static void count_buffered(struct virtio_vsock *v, struct vsock_conn *c, int64_t more)
{
	c->buffered += (uint32_t)more;
	v->buffered += (uint64_t)more;
}

/* What the guest sends is of no use any more. */
static void discard_out(struct virtio_vsock *v, struct vsock_conn *c)
{
	c->fwd = c->received;
	count_buffered(v, c, -(int64_t)c->buffered);
	vsock_store_release(&c->out);
}

/* The host's program will not read, perhaps not even write. */
static void host_deaf(struct virtio_vsock *v, struct vsock_conn *c)
{
	discard_out(v, c);
	c->shut_host |= VSOCK_SHUT_RECEIVE;
	vsock_owe(v, c, VSOCK_OWE_SHUTDOWN);
}

/* Once both directions have ended on the host's side, only the guest's word is waited for. */
static void maybe_hang_up(struct virtio_vsock *v, struct vsock_conn *c)
{
	if (c->shut_host != VSOCK_SHUT_BOTH || !c->line)
		return;
	portal_hang_up(v->portal, c->line);
	c->line = NULL;
}

void vsock_host_done(struct virtio_vsock *v, struct vsock_conn *c)
{
	c->owed &= ~(unsigned)VSOCK_OWE_DATA;
	c->shut_host |= VSOCK_SHUT_SEND;
	vsock_owe(v, c, VSOCK_OWE_SHUTDOWN);
	if (portal_deaf(v->portal, c->line))
		host_deaf(v, c);
	maybe_hang_up(v, c);
}

/* Tells the guest of room before it thinks that there is too little for a packet. */
static void maybe_owe_credit(struct virtio_vsock *v, struct vsock_conn *c)
{
	uint32_t used = c->received - c->fwd_told;

	if (c->fwd != c->fwd_told && used > VSOCK_BUFFER - VSOCK_PAYLOAD_MAX)
		vsock_owe(v, c, VSOCK_OWE_CREDIT);
}

/* Sends from the store. What ends with its last byte, ends. False: the connection is no more. */
static bool drain(struct virtio_vsock *v, struct vsock_conn *c)
{
	uint32_t sent;
	long rc = vsock_store_send(&c->out, v->portal, c->line, &sent);

	c->fwd += sent;
	count_buffered(v, c, -(int64_t)sent);
	if (c->state == VSOCK_LINGERING) {
		if (rc == -EAGAIN)
			return true;
		vsock_remove(v, c);
		return false;
	}
	if (rc && rc != -EAGAIN) {
		host_deaf(v, c);
		maybe_hang_up(v, c);
	} else if (!rc && c->shut_guest & VSOCK_SHUT_SEND) {
		portal_shut(v->portal, c->line, PORTAL_WRITE);
	}
	maybe_owe_credit(v, c);
	return true;
}

void vsock_ready(struct virtio_vsock *v, struct vsock_conn *c, unsigned events)
{
	if (events & PORTAL_WRITE && !drain(v, c))
		return;
	if (events & PORTAL_READ && c->line)
		vsock_owe(v, c, VSOCK_OWE_DATA);
	vsock_watch(v, c);
	vsock_pump(v);
}

bool vsock_called(struct virtio_vsock *v, struct portal_line *line, uint32_t port)
{
	uint16_t type = line->packets ? VSOCK_SEQPACKET : VSOCK_STREAM;
	struct vsock_conn *c = NULL;

	if (vsock_works(v) && (!line->packets || virtio_has(&v->device, VSOCK_F_SEQPACKET)))
		c = vsock_add(v, type, vsock_free_port(v, port), port);
	if (!c) {
		v->counts.refused++;
		return false;
	}
	c->state = VSOCK_CALLING;
	c->line = line;
	line->owner = c;
	vsock_owe(v, c, VSOCK_OWE_REQUEST);
	vsock_pump(v);
	return true;
}

static void on_request(struct virtio_vsock *v, const struct vsock_header *h)
{
	bool packets = h->type == VSOCK_SEQPACKET;
	struct vsock_conn *c = NULL;
	struct portal_line *line;

	if (!portal_dial(v->portal, h->dst_port, packets, &line)) {
		c = vsock_add(v, h->type, h->dst_port, h->src_port);
		if (!c)
			portal_hang_up(v->portal, line);
	}
	if (!c) {
		v->counts.refused++;
		vsock_owe_reset(v, h->type, h->dst_port, h->src_port);
		return;
	}
	v->counts.opened++;
	c->state = VSOCK_OPEN;
	c->line = line;
	line->owner = c;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	vsock_owe(v, c, VSOCK_OWE_RESPONSE);
	vsock_watch(v, c);
}

static void on_response(struct virtio_vsock *v, struct vsock_conn *c)
{
	if (c->state != VSOCK_CALLING || portal_answer(v->portal, c->line, c->local)) {
		vsock_break(v, c);
		return;
	}
	v->counts.opened++;
	c->state = VSOCK_OPEN;
	vsock_watch(v, c);
}

static void on_shutdown(struct virtio_vsock *v, struct vsock_conn *c, uint32_t flags)
{
	c->shut_guest |= flags & VSOCK_SHUT_BOTH;
	if (c->shut_guest == VSOCK_SHUT_BOTH) {
		/* The end: the guest's ports are free again, and here only the store remains. */
		vsock_owe_reset(v, c->type, c->local, c->peer);
		if (!c->line || c->out.len <= c->out.open) {
			vsock_remove(v, c);
			return;
		}
		vsock_forgive(v, c);
		c->owed = 0;
		c->state = VSOCK_LINGERING;
	} else if (c->line && flags & VSOCK_SHUT_RECEIVE) {
		c->owed &= ~(unsigned)VSOCK_OWE_DATA;
		portal_shut(v->portal, c->line, PORTAL_READ);
	} else if (c->line && flags & VSOCK_SHUT_SEND && c->out.len <= c->out.open) {
		portal_shut(v->portal, c->line, PORTAL_WRITE);
	}
	vsock_watch(v, c);
}

/* Sends what it can from where it lies; how many bytes, or a whole packet or nothing of it. */
static long send_now(struct virtio_vsock *v, struct vsock_conn *c, const struct vsock_header *h,
		     const struct virtq_chain *chain)
{
	struct portal_span spans[PORTAL_SPANS_MAX];
	bool packets = c->type == VSOCK_SEQPACKET;
	unsigned count;

	if (c->out.len || (packets && !(h->flags & VSOCK_SEQ_EOM)))
		return -EAGAIN;
	count = vsock_spans(spans, chain->segments, chain->readable, VSOCK_HEADER_SIZE, h->len);
	return portal_send(v->portal, c->line, spans, count);
}

static void on_data(struct virtio_vsock *v, struct vsock_conn *c, const struct vsock_header *h,
		    const struct virtq_chain *chain)
{
	bool packets = c->type == VSOCK_SEQPACKET;
	uint32_t done = 0;
	long n;

	if (c->state != VSOCK_OPEN || c->shut_guest & VSOCK_SHUT_SEND ||
	    (c->received - c->fwd) + h->len > VSOCK_BUFFER) {
		vsock_break(v, c);
		return;
	}
	c->received += h->len;
	v->counts.sent_bytes += h->len;
	if (c->shut_host & VSOCK_SHUT_RECEIVE || !c->line) {
		discard_out(v, c);
		maybe_owe_credit(v, c);
		return;
	}
	if (!h->len && !c->out.open) /* an empty packet would be the end, for a Unix socket */
		return;
	n = send_now(v, c, h, chain);
	if (n >= 0)
		done = packets ? h->len : (uint32_t)n;
	c->fwd += done;
	if (n < 0 && n != -EAGAIN) {
		host_deaf(v, c);
		maybe_hang_up(v, c);
	} else if (n < 0 || done < h->len) {
		if (v->buffered + h->len > VSOCK_BUFFERED_MAX ||
		    !vsock_store_add(&c->out, chain, VSOCK_HEADER_SIZE + done, h->len - done,
				     packets, h->flags & VSOCK_SEQ_EOM)) {
			vsock_break(v, c);
			return;
		}
		count_buffered(v, c, h->len - done);
		if (packets && h->flags & VSOCK_SEQ_EOM && !drain(v, c))
			return;
	}
	maybe_owe_credit(v, c);
	vsock_watch(v, c);
}

/* What each packet says of the guest's room. */
static void take_credit(struct virtio_vsock *v, struct vsock_conn *c, const struct vsock_header *h)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (!c->starved)
		return;
	c->starved = false;
	if (c->line && !(c->shut_host & VSOCK_SHUT_SEND) && !(c->shut_guest & VSOCK_SHUT_RECEIVE))
		vsock_owe(v, c, VSOCK_OWE_DATA);
}

void vsock_handle(struct virtio_vsock *v, const struct vsock_header *h,
		  const struct virtq_chain *chain)
{
	struct vsock_conn *c = vsock_find(v, h->type, h->dst_port, h->src_port);

	v->counts.sent++;
	if (!c) {
		if (h->op == VSOCK_REQUEST &&
		    (h->type == VSOCK_STREAM ||
		     (h->type == VSOCK_SEQPACKET && virtio_has(&v->device, VSOCK_F_SEQPACKET))))
			on_request(v, h);
		else if (h->op != VSOCK_RST)
			vsock_owe_reset(v, h->type, h->dst_port, h->src_port);
		return;
	}
	take_credit(v, c, h);
	switch (h->op) {
	case VSOCK_RESPONSE:
		on_response(v, c);
		break;
	case VSOCK_RST:
		vsock_remove(v, c);
		break;
	case VSOCK_SHUTDOWN:
		on_shutdown(v, c, h->flags);
		break;
	case VSOCK_RW:
		on_data(v, c, h, chain);
		break;
	case VSOCK_CREDIT_UPDATE:
		vsock_watch(v, c);
		break;
	case VSOCK_CREDIT_REQUEST:
		vsock_owe(v, c, VSOCK_OWE_CREDIT);
		break;
	default: /* REQUEST again, or nothing that there is */
		vsock_break(v, c);
		break;
	}
}
