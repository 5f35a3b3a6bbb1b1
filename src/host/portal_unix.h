/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A portal of Unix sockets.
 *
 *	PATH            a program connects, writes "CONNECT <port>\n" and reads
 *	                "OK <port of its side>\n": then it is connected with the guest's port
 *	PATH.seqpacket  the same, of packets: the first each way are those lines
 *	PATH_<port>     programs listen here, with either kind of socket, for guests
 *
 * The first two are made by portal_unix_open and removed at the end. A socket that is
 * there already is replaced if nobody listens to it any more, which connect() tells.
 *
 * Source: Firecracker's "Using the Firecracker Virtio-vsock Device", for the first and
 * the third.
 */
#ifndef LODGE_HOST_PORTAL_UNIX_H
#define LODGE_HOST_PORTAL_UNIX_H

#include "base/err.h"
#include "base/event.h"
#include "host/portal.h"

/* Bytes of a path, for the longest of the names above fits a socket's address. */
#define PORTAL_PATH_MAX 96

/* Lines at a time; a call beyond them waits, dialing beyond them fails. */
#define PORTAL_LINES_MAX 4096

/* Opens a portal; NULL with e set: the path is in use, cannot be a socket's. Before the loop
 * runs. */
struct portal *portal_unix_open(struct event_loop *loop, const char *path, struct err *e);

#endif
