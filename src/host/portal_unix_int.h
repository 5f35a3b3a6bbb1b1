/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the portal of Unix sockets share: not for others. */
#ifndef LODGE_HOST_PORTAL_UNIX_INT_H
#define LODGE_HOST_PORTAL_UNIX_INT_H

#include <sys/stat.h>
#include <sys/un.h>

#include "base/bits.h"
#include "host/portal_unix.h"

/* The longest line of a caller's: CONNECT and a port. */
#define GREETING_MAX 32u

enum line_state {
	LINE_GREETING, /* the caller has not said yet what it wants */
	LINE_OPEN,     /* the user's */
	LINE_DEAD,     /* closed, and waits for the I/O thread to forget it */
};

struct line {
	struct portal_line line;
	struct portal_unix *portal;
	struct event_source src; /* fd -1: dead */
	enum line_state state;
	char greeting[GREETING_MAX]; /* what the caller has said so far */
	unsigned said;
	unsigned wanted; /* to be watched for: EVENT_* */
	bool marked;     /* in the list of those that the I/O thread looks at */
	struct line *next_marked;
	struct line *next, **link; /* all lines */
};

struct listener {
	struct portal_unix *portal;
	struct event_source src; /* fd -1: none */
	bool packets;
	struct sockaddr_un name;
	struct stat made; /* what lies there is ours if it is this */
};

struct portal_unix {
	struct portal portal;
	struct event_loop *loop;
	struct event_wake wake;
	char *path;
	struct listener listeners[2]; /* of bytes, of packets */
	int spare;                    /* a descriptor to accept a call by that is then refused */
	struct line *lines, *marked;
	unsigned count; /* lines, the dead ones as well */
	bool looking;   /* the I/O thread is in a callback, and looks at marks at its end */
	bool full;      /* listeners are not watched */
	bool exhausted; /* the user was told */
};

static inline struct line *line_of(struct portal_line *line)
{
	return container_of(line, struct line, line);
}

static inline struct portal_unix *portal_unix_of(struct portal *p)
{
	return container_of(p, struct portal_unix, portal);
}

/* portal_unix.c: a line on a socket, which it owns from then on, also where it fails: NULL. */
struct line *portal_line_new(struct portal_unix *p, int fd, bool packets);
/* What a callback on the I/O thread begins and ends with: takes and leaves the lock. */
void portal_enter(struct portal_unix *p);
void portal_leave(struct portal_unix *p);
/* Tells the user once that the host has no more. */
void portal_exhausted(struct portal_unix *p, int error);
/* Closes a line; the I/O thread forgets it. */
void portal_line_close(struct line *l);
void portal_line_want(struct line *l, unsigned events);

/* portal_listen.c */
int portal_listen(struct portal_unix *p, struct listener *l, struct err *e);
void portal_unlisten(struct portal_unix *p, struct listener *l);
/* Reads what the caller of a line wants. */
void portal_greeting(struct line *l);

#endif
