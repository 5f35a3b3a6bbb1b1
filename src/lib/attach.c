/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach.h"

#include <errno.h>
#include <string.h>

#include "lib/change.h"
#include "lib/config_disk.h"
#include "lib/config_net.h"

static int attach_disk(struct machine *m, const char *value, struct err *e)
{
	struct config_disks one = {.count = 0};
	const struct machine_attachment a = {.disk = one.disk};
	int rc = config_disks_add(&one, value, e);

	if (!rc)
		rc = machine_attach(m, &a, e);
	config_disks_release(&one);
	return rc;
}

static int attach_net(struct machine *m, const char *value, struct err *e)
{
	struct config_nets one = {.count = 0};
	const struct machine_attachment a = {.net = one.net};
	int rc = config_nets_add(&one, value, e);

	if (!rc)
		rc = machine_attach(m, &a, e);
	config_nets_release(&one);
	return rc;
}

int attach_device(struct machine *m, const char *kind, const char *value, struct err *e)
{
	if (!strcmp(kind, "disk"))
		return attach_disk(m, value, e);
	if (!strcmp(kind, "net"))
		return attach_net(m, value, e);
	return err_set(e, EINVAL, "a running VM cannot get a '%s': give disk or net", kind);
}

int detach_device(struct machine *m, const char *device, struct err *e)
{
	unsigned number;

	if (change_number(device, "disk", &number))
		return machine_detach(m, MACHINE_DEVICE_DISK, number, e);
	if (change_number(device, "net", &number))
		return machine_detach(m, MACHINE_DEVICE_NET, number, e);
	return err_set(e, EINVAL, "'%s' cannot be detached: give diskN or netN", device);
}
