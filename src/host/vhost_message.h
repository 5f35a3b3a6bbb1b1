/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of vhost-user: a request, and the answer that some have, by a Unix socket
 * that does not block (source: host/vhost_user.h).
 *
 * What comes from the daemon is taken only if it is the answer to the request, of the
 * one length that it has, without descriptors; and only until its time is over.
 */
#ifndef LODGE_HOST_VHOST_MESSAGE_H
#define LODGE_HOST_VHOST_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

/* Requests. */
enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
};

#define VHOST_FDS_MAX     8u
#define VHOST_PAYLOAD_MAX 512u

struct vhost_message {
	enum vhost_request request;
	const void *payload;
	uint32_t size; /* up to VHOST_PAYLOAD_MAX */
	const int *fds;
	unsigned fd_count;
	uint64_t end; /* when the daemon's time is over, CLOCK_MONOTONIC in ns */
};

/* All block. They give NULL; or, a constant, what is wrong with the daemon, to which nothing more
 * can be said then. */

/* Sends a request that has no answer. */
const char *vhost_message_send(int fd, const struct vhost_message *m);

/* Sends such a request and waits for the acknowledgement, where that was agreed on. */
const char *vhost_message_order(int fd, const struct vhost_message *m);

/* Sends a request and waits for its answer, of that size. */
const char *vhost_message_ask(int fd, const struct vhost_message *m, void *answer, uint32_t size);

#endif
