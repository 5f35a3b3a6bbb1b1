/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is plugged while a VM runs. */
#ifndef LODGE_API_HOTPLUG_H
#define LODGE_API_HOTPLUG_H

#include "api/fields.h"
#include "api/job.h"

extern const struct field hotplug_memory[];
extern const struct field hotplug_memory_patch[];

job_fn hotplug_put_memory, hotplug_patch_memory, hotplug_get_memory;

/* Sets what the section says, if there is one. 0, or -errno with the VM's own error. */
int hotplug_apply(lodge_vm *vm, const json_t *section);

#endif
