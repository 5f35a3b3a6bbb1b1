/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to say of VMs by their names. */
#ifndef LODGE_CLI_VMS_H
#define LODGE_CLI_VMS_H

#include <jansson.h>
#include <stdbool.h>

/*
 * A list of objects, each with "name" and "state": "running" or "paused", with all that the VM
 * answered to the request; "no answer" (it starts, or its process is stopped), with "pid"; with
 * `dead` also "ended", with how, and "killed". NULL after telling the user.
 */
json_t *vms_look(bool dead, const char *request);

/* The one of that name, whatever its state; NULL after telling the user. */
json_t *vms_look_at(const char *name, const char *request);

/* Members that may be missing. */
const char *vms_text(const json_t *vm, const char *key);
double vms_number(const json_t *vm, const char *key);

/* JSON on standard output, on many lines or on one: an exit status. */
int vms_print(const json_t *json, bool pretty);

#endif
