/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon of a VM's configuration: [size=SIZE][,deflate-on-oom][,reporting]. */
#ifndef LODGE_LIB_CONFIG_BALLOON_H
#define LODGE_LIB_CONFIG_BALLOON_H

#include "base/err.h"
#include "machine/machine.h"

/* Sets it: 0, -EINVAL or -ENOMEM with e set. */
int config_balloon_set(struct machine_balloon *balloon, const char *value, struct err *e);

#endif
