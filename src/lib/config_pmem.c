/* SPDX-License-Identifier: Apache-2.0 */
/* Options follow the first comma, as a disk's do. */
#include "lib/config_pmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "lib/config_number.h"

/* One option, of len characters. */
static int parse_option(struct machine_pmem *pmem, const char *option, size_t len, struct err *e)
{
	static const char bandwidth[] = "bandwidth=", ops[] = "ops=";

	if (len == 2 && !strncmp(option, "ro", len)) {
		pmem->readonly = true;
		return 0;
	}
	if (!strncmp(option, bandwidth, strlen(bandwidth)))
		return config_limit(&pmem->limits.bandwidth, "pmem: bandwidth",
				    option + strlen(bandwidth), len - strlen(bandwidth), e);
	if (!strncmp(option, ops, strlen(ops)))
		return config_limit(&pmem->limits.ops, "pmem: ops", option + strlen(ops),
				    len - strlen(ops), e);
	return err_set(e, EINVAL, "pmem has no option '%.*s': give ro, bandwidth=RATE or ops=RATE",
		       (int)len, option);
}

int config_pmems_add(struct config_pmems *p, const char *value, struct err *e)
{
	struct machine_pmem pmem = {.path = NULL};
	size_t len = strcspn(value, ",");
	const char *at = value + len;

	if (!len)
		return err_set(e, EINVAL, "pmem '%s' names no file: give the name of one", value);
	if (p->count == MACHINE_PMEMS_MAX)
		return err_set(e, EINVAL, "pmem '%s' is one too many: give up to %d", value,
			       MACHINE_PMEMS_MAX);
	while (*at) {
		size_t option = strcspn(++at, ",");
		int rc = parse_option(&pmem, at, option, e);

		if (rc)
			return rc;
		at += option;
	}
	pmem.path = strndup(value, len);
	if (!pmem.path)
		return err_errno(e, ENOMEM, "cannot configure");
	p->pmem[p->count++] = pmem;
	return 0;
}

void config_pmems_release(struct config_pmems *p)
{
	for (unsigned i = 0; i < p->count; i++)
		free(p->pmem[i].path);
	p->count = 0;
}
