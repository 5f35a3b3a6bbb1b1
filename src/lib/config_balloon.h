/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon of a VM's configuration:
 * [size=SIZE][,deflate-on-oom][,reporting][,hinting][,stats=SECONDS].
 */
#ifndef LODGE_LIB_CONFIG_BALLOON_H
#define LODGE_LIB_CONFIG_BALLOON_H

#include "base/err.h"
#include "machine/machine.h"

#define BALLOON_SECONDS_MAX 65535

/* A number of seconds, 1 to BALLOON_SECONDS_MAX; false: it is something else. */
bool config_seconds(const char *text, unsigned *seconds);

/* Sets it: 0, -EINVAL or -ENOMEM with e set. */
int config_balloon_set(struct machine_balloon *balloon, const char *value, struct err *e);

#endif
