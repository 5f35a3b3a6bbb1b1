/* SPDX-License-Identifier: Apache-2.0 */
#include "api/balloon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define PAGE_SHIFT 12
#define MIB_SHIFT  20
#define STATS_MAX  64

#define INTERVAL "stats_polling_interval_s"

const struct field balloon_interval[] = {
	{.name = INTERVAL, .type = FIELD_NUMBER, .required = true, .max = UINT16_MAX},
	{0},
};

const struct field balloon_start[] = {
	{.name = "acknowledge_on_stop", .type = FIELD_FLAG},
	{0},
};

const struct field balloon_stop[] = {{0}};

/* The section, or -ENOENT with e set where the VM has no balloon. */
static int find(const struct job *j, json_t **balloon, struct err *e)
{
	*balloon = vmm_section(j->vmm, "balloon");
	return *balloon
		       ? 0
		       : err_set(e, ENOENT, "the VM has no balloon: PUT /balloon before its start");
}

int balloon_get(const struct job *j, json_t **shown, struct err *e)
{
	json_t *balloon;
	int rc = find(j, &balloon, e);

	return rc ? rc : job_show(json_deep_copy(balloon), shown, e);
}

static int change(const struct job *j, const char *value, struct err *e)
{
	if (lodge_vm_change(j->vmm->vm, "balloon", value))
		return err_set(e, EINVAL, "%s", lodge_vm_error(j->vmm->vm));
	return 0;
}

/* What the running guest is asked for; shown from then on. */
int balloon_patch(const struct job *j, json_t **shown, struct err *e)
{
	json_int_t amount = fields_number(j->body, "amount_mib", 0);
	int rc = vmm_after_start(j->vmm, e);
	json_t *balloon;
	char value[48];

	(void)shown;
	if (!rc)
		rc = find(j, &balloon, e);
	if (rc)
		return rc;
	snprintf(value, sizeof(value), "size=%lldM", (long long)amount);
	rc = change(j, value, e);
	if (!rc)
		json_object_set_new(balloon, "amount_mib", json_integer(amount));
	return rc;
}

/* The balloon's numbers; how many, or -errno with e set. */
static int numbers(const struct job *j, struct lodge_stat *stats, struct err *e)
{
	int n = lodge_vm_device_stats(j->vmm->vm, "balloon", stats, STATS_MAX);

	return n < 0 ? err_set(e, -n, "%s", lodge_vm_error(j->vmm->vm)) : MIN(n, STATS_MAX);
}

static void put(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* A size of the balloon, as the interface tells it: in pages, and in MiB. */
static void put_size(json_t *object, const char *name, uint64_t bytes)
{
	char field[32];

	snprintf(field, sizeof(field), "%s_pages", name);
	put(object, field, bytes >> PAGE_SHIFT);
	snprintf(field, sizeof(field), "%s_mib", name);
	put(object, field, bytes >> MIB_SHIFT);
}

/* After the start, of a balloon that has statistics. */
static int has_statistics(const struct job *j, json_t **balloon, struct err *e)
{
	int rc = vmm_after_start(j->vmm, e);

	if (!rc)
		rc = find(j, balloon, e);
	if (!rc && !fields_number(*balloon, INTERVAL, 0))
		rc = err_set(e, EINVAL,
			     "the balloon has no statistics: give " INTERVAL
			     " in PUT /balloon before the start");
	return rc;
}

/* What the guest tells, and not what lodge counts. */
static bool is_of_guest(const char *name)
{
	static const char *const names[] = {
		"swap_in",       "swap_out",       "major_faults",        "minor_faults",
		"free_memory",   "total_memory",   "available_memory",    "disk_caches",
		"oom_kill",      "alloc_stall",    "async_scan",          "direct_scan",
		"async_reclaim", "direct_reclaim", "hugetlb_allocations", "hugetlb_failures",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

int balloon_get_statistics(const struct job *j, json_t **shown, struct err *e)
{
	struct lodge_stat stats[STATS_MAX];
	json_t *balloon, *object;
	int rc = has_statistics(j, &balloon, e), n;

	if (rc)
		return rc;
	n = numbers(j, stats, e);
	if (n < 0)
		return n;
	object = json_object();
	for (int i = 0; i < n; i++) {
		const char *name = stats[i].name;

		if (!strcmp(name, "target") || !strcmp(name, "actual"))
			put_size(object, name, stats[i].count);
		else if (is_of_guest(name))
			put(object, name, stats[i].count);
	}
	return job_show(object, shown, e);
}

/* Whether there are statistics is settled at the start. */
int balloon_patch_statistics(const struct job *j, json_t **shown, struct err *e)
{
	json_int_t seconds = fields_number(j->body, INTERVAL, 0);
	json_t *balloon;
	char value[48];
	int rc = has_statistics(j, &balloon, e);

	(void)shown;
	if (!rc && !seconds)
		rc = err_set(e, EINVAL,
			     INTERVAL " cannot be 0: statistics stay on once the VM was started");
	if (rc)
		return rc;
	snprintf(value, sizeof(value), "stats=%lld", (long long)seconds);
	rc = change(j, value, e);
	if (!rc)
		json_object_set_new(balloon, INTERVAL, json_integer(seconds));
	return rc;
}

static int has_hinting(const struct job *j, struct err *e)
{
	json_t *balloon;
	int rc = vmm_after_start(j->vmm, e);

	if (!rc)
		rc = find(j, &balloon, e);
	if (!rc && !fields_flag(balloon, "free_page_hinting"))
		rc = err_set(e, EINVAL,
			     "the balloon has no hinting: give free_page_hinting in PUT /balloon "
			     "before the start");
	return rc;
}

int balloon_get_hinting(const struct job *j, json_t **shown, struct err *e)
{
	struct lodge_stat stats[STATS_MAX];
	json_t *object;
	int rc = has_hinting(j, e), n;

	if (rc)
		return rc;
	n = numbers(j, stats, e);
	if (n < 0)
		return n;
	object = json_pack("{s:i, s:n}", "host_cmd", 0, "guest_cmd");
	for (int i = 0; i < n; i++) {
		if (!strcmp(stats[i].name, "hints_command"))
			put(object, "host_cmd", stats[i].count);
		else if (!strcmp(stats[i].name, "hints_guest_command"))
			put(object, "guest_cmd", stats[i].count);
	}
	return job_show(object, shown, e);
}

int balloon_start_hinting(const struct job *j, json_t **shown, struct err *e)
{
	const json_t *acknowledge = json_object_get(j->body, "acknowledge_on_stop");
	int rc = has_hinting(j, e);

	(void)shown;
	return rc ? rc
		  : change(j, json_is_false(acknowledge) ? "hinting=hold" : "hinting=start", e);
}

int balloon_stop_hinting(const struct job *j, json_t **shown, struct err *e)
{
	int rc = has_hinting(j, e);

	(void)shown;
	return rc ? rc : change(j, "hinting=stop", e);
}
