/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata that a VM's guest may read, and the service that gives it. */
#ifndef LODGE_API_MMDS_H
#define LODGE_API_MMDS_H

#include "api/fields.h"
#include "api/job.h"

extern const struct field mmds_config[];

job_fn mmds_get, mmds_put, mmds_patch, mmds_put_config;

/* Sets what the section says, if it is there, in a VM that is not started. 0, or -errno with e set,
 * or with the VM's own error. */
int mmds_apply(lodge_vm *vm, const json_t *sections, struct err *e);

/* Puts a file's JSON into the metadata. 0, or -errno with e set. */
int mmds_load(struct vmm *v, const char *file, struct err *e);

#endif
