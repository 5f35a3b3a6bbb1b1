/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on a Unix socket, by libmicrohttpd, which is loaded when a server is made.
 *
 * Everything happens on the caller's thread: it polls server_fd for as long as
 * server_timeout says, and calls server_run.
 */
#ifndef LODGE_API_SERVER_H
#define LODGE_API_SERVER_H

#include <stddef.h>

#include "base/err.h"

struct server;
struct vmm;

#define SERVER_BODY_MAX 51200u /* bytes, unless another limit is given */

/* Listens at the path, which must not be in use; a socket that a dead server left is replaced. NULL
 * with e set. path and vmm outlive it. */
struct server *server_new(const char *path, struct vmm *vmm, size_t body_max, struct err *e);

/* Closes all connections, removes the socket. NULL is allowed. */
void server_free(struct server *s);

/* A descriptor that polls readable when there is something to do. */
int server_fd(const struct server *s);

/* Milliseconds after which there is something to do in any case; -1: none. */
int server_timeout(const struct server *s);

/* Does what there is to do, without waiting. */
void server_run(struct server *s);

#endif
