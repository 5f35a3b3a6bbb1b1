/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service on one of a VM's networks: it stands beside the host's interface
 * (netif_attach), takes the frames out that the guest sends to its address, and answers them: ARP,
 * and HTTP over TCP at port 80. No other frame is touched, and none leaves for the host.
 */
#ifndef LODGE_MMDS_MMDS_H
#define LODGE_MMDS_MMDS_H

#include <stdint.h>

#include "base/err.h"

struct clock;
struct mmds;
struct mmds_service;
struct netif;

#define MMDS_ADDRESS_DEFAULT       \
	{                          \
		169, 254, 169, 254 \
	}

struct mmds_config {
	struct netif *netif; /* these three are the caller's, and outlive it */
	struct clock *clock;
	struct mmds_service *service;
	uint8_t address[4];
};

/* Puts it beside the interface. Before the loop runs; NULL with e set if memory is out. */
struct mmds *mmds_new(const struct mmds_config *config, struct err *e);

/* No thread runs timers or sends frames any more. NULL is allowed. */
void mmds_free(struct mmds *m);

#endif
