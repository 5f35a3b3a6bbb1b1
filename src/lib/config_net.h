/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The networks of a VM's configuration: user[,forward=PROTO:HOST:GUEST]... or
 * tap=NAME[,queues=N], with [,mac=ADDRESS][,mtu=N] for both.
 */
#ifndef LODGE_LIB_CONFIG_NET_H
#define LODGE_LIB_CONFIG_NET_H

#include "base/err.h"
#include "machine/machine.h"

#define CONFIG_NETS_MAX     12
#define CONFIG_FORWARDS_MAX 64 /* of one network */

struct config_nets {
	struct machine_net net[CONFIG_NETS_MAX]; /* the forwards are ours */
	unsigned count;
};

/* Appends a network: 0, -EINVAL or -ENOMEM with e set. */
int config_nets_add(struct config_nets *n, const char *value, struct err *e);
void config_nets_release(struct config_nets *n);

#endif
