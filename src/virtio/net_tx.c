/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame is sent from where it lies in guest RAM. Only for an interface without
 * headers that is sent a frame with its checksum left to do is the frame's beginning
 * copied, where the checksum is then filled in: what a driver gives to be read is not
 * written to.
 */
#include <errno.h>

#include "virtio/net_checksum.h"
#include "virtio/net_int.h"

#define ETHERNET_SIZE 14u

/* The spans of a chain's readable part from offset on; how many. */
static unsigned slice(struct netif_span *spans, const struct virtq_chain *chain, uint64_t offset)
{
	unsigned n = 0;

	for (unsigned i = 0; i < chain->readable; i++) {
		const struct virtq_segment *s = &chain->segments[i];

		if (offset >= s->len) {
			offset -= s->len;
			continue;
		}
		spans[n++] = (struct netif_span){s->host + offset, s->len - offset};
		offset = 0;
	}
	return n;
}

/* To an interface that knows no headers. */
static int send_bare(struct virtio_net *n, unsigned pair, const struct virtq_chain *chain)
{
	struct netif_span spans[NETIF_SPANS_MAX];
	uint8_t header[NET_HEADER_SIZE], head[NET_CHECKSUM_HEAD];
	size_t len = MIN(chain->readable_len - NET_HEADER_SIZE, sizeof(head));
	unsigned count;

	virtq_chain_read(chain, 0, header, sizeof(header));
	if (!(header[NET_HDR_FLAGS] & NET_HDR_F_NEEDS_CSUM)) {
		count = slice(spans, chain, NET_HEADER_SIZE);
		return netif_send(n->netif, pair, spans, count);
	}
	virtq_chain_read(chain, NET_HEADER_SIZE, head, len);
	spans[0] = (struct netif_span){head, len};
	count = 1 + slice(spans + 1, chain, NET_HEADER_SIZE + len);
	if (!net_checksum_finish(spans, count, load_le(header + NET_HDR_CSUM_START, 2),
				 load_le(header + NET_HDR_CSUM_OFFSET, 2)))
		return -EINVAL;
	return netif_send(n->netif, pair, spans, count);
}

static int send_frame(struct virtio_net *n, unsigned pair, const struct virtq_chain *chain)
{
	struct netif_span spans[NETIF_SPANS_MAX];
	unsigned count;

	if (chain->readable_len < NET_HEADER_SIZE + ETHERNET_SIZE ||
	    chain->readable_len > NET_HEADER_SIZE + NETIF_FRAME_MAX) {
		n->counts.malformed++;
		return -EINVAL;
	}
	if (!n->netif->header)
		return send_bare(n, pair, chain);
	count = slice(spans, chain, 0);
	return netif_send(n->netif, pair, spans, count);
}

static bool next_frame(struct virtio_net *n, unsigned pair)
{
	struct net_tx *tx = &n->pair[pair].tx;

	if (tx->held)
		return true;
	if (!virtio_take(&n->device, net_tx_queue(pair), &tx->chain))
		return false;
	if (tx->chain.writable)
		virtio_need_reset(&n->device);
	return !tx->chain.writable;
}

/* Whether the limiter lets the frame in hand pass; else it calls when it does. */
static bool may_send(struct virtio_net *n, struct net_tx *tx)
{
	uint64_t len = tx->chain.readable_len;

	if (!tx->paid)
		tx->paid = limiter_take(&n->tx_limit, len - MIN(len, NET_HEADER_SIZE));
	return tx->paid;
}

void net_transmit(struct virtio_net *n, unsigned pair)
{
	unsigned queue = net_tx_queue(pair);
	struct net_tx *tx = &n->pair[pair].tx;

	while (next_frame(n, pair)) {
		int rc;

		tx->held = true;
		if (!may_send(n, tx))
			break;
		rc = send_frame(n, pair, &tx->chain);
		if (rc == -EAGAIN)
			break;
		tx->held = false;
		tx->paid = false;
		if (rc)
			n->counts.lost++;
		else
			net_count(n, &n->counts.sent, &n->counts.sent_bytes,
				  tx->chain.readable_len - NET_HEADER_SIZE);
		virtio_put(&n->device, queue, &tx->chain, 0);
	}
	virtio_finish(&n->device, queue);
}
