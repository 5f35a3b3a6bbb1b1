/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	iss   out_seq             out_seq + out_len
 *	 |SYN| the answer's bytes . . . . . . . |FIN|
 *	       ^snd_una   ^snd_nxt    ^snd_max
 *
 * What is to be sent follows from these numbers alone (plan): a loss that was noticed
 * puts snd_nxt back to snd_una, and all goes out again from there. So nothing has to be
 * kept in queues, and a receiver that takes nothing now is asked again later, with what
 * is then to be said.
 *
 * Comparisons are modulo 2^32, as the sequence space is.
 */
#include "mmds/tcp.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"

#define MSS_DEFAULT 536u /* RFC 1122, 4.2.2.6 */
#define MSS_MIN     28u  /* of the smallest MTU there is, 68 */
#define CWND_FIRST  4u   /* segments: RFC 5681, 3.1 */

/* A peer across no wire: shorter than RFC 6298's second. */
#define TIMEOUT_FIRST (200 * NS_PER_MS)
#define TIMEOUT_MAX   (30 * NS_PER_SEC)
#define TRIES_MAX     10u /* over two minutes, RFC 1122, 4.2.3.5 */
#define TRIES_SYN_MAX 5u

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static uint32_t out_end(const struct tcp_conn *c)
{
	return c->out_seq + (uint32_t)c->out_len;
}

/* Bytes of the answer that were not sent, since the last loss. */
static uint32_t unsent(const struct tcp_conn *c)
{
	return before(c->snd_nxt, out_end(c)) ? out_end(c) - c->snd_nxt : 0;
}

static uint32_t room(const struct tcp_conn *c)
{
	return c->closing ? TCP_ROOM : TCP_ROOM - (uint32_t)c->in_len;
}

void tcp_open(struct tcp_conn *c, const struct tcp_segment *syn, uint32_t iss)
{
	memset(c, 0, sizeof(*c));
	c->irs = syn->seq;
	c->rcv_nxt = syn->seq + 1;
	c->rcv_edge = c->rcv_nxt + TCP_ROOM;
	c->iss = c->snd_una = c->snd_nxt = c->snd_max = iss;
	c->out_seq = iss + 1;
	c->snd_wnd = syn->window;
	c->wl1 = syn->seq;
	c->mss = MIN(MAX(syn->mss ? syn->mss : MSS_DEFAULT, MSS_MIN), TCP_MSS_MAX);
	c->cwnd = CWND_FIRST * c->mss;
	c->ssthresh = 65535;
	c->timeout = TIMEOUT_FIRST;
}

void tcp_release(struct tcp_conn *c)
{
	free(c->out);
	c->out = NULL;
	c->out_len = 0;
}

/* A timer is wanted while something was sent and not acknowledged, or cannot be sent. */
static void rearm(struct tcp_conn *c, uint64_t now)
{
	if (c->snd_nxt == c->snd_una && !unsent(c))
		c->deadline = 0;
	else if (!c->deadline)
		c->deadline = now + c->timeout;
}

/* The peer has everything up to ack, which lies between snd_una and snd_max. */
static void advance(struct tcp_conn *c, uint32_t ack)
{
	uint32_t acked = ack - c->snd_una, end = out_end(c);

	c->snd_una = ack;
	if (before(c->snd_nxt, ack))
		c->snd_nxt = ack;
	c->tries = 0;
	c->timeout = TIMEOUT_FIRST;
	c->deadline = 0;
	c->probe = false;
	/* RFC 5681, 3.1: slow start below ssthresh, a segment a round trip above. */
	c->cwnd += c->cwnd < c->ssthresh ? MIN(acked, c->mss) : MAX(c->mss * c->mss / c->cwnd, 1u);
	c->cwnd = MIN(c->cwnd, 65535u);
	if (c->closing && ack == end + 1)
		c->fin_acked = true;
	if (!before(ack, end)) {
		tcp_release(c);
		c->out_seq = end;
	}
}

/* RFC 793, 3.9: a segment is acceptable where some of it lies in the window. */
static bool acceptable(const struct tcp_conn *c, const struct tcp_segment *s)
{
	uint32_t window = c->rcv_edge - c->rcv_nxt;
	uint32_t len = (uint32_t)s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	uint32_t first = s->seq - c->rcv_nxt, last = first + len - 1;

	if (!len)
		return window ? first < window : !first;
	return window && (first < window || last < window);
}

/* The acknowledgement and the window. */
static void take_ack(struct tcp_conn *c, const struct tcp_segment *s)
{
	bool closed = !c->snd_wnd;

	if (before(c->snd_una, s->ack))
		advance(c, s->ack);
	if (before(s->ack, c->snd_una))
		return;
	if (before(c->wl1, s->seq) || (c->wl1 == s->seq && !before(s->ack, c->wl2))) {
		c->snd_wnd = s->window;
		c->wl1 = s->seq;
		c->wl2 = s->ack;
	}
	/* A peer that answers probes lives, RFC 1122, 4.2.2.17; and what it dropped of them is sent
	 * again once it has room. */
	if (closed)
		c->tries = 0;
	if (closed && c->snd_wnd) {
		c->snd_nxt = c->snd_una;
		c->timeout = TIMEOUT_FIRST;
		c->deadline = 0;
	}
}

/* Data and FIN, as far as they follow what has come before. */
static void take_data(struct tcp_conn *c, const struct tcp_segment *s)
{
	uint32_t old = c->rcv_nxt - s->seq; /* bytes that have come before */
	size_t len;

	if (!s->len && !(s->flags & TCP_FIN))
		return;
	c->owes_ack = true;
	if (before(c->rcv_nxt, s->seq) || old > s->len || c->got_fin)
		return;
	len = MIN(s->len - old, room(c));
	if (!c->closing && len) {
		memcpy(c->in + c->in_len, s->data + old, len);
		c->in_len += len;
	}
	c->rcv_nxt += (uint32_t)len;
	if (s->flags & TCP_FIN && old + len == s->len) {
		c->got_fin = true;
		c->rcv_nxt++;
	}
	if (before(c->rcv_edge, c->rcv_nxt))
		c->rcv_edge = c->rcv_nxt;
}

/* Before the handshake's end: what may come is its third segment, or the first one again. */
static enum tcp_fate synchronize(struct tcp_conn *c, const struct tcp_segment *s)
{
	if (s->flags & TCP_SYN) {
		if (s->seq != c->irs)
			return TCP_GONE;
		c->snd_nxt = c->iss;
		return TCP_LIVES;
	}
	if (!(s->flags & TCP_ACK))
		return TCP_LIVES;
	if (s->ack != c->iss + 1 || c->snd_max == c->iss)
		return TCP_REFUSES;
	c->synced = true;
	return TCP_LIVES;
}

enum tcp_fate tcp_input(struct tcp_conn *c, const struct tcp_segment *s, uint64_t now)
{
	enum tcp_fate fate;

	if (!c->synced && s->flags & TCP_SYN)
		return s->flags & TCP_RST ? TCP_LIVES : synchronize(c, s);
	if (!acceptable(c, s)) {
		c->owes_ack |= !(s->flags & TCP_RST);
		return TCP_LIVES;
	}
	/* RFC 5961, 3.2 and 4.2: what ends a connection has to be exactly right. */
	if (s->flags & TCP_RST) {
		if (s->seq == c->rcv_nxt)
			return TCP_GONE;
		c->owes_ack = true;
		return TCP_LIVES;
	}
	if (s->flags & TCP_SYN) {
		c->owes_ack = true;
		return TCP_LIVES;
	}
	if (!c->synced) {
		fate = synchronize(c, s);
		if (!c->synced)
			return fate;
	}
	if (!(s->flags & TCP_ACK))
		return TCP_LIVES;
	if (before(c->snd_max, s->ack)) {
		c->owes_ack = true;
		return TCP_LIVES;
	}
	take_ack(c, s);
	take_data(c, s);
	rearm(c, now);
	return TCP_LIVES;
}

/* Bytes of the answer that may go now. */
static uint32_t sendable(const struct tcp_conn *c)
{
	uint32_t left = unsent(c), flight = c->snd_nxt - c->snd_una;
	uint32_t window = MIN(c->snd_wnd, c->cwnd), len;

	if (c->probe && left)
		return 1;
	len = MIN(MIN(left, c->mss), window > flight ? window - flight : 0);
	/* Small segments wait for an acknowledgement (RFC 1122, 4.2.3.4), but for the last. */
	return len < c->mss && len < left && flight ? 0 : len;
}

/* What is to be sent next: its flags, 0 for nothing, and bytes of the answer. */
static uint8_t plan(const struct tcp_conn *c, uint32_t *len)
{
	uint32_t left = unsent(c);

	*len = 0;
	if (!c->synced)
		return c->snd_nxt == c->iss ? TCP_SYN | TCP_ACK : 0;
	*len = sendable(c);
	if (*len == left && c->closing && c->snd_nxt + *len == out_end(c))
		return TCP_FIN | TCP_ACK | (*len ? TCP_PSH : 0);
	if (*len)
		return *len == left ? TCP_PSH | TCP_ACK : TCP_ACK;
	return c->owes_ack ? TCP_ACK : 0;
}

bool tcp_has_output(const struct tcp_conn *c)
{
	uint32_t len;

	return plan(c, &len);
}

bool tcp_output(struct tcp_conn *c, struct tcp_segment *s, uint64_t now)
{
	uint32_t len;
	uint8_t flags = plan(c, &len);

	if (!flags)
		return false;
	*s = (struct tcp_segment){
		.seq = c->snd_nxt, .ack = c->rcv_nxt, .window = (uint16_t)room(c), .flags = flags};
	if (len)
		s->data = c->out + (c->snd_nxt - c->out_seq);
	s->len = len;
	if (flags & TCP_SYN)
		s->mss = TCP_MSS_MAX;
	/* A window is never taken back: RFC 793, 3.7. */
	if (before(c->rcv_edge, c->rcv_nxt + s->window))
		c->rcv_edge = c->rcv_nxt + s->window;
	c->snd_nxt += len + !!(flags & (TCP_SYN | TCP_FIN));
	if (before(c->snd_max, c->snd_nxt))
		c->snd_max = c->snd_nxt;
	c->owes_ack = c->probe = false;
	rearm(c, now);
	return true;
}

enum tcp_fate tcp_timeout(struct tcp_conn *c, uint64_t now)
{
	uint32_t flight = c->snd_max - c->snd_una;

	if (++c->tries > (c->synced ? TRIES_MAX : TRIES_SYN_MAX))
		return TCP_GONE;
	c->snd_nxt = c->snd_una;
	if (!c->snd_wnd && c->synced) {
		c->probe = true;
	} else {
		c->ssthresh = MAX(flight / 2, 2 * c->mss);
		c->cwnd = c->mss;
	}
	c->timeout = MIN(c->timeout * 2, TIMEOUT_MAX);
	c->deadline = now + c->timeout;
	return TCP_LIVES;
}

void tcp_consume(struct tcp_conn *c, size_t len)
{
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
	/* The peer is told of the room once it is worth a segment: RFC 1122, 4.2.3.3. */
	if (c->rcv_edge - c->rcv_nxt < TCP_ROOM / 2 && room(c) >= TCP_ROOM / 2)
		c->owes_ack = true;
}

bool tcp_can_write(const struct tcp_conn *c)
{
	return c->synced && !c->closing && !c->out_len;
}

void tcp_write(struct tcp_conn *c, uint8_t *data, size_t len, uint64_t now)
{
	c->out = data;
	c->out_len = len;
	rearm(c, now); /* the peer's window may be closed */
}

void tcp_close(struct tcp_conn *c)
{
	c->closing = true;
	c->in_len = 0;
}

bool tcp_is_over(const struct tcp_conn *c)
{
	return c->got_fin && c->fin_acked && !c->owes_ack;
}
