/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's disks: images of the host, which a few threads wait for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "host/disk.h"
#include "host/workers.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/blk.h"

/* Threads that wait for the host's disks. */
#define WORKERS 4

struct image {
	struct machine *machine;
	char *path;
	struct disk *disk;
	struct virtio_blk *blk; /* NULL: not made */
};

struct disks {
	struct workers *workers;
	struct image images[PARAVIRT_MAX];
	unsigned count;
};

/* The first error of a disk is for the user as well as for the guest. */
static void on_disk_failed(void *opaque, const char *what, int error)
{
	struct image *d = opaque;

	machine_warn(d->machine,
		     "the disk %s failed to %s: %s: the guest has got I/O errors: look after the "
		     "host's disk",
		     d->path, what, strerror(error));
}

/* One queue a vCPU suits the guest best: it then shares none. */
static unsigned queues_of(const struct machine *m, const struct machine_disk *from)
{
	return from->queues ? from->queues : MIN(m->config.cpus, MACHINE_DISK_QUEUES_MAX);
}

static int check_blocks(const struct image *d, unsigned block_size, struct err *e)
{
	uint64_t size = disk_size(d->disk);

	if (disk_unit(d->disk) > block_size)
		return err_set(e, EINVAL,
			       "the disk %s has blocks of %u bytes on the host: leave ',direct' "
			       "away, or give ',blocksize=%u'",
			       d->path, disk_unit(d->disk), disk_unit(d->disk));
	if (size % block_size)
		return err_set(e, EINVAL,
			       "the disk %s has %llu bytes, which are no whole blocks of %u: leave "
			       "',blocksize=%u' away, or change its size with truncate(1)",
			       d->path, (unsigned long long)size, block_size, block_size);
	return 0;
}

static int add_disk(struct paravirt *p, struct disks *all, const struct machine_disk *from,
		    struct err *e)
{
	struct image *d = &all->images[all->count];
	struct virtio_blk_config config = {
		.workers = all->workers,
		.clock = &paravirt_machine(p)->clock,
		.serial = from->serial,
		.queues = queues_of(paravirt_machine(p), from),
		.block_size = from->block_size ? from->block_size : DISK_SECTOR,
		.failed = on_disk_failed,
		.opaque = d,
	};
	struct disk_config file = {.path = from->path,
				   .readonly = from->readonly,
				   .format = from->format,
				   .direct = from->direct};
	int rc;

	if (all->count == PARAVIRT_MAX)
		return err_set(e, ENOSPC, "the machine has more than %d disks: give fewer",
			       PARAVIRT_MAX);
	all->count++;
	d->machine = paravirt_machine(p);
	d->path = strdup(from->path);
	if (!d->path)
		return err_errno(e, ENOMEM, "cannot make virtio-blk");
	d->disk = disk_open(&file, e);
	if (!d->disk)
		return e->code;
	rc = check_blocks(d, config.block_size, e);
	if (rc)
		return rc;
	if (from->format == DISK_RAW && disk_looks_qcow2(d->disk))
		machine_warn(d->machine,
			     "the disk %s begins like a qcow2 image, but is used as raw: the guest "
			     "sees the image itself: add ',format=qcow2' if you trust it",
			     d->path);
	config.disk = d->disk;
	d->blk = virtio_blk_new(&d->machine->mem, &config, e);
	if (!d->blk)
		return e->code;
	virtio_blk_limit(d->blk, &from->limits.bandwidth, &from->limits.ops);
	return paravirt_add(p, virtio_blk_device(d->blk), PARAVIRT_CLASS_STORAGE, e);
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	const struct machine_config *c = &paravirt_machine(p)->config;
	struct disks *all;
	int rc = 0;

	if (!c->disk_count)
		return 0;
	*state = all = calloc(1, sizeof(*all));
	if (!all)
		return err_errno(e, ENOMEM, "cannot make virtio-blk");
	all->workers = workers_new("lodge-disk", WORKERS, e);
	if (!all->workers)
		return e->code;
	for (unsigned i = 0; !rc && i < c->disk_count; i++)
		rc = add_disk(p, all, &c->disks[i], e);
	return rc;
}

static int resize(struct image *image, struct err *e)
{
	int rc = disk_measure(image->disk);

	if (rc)
		return err_errno(e, rc, "cannot measure the disk %s", image->path);
	virtio_blk_resize(image->blk);
	return 0;
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct disks *all = state;

	if (!all || c->device >= all->count)
		return err_set(e, ENOENT, "the machine has no disk %u", c->device);
	if (c->kind == MACHINE_CHANGE_DISK_SIZE)
		return resize(&all->images[c->device], e);
	virtio_blk_limit(all->images[c->device].blk, paravirt_bandwidth(&c->limits[0]),
			 paravirt_ops(&c->limits[0]));
	return 0;
}

static void release(void *state)
{
	struct disks *all = state;

	workers_free(all->workers);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->images[i].blk)
			virtio_blk_free(all->images[i].blk);
		disk_free(all->images[i].disk);
		free(all->images[i].path);
	}
	free(all);
}

const struct paravirt_kind paravirt_disks = {.make = make, .release = release, .change = change};
