/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A door between programs of the host and those in a guest, by port numbers on both
 * sides, made of Unix sockets (host/portal_unix.h).
 *
 * A line is one connection, of bytes or of whole packets. The user (a guest's device)
 * dials programs of the host, and is told when such a program calls. It sends and
 * receives on a line without ever blocking, and has the line watched for what it waits
 * for. A line is the user's from portal_dial or called() until portal_hang_up.
 *
 * Threads: the user's lock guards portal and lines. All functions are called with it
 * held, on any thread, and callbacks are made with it held, on the I/O thread. What is
 * watched for is changed on that thread alone, soon.
 */
#ifndef LODGE_HOST_PORTAL_H
#define LODGE_HOST_PORTAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of memory. */
struct portal_span {
	void *base;
	size_t len;
};

#define PORTAL_SPANS_MAX 256

#define PORTAL_READ  1u /* there are bytes, or their end */
#define PORTAL_WRITE 2u /* there is room */

struct portal;

struct portal_line {
	void *owner;  /* the user's own */
	bool packets; /* sends and receives whole packets, not a stream of bytes */
};

struct portal_user {
	pthread_mutex_t *lock;
	/* A program of the host's calls for a port of the guest's. False: the line is hung up; else
	 * it is the user's, who watches nothing yet, and answers with portal_answer. */
	bool (*called)(void *opaque, struct portal_line *line, uint32_t port);
	/* PORTAL_* of those watched for. */
	void (*ready)(void *opaque, struct portal_line *line, unsigned events);
	/* optional: the host has no more descriptors or memory for lines. Once. */
	void (*exhausted)(void *opaque, int error);
	void *opaque;
};

/* What portals are made of; the functions of the same names below say what each does. */
struct portal_ops {
	int (*dial)(struct portal *p, uint32_t port, bool packets, struct portal_line **line);
	int (*answer)(struct portal *p, struct portal_line *line, uint32_t port);
	long (*send)(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		     unsigned count);
	long (*receive)(struct portal *p, struct portal_line *line, const struct portal_span *spans,
			unsigned count);
	long (*packet_len)(struct portal *p, struct portal_line *line);
	bool (*deaf)(struct portal *p, struct portal_line *line);
	void (*shut)(struct portal *p, struct portal_line *line, unsigned events);
	void (*watch)(struct portal *p, struct portal_line *line, unsigned events);
	void (*hang_up)(struct portal *p, struct portal_line *line);
	void (*free)(struct portal *p);
};

struct portal {
	const struct portal_ops *ops;
	struct portal_user user;
};

/* Tells the portal its user; before the loop runs, no lock. */
static inline void portal_connect(struct portal *p, const struct portal_user *user)
{
	p->user = *user;
}

/* Frees it, with all lines. After the loop, no lock; the user is gone already. NULL is allowed. */
static inline void portal_free(struct portal *p)
{
	if (p)
		p->ops->free(p);
}

/* Calls the program of the host's that listens for that port. 0; or -errno: nobody does so, or the
 * host has no room for one more line. */
static inline int portal_dial(struct portal *p, uint32_t port, bool packets,
			      struct portal_line **line)
{
	return p->ops->dial(p, port, packets, line);
}

/* The guest has taken a call, on this port of the host's side. 0, or -errno: the line is dead. */
static inline int portal_answer(struct portal *p, struct portal_line *line, uint32_t port)
{
	return p->ops->answer(p, line, port);
}

/* Sends bytes (one at least), as many as there is room for now, or one whole packet. How many went,
 * never none; -EAGAIN: none now; any other -errno: the other end takes no more, ever. */
static inline long portal_send(struct portal *p, struct portal_line *line,
			       const struct portal_span *spans, unsigned count)
{
	return p->ops->send(p, line, spans, count);
}

/* Receives bytes, or one packet, cut to what the spans hold. How many; 0: the other end has sent
 * its last; -EAGAIN: there is nothing now; any other -errno: the line is dead. */
static inline long portal_receive(struct portal *p, struct portal_line *line,
				  const struct portal_span *spans, unsigned count)
{
	return p->ops->receive(p, line, spans, count);
}

/* The length of the packet that comes next, else as portal_receive. */
static inline long portal_packet_len(struct portal *p, struct portal_line *line)
{
	return p->ops->packet_len(p, line);
}

/* Whether the other end has closed the line, and so will not read either. */
static inline bool portal_deaf(struct portal *p, struct portal_line *line)
{
	return p->ops->deaf(p, line);
}

/* The user will not receive (PORTAL_READ), not send (PORTAL_WRITE) any more; the other end sees
 * it. */
static inline void portal_shut(struct portal *p, struct portal_line *line, unsigned events)
{
	p->ops->shut(p, line, events);
}

/* What ready is to be called for from now on; 0: nothing. */
static inline void portal_watch(struct portal *p, struct portal_line *line, unsigned events)
{
	p->ops->watch(p, line, events);
}

/* Ends a line, which is no more the user's and is not called for again. */
static inline void portal_hang_up(struct portal *p, struct portal_line *line)
{
	p->ops->hang_up(p, line);
}

#endif
