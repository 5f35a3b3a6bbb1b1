/* SPDX-License-Identifier: Apache-2.0 */
#include "mmds/packet.h"

#include <string.h>

#include "base/bits.h"

#define ETH_SIZE 14u
#define ARP_SIZE 28u
#define IP_SIZE  20u
#define TCP_SIZE 20u
#define MSS_SIZE 4u

#define TYPE_IPV4 0x0800u
#define TYPE_ARP  0x0806u
#define PROTO_TCP 6u

#define ARP_REQUEST 1u
#define ARP_REPLY   2u

#define IP_MORE_OR_OFFSET 0x3fffu /* of a fragment */
#define IP_DONT_FRAGMENT  0x4000u
#define IP_TTL            64u

#define OPTION_END 0u
#define OPTION_NOP 1u
#define OPTION_MSS 2u

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static void store16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void store32(uint8_t *p, uint32_t v)
{
	store16(p, v >> 16);
	store16(p + 2, v & 0xffff);
}

/* Adds len bytes as words to a sum that is not folded; the last is filled up by zero. Below 2^32
 * for frames. */
static uint32_t add(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += load16(at + i);
	return len & 1 ? sum + ((uint32_t)at[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The checksum of a segment behind its header of IP: 0 where it is right. */
static uint16_t tcp_sum(const uint8_t *ip, const uint8_t *tcp, size_t len)
{
	return fold(add(add(PROTO_TCP + (uint32_t)len, ip + 12, 2 * PACKET_IP), tcp, len));
}

enum packet_kind packet_aim(const uint8_t *head, size_t len, const uint8_t *address)
{
	unsigned type = len >= ETH_SIZE + IP_SIZE ? load16(head + 12) : 0;

	if (type == TYPE_IPV4 && !memcmp(head + ETH_SIZE + 16, address, PACKET_IP))
		return PACKET_IPV4;
	if (type == TYPE_ARP && len >= ETH_SIZE + ARP_SIZE &&
	    !memcmp(head + ETH_SIZE + 24, address, PACKET_IP))
		return PACKET_ARP;
	return PACKET_OTHER;
}

bool packet_parse_arp(const uint8_t *frame, size_t len, const uint8_t *address,
		      struct packet_peer *peer)
{
	static const uint8_t ethernet_ipv4_request[] = {0, 1, 8, 0, 6, 4, 0, ARP_REQUEST};
	const uint8_t *arp = frame + ETH_SIZE;

	if (packet_aim(frame, len, address) != PACKET_ARP ||
	    memcmp(arp, ethernet_ipv4_request, sizeof(ethernet_ipv4_request)) != 0 ||
	    !memcmp(arp + 14, address, PACKET_IP))
		return false;
	memcpy(peer->mac, arp + 8, PACKET_MAC);
	memcpy(peer->ip, arp + 14, PACKET_IP);
	peer->port = peer->to = 0;
	return true;
}

/* The MSS option among those of a header; 0: there is none. */
static uint16_t find_mss(const uint8_t *at, size_t len)
{
	while (len && *at != OPTION_END) {
		size_t own = *at == OPTION_NOP ? 1 : len > 1 ? at[1] : 0;

		if (!own || own > len || (own == 1 && *at != OPTION_NOP))
			return 0;
		if (*at == OPTION_MSS && own == MSS_SIZE)
			return load16(at + 2);
		at += own;
		len -= own;
	}
	return 0;
}

static bool parse_segment(const uint8_t *tcp, size_t len, struct tcp_segment *s)
{
	size_t head = len >= TCP_SIZE ? (size_t)(tcp[12] >> 4) * 4 : 0;

	if (head < TCP_SIZE || head > len)
		return false;
	*s = (struct tcp_segment){
		.seq = load32(tcp + 4),
		.ack = load32(tcp + 8),
		.window = load16(tcp + 14),
		.flags = tcp[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK),
		.mss = find_mss(tcp + TCP_SIZE, head - TCP_SIZE),
		.data = tcp + head,
		.len = len - head,
	};
	return true;
}

bool packet_parse_tcp(const uint8_t *frame, size_t len, const uint8_t *address, bool partial,
		      struct packet_peer *peer, struct tcp_segment *s)
{
	const uint8_t *ip = frame + ETH_SIZE, *tcp;
	size_t head, total;

	if (packet_aim(frame, len, address) != PACKET_IPV4 || ip[0] >> 4 != 4)
		return false;
	head = (size_t)(ip[0] & 15) * 4;
	total = load16(ip + 2);
	/* A frame may be longer than its packet: short ones are filled up. */
	if (head < IP_SIZE || total < head || total > len - ETH_SIZE || ip[9] != PROTO_TCP ||
	    load16(ip + 6) & IP_MORE_OR_OFFSET || fold(add(0, ip, head)))
		return false;
	tcp = ip + head;
	if (!parse_segment(tcp, total - head, s) || (!partial && tcp_sum(ip, tcp, total - head)))
		return false;
	memcpy(peer->mac, frame + PACKET_MAC, PACKET_MAC);
	memcpy(peer->ip, ip + 12, PACKET_IP);
	peer->port = load16(tcp);
	peer->to = load16(tcp + 2);
	return true;
}

static uint8_t *make_ethernet(uint8_t *frame, const struct packet_self *self,
			      const struct packet_peer *peer, unsigned type)
{
	memcpy(frame, peer->mac, PACKET_MAC);
	memcpy(frame + PACKET_MAC, self->mac, PACKET_MAC);
	store16(frame + 12, type);
	return frame + ETH_SIZE;
}

size_t packet_make_arp(uint8_t *frame, const struct packet_self *self,
		       const struct packet_peer *peer)
{
	static const uint8_t ethernet_ipv4_reply[] = {0, 1, 8, 0, 6, 4, 0, ARP_REPLY};
	uint8_t *arp = make_ethernet(frame, self, peer, TYPE_ARP);

	memcpy(arp, ethernet_ipv4_reply, sizeof(ethernet_ipv4_reply));
	memcpy(arp + 8, self->mac, PACKET_MAC);
	memcpy(arp + 14, self->ip, PACKET_IP);
	memcpy(arp + 18, peer->mac, PACKET_MAC);
	memcpy(arp + 24, peer->ip, PACKET_IP);
	return ETH_SIZE + ARP_SIZE;
}

size_t packet_make_tcp(uint8_t *frame, const struct packet_self *self,
		       const struct packet_peer *peer, const struct tcp_segment *s)
{
	uint8_t *ip = make_ethernet(frame, self, peer, TYPE_IPV4), *tcp = ip + IP_SIZE;
	size_t head = TCP_SIZE + (s->mss ? MSS_SIZE : 0), len = head + s->len;

	memset(ip, 0, IP_SIZE + head);
	ip[0] = 0x45;
	store16(ip + 2, (unsigned)(IP_SIZE + len));
	store16(ip + 6, IP_DONT_FRAGMENT);
	ip[8] = IP_TTL;
	ip[9] = PROTO_TCP;
	memcpy(ip + 12, self->ip, PACKET_IP);
	memcpy(ip + 16, peer->ip, PACKET_IP);
	store16(ip + 10, fold(add(0, ip, IP_SIZE)));
	store16(tcp, self->port);
	store16(tcp + 2, peer->port);
	store32(tcp + 4, s->seq);
	store32(tcp + 8, s->ack);
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = s->flags;
	store16(tcp + 14, s->window);
	if (s->mss) {
		tcp[20] = OPTION_MSS;
		tcp[21] = MSS_SIZE;
		store16(tcp + 22, s->mss);
	}
	if (s->len)
		memcpy(tcp + head, s->data, s->len);
	store16(tcp + 16, tcp_sum(ip, tcp, len));
	return ETH_SIZE + IP_SIZE + len;
}
