/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap device of the host's: frames that are written to it arrive at an interface
 * of the host's kernel, and what is sent there can be read.
 *
 * Source: Linux, Documentation/networking/tuntap.rst and include/uapi/linux/if_tun.h.
 * With headers (IFF_VNET_HDR), so that checksums and segmentation can be left to
 * whoever does them last, most often nobody.
 */
#ifndef LODGE_HOST_TAP_H
#define LODGE_HOST_TAP_H

#include "host/netif.h"

#define TAP_NAME_MAX 15

struct tap_config {
	const char *name; /* 1 to TAP_NAME_MAX characters */
	unsigned queues;  /* pairs, 1 to NETIF_QUEUES_MAX */
	unsigned mtu;     /* for an interface that is made here; 0: the host's default */
};

/*
 * Opens the interface of that name; or, where there is none and the process may, makes it, set up,
 * for as long as it is open. NULL with e set: no /dev/net/tun, not permitted, not a tap device, in
 * use, not of so many queues. Before the loop runs.
 */
struct netif *tap_open(struct event_loop *loop, const struct tap_config *config, struct err *e);

#endif
