/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device, on a network interface of the host's.
 *
 * Source: virtio 1.2, 5.1 "Network Device".
 *
 * With mergeable receive buffers, checksum and segmentation offloads as the interface
 * has them, several pairs of queues, and the control queue: receive modes and filters,
 * VLANs, MAC address, announcement, pairs of queues, offloads.
 */
#ifndef LODGE_VIRTIO_NET_H
#define LODGE_VIRTIO_NET_H

#include "host/netif.h"
#include "virtio/device.h"
#include "virtio/limiter.h"

#define VIRTIO_NET_MAC_LEN 6

/* Pairs of queues that a device can have, beside its control queue. */
#define VIRTIO_NET_PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)

struct net_stream;
struct virtio_net;

struct virtio_net_config {
	struct netif *netif; /* the caller's; outlives the device */
	uint8_t mac[VIRTIO_NET_MAC_LEN];
	unsigned mtu;                 /* 0: the driver's default */
	struct clock *clock;          /* what the limits are counted by; NULL: there are none */
	struct limiter_config rx, tx; /* of what comes, of what the driver sends; frames' bytes */
	struct net_stream *stream; /* optional: what passes is counted there; outlives the device */
	/* optional: told that the interface is gone, why, once; I/O thread, the device's lock
	 * held. */
	void (*gone)(void *opaque, const char *why);
	void *opaque;
};

/* What it has not passed on, and why. */
struct virtio_net_counts {
	uint64_t received, sent; /* frames that it has */
	uint64_t filtered;       /* that came, and the driver does not want */
	uint64_t dropped;        /* that came, and do not fit the driver's buffers or features */
	uint64_t lost;           /* that the host's interface did not take, or are malformed */
	uint64_t malformed;      /* of the driver's, that are no frames */
	uint64_t received_bytes, sent_bytes;
	uint64_t rx_notifications, tx_notifications;
	uint64_t no_buffer; /* how often a frame had to wait for the driver's buffers */
};

/* Makes a device, as many pairs of queues as the interface has, up to VIRTIO_NET_PAIRS_MAX; NULL
 * with e set. Before vCPUs run. */
struct virtio_net *virtio_net_new(struct mem *mem, const struct virtio_net_config *config,
				  struct err *e);

/* No thread uses it any more. */
void virtio_net_free(struct virtio_net *n);

struct virtio_device *virtio_net_device(struct virtio_net *n);

/* Changes the limits of what comes or is sent, see limiter_set. The device's lock is held. */
enum virtio_net_way { VIRTIO_NET_RX, VIRTIO_NET_TX };
void virtio_net_limit(struct virtio_net *n, enum virtio_net_way way,
		      const struct limiter_bucket *bytes, const struct limiter_bucket *frames);

/* Has the driver announce its addresses to the network, if it can: the machine is at another place
 * now. The device's lock is held. */
void virtio_net_announce(struct virtio_net *n);

/* The device's lock is held. */
struct virtio_net_counts virtio_net_counts(const struct virtio_net *n);

#endif
