/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device (virtio 1.2, 5.1) on an interface that the test plays: frames that it says
 * have come, and those that it was sent.
 */
#ifndef LODGE_TESTS_UNIT_VIRTIO_NET_RIG_H
#define LODGE_TESTS_UNIT_VIRTIO_NET_RIG_H

#include "transport_rig.h"
#include "virtio/net.h"
#include "virtio/net_stream.h"

#define NRIG_PAIRS  3
#define NRIG_FRAMES 8
#define NRIG_QUEUES (2 * NRIG_PAIRS + 1)
#define NRIG_DATA   0x300000u

/* Features, 5.1.3. */
#define F_CSUM           BIT(0)
#define F_GUEST_CSUM     BIT(1)
#define F_GUEST_OFFLOADS BIT(2)
#define F_MTU            BIT(3)
#define F_MAC            BIT(5)
#define F_GUEST_TSO4     BIT(7)
#define F_HOST_TSO4      BIT(11)
#define F_MRG_RXBUF      BIT(15)
#define F_STATUS         BIT(16)
#define F_CTRL_VQ        BIT(17)
#define F_CTRL_RX        BIT(18)
#define F_CTRL_VLAN      BIT(19)
#define F_CTRL_RX_EXTRA  BIT(20)
#define F_GUEST_ANNOUNCE BIT(21)
#define F_MQ             BIT(22)
#define F_CTRL_MAC_ADDR  BIT(23)

/* An interface of the test's. */
struct nrig_netif {
	struct netif netif;
	int fds[NRIG_PAIRS];
	struct {
		unsigned count; /* that have come and were not received */
		size_t len[NRIG_FRAMES];
		uint8_t frame[NRIG_FRAMES][4096];
	} in[NRIG_PAIRS];
	int refuse; /* what send gives; 0: it takes the frame */
	unsigned sent;
	unsigned sent_pair; /* of the last */
	size_t sent_len;
	uint8_t sent_frame[NETIF_FRAME_MAX + NETIF_HEADER_SIZE];
	unsigned offloads, used;
	const char *gone;
};

struct net_rig {
	struct transport_rig v;
	struct nrig_netif fake;
	struct virtio_net *net;
	struct clock clock;
	struct net_stream stream;
	struct driver queue[NRIG_QUEUES];
	struct limiter_config tx; /* for make */
};

extern const uint8_t nrig_mac[6];

/* Makes the device; header: the interface has headers, and offloads. Not started. */
void nrig_make(struct net_rig *r, bool header, unsigned pairs);
void nrig_release(struct net_rig *r);

/* A driver's way to DRIVER_OK with these features, each queue of so many descriptors. */
void nrig_start(struct net_rig *r, uint64_t features, unsigned size);

/* A frame has come for the pair. */
void nrig_came(struct net_rig *r, unsigned pair, const void *frame, size_t len);

/* What the I/O thread does: true, it was asked to look for frames, or had not been told to leave
 * the pair alone. */
bool nrig_turn(struct net_rig *r, unsigned pair);

/* The driver gives the queue a buffer, and notifies. */
int nrig_give(struct net_rig *r, unsigned queue, uint64_t gpa, uint32_t len, bool write);

/* Has a command carried out; what the device answered, or -1: nothing. */
int nrig_command(struct net_rig *r, unsigned queue, const void *bytes, size_t len);

/* Guest memory. */
uint8_t *nrig_at(struct net_rig *r, uint64_t gpa);

#endif
