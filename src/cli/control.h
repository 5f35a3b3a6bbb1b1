/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a VM that has a name: requests and answers, a JSON object a line each.
 *
 *	{"do": "status"}  {"do": "stats"}	what there is to know
 *	{"do": "pause"}  {"do": "resume"}
 *	{"do": "power"}				presses the power button
 *	{"do": "keys"}				presses ctrl-alt-del
 *	{"do": "stop"}				pulls the plug
 *	{"do": "window", "columns": N, "rows": N}	the virtio console's
 *
 * An answer has "error" if it was refused. The process of the VM itself serves it, on its main
 * thread, between two polls: no daemon, nothing to do while nobody asks.
 */
#ifndef LODGE_CLI_CONTROL_H
#define LODGE_CLI_CONTROL_H

#include <poll.h>
#include <stddef.h>

#define CONTROL_CLIENTS 16
#define CONTROL_FDS     (CONTROL_CLIENTS + 1)
#define CONTROL_LINE    4096

/* The answer to a line, without a newline; malloc'ed, NULL if memory is out. */
typedef char *control_fn(void *opaque, const char *line);

struct control_client;

struct control {
	int listen; /* -1: none */
	control_fn *answer;
	void *opaque;
	struct control_client *client[CONTROL_CLIENTS];
};

/* listen: the socket, which is ours from now on. */
void control_open(struct control *c, int listen, control_fn *answer, void *opaque);

/* Fills in what to poll for: how many, up to CONTROL_FDS. control_polled acts on it. */
size_t control_poll(struct control *c, struct pollfd *fds);
void control_polled(struct control *c, const struct pollfd *fds, size_t count);

/* Idempotent. */
void control_close(struct control *c);

#endif
