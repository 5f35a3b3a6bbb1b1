/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format of a backing file is what the image says, and raw where it says nothing: to look for
 * a magic number there would let whoever may write to a raw file make it an image, with a backing
 * file of his choice. An image whose backing file has the magic number and no format was meant
 * otherwise, and is refused.
 */
#include "host/qcow2/backing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/qcow2/open.h"

/* A relative name is relative to the image's folder. */
static char *resolve(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (name[0] == '/' || !slash)
		return strdup(name);
	if (asprintf(&path, "%.*s/%s", (int)(slash - image), image, name) < 0)
		return NULL;
	return path;
}

static int open_as(struct qcow2 *q, const struct disk_config *config, unsigned depth, struct err *e)
{
	const char *format = q->header.backing_format;

	if (!strcmp(format, "qcow2")) {
		q->backing = qcow2_open(config, depth + 1, e);
		return q->backing ? 0 : e->code;
	}
	if (format[0] && strcmp(format, "raw"))
		return err_set(e, EINVAL,
			       "the disk %s has a backing file %s of the format '%s': raw and "
			       "qcow2 can be used",
			       q->name, config->path, format);
	q->backing = disk_raw_open_file(config, e);
	if (!q->backing)
		return e->code;
	if (!format[0] && disk_looks_qcow2(q->backing))
		return err_set(e, EINVAL,
			       "the disk %s does not say of which format its backing file %s is: "
			       "tell it with 'qemu-img rebase -u -b FILE -F qcow2 IMAGE' (or raw)",
			       q->name, config->path);
	return 0;
}

int qcow2_backing_open(struct qcow2 *q, unsigned depth, struct err *e)
{
	struct disk_config config = {.readonly = true};
	struct err own = ERR_INIT;
	char *path;
	int rc;

	if (!q->header.backing[0])
		return 0;
	if (depth + 1 >= QCOW2_DEPTH_MAX)
		return err_set(e, ELOOP,
			       "the disk %s has more than %u backing files one behind the other: "
			       "put them together with 'qemu-img convert'",
			       q->name, QCOW2_DEPTH_MAX);
	path = resolve(q->name, q->header.backing);
	if (!path)
		return err_errno(e, ENOMEM, "cannot open the disk %s", q->name);
	config.path = path;
	rc = open_as(q, &config, depth, &own);
	if (rc)
		err_set(e, rc, "%s (a backing file of %s)", own.text, q->name);
	free(path);
	return rc;
}
