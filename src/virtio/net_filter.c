/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/net_filter.h"

#include <string.h>

#include "base/bits.h"

#define MAC_LEN      6u
#define TYPE_AT      12u
#define TAG_AT       14u
#define TAGGED_LEN   16u
#define TYPE_VLAN_HI 0x81u

void net_filter_reset(struct net_filter *f)
{
	memset(f, 0, sizeof(*f));
	f->promiscuous = true;
}

static bool listed(const struct net_macs *macs, const uint8_t *mac)
{
	if (macs->all)
		return true;
	for (unsigned i = 0; i < macs->count; i++)
		if (!memcmp(macs->mac[i], mac, MAC_LEN))
			return true;
	return false;
}

static bool vlan_passes(const struct net_filter *f, const uint8_t *frame, size_t len)
{
	unsigned vlan;

	if (!f->by_vlan || len < TAGGED_LEN || frame[TYPE_AT] != TYPE_VLAN_HI || frame[TYPE_AT + 1])
		return true;
	vlan = (frame[TAG_AT] << 8 | frame[TAG_AT + 1]) % NET_FILTER_VLANS;
	return f->vlans[vlan / 64] & BIT(vlan % 64);
}

bool net_filter_passes(const struct net_filter *f, const uint8_t *mac, const uint8_t *frame,
		       size_t len)
{
	static const uint8_t broadcast[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (f->promiscuous)
		return true;
	if (len < MAC_LEN || !vlan_passes(f, frame, len))
		return false;
	if (!memcmp(frame, broadcast, MAC_LEN))
		return !f->no_broadcast;
	if (frame[0] & 1)
		return !f->no_multicast && (f->all_multicast || listed(&f->multicast, frame));
	return !f->no_unicast &&
	       (f->all_unicast || !memcmp(frame, mac, MAC_LEN) || listed(&f->unicast, frame));
}
