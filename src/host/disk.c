/* SPDX-License-Identifier: Apache-2.0 */
#include "host/disk.h"

#include <errno.h>

#include "host/disk_int.h"
#include "host/qcow2/format.h"
#include "host/qcow2/open.h"

struct disk *disk_open(const struct disk_config *config, struct err *e)
{
	if (config->format == DISK_RAW)
		return disk_raw_open(config, e);
	if (!config->direct)
		return qcow2_open(config, 0, e);
	err_set(e, EINVAL,
		"the disk %s is a qcow2 image, whose tables need the host's page cache: leave "
		"',direct' away",
		config->path);
	return NULL;
}

bool disk_looks_qcow2(struct disk *d)
{
	uint8_t magic[4];
	const struct disk_span span = {magic, sizeof(magic)};

	return disk_size(d) >= sizeof(magic) && !disk_read(d, &span, 1, 0) &&
	       qcow2_load(magic, sizeof(magic)) == QCOW2_MAGIC;
}

void disk_free(struct disk *d)
{
	if (d)
		d->ops->free(d);
}

uint64_t disk_size(const struct disk *d)
{
	return d->size;
}

unsigned disk_unit(const struct disk *d)
{
	return d->unit ? d->unit : DISK_SECTOR;
}

int disk_measure(struct disk *d)
{
	return d->ops->measure ? d->ops->measure(d) : -EOPNOTSUPP;
}

bool disk_direct(const struct disk *d)
{
	return d->direct;
}

bool disk_quick(const struct disk *d)
{
	return !d->direct && d->ops->write_more;
}

bool disk_readonly(const struct disk *d)
{
	return d->readonly;
}

int disk_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	return d->ops->read(d, spans, count, offset);
}

int disk_write(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	return d->readonly ? -EROFS : d->ops->write(d, spans, count, offset);
}

int disk_write_more(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	if (d->readonly || !d->ops->write_more)
		return disk_write(d, spans, count, offset);
	return d->ops->write_more(d, spans, count, offset);
}

int disk_read_now(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	return d->ops->read_now ? d->ops->read_now(d, spans, count, offset) : -EAGAIN;
}

int disk_flush(struct disk *d)
{
	return d->readonly ? 0 : d->ops->flush(d);
}

int disk_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	return d->readonly ? -EROFS : d->ops->discard(d, offset, len);
}

int disk_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap)
{
	return d->readonly ? -EROFS : d->ops->zero(d, offset, len, unmap);
}

int disk_set_size(struct disk *d, uint64_t size)
{
	if (d->readonly)
		return -EROFS;
	return d->ops->set_size ? d->ops->set_size(d, size) : -ENOSPC;
}
