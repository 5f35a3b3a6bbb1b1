/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a running VM's devices, in the words of the public API. */
#ifndef LODGE_LIB_CHANGE_H
#define LODGE_LIB_CHANGE_H

#include <stdbool.h>

#include "base/err.h"
#include "machine/machine.h"

/*
 * device: "diskN", "netN", "pmemN" or "balloon". value: for a disk "size", "file=FILE" (all that
 * follows is the name, which c->path points to within value), or "bandwidth=RATE" and
 * "ops=RATE"; for a network the same words with "rx-" and "tx-" before them; several with commas
 * between; for the balloon "size=SIZE", "stats=SECONDS", or "hinting=" with start, hold or stop.
 * RATE: as config_limit has it, or "none". 0, or -EINVAL with e set.
 */
int change_parse(struct machine_change *c, const char *device, const char *value, struct err *e);

/* The device of that name: "balloon", "disk0". 0, or -EINVAL with e set; and its name. */
int change_device(struct machine_device_name *which, const char *device, struct err *e);
void change_device_name(const struct machine_device_name *which, char *name, size_t size);

/* "KINDN", as "disk3": whether device is one of that kind, and its number. */
bool change_number(const char *device, const char *kind, unsigned *number);

#endif
