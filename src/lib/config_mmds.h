/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service of a VM's configuration:
 * [FILE][,version=1|2][,address=ADDRESS][,imds][,net=N]...
 */
#ifndef LODGE_LIB_CONFIG_MMDS_H
#define LODGE_LIB_CONFIG_MMDS_H

#include "base/err.h"
#include "machine/machine.h"

struct mmds_store;

struct config_mmds {
	bool given;
	char *file; /* what the metadata is at first; NULL: nobody says */
	struct machine_mmds service;
};

/* Sets it: 0, -EINVAL or -ENOMEM with e set. */
int config_mmds_set(struct config_mmds *m, const char *value, struct err *e);
void config_mmds_release(struct config_mmds *m);

/* Whether it fits a VM with so many networks; -EINVAL with e set if not. */
int config_mmds_check(const struct config_mmds *m, unsigned nets, struct err *e);

/* Puts what the file says, if there is one, into the store. 0, or -errno with e set. */
int config_mmds_load(const struct config_mmds *m, struct mmds_store *store, struct err *e);

#endif
