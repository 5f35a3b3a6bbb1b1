/* SPDX-License-Identifier: Apache-2.0 */
/* The shared directories of a VM's configuration: DIR[:TAG][,ro]. */
#ifndef LODGE_LIB_CONFIG_SHARE_H
#define LODGE_LIB_CONFIG_SHARE_H

#include "base/err.h"
#include "machine/machine.h"

struct config_shares {
	struct machine_share share[MACHINE_SHARES_MAX]; /* the paths are ours */
	unsigned count;
};

/* Appends a directory: 0, -EINVAL or -ENOMEM with e set. */
int config_shares_add(struct config_shares *s, const char *value, struct err *e);
void config_shares_release(struct config_shares *s);

#endif
