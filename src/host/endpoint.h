/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest's port ends on the host: a character device (host/chardev.h) on
 *
 *	a file      what the guest sends is written to it; there is no input
 *	a socket    a Unix stream socket that listens; whoever connects has the port, one
 *	            at a time, until it closes its end or shuts down its sending side; the
 *	            next one waits
 *	a terminal  a pseudo-terminal in raw mode, whose slave's name a symbolic link has
 *
 * A file and a terminal are open at the host's end always, a socket while somebody is
 * connected; what the guest sends when nobody is, is dropped.
 *
 * The socket's and the link's names go away with the endpoint. A name that an earlier
 * process has left behind is taken over, one that is in use is refused.
 */
#ifndef LODGE_HOST_ENDPOINT_H
#define LODGE_HOST_ENDPOINT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/event.h"
#include "host/chardev.h"

enum endpoint_kind { ENDPOINT_FILE, ENDPOINT_SOCKET, ENDPOINT_PTY };

struct endpoint;

/* Opens path as an endpoint. Before the loop runs. NULL with e set where the host refuses. */
struct endpoint *endpoint_new(struct event_loop *loop, enum endpoint_kind kind, const char *path,
			      struct err *e);

/* Writes out what is buffered, waiting at most timeout_ms for a slow reader, and closes it. After
 * the loop has ended. Takes NULL. */
void endpoint_free(struct endpoint *end, int timeout_ms);

/* The endpoint's own; its user connects to it. */
struct chardev *endpoint_chardev(struct endpoint *end);

/* Whether it is open at the host's end from the start. */
bool endpoint_is_open(const struct endpoint *end);

/* Lets others connect, and has changed called when somebody has, or has hung up: on the loop's
 * thread, no lock held. Before the loop runs. */
void endpoint_listen(struct endpoint *end, void (*changed)(void *opaque, bool open), void *opaque);

#endif
