/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's disks: images of the host, which a few threads wait for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int add_disk(struct paravirt *p, struct disks *all, const struct machine_disk *from,
		    struct err *e)
{
	struct image *d = &all->images[all->count];
	struct virtio_blk_config config = {
		.workers = all->workers,
		.serial = from->serial,
		.failed = on_disk_failed,
		.opaque = d,
	};
	struct disk_config file = {.path = from->path, .readonly = from->readonly};

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
	config.disk = d->disk;
	d->blk = virtio_blk_new(&d->machine->mem, &config, e);
	return d->blk ? paravirt_add(p, virtio_blk_device(d->blk), PARAVIRT_CLASS_STORAGE, e)
		      : e->code;
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

const struct paravirt_kind paravirt_disks = {make, release};
