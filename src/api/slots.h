/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives and network interfaces that come to a running VM and go from it.
 *
 * The items of a section have ids, the VM's devices have numbers: vmm.places says which is which
 * from the start on. An item that is asked for stays in its section until the guest has given its
 * device back.
 */
#ifndef LODGE_API_SLOTS_H
#define LODGE_API_SLOTS_H

#include "api/job.h"

/* The section's field by which its items have their ids, and the library's name of its devices. */
const char *slots_id_field(const char *section);
const char *slots_kind(const char *section);

/* The VM was started: notes which of its devices each item is. */
void slots_started(struct vmm *v);

/* The number of the device that the job's item is, and the item; -ENOENT with e set. */
int slots_place(const struct job *j, json_t **item, struct err *e);

/* PUT and DELETE of an item of a VM that runs. */
job_fn slots_put;
job_fn slots_delete;

/* A device has gone. */
void slots_detached(struct vmm *v, const char *device);

#endif
