/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the network device share: not for others. */
#ifndef LODGE_VIRTIO_NET_INT_H
#define LODGE_VIRTIO_NET_INT_H

#include "base/bits.h"
#include "virtio/net.h"
#include "virtio/net_filter.h"
#include "virtio/net_stream.h"

/* Features, 5.1.3. */
#define NET_F_CSUM                BIT(0)
#define NET_F_GUEST_CSUM          BIT(1)
#define NET_F_CTRL_GUEST_OFFLOADS BIT(2)
#define NET_F_MTU                 BIT(3)
#define NET_F_MAC                 BIT(5)
#define NET_F_GUEST_TSO4          BIT(7)
#define NET_F_GUEST_TSO6          BIT(8)
#define NET_F_GUEST_ECN           BIT(9)
#define NET_F_GUEST_UFO           BIT(10)
#define NET_F_HOST_TSO4           BIT(11)
#define NET_F_HOST_TSO6           BIT(12)
#define NET_F_HOST_ECN            BIT(13)
#define NET_F_HOST_UFO            BIT(14)
#define NET_F_MRG_RXBUF           BIT(15)
#define NET_F_STATUS              BIT(16)
#define NET_F_CTRL_VQ             BIT(17)
#define NET_F_CTRL_RX             BIT(18)
#define NET_F_CTRL_VLAN           BIT(19)
#define NET_F_CTRL_RX_EXTRA       BIT(20)
#define NET_F_GUEST_ANNOUNCE      BIT(21)
#define NET_F_MQ                  BIT(22)
#define NET_F_CTRL_MAC_ADDR       BIT(23)
#define NET_F_GUEST_USO4          BIT(54)
#define NET_F_GUEST_USO6          BIT(55)
#define NET_F_HOST_USO            BIT(56)

/* struct virtio_net_config, 5.1.4. */
#define NET_CONFIG_MAC    0
#define NET_CONFIG_STATUS 6
#define NET_CONFIG_PAIRS  8
#define NET_CONFIG_MTU    10
#define NET_CONFIG_SIZE   12

#define NET_LINK_UP  1u
#define NET_ANNOUNCE 2u

/* struct virtio_net_hdr, 5.1.6. */
#define NET_HEADER_SIZE      12u
#define NET_HDR_FLAGS        0
#define NET_HDR_GSO_TYPE     1
#define NET_HDR_CSUM_START   6
#define NET_HDR_CSUM_OFFSET  8
#define NET_HDR_BUFFERS      10
#define NET_HDR_F_NEEDS_CSUM 1u
#define NET_HDR_F_DATA_VALID 2u
#define NET_GSO_NONE         0u
#define NET_GSO_TCPV4        1u
#define NET_GSO_UDP          3u
#define NET_GSO_TCPV6        4u
#define NET_GSO_UDP_L4       5u
#define NET_GSO_ECN          0x80u

/* The receiving half of a pair: a frame on its way into the driver's buffers. */
struct net_rx {
	struct virtq_chain first, next;
	bool spare;     /* first was taken, and nothing is in it yet */
	bool paid;      /* the limiter has let the frame pass */
	unsigned count; /* buffers that have some of the frame */
	uint64_t done;  /* bytes of header and frame that are in them */
	struct virtq_ticket tickets[VIRTQ_SIZE_MAX];
};

/* The sending half. */
struct net_tx {
	struct virtq_chain chain;
	bool held; /* chain was taken, and its frame is not sent yet */
	bool paid; /* the limiter has let it pass */
};

struct net_pair {
	struct net_rx rx;
	struct net_tx tx;
};

struct virtio_net {
	struct virtio_device device;
	struct netif *netif;
	void (*gone)(void *opaque, const char *why);
	void *opaque;
	uint8_t config[NET_CONFIG_SIZE];
	uint8_t mac[VIRTIO_NET_MAC_LEN]; /* as it was made: what a reset brings back */
	unsigned pairs;                  /* that it has */
	unsigned used_pairs;             /* that the driver uses; 0: not started */
	uint64_t offloads;               /* what may be left undone in received frames: features */
	struct net_filter filter;
	struct limiter rx_limit, tx_limit;
	struct net_stream *stream; /* NULL: nobody counts */
	struct virtio_net_counts counts;
	struct net_pair *pair;
};

static inline struct virtio_net *net_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_net, device);
}

static inline unsigned net_rx_queue(unsigned pair)
{
	return pair * 2;
}

static inline unsigned net_tx_queue(unsigned pair)
{
	return pair * 2 + 1;
}

/* 5.1.2: where the driver has not accepted several pairs, the control queue follows the first. */
static inline unsigned net_control_queue(const struct virtio_net *n)
{
	return virtio_has(&n->device, NET_F_MQ) ? n->pairs * 2 : 2;
}

/* net_rx.c: hands frames that came to the driver. True: there may be more, and room for them. The
 * lock is held; I/O thread. */
bool net_receive(struct virtio_net *n, unsigned pair);

/* Forgets what is on its way. */
void net_rx_stop(struct net_rx *rx);

/* net_tx.c: sends what the driver has put into the pair's queue. */
void net_transmit(struct virtio_net *n, unsigned pair);

/* net_control.c: serves the control queue. */
void net_control(struct virtio_net *n);

/* net.c: a frame of so many bytes has passed, in that direction. */
void net_count(struct virtio_net *n, uint64_t *frames, uint64_t *bytes, uint64_t len);

/* net.c: GUEST_* features that are to hold from now on; how many pairs are used. */
void net_set_offloads(struct virtio_net *n, uint64_t features);
bool net_use_pairs(struct virtio_net *n, unsigned pairs);

#endif
