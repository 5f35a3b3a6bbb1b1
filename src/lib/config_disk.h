/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a VM's configuration: FILE[,OPTION...], see lodge-run(1). */
#ifndef LODGE_LIB_CONFIG_DISK_H
#define LODGE_LIB_CONFIG_DISK_H

#include "base/err.h"
#include "machine/machine.h"

#define CONFIG_DISKS_MAX 12

struct config_disks {
	struct machine_disk disk[CONFIG_DISKS_MAX]; /* the paths are ours */
	unsigned count;
};

/* Appends a disk: 0, -EINVAL or -ENOMEM with e set. */
int config_disks_add(struct config_disks *d, const char *value, struct err *e);
void config_disks_release(struct config_disks *d);

#endif
