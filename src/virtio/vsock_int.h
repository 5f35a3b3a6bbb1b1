/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the socket device share: not for others. */
#ifndef LODGE_VIRTIO_VSOCK_INT_H
#define LODGE_VIRTIO_VSOCK_INT_H

#include "base/bits.h"
#include "virtio/vsock.h"

#define VSOCK_F_STREAM    BIT(0)
#define VSOCK_F_SEQPACKET BIT(1)

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

#define VSOCK_CID_HOST 2u

/* struct virtio_vsock_hdr, 5.10.6. */
#define VSOCK_HEADER_SIZE 44u

enum vsock_type { VSOCK_STREAM = 1, VSOCK_SEQPACKET = 2 };

enum vsock_op {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE = 2,
	VSOCK_RST = 3,
	VSOCK_SHUTDOWN = 4,
	VSOCK_RW = 5,
	VSOCK_CREDIT_UPDATE = 6,
	VSOCK_CREDIT_REQUEST = 7,
};

/* Flags: of SHUTDOWN, of RW. */
#define VSOCK_SHUT_RECEIVE 1u
#define VSOCK_SHUT_SEND    2u
#define VSOCK_SHUT_BOTH    3u
#define VSOCK_SEQ_EOM      1u

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
};

/* Bytes of a packet's payload at most: Linux's own. */
#define VSOCK_PAYLOAD_MAX (64u << 10)

/* What the guest may send on a connection before the host's program reads: Linux's own. */
#define VSOCK_BUFFER (256u << 10)

/* What may be waiting for the host's programs on all connections together. */
#define VSOCK_BUFFERED_MAX (64u << 20)

#define VSOCK_CONNS_MAX 4096u
#define VSOCK_BUCKETS   1024u
#define VSOCK_RESETS    1024u

/* Bytes from the guest that the host has not taken yet. A packet stands behind its length, four
 * bytes in the host's order; the last may be unfinished. */
struct vsock_store {
	uint8_t *bytes;
	size_t at, len, room; /* len bytes from at on */
	size_t open;          /* packets: of those, bytes of the unfinished one, with its length */
};

enum vsock_state {
	VSOCK_CALLING,   /* the host's program has called; the guest has not answered */
	VSOCK_OPEN,      /* either end may send */
	VSOCK_LINGERING, /* for the guest there is no such connection any more; what it has sent is
			  * still on its way */
};

/* What a connection owes the guest. */
enum vsock_owed {
	VSOCK_OWE_REQUEST = 1 << 0,
	VSOCK_OWE_RESPONSE = 1 << 1,
	VSOCK_OWE_CREDIT = 1 << 2,
	VSOCK_OWE_SHUTDOWN = 1 << 3,
	VSOCK_OWE_DATA = 1 << 4, /* the line may have bytes */
};

struct vsock_conn {
	struct vsock_conn *next, **link; /* in its bucket */
	struct vsock_conn *next_waiting, *prev_waiting;
	bool waiting; /* in the queue of those that owe something */
	enum vsock_state state;
	uint16_t type;
	uint32_t local, peer;             /* ports: ours, the guest's */
	struct portal_line *line;         /* NULL: hung up */
	uint32_t peer_alloc, peer_fwd;    /* as the guest last said */
	uint32_t sent;                    /* bytes to the guest; all of these wrap */
	uint32_t received, fwd, fwd_told; /* from it; of those passed on; and said to be */
	unsigned owed;                    /* enum vsock_owed */
	unsigned shut_guest;              /* VSOCK_SHUT_*: what the guest does no more */
	unsigned shut_host;               /* what the host does no more */
	bool starved;                     /* the guest has no room: its word is waited for */
	struct vsock_store out;           /* to the host */
	uint32_t buffered;                /* payload in out */
	uint8_t *packet;                  /* to the guest: one that was begun, or NULL */
	size_t packet_at, packet_len;
};

/* A reset that is owed for what is no connection. */
struct vsock_reset {
	uint32_t local, peer;
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_device device;
	uint8_t config[8];
	uint32_t cid;
	struct portal *portal;
	void (*exhausted)(void *opaque, int error);
	void *opaque;
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	unsigned count;
	struct vsock_conn *first, *last; /* waiting for buffers of the driver's */
	struct vsock_reset resets[VSOCK_RESETS];
	unsigned reset_at, reset_count;
	uint32_t next_port;
	uint64_t buffered; /* payload in all stores */
	bool event_owed;
	bool spare; /* rx was taken, and nothing is in it yet */
	struct virtq_chain rx;
	struct virtio_vsock_counts counts;
};

static inline struct virtio_vsock *vsock_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_vsock, device);
}

/* The device works for a driver. */
static inline bool vsock_works(const struct virtio_vsock *v)
{
	return v->device.status & VIRTIO_DRIVER_OK && !(v->device.status & VIRTIO_NEEDS_RESET);
}

/* vsock_table.c: finds one that is not lingering; makes one (NULL: no room), without line; takes it
 * out and frees it, its line hung up. */
struct vsock_conn *vsock_find(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer);
struct vsock_conn *vsock_add(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer);
void vsock_remove(struct virtio_vsock *v, struct vsock_conn *c);
void vsock_remove_all(struct virtio_vsock *v);
/* A port of ours that is free with that one of the guest's. */
uint32_t vsock_free_port(struct virtio_vsock *v, uint32_t peer);

/* vsock_rx.c: notes what a connection owes; that a reset is owed; sends the driver what there are
 * buffers for. */
void vsock_owe(struct virtio_vsock *v, struct vsock_conn *c, unsigned owed);
void vsock_forgive(struct virtio_vsock *v, struct vsock_conn *c);
void vsock_owe_reset(struct virtio_vsock *v, uint16_t type, uint32_t local, uint32_t peer);
void vsock_pump(struct virtio_vsock *v);

/* vsock_conn.c: a packet of the driver's, its payload in chain behind the header; what the portal
 * tells; a connection is ended with a reset. */
void vsock_handle(struct virtio_vsock *v, const struct vsock_header *h,
		  const struct virtq_chain *chain);
bool vsock_called(struct virtio_vsock *v, struct portal_line *line, uint32_t port);
void vsock_ready(struct virtio_vsock *v, struct vsock_conn *c, unsigned events);
void vsock_break(struct virtio_vsock *v, struct vsock_conn *c);
/* The host has sent its last byte. */
void vsock_host_done(struct virtio_vsock *v, struct vsock_conn *c);
/* Has the line watched for what the connection can do with it. */
void vsock_watch(struct virtio_vsock *v, struct vsock_conn *c);

/* vsock_store.c: appends a piece of the chain's readable part; packets: end says that the packet
 * ends here. False: no memory, or too much. Sends what the line takes: 0: all; -EAGAIN; another
 * -errno: the line takes no more. *sent is the payload that went. */
bool vsock_store_add(struct vsock_store *s, const struct virtq_chain *chain, uint64_t offset,
		     size_t len, bool packets, bool end);
long vsock_store_send(struct vsock_store *s, struct portal *p, struct portal_line *line,
		      uint32_t *sent);
void vsock_store_release(struct vsock_store *s);

/* vsock_rx.c: up to len bytes of segments, from offset on, as spans; how many. */
unsigned vsock_spans(struct portal_span *spans, const struct virtq_segment *segments,
		     unsigned count, uint64_t offset, uint64_t len);

#endif
