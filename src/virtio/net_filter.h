/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames a driver wants: by destination and VLAN.
 *
 * Source: virtio 1.2, 5.1.6.5.1 to 5.1.6.5.3. Pure: nothing is asked of anyone.
 */
#ifndef LODGE_VIRTIO_NET_FILTER_H
#define LODGE_VIRTIO_NET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_FILTER_MACS  64 /* of each of the two tables; with more in one, all of that kind pass */
#define NET_FILTER_VLANS 4096

/* A table of addresses. */
struct net_macs {
	bool all; /* more than there are places for */
	unsigned count;
	uint8_t mac[NET_FILTER_MACS][6];
};

struct net_filter {
	bool promiscuous;
	bool all_unicast, all_multicast;
	bool no_unicast, no_multicast, no_broadcast;
	bool by_vlan; /* tagged frames pass by vlans alone */
	struct net_macs unicast, multicast;
	uint64_t vlans[NET_FILTER_VLANS / 64];
};

/* As before a driver has said anything: every frame passes. */
void net_filter_reset(struct net_filter *f);

/* Whether a frame is for the driver, whose own address is mac. */
bool net_filter_passes(const struct net_filter *f, const uint8_t *mac, const uint8_t *frame,
		       size_t len);

#endif
