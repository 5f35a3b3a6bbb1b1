/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a guest sends to the metadata service, what it takes of what it is sent, and
 * time. Whatever it is, the service lives, its frames are whole and to the guest, none of what is
 * for it goes to the host, and after a reset it has nothing to say and waits for nothing.
 *
 *	steps x (struct step | step.len bytes)
 *
 * Sequence numbers of STEP_SEGMENT count from those that the connection is at, since no input would
 * guess a random number of 32 bits.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bits.h"
#include "core/clock.h"
#include "host/netif.h"
#include "mmds/mmds.h"
#include "mmds/packet.h"
#include "mmds/service.h"
#include "mmds/store.h"

#define PORTS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind {
	STEP_FRAME,   /* the bytes, as they are */
	STEP_SEGMENT, /* a segment with the bytes */
	STEP_TAKE,
	STEP_TIME, /* in ms */
	STEP_KINDS
};

struct step {
	uint8_t kind; /* modulo STEP_KINDS; bit 7: its checksum is left undone */
	uint8_t flags;
	uint8_t port; /* modulo PORTS */
	int8_t seq, ack;
	uint8_t window; /* log2 */
	uint16_t len;   /* of the bytes; ms */
};

static const uint8_t address[4] = {169, 254, 169, 254}, guest_ip[4] = {10, 0, 0, 2};
static const uint8_t service_mac[6] = {2, 'l', 'o', 'd', 'g', 'e'};

/* What the guest's side of each connection is at. */
static struct {
	uint32_t seq, ack;
} ports[PORTS];

static struct netif netifs[2]; /* without headers, and with them */
static struct mmds *services[2];
static struct clock guest;

static int send_frame(struct netif *n, unsigned queue, const struct netif_span *spans,
		      unsigned count)
{
	size_t offset = n->header ? NETIF_HEADER_SIZE : 0;

	(void)queue;
	assert(count == 1 && packet_aim((const uint8_t *)spans[0].base + offset,
					spans[0].len - offset, address) == PACKET_OTHER);
	return 0;
}

static int receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	(void)n;
	(void)queue;
	(void)frame;
	(void)len;
	return -EAGAIN;
}

static bool staged(struct netif *n, unsigned queue)
{
	(void)n;
	(void)queue;
	return false;
}

static const struct netif_ops ops = {.send = send_frame, .receive = receive, .staged = staged};

static void make_all(void)
{
	static const char json[] = "{\"a\":{\"b\":\"text\",\"n\":[1,2]},\"c\":\"words\"}";
	struct mmds_store *store = mmds_store_new(1000);
	struct event_loop *loop = event_loop_new(NULL);

	clock_init_manual(&guest);
	if (mmds_store_put(store, json, strlen(json), NULL))
		abort();
	for (unsigned i = 0; i < 2; i++) {
		struct mmds_config config = {.netif = &netifs[i], .clock = &guest};
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		netifs[i] = (struct netif){.ops = &ops, .loop = loop, .queues = 1, .header = i};
		if (netif_open_ports(&netifs[i], &fd, NULL))
			abort();
		config.service = mmds_service_new(store, i, false);
		memcpy(config.address, address, sizeof(address));
		services[i] = mmds_new(&config, NULL);
	}
}

/* In a block of its own size, so that what is read beyond it is seen. */
static void send(struct netif *n, const uint8_t *frame, size_t len, bool partial)
{
	size_t offset = n->header ? NETIF_HEADER_SIZE : 0;
	struct netif_span span = {calloc(1, offset + len + 1), offset + len};

	memcpy((uint8_t *)span.base + offset, frame, len);
	if (offset)
		*(uint8_t *)span.base = partial;
	if (span.len > offset)
		netif_send(n, 0, &span, 1);
	free(span.base);
}

static void send_segment(struct netif *n, const struct step *s, const uint8_t *data)
{
	static uint8_t frame[PACKET_IN_MAX + TCP_MSS_MAX];
	const struct packet_self self = {(const uint8_t *)"\x52guest", guest_ip,
					 (uint16_t)(1000 + s->port % PORTS)};
	struct packet_peer peer = {.port = 80};
	struct tcp_segment t = {
		.seq = ports[s->port % PORTS].seq + (uint32_t)s->seq,
		.ack = ports[s->port % PORTS].ack + (uint32_t)s->ack,
		.window = (uint16_t)(BIT(s->window % 17) - 1),
		.flags = s->flags & 0x1f,
		.mss = s->flags & TCP_SYN ? s->len : 0,
		.data = data,
		.len = MIN(s->len, TCP_MSS_MAX),
	};

	memcpy(peer.mac, service_mac, sizeof(peer.mac));
	memcpy(peer.ip, address, sizeof(peer.ip));
	send(n, frame, packet_make_tcp(frame, &self, &peer, &t), s->kind & 0x80);
	if (!s->seq)
		ports[s->port % PORTS].seq += (uint32_t)t.len + !!(t.flags & (TCP_SYN | TCP_FIN));
}

/* What comes is whole, and what it says is remembered. */
static void take(struct netif *n)
{
	size_t offset = n->header ? NETIF_HEADER_SIZE : 0, len;
	struct packet_peer peer;
	struct tcp_segment s;
	const uint8_t *frame;

	if (netif_receive(n, 0, &frame, &len))
		return;
	assert(len >= offset + 42 && len <= offset + PACKET_OUT_MAX);
	if (frame[offset + 13] == 0 &&
	    packet_parse_tcp(frame + offset, len - offset, guest_ip, false, &peer, &s)) {
		unsigned port = (peer.to - 1000u) % PORTS;

		if (!(s.flags & TCP_RST))
			ports[port].ack = s.seq + (uint32_t)s.len +
					  !!(s.flags & (TCP_SYN | TCP_FIN));
		if (s.flags & TCP_SYN)
			ports[port].seq = s.ack;
	} else if (frame[offset + 13] == 0) {
		assert(memcmp(frame + offset + 30, guest_ip, 4) !=
		       0); /* a guest of another address */
	}
	netif_received(n, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netif *n;
	struct step s;

	if (!services[0])
		make_all();
	if (!size)
		return -1;
	n = &netifs[*data & 1];
	data++;
	size--;
	memset(ports, 0, sizeof(ports));
	while (size >= sizeof(s)) {
		size_t len;

		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		size -= sizeof(s);
		s.len %= 2048;
		len = s.kind % STEP_KINDS < STEP_TAKE ? MIN(s.len, size) : 0;
		switch ((s.kind & 0x7f) % STEP_KINDS) {
		case STEP_FRAME:
			send(n, data, len, s.kind & 0x80);
			break;
		case STEP_SEGMENT:
			s.len = (uint16_t)len;
			send_segment(n, &s, data);
			break;
		case STEP_TAKE:
			take(n);
			break;
		case STEP_TIME:
			clock_advance(&guest, s.len * 1000000ull);
			break;
		}
		data += len;
		size -= len;
	}
	netif_reset(n);
	assert(!guest.first && !n->aside.waiting(n->aside.opaque));
	return 0;
}
