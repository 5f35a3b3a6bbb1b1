/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options follow the first comma, so that a file whose name has one cannot be named:
 * a link to it can. The files are opened when the machine is built.
 */
#include "lib/config_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "lib/config_number.h"

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

static int parse_queues(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	const char *end;
	uint64_t n;

	if (!config_number(value, &end, &n) || end != value + len || !n ||
	    n > MACHINE_DISK_QUEUES_MAX)
		return err_set(e, EINVAL, "disk: queues '%.*s' cannot be: give 1 to %d", (int)len,
			       value, MACHINE_DISK_QUEUES_MAX);
	disk->queues = n;
	return 0;
}

static int parse_block_size(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	const char *end;
	uint64_t n;

	if (!config_number(value, &end, &n) || end != value + len || (n != 512 && n != 4096))
		return err_set(e, EINVAL, "disk: blocksize '%.*s' cannot be: give 512 or 4096",
			       (int)len, value);
	disk->block_size = n;
	return 0;
}

static int parse_bandwidth(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	return config_limit(&disk->limits.bandwidth, "disk: bandwidth", value, len, e);
}

static int parse_ops(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	return config_limit(&disk->limits.ops, "disk: ops", value, len, e);
}

static int parse_readonly(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	(void)value;
	(void)len;
	(void)e;
	disk->readonly = true;
	return 0;
}

static int parse_direct(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	(void)value;
	(void)len;
	(void)e;
	disk->direct = true;
	return 0;
}

static int parse_format(struct machine_disk *disk, const char *value, size_t len, struct err *e)
{
	if (len == 3 && !strncmp(value, "raw", 3))
		disk->format = DISK_RAW;
	else if (len == 5 && !strncmp(value, "qcow2", 5))
		disk->format = DISK_QCOW2;
	else
		return err_set(e, EINVAL, "disk: the format '%.*s' is not known: give raw or qcow2",
			       (int)len, value);
	return 0;
}

/* What a file is, is never found out by looking into it: a guest that has written to it as raw
 * could make it an image that names any file of the host as its backing file. */
static enum disk_format format_of_name(const char *name, size_t len)
{
	static const char suffix[] = ".qcow2";
	size_t n = sizeof(suffix) - 1;

	return len > n && !strncmp(name + len - n, suffix, n) ? DISK_QCOW2 : DISK_RAW;
}

/* Options by name; what ends with '=' has a value. */
static const struct option {
	const char *name;
	int (*parse)(struct machine_disk *disk, const char *value, size_t len, struct err *e);
} options[] = {
	{"ro", parse_readonly},          {"format=", parse_format},
	{"direct", parse_direct},        {"serial=", parse_serial},
	{"queues=", parse_queues},       {"blocksize=", parse_block_size},
	{"bandwidth=", parse_bandwidth}, {"ops=", parse_ops},
};

/* One option, of len characters. */
static int parse_option(struct machine_disk *disk, const char *option, size_t len, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		size_t name = strlen(options[i].name);
		bool valued = options[i].name[name - 1] == '=';

		if (strncmp(option, options[i].name, name) == 0 && (valued || len == name))
			return options[i].parse(disk, option + name, len - name, e);
	}
	return err_set(e, EINVAL,
		       "disk has no option '%.*s': give ro, format=raw|qcow2, direct, serial=TEXT, "
		       "queues=N, blocksize=N, "
		       "bandwidth=RATE or ops=RATE",
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
	disk.format = format_of_name(value, len);
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
