/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options follow the first comma, so that a file whose name has one cannot be named:
 * a link to it can. The files are opened when the machine is built.
 */
#include "lib/config_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse_serial(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	if (!len || len > MACHINE_SERIAL_MAX)
		return err_set(e, EINVAL,
			       "disk: the serial number '%.*s' cannot be: give 1 to %d characters",
			       (int)len, value, MACHINE_SERIAL_MAX);
	memcpy(disk->serial, value, len);
	disk->serial[len] = 0;
	return 0;
}

/* One option, of len characters. */
static int parse_option(struct machine_disk *disk, const char *option, size_t len, struct err *e)
{
	if (len == 2 && !strncmp(option, "ro", 2)) {
		disk->readonly = true;
		return 0;
	}
	if (len >= 7 && !strncmp(option, "serial=", 7))
		return parse_serial(disk, option + 7, len - 7, e);
	return err_set(e, EINVAL,
		       "disk has no option '%.*s': give FILE, FILE,ro or FILE,serial=TEXT",
		       (int)len, option);
}

int config_disks_add(struct config_disks *d, const char *value, struct err *e)
{
	struct machine_disk disk = {.path = NULL};
	size_t len = strcspn(value, ",");
	const char *at = value + len;
	int rc;

	if (!len)
		return err_set(e, EINVAL, "disk '%s' names no file: give the name of one", value);
	if (d->count == CONFIG_DISKS_MAX)
		return err_set(e, EINVAL, "disk '%s' is one too many: give up to %d", value,
			       CONFIG_DISKS_MAX);
	while (*at) {
		size_t option = strcspn(++at, ",");

		rc = parse_option(&disk, at, option, e);
		if (rc)
			return rc;
		at += option;
	}
	disk.path = strndup(value, len);
	if (!disk.path)
		return err_errno(e, ENOMEM, "cannot configure");
	d->disk[d->count++] = disk;
	return 0;
}

void config_disks_release(struct config_disks *d)
{
	for (unsigned i = 0; i < d->count; i++)
		free(d->disk[i].path);
	d->count = 0;
}
