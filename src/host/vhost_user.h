/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that another process works for: the front end of vhost-user.
 *
 * Source: QEMU's docs/interop/vhost-user.rst, "Vhost-user Protocol". Messages go by a
 * Unix socket; the daemon maps guest memory, takes buffers from rings in memory that
 * both share, and tells by eventfds.
 *
 *	vhost_user_start    messages: where memory and a ring are; the ring is served
 *	vhost_user_add      a buffer, then vhost_user_kick
 *	used()              on the I/O thread: vhost_user_next gives what was used
 *	vhost_user_stop     when it returns, the daemon touches none of its buffers
 *
 * The rings are not the guest's own: see host/vhost_ring.h. So a guest cannot confuse
 * the daemon by its rings, nor the daemon lodge, and whoever takes buffers from here
 * knows what the daemon has written before the guest can know it.
 *
 * A daemon that dies, keeps silent for too long or says what cannot be is lost: it is
 * ended, and from then on nothing here reaches it. Nothing brings it back.
 *
 * Threads: the user's lock guards it all but open, connect and free, which come before
 * and after the loop runs. Messages block their caller, each up to VHOST_USER_PATIENCE.
 */
#ifndef LODGE_HOST_VHOST_USER_H
#define LODGE_HOST_VHOST_USER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/mem.h"
#include "host/vhost_ring.h"

struct event_loop;
struct vhost_user;

#define VHOST_USER_QUEUES_MAX 4u

/* ns that a daemon may take to begin; and for each answer. */
#define VHOST_USER_BEGIN    (20 * NS_PER_SEC)
#define VHOST_USER_PATIENCE (10 * NS_PER_SEC)

/* Whose work the daemon does. */
struct vhost_user_client {
	pthread_mutex_t *lock;
	/* The daemon may have used buffers of that queue. Lock held, I/O thread. */
	void (*used)(void *opaque, unsigned queue);
	/* The daemon is lost, and has ended: why, a constant. Once. Lock held, any thread, also
	 * from within the functions below. */
	void (*lost)(void *opaque, const char *why);
	void *opaque;
};

/* The process at the other end; all are optional. */
struct vhost_user_daemon {
	/* Ends it: when this returns it touches guest memory no more. Any thread. */
	void (*end)(void *opaque);
	/* Forgets it, after end. */
	void (*free)(void *opaque);
	void *opaque;
};

struct vhost_user_config {
	int fd;            /* the socket, which is ours from then on, also where NULL is returned */
	struct mem *mem;   /* guest memory, MEM_SHARED; may get RAM until the first start */
	unsigned queues;   /* up to VHOST_USER_QUEUES_MAX */
	uint64_t begin;    /* ns that the daemon may take for its first answer */
	uint64_t patience; /* ns that it may take for any other */
	struct vhost_user_daemon daemon; /* ours unless NULL is returned */
};

/* Agrees on features with the daemon. NULL with e set: it refuses, or says what cannot be. Before
 * the loop runs. */
struct vhost_user *vhost_user_open(struct event_loop *loop, const struct vhost_user_config *config,
				   struct err *e);

/* Tells it its client. Before the loop runs. */
void vhost_user_connect(struct vhost_user *v, const struct vhost_user_client *client);

/* Ends the daemon, which works for nobody any more. After the loop. NULL is allowed. */
void vhost_user_free(struct vhost_user *v);

/* Whether the daemon can reach all of that guest memory. */
bool vhost_user_reaches(const struct vhost_user *v, uint64_t gpa, uint64_t len);

/* Has a queue served, which starts empty; false: the daemon is lost. */
bool vhost_user_start(struct vhost_user *v, unsigned queue);

/* Has it served no more; the buffers under way are forgotten, and none is touched when it returns.
 * Idempotent. */
void vhost_user_stop(struct vhost_user *v, unsigned queue);

/* The ring of a queue that is started, to add buffers to and to take used ones from. NULL: it is
 * not started, or the daemon is lost. */
struct vhost_ring *vhost_user_ring(struct vhost_user *v, unsigned queue);

/* Tells the daemon of what was added. */
void vhost_user_kick(struct vhost_user *v, unsigned queue);

/* The daemon has said what cannot be: it is lost. */
void vhost_user_give_up(struct vhost_user *v, const char *why);

#endif
