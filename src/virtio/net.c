/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	queue 0  receive 1     driver's empty buffers -> filled with frames
 *	queue 1  transmit 1    driver's frames -> host/netif
 *	...
 *	queue 2 x pairs        control
 *
 * Receiving is driven by the host's interface, on the I/O thread: frames are taken from
 * it as long as the driver has buffers. Once there are none, the device asks to be
 * notified of new ones and leaves the interface alone until then: no frame is lost
 * here, and nothing turns in circles. Transmitting is driven by the driver's
 * notification, on whatever thread that comes; where the host takes no more, the frame
 * stays in hand until it does.
 *
 * The header that a driver puts before a frame is the host kernel's own format, so
 * that with an interface that has headers a frame goes out as it is; so it is known to
 * be no more than a wish, which the host's kernel judges. Where an interface has none
 * (passt), its frames are marked as having a right checksum, since they never were on
 * a wire, and checksums that the driver left undone are done here (net_checksum.c).
 *
 * Source: virtio 1.2, 5.1.
 */
#include "virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/net_int.h"

#define QUEUE_SIZE 256u

/* What the driver may leave undone; and may be left undone for it. */
static const struct {
	unsigned netif;
	uint64_t host, guest;
} offloads[] = {
	{NETIF_CSUM, NET_F_CSUM, NET_F_GUEST_CSUM},
	{NETIF_TSO4, NET_F_HOST_TSO4, NET_F_GUEST_TSO4},
	{NETIF_TSO6, NET_F_HOST_TSO6, NET_F_GUEST_TSO6},
	{NETIF_ECN, NET_F_HOST_ECN, NET_F_GUEST_ECN},
	{NETIF_UFO, NET_F_HOST_UFO, NET_F_GUEST_UFO},
	{NETIF_USO4, NET_F_HOST_USO, NET_F_GUEST_USO4},
	{NETIF_USO6, NET_F_HOST_USO, NET_F_GUEST_USO6},
};

void net_set_offloads(struct virtio_net *n, uint64_t features)
{
	unsigned netif = 0;

	n->offloads = features;
	for (unsigned i = 0; i < ARRAY_LEN(offloads); i++)
		if (features & offloads[i].guest)
			netif |= offloads[i].netif;
	/* A combination that cannot be (segments without checksums) leaves nothing undone. */
	if (netif_offload(n->netif, netif) && netif)
		netif_offload(n->netif, 0);
}

void net_count(struct virtio_net *n, uint64_t *frames, uint64_t *bytes, uint64_t len)
{
	++*frames;
	*bytes += len;
	if (n->stream)
		net_stream_count(n->stream, len);
}

bool net_use_pairs(struct virtio_net *n, unsigned pairs)
{
	if (netif_use(n->netif, pairs))
		return false;
	n->used_pairs = pairs;
	for (unsigned i = 0; i < pairs; i++)
		netif_resume(n->netif, i);
	return true;
}

static uint64_t guest_offloads(const struct virtio_net *n)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < ARRAY_LEN(offloads); i++)
		all |= offloads[i].guest;
	return all & n->device.accepted;
}

static void started(struct virtio_device *d)
{
	struct virtio_net *n = net_of(d);

	if (n->used_pairs) { /* one of its queues was started again */
		for (unsigned i = 0; i < n->used_pairs; i++)
			netif_resume(n->netif, i);
		return;
	}
	n->filter.by_vlan = virtio_has(d, NET_F_CTRL_VLAN);
	net_set_offloads(n, guest_offloads(n));
	net_use_pairs(n, 1);
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_net *n = net_of(d);
	bool control = queue == net_control_queue(n) && virtio_has(d, NET_F_CTRL_VQ);

	n->counts.rx_notifications += !control && !(queue & 1);
	n->counts.tx_notifications += !control && queue & 1;
	if (control)
		net_control(n);
	else if (queue / 2 >= n->used_pairs)
		return; /* the driver has not said that it uses it */
	else if (queue & 1)
		net_transmit(n, queue / 2);
	else
		netif_resume(n->netif, queue / 2);
}

static void stop_queue(struct virtio_net *n, unsigned queue)
{
	if (queue / 2 >= n->pairs)
		return;
	if (queue & 1)
		n->pair[queue / 2].tx.held = n->pair[queue / 2].tx.paid = false;
	else
		net_rx_stop(&n->pair[queue / 2].rx);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_net *n = net_of(d);

	if (queue != VIRTIO_QUEUES_MAX) {
		stop_queue(n, queue);
		return;
	}
	for (unsigned i = 0; i < n->pairs * 2; i++)
		stop_queue(n, i);
	n->used_pairs = 0;
	limiter_cancel(&n->rx_limit);
	limiter_cancel(&n->tx_limit);
	netif_reset(n->netif);
	net_filter_reset(&n->filter);
	memcpy(n->config + NET_CONFIG_MAC, n->mac, sizeof(n->mac));
	n->config[NET_CONFIG_STATUS] &= ~NET_ANNOUNCE;
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_net, "received", counts.received),
	VIRTIO_STAT(struct virtio_net, "received_bytes", counts.received_bytes),
	VIRTIO_STAT(struct virtio_net, "sent", counts.sent),
	VIRTIO_STAT(struct virtio_net, "sent_bytes", counts.sent_bytes),
	VIRTIO_STAT(struct virtio_net, "filtered", counts.filtered),
	VIRTIO_STAT(struct virtio_net, "dropped", counts.dropped),
	VIRTIO_STAT(struct virtio_net, "lost", counts.lost),
	VIRTIO_STAT(struct virtio_net, "malformed", counts.malformed),
	VIRTIO_STAT(struct virtio_net, "no_buffer", counts.no_buffer),
	VIRTIO_STAT(struct virtio_net, "rx_notifications", counts.rx_notifications),
	VIRTIO_STAT(struct virtio_net, "tx_notifications", counts.tx_notifications),
	VIRTIO_STAT(struct virtio_net, "rx_throttled", rx_limit.refused),
	VIRTIO_STAT(struct virtio_net, "tx_throttled", tx_limit.refused),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.started = started,
	.notified = notified,
	.stopped = stopped,
	.stats = stats,
};

static bool on_readable(void *opaque, unsigned queue)
{
	struct virtio_net *n = opaque;
	bool more;

	pthread_mutex_lock(&n->device.lock);
	more = net_receive(n, queue);
	pthread_mutex_unlock(&n->device.lock);
	return more;
}

static void on_writable(void *opaque, unsigned queue)
{
	struct virtio_net *n = opaque;

	pthread_mutex_lock(&n->device.lock);
	if (!netif_flush(n->netif, queue) && queue < n->used_pairs) {
		virtio_begin_turn(&n->device);
		net_transmit(n, queue);
	}
	pthread_mutex_unlock(&n->device.lock);
}

/* The link goes down. What the driver still sends is lost, as on a cable that was pulled. */
static void on_gone(void *opaque, const char *why)
{
	struct virtio_net *n = opaque;

	pthread_mutex_lock(&n->device.lock);
	n->config[NET_CONFIG_STATUS] &= ~NET_LINK_UP;
	virtio_config_changed(&n->device);
	virtio_begin_turn(&n->device);
	for (unsigned i = 0; i < n->used_pairs; i++)
		net_transmit(n, i);
	if (n->gone)
		n->gone(n->opaque, why);
	pthread_mutex_unlock(&n->device.lock);
}

/* What waited for a limit goes on. The thread of the clock's timers. */
static void on_rx_ready(void *opaque)
{
	struct virtio_net *n = opaque;

	pthread_mutex_lock(&n->device.lock);
	for (unsigned i = 0; i < n->used_pairs; i++)
		netif_resume(n->netif, i);
	pthread_mutex_unlock(&n->device.lock);
}

static void on_tx_ready(void *opaque)
{
	struct virtio_net *n = opaque;

	pthread_mutex_lock(&n->device.lock);
	virtio_begin_turn(&n->device);
	for (unsigned i = 0; i < n->used_pairs; i++)
		net_transmit(n, i);
	pthread_mutex_unlock(&n->device.lock);
}

void virtio_net_limit(struct virtio_net *n, enum virtio_net_way way,
		      const struct limiter_bucket *bytes, const struct limiter_bucket *frames)
{
	limiter_set(way == VIRTIO_NET_RX ? &n->rx_limit : &n->tx_limit, bytes, frames);
}

static uint64_t features_of(const struct virtio_net *n, unsigned mtu)
{
	uint64_t features = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ |
			    NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_VLAN |
			    NET_F_CTRL_MAC_ADDR | NET_F_GUEST_ANNOUNCE;

	if (mtu)
		features |= NET_F_MTU;
	if (n->pairs > 1)
		features |= NET_F_MQ;
	if (!n->netif->header)
		return features | NET_F_CSUM | NET_F_GUEST_CSUM;
	for (unsigned i = 0; i < ARRAY_LEN(offloads); i++) {
		if (n->netif->sends & offloads[i].netif)
			features |= offloads[i].host;
		if (n->netif->receives & offloads[i].netif)
			features |= offloads[i].guest;
	}
	return features | (n->netif->receives ? NET_F_CTRL_GUEST_OFFLOADS : 0);
}

static void fill_config(struct virtio_net *n, unsigned mtu)
{
	memcpy(n->config + NET_CONFIG_MAC, n->mac, sizeof(n->mac));
	store_le(n->config + NET_CONFIG_STATUS, 2, NET_LINK_UP);
	store_le(n->config + NET_CONFIG_PAIRS, 2, n->pairs);
	store_le(n->config + NET_CONFIG_MTU, 2, mtu);
}

struct virtio_net *virtio_net_new(struct mem *mem, const struct virtio_net_config *config,
				  struct err *e)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	const struct netif_user user = {on_readable, on_writable, on_gone, n};
	struct virtio_kind kind = {
		.ops = &ops,
		.config_len = NET_CONFIG_SIZE,
		.queue_size = QUEUE_SIZE,
	};

	if (n) {
		n->pairs = MIN(config->netif->queues, VIRTIO_NET_PAIRS_MAX);
		n->pair = calloc(n->pairs, sizeof(*n->pair));
	}
	if (!n || !n->pair) {
		free(n);
		err_errno(e, ENOMEM, "cannot make virtio-net");
		return NULL;
	}
	n->netif = config->netif;
	n->stream = config->stream;
	n->gone = config->gone;
	n->opaque = config->opaque;
	memcpy(n->mac, config->mac, sizeof(n->mac));
	fill_config(n, config->mtu);
	net_filter_reset(&n->filter);
	limiter_init(&n->rx_limit, config->clock, on_rx_ready, n);
	limiter_init(&n->tx_limit, config->clock, on_tx_ready, n);
	if (config->clock) {
		limiter_set(&n->rx_limit, &config->rx.bandwidth, &config->rx.ops);
		limiter_set(&n->tx_limit, &config->tx.bandwidth, &config->tx.ops);
	}
	kind.config = n->config;
	kind.features = features_of(n, config->mtu);
	kind.queue_count = n->pairs * 2 + 1;
	virtio_device_init(&n->device, mem, &kind);
	netif_connect(n->netif, &user);
	return n;
}

void virtio_net_free(struct virtio_net *n)
{
	virtio_device_release(&n->device);
	free(n->pair);
	free(n);
}

struct virtio_device *virtio_net_device(struct virtio_net *n)
{
	return &n->device;
}

void virtio_net_announce(struct virtio_net *n)
{
	if (!virtio_has(&n->device, NET_F_GUEST_ANNOUNCE))
		return;
	n->config[NET_CONFIG_STATUS] |= NET_ANNOUNCE;
	virtio_config_changed(&n->device);
}

struct virtio_net_counts virtio_net_counts(const struct virtio_net *n)
{
	return n->counts;
}
