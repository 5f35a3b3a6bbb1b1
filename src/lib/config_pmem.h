/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent memory of a VM's configuration: FILE[,ro][,bandwidth=RATE][,ops=RATE]. */
#ifndef LODGE_LIB_CONFIG_PMEM_H
#define LODGE_LIB_CONFIG_PMEM_H

#include "base/err.h"
#include "machine/machine.h"

struct config_pmems {
	struct machine_pmem pmem[MACHINE_PMEMS_MAX]; /* the paths are ours */
	unsigned count;
};

/* Appends one: 0, -EINVAL or -ENOMEM with e set. */
int config_pmems_add(struct config_pmems *p, const char *value, struct err *e);
void config_pmems_release(struct config_pmems *p);

#endif
