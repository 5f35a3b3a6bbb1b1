/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	takes   a frame of the guest's -> connection -> answer of the service
 *	next    what is to be said now -> a frame, made when the guest has room for one
 *
 * Nothing is queued as frames: what there is to say is in the connections, and a few
 * notes for what has none (answers of ARP, resets). So a guest that takes nothing costs
 * no memory, and the interface's own back-pressure is all there is. A note that has no
 * room is lost, as frames may be.
 *
 * There are CONNECTIONS at most. A new one takes the place of the one not heard of for
 * longest among those that wait for the guest's next request; if all are busy, it is
 * refused.
 *
 * Lock order: the network device, this, the service; the clock's is innermost. The timer
 * is set while a connection has a deadline, and not otherwise.
 */
#include "mmds/mmds.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/clock.h"
#include "host/netif.h"
#include "host/random.h"
#include "mmds/counts.h"
#include "mmds/http.h"
#include "mmds/packet.h"
#include "mmds/service.h"
#include "mmds/tcp.h"

#define CONNECTIONS 16u
#define NOTES       16u
#define PORT        80u

#define HEADER_FLAGS      0 /* of the header before a frame, NETIF_HEADER_SIZE */
#define HEADER_NEEDS_CSUM 1u

static const uint8_t mac[PACKET_MAC] = {0x02, 'l', 'o', 'd', 'g', 'e'};

struct connection {
	struct tcp_conn *tcp; /* NULL: there is none */
	struct packet_peer peer;
	uint64_t heard;
	uint64_t skip; /* bytes of a body that nobody wants */
};

/* What is to be said once, of no connection. */
struct note {
	struct packet_peer peer;
	bool arp;
	struct tcp_segment reset;
};

struct mmds {
	pthread_mutex_t lock;
	struct netif *netif;
	struct clock *clock;
	struct clock_timer timer;
	struct mmds_service *service;
	struct mmds_counts *counts; /* the service's */
	uint8_t address[PACKET_IP];
	uint64_t armed; /* the timer's; 0: it is not */
	struct connection connections[CONNECTIONS];
	unsigned turn; /* the connection that sends next */
	struct note notes[NOTES];
	unsigned note_first, note_count;
	uint8_t in[PACKET_IN_MAX];
	uint8_t out[NETIF_HEADER_SIZE + PACKET_OUT_MAX];
};

static void end(struct mmds *m, struct connection *c)
{
	if (c->tcp) {
		tcp_release(c->tcp);
		mmds_count(&m->counts->closed, 1);
	}
	free(c->tcp);
	c->tcp = NULL;
	c->skip = 0;
}

static void arm(struct mmds *m)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		const struct tcp_conn *tcp = m->connections[i].tcp;

		if (tcp && tcp->deadline && (!first || tcp->deadline < first))
			first = tcp->deadline;
	}
	if (first == m->armed)
		return;
	m->armed = first;
	if (first)
		clock_timer_set(m->clock, &m->timer, first);
	else
		clock_timer_cancel(m->clock, &m->timer);
}

static void note(struct mmds *m, const struct note *what)
{
	if (m->note_count < NOTES)
		m->notes[(m->note_first + m->note_count++) % NOTES] = *what;
}

/* RFC 793, 3.4: the reset that answers a segment. */
static void refuse(struct mmds *m, const struct packet_peer *peer, const struct tcp_segment *s)
{
	struct note n = {.peer = *peer};
	uint32_t len = (uint32_t)s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);

	if (s->flags & TCP_RST)
		return;
	if (s->flags & TCP_ACK)
		n.reset = (struct tcp_segment){.seq = s->ack, .flags = TCP_RST};
	else
		n.reset = (struct tcp_segment){.ack = s->seq + len, .flags = TCP_RST | TCP_ACK};
	note(m, &n);
}

/* Ends a connection that the guest has to hear of. */
static void cut_off(struct mmds *m, struct connection *c)
{
	const struct note n = {
		.peer = c->peer,
		.reset = {.seq = c->tcp->snd_max,
			  .ack = c->tcp->rcv_nxt,
			  .flags = TCP_RST | TCP_ACK},
	};

	note(m, &n);
	end(m, c);
}

/* Answers what has come whole, if the answer before it was taken. */
static void serve(struct mmds *m, struct connection *c, uint64_t now)
{
	struct tcp_conn *tcp = c->tcp;
	struct mmds_after after;
	struct buf out = BUF_INIT;
	size_t skip, head;

	if (!tcp_can_write(tcp))
		return;
	skip = MIN(c->skip, tcp->in_len);
	c->skip -= skip;
	/* An empty line before a request is none: RFC 9112, 2.2. */
	while (!c->skip && skip < tcp->in_len && (tcp->in[skip] == '\r' || tcp->in[skip] == '\n'))
		skip++;
	tcp_consume(tcp, skip);
	head = http_head_len(tcp->in, tcp->in_len);
	if (!head && tcp->in_len < TCP_ROOM) {
		if (tcp->got_fin)
			tcp_close(tcp);
		return;
	}
	after = head ? mmds_service_answer(m->service, tcp->in, head, now, &out)
		     : mmds_service_refuse(m->service, &out);
	if (buf_failed(&out)) {
		buf_release(&out);
		cut_off(m, c);
		return;
	}
	tcp_consume(tcp, head);
	c->skip = after.skip;
	tcp_write(tcp, out.data, out.len, now);
	if (after.close)
		tcp_close(tcp);
}

static struct connection *find(struct mmds *m, const struct packet_peer *peer)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (c->tcp && c->peer.port == peer->port &&
		    !memcmp(c->peer.ip, peer->ip, sizeof(peer->ip)))
			return c;
	}
	return NULL;
}

/* A place for a new connection; NULL: all are busy. */
static struct connection *find_place(struct mmds *m)
{
	struct connection *oldest = NULL;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (!c->tcp)
			return c;
		if ((!c->tcp->synced || !c->tcp->deadline) && (!oldest || c->heard < oldest->heard))
			oldest = c;
	}
	if (oldest)
		cut_off(m, oldest);
	return oldest;
}

static void connect_to(struct mmds *m, const struct packet_peer *peer, const struct tcp_segment *s,
		       uint64_t now)
{
	struct connection *c = find_place(m);
	uint32_t iss;

	if (c)
		c->tcp = malloc(sizeof(*c->tcp));
	if (!c || !c->tcp) {
		refuse(m, peer, s);
		return;
	}
	host_random(&iss, sizeof(iss));
	tcp_open(c->tcp, s, iss);
	mmds_count(&m->counts->connections, 1);
	c->peer = *peer;
	c->heard = now;
}

static void take_segment(struct mmds *m, const struct packet_peer *peer,
			 const struct tcp_segment *s)
{
	uint64_t now = clock_now(m->clock);
	struct connection *c = peer->to == PORT ? find(m, peer) : NULL;
	uint8_t first = s->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);

	if (!c && peer->to == PORT && first == TCP_SYN) {
		connect_to(m, peer, s, now);
		return;
	}
	if (!c) {
		refuse(m, peer, s);
		return;
	}
	c->heard = now;
	memcpy(c->peer.mac, peer->mac, sizeof(peer->mac));
	switch (tcp_input(c->tcp, s, now)) {
	case TCP_LIVES:
		serve(m, c, now);
		if (c->tcp && tcp_is_over(c->tcp))
			end(m, c);
		break;
	case TCP_GONE:
		end(m, c);
		break;
	case TCP_REFUSES:
		refuse(m, peer, s);
		break;
	}
}

static bool has_output(const struct mmds *m)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (m->connections[i].tcp && tcp_has_output(m->connections[i].tcp))
			return true;
	return m->note_count;
}

/* Copies up to max bytes of the spans, from offset on; how many. What is copied is then looked at:
 * the guest may be writing to what was there. */
static size_t gather(uint8_t *to, size_t max, const struct netif_span *spans, unsigned count,
		     size_t offset)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < max; i++) {
		size_t skip = MIN(offset, spans[i].len), len = MIN(spans[i].len - skip, max - done);

		memcpy(to + done, (const uint8_t *)spans[i].base + skip, len);
		offset -= skip;
		done += len;
	}
	return done;
}

static void take_frame(struct mmds *m, const struct netif_span *spans, unsigned count, bool partial)
{
	size_t offset = m->netif->header ? NETIF_HEADER_SIZE : 0;
	size_t len = gather(m->in, sizeof(m->in), spans, count, offset);
	struct note answer = {.arp = true};
	struct tcp_segment s;

	if (packet_parse_arp(m->in, len, m->address, &answer.peer))
		note(m, &answer);
	else if (packet_parse_tcp(m->in, len, m->address, partial, &answer.peer, &s))
		take_segment(m, &answer.peer, &s);
	else
		mmds_count(&m->counts->unusual, 1);
	mmds_count(&m->counts->frames, 1);
}

static bool takes(void *opaque, const struct netif_span *spans, unsigned count)
{
	struct mmds *m = opaque;
	size_t offset = m->netif->header ? NETIF_HEADER_SIZE : 0, len;
	uint8_t head[NETIF_HEADER_SIZE + PACKET_HEAD];
	bool output, partial;

	len = gather(head, offset + PACKET_HEAD, spans, count, 0);
	if (len < offset || packet_aim(head + offset, len - offset, m->address) == PACKET_OTHER)
		return false;
	partial = offset && head[HEADER_FLAGS] & HEADER_NEEDS_CSUM;
	pthread_mutex_lock(&m->lock);
	take_frame(m, spans, count, partial);
	arm(m);
	output = has_output(m);
	pthread_mutex_unlock(&m->lock);
	if (output)
		netif_resume(m->netif, 0);
	return true;
}

/* Makes the frame of a note or of a connection's next segment; its length, 0 for none. */
static size_t make_frame(struct mmds *m, uint8_t *frame)
{
	struct packet_self self = {mac, m->address, PORT};
	struct tcp_segment s;

	if (m->note_count) {
		const struct note *n = &m->notes[m->note_first];

		m->note_first = (m->note_first + 1) % NOTES;
		m->note_count--;
		self.port = n->peer.to;
		return n->arp ? packet_make_arp(frame, &self, &n->peer)
			      : packet_make_tcp(frame, &self, &n->peer, &n->reset);
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &m->connections[(m->turn + i) % CONNECTIONS];
		size_t len;

		if (!c->tcp || !tcp_output(c->tcp, &s, clock_now(m->clock)))
			continue;
		len = packet_make_tcp(frame, &self, &c->peer, &s);
		if (tcp_is_over(c->tcp))
			end(m, c);
		m->turn = (m->turn + i + 1) % CONNECTIONS;
		return len;
	}
	return 0;
}

static bool next(void *opaque, const uint8_t **frame, size_t *len)
{
	struct mmds *m = opaque;
	size_t offset = m->netif->header ? NETIF_HEADER_SIZE : 0;

	pthread_mutex_lock(&m->lock);
	memset(m->out, 0, NETIF_HEADER_SIZE); /* nothing is left undone */
	*frame = m->out;
	*len = make_frame(m, m->out + offset);
	arm(m);
	pthread_mutex_unlock(&m->lock);
	if (!*len)
		return false;
	mmds_count(&m->counts->sent, 1);
	mmds_count(&m->counts->sent_bytes, *len);
	*len += offset;
	return true;
}

static bool waiting(void *opaque)
{
	struct mmds *m = opaque;
	bool output;

	pthread_mutex_lock(&m->lock);
	output = has_output(m);
	pthread_mutex_unlock(&m->lock);
	return output;
}

static void forget(struct mmds *m)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		end(m, &m->connections[i]);
	m->note_count = 0;
}

static void reset(void *opaque)
{
	struct mmds *m = opaque;

	pthread_mutex_lock(&m->lock);
	forget(m);
	arm(m);
	pthread_mutex_unlock(&m->lock);
}

static void on_timer(void *opaque)
{
	struct mmds *m = opaque;
	bool output;
	uint64_t now;

	pthread_mutex_lock(&m->lock);
	m->armed = 0;
	now = clock_now(m->clock);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (c->tcp && c->tcp->deadline && c->tcp->deadline <= now &&
		    tcp_timeout(c->tcp, now) == TCP_GONE)
			cut_off(m, c);
	}
	arm(m);
	output = has_output(m);
	pthread_mutex_unlock(&m->lock);
	if (output)
		netif_resume(m->netif, 0);
}

struct mmds *mmds_new(const struct mmds_config *config, struct err *e)
{
	struct mmds *m = calloc(1, sizeof(*m));
	const struct netif_aside aside = {takes, next, waiting, reset, m};

	if (!m) {
		err_errno(e, ENOMEM, "cannot make the metadata service");
		return NULL;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->netif = config->netif;
	m->clock = config->clock;
	m->service = config->service;
	m->counts = mmds_service_counts(m->service);
	m->timer = (struct clock_timer){.fired = on_timer, .opaque = m};
	memcpy(m->address, config->address, sizeof(m->address));
	netif_attach(m->netif, &aside);
	return m;
}

void mmds_free(struct mmds *m)
{
	if (!m)
		return;
	clock_timer_cancel(m->clock, &m->timer);
	forget(m);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
