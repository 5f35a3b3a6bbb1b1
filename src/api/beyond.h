/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lodge has beyond Firecracker's interface, under /lodge: the section "lodge" of a VM,
 * its statistics, and a description of the interface itself.
 */
#ifndef LODGE_API_BEYOND_H
#define LODGE_API_BEYOND_H

#include <jansson.h>

#include "api/fields.h"
#include "api/job.h"
#include "base/err.h"
#include "lodge/lodge.h"

/* {engine, cpu_model, ports, shares} */
extern const struct field beyond_fields[];

/* Sets what the section, which may be NULL, says, but for the engine. 0, or -errno with e or the
 * VM's own error set. */
int beyond_apply(lodge_vm *vm, const json_t *section, struct err *e);

job_fn beyond_get_stats, beyond_get_metrics, beyond_get_interface;

#endif
