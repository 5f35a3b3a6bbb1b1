/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the metadata service: Ethernet with ARP, or with IPv4 and TCP, taken apart and put
 * together. Pure. What is taken apart is the guest's: each length is held against the frame's.
 *
 * Source: RFC 826, RFC 791, RFC 793, RFC 1071.
 */
#ifndef LODGE_MMDS_PACKET_H
#define LODGE_MMDS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmds/tcp.h"

#define PACKET_MAC 6u
#define PACKET_IP  4u

/* Bytes by which packet_aim knows where a frame goes. */
#define PACKET_HEAD 42u

/* The longest frame that is looked at: all a window's bytes in one, with the longest headers. */
#define PACKET_IN_MAX (14u + 60u + 60u + TCP_ROOM)

/* The longest that is made: a SYN has an option, but no data. */
#define PACKET_OUT_MAX (14u + 20u + 20u + TCP_MSS_MAX)

enum packet_kind { PACKET_OTHER, PACKET_ARP, PACKET_IPV4 };

/* Whether a frame, of which the first len bytes are given, is for an address. */
enum packet_kind packet_aim(const uint8_t *head, size_t len, const uint8_t *address);

/* The other end, as frames name it. */
struct packet_peer {
	uint8_t mac[PACKET_MAC], ip[PACKET_IP];
	uint16_t port;
	uint16_t to; /* the port of ours that it means */
};

/* Whether a frame is a question of ARP after the address, which whoever asks does not claim for
 * himself; peer is who asks, without ports. */
bool packet_parse_arp(const uint8_t *frame, size_t len, const uint8_t *address,
		      struct packet_peer *peer);

/* Whether a frame is a whole segment of TCP to the address. partial: its checksum was left undone,
 * as between a guest and its device it may be. */
bool packet_parse_tcp(const uint8_t *frame, size_t len, const uint8_t *address, bool partial,
		      struct packet_peer *peer, struct tcp_segment *s);

/* Our own end. */
struct packet_self {
	const uint8_t *mac, *ip;
	uint16_t port;
};

/* Makes a frame for the peer: an answer of ARP, a segment of TCP. frame has PACKET_OUT_MAX bytes;
 * how many it is. */
size_t packet_make_arp(uint8_t *frame, const struct packet_self *self,
		       const struct packet_peer *peer);
size_t packet_make_tcp(uint8_t *frame, const struct packet_self *self,
		       const struct packet_peer *peer, const struct tcp_segment *s);

#endif
