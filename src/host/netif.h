/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network interface of the host's that carries a guest's Ethernet frames: a tap
 * device (host/tap.h) or passt, which makes sockets of them (host/passt.h).
 *
 * An interface has one or more pairs of queues, one descriptor each, watched by the
 * machine's event loop. Its user (a guest's network device) is told when frames came
 * and takes them one by one; while it has no room it says so, and the descriptor is
 * not looked at until netif_resume: frames then wait in the host's kernel, whose own
 * limits tell the senders. Sending never blocks: what the host cannot take now is
 * refused with -EAGAIN, and the user is told when it can.
 *
 *	I/O thread   netif_user.readable -> netif_receive, netif_received ...
 *	             netif_user.writable -> netif_send ...
 *	any thread   netif_send, netif_resume
 *
 * netif_send, netif_flush, netif_receive, netif_received and the setters are called
 * one at a time: the user's lock sees to that. The callbacks are made without it.
 */
#ifndef LODGE_HOST_NETIF_H
#define LODGE_HOST_NETIF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/event.h"

#define NETIF_QUEUES_MAX 8

/* Before each frame, both ways, where netif.header says so: struct virtio_net_hdr_v1 of Linux's
 * user API, little-endian: what is left to do of checksum and segmentation. */
#define NETIF_HEADER_SIZE 12u

/* The longest frame, without header: an IP packet of 65535 bytes behind Ethernet and VLAN. */
#define NETIF_FRAME_MAX (65535u + 14u + 4u)

#define NETIF_MTU_MIN 68u
#define NETIF_MTU_MAX 65521u /* a packet that with its Ethernet header has 65535 bytes */

/* A piece of memory. */
struct netif_span {
	void *base;
	size_t len;
};

#define NETIF_SPANS_MAX 258

/* What a frame may leave undone, by its header. */
enum netif_offload {
	NETIF_CSUM = 1 << 0,
	NETIF_TSO4 = 1 << 1,
	NETIF_TSO6 = 1 << 2,
	NETIF_ECN = 1 << 3,
	NETIF_UFO = 1 << 4,
	NETIF_USO4 = 1 << 5,
	NETIF_USO6 = 1 << 6,
};

struct netif;

struct netif_user {
	/* Frames came for that queue. Returns false where it wants no more until netif_resume; else
	 * it is called again as long as there are any. I/O thread. */
	bool (*readable)(void *opaque, unsigned queue);
	/* After -EAGAIN: the host can take frames again. I/O thread. */
	void (*writable)(void *opaque, unsigned queue);
	/* The interface is gone, for good: why is a line for the user. Once; I/O thread. */
	void (*gone)(void *opaque, const char *why);
	void *opaque;
};

/* A kind of interface; the functions of the same names below say what each does. */
struct netif_ops {
	int (*send)(struct netif *n, unsigned queue, const struct netif_span *spans,
		    unsigned count);
	int (*flush)(struct netif *n, unsigned queue); /* NULL: nothing is ever kept */
	int (*receive)(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len);
	void (*received)(struct netif *n, unsigned queue);
	/* A whole frame is at hand that the descriptor does not tell of. */
	bool (*staged)(struct netif *n, unsigned queue);
	int (*offload)(struct netif *n, unsigned offloads); /* NULL: there are none */
	int (*use)(struct netif *n, unsigned queues);       /* NULL: there is one pair */
	void (*free)(struct netif *n);
};

/*
 * Somebody beside the interface, who takes some of the frames that the user sends, and has some for
 * the user of his own. All are called as netif_send and netif_receive are, one at a time.
 */
struct netif_aside {
	/* Whether a frame, as netif_send has it, is his: then it goes no further. */
	bool (*takes)(void *opaque, const struct netif_span *spans, unsigned count);
	/* His next frame for the user, as netif_receive has it, which stays as it is until the next
	 * call; false: there is none. */
	bool (*next)(void *opaque, const uint8_t **frame, size_t *len);
	bool (*waiting)(void *opaque); /* whether there would be one; any thread */
	void (*reset)(void *opaque);   /* the user begins anew: nothing said before holds */
	void *opaque;
};

struct netif_port {
	struct netif *netif;
	unsigned queue;
	struct event_source src;
	struct event_wake wake;
	bool paused;         /* I/O thread's: the user wants no frames */
	bool watching_write; /* I/O thread's */
	atomic_bool resume;  /* to be done by the I/O thread */
	atomic_bool blocked; /* the same: the host took no more */
};

struct netif {
	const struct netif_ops *ops;
	struct event_loop *loop;
	struct netif_user user;
	struct netif_aside aside; /* takes NULL: there is nobody */
	/* Queue 0's frame that was received last, if it is not done with: whose it is. */
	enum { NETIF_FRONT_NONE, NETIF_FRONT_OWN, NETIF_FRONT_ASIDE } front;
	const uint8_t *aside_frame; /* NETIF_FRONT_ASIDE's */
	size_t aside_len;
	unsigned queues;   /* pairs */
	bool header;       /* each frame has a header; without, checksums are whole and right */
	unsigned sends;    /* enum netif_offload: what the user may leave undone */
	unsigned receives; /* the same: what netif_offload can have the host leave undone */
	unsigned mtu;      /* of the packets that it carries; 0: not known */
	_Atomic(const char *) why; /* it is gone; NULL: it is there */
	bool told;                 /* I/O thread's: of that */
	struct netif_port ports[NETIF_QUEUES_MAX];
};

/* --- for users ----------------------------------------------------------------------------- */

/* Tells the interface its user, who is not called before netif_resume. Before the loop runs. */
void netif_connect(struct netif *n, const struct netif_user *user);

/* Puts somebody beside it. His frames come by queue 0; whenever there are some, after it was empty,
 * he calls netif_resume for it. Before the loop runs, once. */
void netif_attach(struct netif *n, const struct netif_aside *aside);

/* The user begins anew, see netif_aside.reset. As netif_send. */
void netif_reset(struct netif *n);

/* Frees it. After the loop. NULL is allowed. */
void netif_free(struct netif *n);

/*
 * Sends a frame (with its header where the interface has one) of 1 to NETIF_SPANS_MAX spans, not
 * longer than NETIF_FRAME_MAX. 0: sent. -EAGAIN: not now, the user's writable will be called. Any
 * other: it is lost, as frames may be. Any thread.
 */
int netif_send(struct netif *n, unsigned queue, const struct netif_span *spans, unsigned count);

/* To be called in writable: sends on what is still kept of a frame that was sent. 0 or -EAGAIN. */
int netif_flush(struct netif *n, unsigned queue);

/* The oldest frame that came and was not yet received, which stays where it is until
 * netif_received. 0, or -EAGAIN: there is none. I/O thread. */
int netif_receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len);
void netif_received(struct netif *n, unsigned queue);

/* Has readable called for the queue, soon, if frames are there or come. Any thread, any lock. */
void netif_resume(struct netif *n, unsigned queue);

/* Has the host leave undone no more than offloads in what comes from now on; what came before may
 * be as it was. Any thread. 0 or -errno. */
int netif_offload(struct netif *n, unsigned offloads);

/* Has the first queues pairs, 1 to n->queues, be used, and no other. Any thread. 0 or -errno. */
int netif_use(struct netif *n, unsigned queues);

/* --- for kinds of interfaces --------------------------------------------------------------- */

/* Makes ports for n->queues descriptors, which stay the kind's. Before the loop runs. 0, or -errno
 * with e set and nothing made. */
int netif_open_ports(struct netif *n, const int *fds, struct err *e);

/* For ops->free: stops watching. */
void netif_close_ports(struct netif *n);

/* Has writable called when the queue's descriptor can be written. Any thread. */
void netif_blocked(struct netif *n, unsigned queue);

/* The interface is gone, for this reason, a constant. Any thread. */
void netif_lost(struct netif *n, const char *why);

#endif
