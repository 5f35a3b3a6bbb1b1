/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue: a chain is a command: class, command and data to be read, and one
 * byte that says whether it was carried out. A command is understood whole before it
 * changes anything.
 *
 * Source: virtio 1.2, 5.1.6.5.
 */
#include <string.h>

#include "virtio/net_int.h"

#define HEAD_SIZE 2u /* class and command */
#define MAC_LEN   VIRTIO_NET_MAC_LEN

enum { ACK_OK = 0, ACK_ERROR = 1 };

struct command {
	struct virtio_net *net;
	const struct virtq_chain *chain;
	uint64_t len; /* of the data */
};

/* A number of the data; the data is known to have it. */
static uint64_t number(const struct command *c, uint64_t offset, unsigned size)
{
	uint8_t bytes[8] = {0};

	virtq_chain_read(c->chain, HEAD_SIZE + offset, bytes, size);
	return load_le(bytes, size);
}

static bool set_switch(struct command *c, bool *what)
{
	if (c->len != 1)
		return false;
	*what = number(c, 0, 1);
	return true;
}

static bool set_promiscuous(struct command *c)
{
	return set_switch(c, &c->net->filter.promiscuous);
}

static bool set_all_multicast(struct command *c)
{
	return set_switch(c, &c->net->filter.all_multicast);
}

static bool set_all_unicast(struct command *c)
{
	return set_switch(c, &c->net->filter.all_unicast);
}

static bool set_no_multicast(struct command *c)
{
	return set_switch(c, &c->net->filter.no_multicast);
}

static bool set_no_unicast(struct command *c)
{
	return set_switch(c, &c->net->filter.no_unicast);
}

static bool set_no_broadcast(struct command *c)
{
	return set_switch(c, &c->net->filter.no_broadcast);
}

/* Reads the table at offset, its number of entries first; where it ends, or 0: it does not fit. */
static uint64_t read_table(const struct command *c, uint64_t offset, struct net_macs *macs)
{
	uint64_t count, end;

	memset(macs, 0, sizeof(*macs));
	if (c->len < offset || c->len - offset < 4)
		return 0;
	count = number(c, offset, 4); /* below 2^32, so that nothing overflows */
	end = offset + 4 + count * MAC_LEN;
	if (end > c->len)
		return 0;
	macs->all = count > NET_FILTER_MACS;
	macs->count = macs->all ? 0 : (unsigned)count;
	virtq_chain_read(c->chain, HEAD_SIZE + offset + 4, macs->mac, macs->count * MAC_LEN);
	return end;
}

static bool set_macs(struct command *c)
{
	struct net_macs unicast, multicast;
	uint64_t end = read_table(c, 0, &unicast);

	if (!end || read_table(c, end, &multicast) != c->len)
		return false;
	c->net->filter.unicast = unicast;
	c->net->filter.multicast = multicast;
	return true;
}

static bool set_mac(struct command *c)
{
	if (c->len != MAC_LEN)
		return false;
	virtq_chain_read(c->chain, HEAD_SIZE, c->net->config + NET_CONFIG_MAC, MAC_LEN);
	return true;
}

static bool set_vlan(struct command *c, bool on)
{
	uint64_t vlan = c->len == 2 ? number(c, 0, 2) : NET_FILTER_VLANS;
	uint64_t *vlans = c->net->filter.vlans;

	if (vlan >= NET_FILTER_VLANS)
		return false;
	if (on)
		vlans[vlan / 64] |= BIT(vlan % 64);
	else
		vlans[vlan / 64] &= ~BIT(vlan % 64);
	return true;
}

static bool add_vlan(struct command *c)
{
	return set_vlan(c, true);
}

static bool remove_vlan(struct command *c)
{
	return set_vlan(c, false);
}

static bool announced(struct command *c)
{
	if (c->len)
		return false;
	c->net->config[NET_CONFIG_STATUS] &= ~NET_ANNOUNCE;
	return true;
}

static bool set_pairs(struct command *c)
{
	uint64_t pairs = c->len == 2 ? number(c, 0, 2) : 0;

	return pairs && pairs <= c->net->pairs && net_use_pairs(c->net, (unsigned)pairs);
}

static bool set_offloads(struct command *c)
{
	const uint64_t all = NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 |
			     NET_F_GUEST_ECN | NET_F_GUEST_UFO | NET_F_GUEST_USO4 |
			     NET_F_GUEST_USO6;
	uint64_t offloads;

	if (c->len != 8)
		return false;
	offloads = number(c, 0, 8);
	if (offloads & ~(all & c->net->device.accepted))
		return false;
	net_set_offloads(c->net, offloads);
	return true;
}

static const struct {
	uint8_t class, command;
	uint64_t feature;
	bool (*act)(struct command *c);
} commands[] = {
	{0, 0, NET_F_CTRL_RX, set_promiscuous},
	{0, 1, NET_F_CTRL_RX, set_all_multicast},
	{0, 2, NET_F_CTRL_RX_EXTRA, set_all_unicast},
	{0, 3, NET_F_CTRL_RX_EXTRA, set_no_multicast},
	{0, 4, NET_F_CTRL_RX_EXTRA, set_no_unicast},
	{0, 5, NET_F_CTRL_RX_EXTRA, set_no_broadcast},
	{1, 0, NET_F_CTRL_RX, set_macs},
	{1, 1, NET_F_CTRL_MAC_ADDR, set_mac},
	{2, 0, NET_F_CTRL_VLAN, add_vlan},
	{2, 1, NET_F_CTRL_VLAN, remove_vlan},
	{3, 0, NET_F_GUEST_ANNOUNCE, announced},
	{4, 0, NET_F_MQ, set_pairs},
	{5, 0, NET_F_CTRL_GUEST_OFFLOADS, set_offloads},
};

static bool carry_out(struct virtio_net *n, const struct virtq_chain *chain)
{
	struct command c = {n, chain, chain->readable_len - HEAD_SIZE};
	uint8_t head[HEAD_SIZE];

	virtq_chain_read(chain, 0, head, sizeof(head));
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].class == head[0] && commands[i].command == head[1])
			return virtio_has(&n->device, commands[i].feature) && commands[i].act(&c);
	return false;
}

void net_control(struct virtio_net *n)
{
	struct virtio_device *d = &n->device;
	unsigned queue = net_control_queue(n);

	while (virtio_take(d, queue, &d->chain)) {
		uint8_t ack;

		if (d->chain.readable_len < HEAD_SIZE || !d->chain.writable_len) {
			virtio_need_reset(d);
			break;
		}
		ack = carry_out(n, &d->chain) ? ACK_OK : ACK_ERROR;
		virtq_chain_write(&d->queues[queue].ring, &d->chain, 0, &ack, 1);
		virtio_put(d, queue, &d->chain, 1);
	}
	virtio_finish(d, queue);
}
