/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame goes into one buffer of the driver's; or, with mergeable buffers, into as
 * many as it needs, whose number stands in the first one's header, and which the
 * driver sees all at once. When buffers run out in the middle, those that have some
 * of the frame stay in hand until there are more.
 *
 * Filters, and what a frame may leave undone, are looked at when a frame is begun.
 */
#include <string.h>

#include "virtio/net_int.h"

/* Frames in one go: others are waiting for this thread. */
#define FRAMES_MAX 64u

/* A frame that came: its header for the driver, and its bytes. */
struct frame {
	uint8_t header[NET_HEADER_SIZE];
	const uint8_t *data;
	size_t len;
};

void net_rx_stop(struct net_rx *rx)
{
	rx->spare = false;
	rx->paid = false;
	rx->count = 0;
	rx->done = 0;
}

/* Whether the driver takes frames with so much left to do. */
static bool header_fits(const struct virtio_net *n, uint8_t *header)
{
	static const struct {
		uint8_t type;
		uint64_t features;
	} types[] = {
		{NET_GSO_TCPV4, NET_F_GUEST_TSO4},
		{NET_GSO_UDP, NET_F_GUEST_UFO},
		{NET_GSO_TCPV6, NET_F_GUEST_TSO6},
		{NET_GSO_UDP_L4, NET_F_GUEST_USO4 | NET_F_GUEST_USO6},
	};
	unsigned type = header[NET_HDR_GSO_TYPE] & ~NET_GSO_ECN;
	bool checksum = n->offloads & NET_F_GUEST_CSUM;

	if (header[NET_HDR_FLAGS] & NET_HDR_F_NEEDS_CSUM && !checksum)
		return false;
	if (!checksum)
		header[NET_HDR_FLAGS] &= (uint8_t)~NET_HDR_F_DATA_VALID;
	if (header[NET_HDR_GSO_TYPE] & NET_GSO_ECN && !(n->offloads & NET_F_GUEST_ECN))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].type == type)
			return n->offloads & types[i].features;
	return type == NET_GSO_NONE;
}

/* Takes the header off a frame, or makes one; false: it is none for this driver. */
static bool open_frame(const struct virtio_net *n, struct frame *f)
{
	memset(f->header, 0, sizeof(f->header));
	if (!n->netif->header) {
		if (n->offloads & NET_F_GUEST_CSUM)
			f->header[NET_HDR_FLAGS] = NET_HDR_F_DATA_VALID;
		return true;
	}
	if (f->len < NET_HEADER_SIZE)
		return false;
	memcpy(f->header, f->data, NET_HEADER_SIZE);
	f->data += NET_HEADER_SIZE;
	f->len -= NET_HEADER_SIZE;
	return header_fits(n, f->header);
}

/* The next buffer for the frame: false: there is none now. */
static bool next_buffer(struct virtio_net *n, unsigned pair, struct virtq_chain **chain)
{
	struct net_rx *rx = &n->pair[pair].rx;
	struct virtq_chain *c = *chain = rx->count ? &rx->next : &rx->first;

	if (rx->spare) {
		rx->spare = false;
		return true;
	}
	if (!virtio_take(&n->device, net_rx_queue(pair), c))
		return false;
	/* 5.1.6.3: the driver gives writable ones; a first one has room for the header. */
	if (c->readable || c->writable_len < (rx->count ? 1 : NET_HEADER_SIZE)) {
		virtio_need_reset(&n->device);
		return false;
	}
	return true;
}

/* Puts len bytes of header and frame, from rx->done on, into a buffer that has room for them. */
static void fill(struct virtio_net *n, unsigned pair, struct virtq_chain *chain,
		 const struct frame *f, uint32_t len)
{
	struct virtq *ring = &n->device.queues[net_rx_queue(pair)].ring;
	struct net_rx *rx = &n->pair[pair].rx;
	uint32_t head = rx->done ? 0 : NET_HEADER_SIZE;

	if (head)
		virtq_chain_write(ring, chain, 0, f->header, head);
	virtq_chain_write(ring, chain, head, f->data + (rx->done + head - NET_HEADER_SIZE),
			  len - head);
	rx->tickets[rx->count++] = virtq_ticket(chain, len);
	rx->done += len;
}

/* Gives the driver what was filled. */
static void hand_over(struct virtio_net *n, unsigned pair)
{
	unsigned queue = net_rx_queue(pair);
	struct net_rx *rx = &n->pair[pair].rx;
	uint8_t count[2];

	store_le(count, sizeof(count), rx->count);
	virtq_chain_write(&n->device.queues[queue].ring, &rx->first, NET_HDR_BUFFERS, count,
			  sizeof(count));
	virtio_put_together(&n->device, queue, rx->tickets, rx->count);
	net_rx_stop(rx);
}

/* Puts a frame into buffers; false: there are not enough now. */
static bool deliver(struct virtio_net *n, unsigned pair, const struct frame *f)
{
	unsigned size = n->device.queues[net_rx_queue(pair)].ring.size;
	struct net_rx *rx = &n->pair[pair].rx;
	uint64_t total = NET_HEADER_SIZE + f->len;
	struct virtq_chain *chain;

	while (rx->done < total) {
		uint32_t len;

		/* More than all its buffers together: the frame is cut, which its receiver sees. */
		if (rx->count && rx->count == size)
			break;
		if (!next_buffer(n, pair, &chain)) {
			n->counts.no_buffer++;
			return false;
		}
		len = (uint32_t)MIN(chain->writable_len, total - rx->done);
		if (len < total - rx->done && !virtio_has(&n->device, NET_F_MRG_RXBUF)) {
			rx->spare = true;
			n->counts.dropped++;
			return true;
		}
		fill(n, pair, chain, f, len);
	}
	hand_over(n, pair);
	net_count(n, &n->counts.received, &n->counts.received_bytes, f->len);
	return true;
}

/* Delivers a frame, unless it is not wanted; false: not now. */
static bool handle(struct virtio_net *n, unsigned pair, struct frame *f)
{
	bool begun = n->pair[pair].rx.done;

	if (!open_frame(n, f) && !begun) {
		n->counts.dropped++;
		return true;
	}
	if (!begun && !net_filter_passes(&n->filter, n->config + NET_CONFIG_MAC, f->data, f->len)) {
		n->counts.filtered++;
		return true;
	}
	if (!n->pair[pair].rx.paid && !limiter_take(&n->rx_limit, f->len))
		return false;
	n->pair[pair].rx.paid = true;
	if (!deliver(n, pair, f))
		return false;
	n->pair[pair].rx.paid = false;
	return true;
}

bool net_receive(struct virtio_net *n, unsigned pair)
{
	struct frame f;
	bool room = true;

	if (pair >= n->used_pairs)
		return false;
	virtio_begin_turn(&n->device);
	for (unsigned i = 0; room && i < FRAMES_MAX; i++) {
		if (netif_receive(n->netif, pair, &f.data, &f.len))
			break;
		room = handle(n, pair, &f);
		if (room)
			netif_received(n->netif, pair);
	}
	virtio_finish(&n->device, net_rx_queue(pair));
	return room;
}
