/* SPDX-License-Identifier: Apache-2.0 */
#include "host/disk.h"

#include <errno.h>

#include "host/disk_int.h"

struct disk *disk_open(const struct disk_config *config, struct err *e)
{
	return disk_raw_open(config, e);
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
