/* SPDX-License-Identifier: Apache-2.0 */
#include "api/hotplug.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define SECTION   "memory-hotplug"
#define SLOT      128
#define BLOCK     2
#define STATS_MAX 64
#define SIZES     5 /* the first of its numbers */
#define MIB_SHIFT 20

const struct field hotplug_memory[] = {
	{.name = "total_size_mib", .type = FIELD_NUMBER, .required = true, .max = UINT32_MAX},
	{.name = "slot_size_mib", .type = FIELD_NUMBER, .min = SLOT, .max = UINT32_MAX},
	{.name = "block_size_mib", .type = FIELD_NUMBER, .min = BLOCK, .max = UINT32_MAX},
	{0},
};

const struct field hotplug_memory_patch[] = {
	{.name = "requested_size_mib", .type = FIELD_NUMBER, .required = true, .max = UINT32_MAX},
	{0},
};

int hotplug_apply(lodge_vm *vm, const json_t *section)
{
	char value[128];

	if (!section)
		return 0;
	snprintf(value, sizeof(value), "max=%" PRId64 "M,slot=%" PRId64 "M,block=%" PRId64 "M",
		 fields_number(section, "total_size_mib", 0),
		 fields_number(section, "slot_size_mib", SLOT),
		 fields_number(section, "block_size_mib", BLOCK));
	return lodge_vm_set(vm, "hotplug-memory", value);
}

int hotplug_put_memory(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	(void)shown;
	return rc ? rc : vmm_set_section(j->vmm, SECTION, j->body, e);
}

int hotplug_patch_memory(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_after_start(j->vmm, e);
	char value[48];

	(void)shown;
	if (rc)
		return rc;
	snprintf(value, sizeof(value), "size=%" PRId64 "M",
		 fields_number(j->body, "requested_size_mib", 0));
	if (lodge_vm_change(j->vmm->vm, "memory", value))
		return err_set(e, EINVAL, "%s", lodge_vm_error(j->vmm->vm));
	return 0;
}

int hotplug_get_memory(const struct job *j, json_t **shown, struct err *e)
{
	struct lodge_stat stats[STATS_MAX];
	int rc = vmm_after_start(j->vmm, e), n;
	json_t *object;
	char name[48];

	if (rc)
		return rc;
	n = lodge_vm_device_stats(j->vmm->vm, "memory", stats, STATS_MAX);
	if (n < 0)
		return err_set(e, -n, "%s", lodge_vm_error(j->vmm->vm));
	object = json_object();
	for (int i = 0; i < MIN(n, SIZES); i++) {
		snprintf(name, sizeof(name), "%s_size_mib", stats[i].name);
		json_object_set_new(object, name,
				    json_integer((json_int_t)(stats[i].count >> MIB_SHIFT)));
	}
	return job_show(object, shown, e);
}
