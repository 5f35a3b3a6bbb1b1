/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device (virtio 1.2, 5.10) on a portal that the test plays: what its lines have
 * received and what they have to say.
 */
#ifndef LODGE_TESTS_UNIT_VIRTIO_VSOCK_RIG_H
#define LODGE_TESTS_UNIT_VIRTIO_VSOCK_RIG_H

#include "transport_rig.h"
#include "virtio/vsock.h"

#define SRIG_CID     7u
#define SRIG_LINES   8
#define SRIG_BUFFERS 16

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT, OP_CREDIT_REQUEST };
enum { STREAM = 1, SEQPACKET = 2 };

struct srig_line {
	struct portal_line line;
	bool used;
	bool hung_up;
	unsigned watched, shut;
	unsigned answered; /* the port */
	/* what it takes: bytes, or packets; -errno when there is no more room */
	size_t room;
	int refusal;
	size_t got_len;
	unsigned got_packets;
	uint8_t got[1 << 20];
	/* what it says */
	const uint8_t *said;
	size_t said_len;
	bool said_end, deaf;
};

struct srig_packet {
	uint32_t src, dst, len, flags, alloc, fwd;
	uint16_t type, op;
	uint8_t data[4096];
};

struct vsock_rig {
	struct transport_rig v;
	struct portal portal;
	struct virtio_vsock *vsock;
	struct driver rx, tx, event;
	unsigned rx_given;
	uint64_t rx_at[DRIVER_SIZE_MAX]; /* by id */
	struct srig_line lines[SRIG_LINES];
	int dial_result;
	uint32_t dialed;
	unsigned exhausted;
};

void srig_make(struct vsock_rig *r);
void srig_release(struct vsock_rig *r);

/* A driver's way to DRIVER_OK with these features; no buffers are given. */
void srig_start(struct vsock_rig *r, uint64_t features);

/* Gives the device n buffers to receive into. */
void srig_give(struct vsock_rig *r, unsigned n);

/* The driver sends a packet with len bytes of data (at most 64 KiB; NULL: zeroes). */
void srig_send(struct vsock_rig *r, const struct srig_packet *p, const void *data, size_t len);

/* Takes the packet that the device sent; false: there is none. */
bool srig_take(struct vsock_rig *r, struct srig_packet *p);

/* A host's program calls; the line, or NULL where it is refused. */
struct srig_line *srig_call(struct vsock_rig *r, uint32_t port, bool packets);

/* What the I/O thread would find ready. */
void srig_ready(struct vsock_rig *r, struct srig_line *l, unsigned events);

#endif
