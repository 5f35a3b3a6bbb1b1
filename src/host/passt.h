/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User-mode networking: passt, a process of its own without privileges, makes sockets
 * of the host's of a guest's connections, and gives it addresses by DHCP, DHCPv6 and
 * router advertisements.
 *
 * Source: passt(1). Frames go by a stream socket, each behind its length in 4 bytes,
 * most significant first, as QEMU's "-netdev stream" has them.
 *
 * The socket is passt's standard for its life: it ends when lodge's end is closed,
 * however lodge ends, since it has no other business (--fd implies --one-off).
 */
#ifndef LODGE_HOST_PASST_H
#define LODGE_HOST_PASST_H

#include "host/netif.h"

/* A port of the host's whose connections, or datagrams, go to the guest. */
struct passt_forward {
	bool udp;
	char from[64]; /* the host's address and port as passt wants them: [ADDRESS/]PORT */
	uint16_t to;   /* the guest's port */
};

struct passt_config {
	const struct passt_forward *forwards;
	unsigned forward_count;
	unsigned mtu; /* what it tells the guest */
};

/*
 * Starts a passt and waits until it is ready. NULL with e set: it is not installed, or it refuses,
 * for which it gives the words. Before the loop runs.
 */
struct netif *passt_open(struct event_loop *loop, const struct passt_config *config, struct err *e);

/* The same for a process that is there, at the other end of this stream socket, which is the
 * interface's from then on: also where NULL is returned. */
struct netif *passt_connect(struct event_loop *loop, int fd, struct err *e);

#endif
