/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to the driver. Connections that owe it something stand in a queue; the first
 * sends one packet and goes to the end if there is more, so that none starves another.
 * Bytes are received from the host where they stay: in the driver's buffer.
 *
 * Resets for what is no connection are owed in a list of bounded length, and beyond it
 * forgotten: to hold up the driver's packets instead could stop both sides for good
 * (5.10.6.1), and a peer that has got no answer asks again or gives up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vsock_int.h"

_Static_assert(PORTAL_SPANS_MAX >= VIRTQ_CHAIN_MAX, "any chain fits");

void vsock_owe(struct virtio_vsock *v, struct vsock_conn *c, unsigned owed)
{
	c->owed |= owed;
	if (c->waiting || !c->owed)
		return;
	c->waiting = true;
	c->next_waiting = NULL;
	c->prev_waiting = v->last;
	if (v->last)
		v->last->next_waiting = c;
	else
		v->first = c;
	v->last = c;
}

void vsock_forgive(struct virtio_vsock *v, struct vsock_conn *c)
{
	if (!c->waiting)
		return;
	c->waiting = false;
	if (c->prev_waiting)
		c->prev_waiting->next_waiting = c->next_waiting;
	else
		v->first = c->next_waiting;
	if (c->next_waiting)
		c->next_waiting->prev_waiting = c->prev_waiting;
	else
		v->last = c->prev_waiting;
}

void vsock_owe_reset(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer)
{
	if (v->reset_count == VSOCK_RESETS) {
		v->counts.silenced++;
		return;
	}
	v->resets[(v->reset_at + v->reset_count++) % VSOCK_RESETS] = (struct vsock_reset){
		local, peer, type};
}

unsigned vsock_spans(struct portal_span *spans, const struct virtq_segment *segments,
		     unsigned count, uint64_t offset, uint64_t len)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count && len; i++) {
		const struct virtq_segment *s = &segments[i];

		if (offset >= s->len) {
			offset -= s->len;
			continue;
		}
		spans[n] = (struct portal_span){s->host + offset, MIN(len, s->len - offset)};
		len -= spans[n++].len;
		offset = 0;
	}
	return n;
}

/* Has a buffer of the driver's in v->rx, unless there is none now. */
static bool next_buffer(struct virtio_vsock *v)
{
	if (v->spare)
		return true;
	if (!virtio_take(&v->device, VSOCK_RX, &v->rx))
		return false;
	/* 5.10.6.2: the driver gives writable ones, and a header has to fit. */
	if (v->rx.readable || v->rx.writable_len <= VSOCK_HEADER_SIZE) {
		virtio_need_reset(&v->device);
		return false;
	}
	v->spare = true;
	return true;
}

/* Writes the header in front of len bytes that are in the buffer, and gives it to the driver. */
static void put(struct virtio_vsock *v, const struct vsock_header *h)
{
	uint8_t bytes[VSOCK_HEADER_SIZE];

	store_le(bytes, 8, VSOCK_CID_HOST);
	store_le(bytes + 8, 8, v->cid);
	store_le(bytes + 16, 4, h->src_port);
	store_le(bytes + 20, 4, h->dst_port);
	store_le(bytes + 24, 4, h->len);
	store_le(bytes + 28, 2, h->type);
	store_le(bytes + 30, 2, h->op);
	store_le(bytes + 32, 4, h->flags);
	store_le(bytes + 36, 4, h->buf_alloc);
	store_le(bytes + 40, 4, h->fwd_cnt);
	virtq_chain_write(&v->device.queues[VSOCK_RX].ring, &v->rx, 0, bytes, sizeof(bytes));
	virtio_put(&v->device, VSOCK_RX, &v->rx, VSOCK_HEADER_SIZE + h->len);
	v->spare = false;
	v->counts.received++;
	v->counts.received_bytes += h->len;
}

static void put_reset(struct virtio_vsock *v)
{
	const struct vsock_reset *r = &v->resets[v->reset_at];
	const struct vsock_header h = {
		.src_port = r->local, .dst_port = r->peer, .type = r->type, .op = VSOCK_RST};

	put(v, &h);
	v->reset_at = (v->reset_at + 1) % VSOCK_RESETS;
	v->reset_count--;
}

/* A packet of a connection's; each tells of the room that there is here. */
static void put_packet(struct virtio_vsock *v, struct vsock_conn *c, enum vsock_op op,
		       uint32_t flags, uint32_t len)
{
	const struct vsock_header h = {.src_port = c->local,
				       .dst_port = c->peer,
				       .len = len,
				       .type = c->type,
				       .op = op,
				       .flags = flags,
				       .buf_alloc = VSOCK_BUFFER,
				       .fwd_cnt = c->fwd};

	c->owed &= ~(unsigned)VSOCK_OWE_CREDIT;
	c->fwd_told = c->fwd;
	put(v, &h);
}

/* What the guest has room for. One that says that more has arrived than was sent gets nothing. */
static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd;

	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

/* Bytes that the next packet may have; 0: none, until the guest says more. */
static uint32_t room(struct virtio_vsock *v, struct vsock_conn *c)
{
	uint64_t fits = MIN(v->rx.writable_len - VSOCK_HEADER_SIZE, VSOCK_PAYLOAD_MAX);
	uint32_t len = (uint32_t)MIN(fits, credit(c));

	c->starved = !len;
	if (c->starved)
		c->owed &= ~(unsigned)VSOCK_OWE_DATA;
	return len;
}

/* What a receive that brought nothing means. */
static void nothing_came(struct virtio_vsock *v, struct vsock_conn *c, long rc)
{
	c->owed &= ~(unsigned)VSOCK_OWE_DATA;
	if (rc != -EAGAIN)
		vsock_host_done(v, c);
}

static void put_bytes(struct virtio_vsock *v, struct vsock_conn *c)
{
	struct portal_span spans[PORTAL_SPANS_MAX];
	uint32_t len = room(v, c), left;
	unsigned count;
	long n;

	if (!len)
		return;
	count = vsock_spans(spans, v->rx.segments, v->rx.writable, VSOCK_HEADER_SIZE, len);
	n = portal_receive(v->portal, c->line, spans, count);
	if (n <= 0) {
		nothing_came(v, c, n);
		return;
	}
	left = VSOCK_HEADER_SIZE + (uint32_t)n;
	for (unsigned i = 0; i < v->rx.writable && left; i++) {
		uint32_t part = MIN(left, v->rx.segments[i].len);

		mem_written(v->device.mem, v->rx.segments[i].gpa, part);
		left -= part;
	}
	if (n < len)
		c->owed &= ~(unsigned)VSOCK_OWE_DATA;
	c->sent += (uint32_t)n;
	put_packet(v, c, VSOCK_RW, 0, (uint32_t)n);
}

/* Receives a packet of the host's whole. False: there is none now, or never will be one. */
static bool begin_packet(struct virtio_vsock *v, struct vsock_conn *c)
{
	struct portal_span span;
	long n = portal_packet_len(v->portal, c->line);

	if (n > 0 && n <= c->peer_alloc && n <= VSOCK_BUFFER)
		c->packet = malloc((size_t)n);
	if (n > 0 && !c->packet) { /* the guest could not take it, ever */
		vsock_break(v, c);
		return false;
	}
	if (n > 0) {
		span = (struct portal_span){c->packet, (size_t)n};
		n = portal_receive(v->portal, c->line, &span, 1);
	}
	if (n <= 0) {
		free(c->packet);
		c->packet = NULL;
		nothing_came(v, c, n);
		return false;
	}
	c->packet_at = 0;
	c->packet_len = (size_t)n;
	return true;
}

static void put_fragment(struct virtio_vsock *v, struct vsock_conn *c)
{
	uint32_t len;
	bool end;

	if (!c->packet && !begin_packet(v, c))
		return;
	len = (uint32_t)MIN(room(v, c), c->packet_len - c->packet_at);
	if (!len)
		return;
	virtq_chain_write(&v->device.queues[VSOCK_RX].ring, &v->rx, VSOCK_HEADER_SIZE,
			  c->packet + c->packet_at, len);
	c->packet_at += len;
	c->sent += len;
	end = c->packet_at == c->packet_len;
	if (end) {
		free(c->packet);
		c->packet = NULL;
	}
	put_packet(v, c, VSOCK_RW, end ? VSOCK_SEQ_EOM : 0, len);
}

/* Sends one packet of what a connection owes; which may end it. */
static void serve(struct virtio_vsock *v, struct vsock_conn *c)
{
	static const struct {
		unsigned owed;
		enum vsock_op op;
	} words[] = {
		{VSOCK_OWE_REQUEST, VSOCK_REQUEST},
		{VSOCK_OWE_RESPONSE, VSOCK_RESPONSE},
		{VSOCK_OWE_CREDIT, VSOCK_CREDIT_UPDATE},
	};

	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (c->owed & words[i].owed) {
			c->owed &= ~words[i].owed;
			put_packet(v, c, words[i].op, 0, 0);
			return;
		}
	}
	if (c->owed & VSOCK_OWE_DATA) {
		if (c->type == VSOCK_STREAM)
			put_bytes(v, c);
		else
			put_fragment(v, c);
	} else if (c->owed & VSOCK_OWE_SHUTDOWN) {
		c->owed &= ~(unsigned)VSOCK_OWE_SHUTDOWN;
		put_packet(v, c, VSOCK_SHUTDOWN, c->shut_host, 0);
	}
}

void vsock_pump(struct virtio_vsock *v)
{
	while ((v->reset_count || v->first) && next_buffer(v)) {
		struct vsock_conn *c = v->first;
		unsigned before = v->count;

		if (v->reset_count) {
			put_reset(v);
			continue;
		}
		vsock_forgive(v, c);
		serve(v, c);
		if (v->count != before) /* it was ended */
			continue;
		vsock_owe(v, c, 0);
		vsock_watch(v, c);
	}
	virtio_finish(&v->device, VSOCK_RX);
}
