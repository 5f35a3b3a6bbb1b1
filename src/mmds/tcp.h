/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection of a server that is asked and answers: what the peer sends is collected in a
 * small buffer, one answer at a time goes out, and a timer exists only while something of it was
 * not acknowledged. Segments in, segments out: addresses, checksums and frames are others'.
 *
 * What it can do without it does without: no window scale, no selective acknowledgements, no
 * time stamps; what comes out of order is not kept; there is no TIME-WAIT, since a stray segment of
 * an old connection has nowhere to come from.
 *
 * Source: RFC 793 (9293), RFC 1122 4.2, RFC 5681 3.1, RFC 5961 3 and 4, RFC 6298.
 *
 * One user at a time. Times are ns of the caller's clock.
 */
#ifndef LODGE_MMDS_TCP_H
#define LODGE_MMDS_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u

#define TCP_ROOM    4096u /* bytes that wait for being read: the receive window */
#define TCP_MSS_MAX 1460u /* of a segment that is sent */

/* What of a segment a connection looks at, host byte order. */
struct tcp_segment {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	uint16_t mss; /* the option of a SYN; 0: none */
	const uint8_t *data;
	size_t len;
};

struct tcp_conn {
	/* receiving */
	uint32_t irs, rcv_nxt;
	uint32_t rcv_edge; /* the end of the window that the peer was told */
	bool got_fin, owes_ack;
	size_t in_len;
	/* sending: SYN at iss, out from out_seq on, FIN behind it if closing */
	uint32_t iss, snd_una, snd_nxt, snd_max, snd_wnd, wl1, wl2;
	uint32_t mss, cwnd, ssthresh;
	bool synced; /* our SYN was acknowledged */
	bool closing, fin_acked;
	bool probe; /* a byte is to be sent into a closed window */
	uint32_t out_seq;
	uint8_t *out;
	size_t out_len;
	/* time */
	unsigned tries;
	uint64_t deadline; /* 0: nothing is waited for */
	uint64_t timeout;
	uint8_t in[TCP_ROOM];
};

enum tcp_fate {
	TCP_LIVES,
	TCP_GONE,    /* over: to be released */
	TCP_REFUSES, /* lives, but the segment is to be answered by a reset */
};

/* Begins with a SYN that came; iss is random. */
void tcp_open(struct tcp_conn *c, const struct tcp_segment *syn, uint32_t iss);
void tcp_release(struct tcp_conn *c);

/* Takes a segment that came. */
enum tcp_fate tcp_input(struct tcp_conn *c, const struct tcp_segment *s, uint64_t now);

/* Whether there is something to be sent now; and the next of it, whose data lives until the next
 * call. False: nothing. */
bool tcp_has_output(const struct tcp_conn *c);
bool tcp_output(struct tcp_conn *c, struct tcp_segment *s, uint64_t now);

/* The deadline has come: TCP_GONE, the peer is given up. */
enum tcp_fate tcp_timeout(struct tcp_conn *c, uint64_t now);

/* What has come is at c->in, c->in_len; takes the first len bytes off it. */
void tcp_consume(struct tcp_conn *c, size_t len);

/* Whether an answer can be given; and gives one, malloc'ed, taken over. Once closed, nothing more
 * is sent, and what comes is dropped. */
bool tcp_can_write(const struct tcp_conn *c);
void tcp_write(struct tcp_conn *c, uint8_t *data, size_t len, uint64_t now);
void tcp_close(struct tcp_conn *c);

/* Both ends have closed, and know it. */
bool tcp_is_over(const struct tcp_conn *c);

#endif
