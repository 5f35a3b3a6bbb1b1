/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's disks: images of the host, which a few threads wait for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
	struct disk_config file; /* path: the above */
	unsigned block_size;
	dev_t dev; /* with ino: the file that path named when it was opened */
	ino_t ino;
	struct disk *disk;
	struct virtio_blk *blk; /* NULL: not made */
};

struct disks {
	struct workers *workers;
	struct image images[PARAVIRT_MAX];
	unsigned count; /* of those that are or were there */
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

static int check_blocks(const struct disk *disk, const char *path, unsigned block_size,
			struct err *e)
{
	uint64_t size = disk_size(disk);

	if (disk_unit(disk) > block_size)
		return err_set(e, EINVAL,
			       "the disk %s has blocks of %u bytes on the host: leave ',direct' "
			       "away, or give ',blocksize=%u'",
			       path, disk_unit(disk), disk_unit(disk));
	if (size % block_size)
		return err_set(e, EINVAL,
			       "the disk %s has %llu bytes, which are no whole blocks of %u: leave "
			       "',blocksize=%u' away, or change its size with truncate(1)",
			       path, (unsigned long long)size, block_size, block_size);
	return 0;
}

/* Opens what d->file says and d's device can be given; NULL with e set. */
static struct disk *open_image(struct image *d, const char *path, struct err *e)
{
	struct disk_config file = d->file;
	struct disk *disk;

	file.path = path;
	disk = disk_open(&file, e);
	if (disk && check_blocks(disk, path, d->block_size, e)) {
		disk_free(disk);
		return NULL;
	}
	if (disk && file.format == DISK_RAW && disk_looks_qcow2(disk))
		machine_warn(d->machine,
			     "the disk %s begins like a qcow2 image, but is used as raw: the guest "
			     "sees the image itself: add ',format=qcow2' if you trust it",
			     path);
	return disk;
}

/* Keeps which file it is that path names. */
static void note_file(struct image *d)
{
	struct stat st;

	if (stat(d->path, &st))
		st.st_dev = 0, st.st_ino = 0;
	d->dev = st.st_dev;
	d->ino = st.st_ino;
}

/* The lowest number that is free; PARAVIRT_MAX: none is. */
static unsigned free_number(const struct disks *all)
{
	unsigned n = 0;

	while (n < all->count && all->images[n].blk)
		n++;
	return n;
}

static int add_disk(struct paravirt *p, struct disks *all, const struct machine_disk *from,
		    struct err *e)
{
	unsigned number = free_number(all);
	struct image *d = &all->images[number];
	struct virtio_blk_config config = {
		.workers = all->workers,
		.clock = &paravirt_machine(p)->clock,
		.serial = from->serial,
		.queues = queues_of(paravirt_machine(p), from),
		.block_size = from->block_size ? from->block_size : DISK_SECTOR,
		.failed = on_disk_failed,
		.opaque = d,
	};

	if (number == PARAVIRT_MAX)
		return err_set(e, ENOSPC, "the machine has more than %d disks: give fewer",
			       PARAVIRT_MAX);
	all->count = MAX(all->count, number + 1);
	d->machine = paravirt_machine(p);
	d->path = strdup(from->path);
	if (!d->path)
		return err_errno(e, ENOMEM, "cannot make virtio-blk");
	d->file = (struct disk_config){
		.readonly = from->readonly, .format = from->format, .direct = from->direct};
	d->block_size = config.block_size;
	d->disk = open_image(d, d->path, e);
	if (!d->disk)
		return e->code;
	note_file(d);
	config.disk = d->disk;
	d->blk = virtio_blk_new(&d->machine->mem, &config, e);
	if (!d->blk)
		return e->code;
	virtio_blk_limit(d->blk, &from->limits.bandwidth, &from->limits.ops);
	return paravirt_add(p, virtio_blk_device(d->blk), PARAVIRT_CLASS_STORAGE, e);
}

static struct disks *new_disks(struct err *e)
{
	struct disks *all = calloc(1, sizeof(*all));

	if (!all) {
		err_errno(e, ENOMEM, "cannot make virtio-blk");
		return NULL;
	}
	all->workers = workers_new("lodge-disk", WORKERS, e);
	if (all->workers)
		return all;
	free(all);
	return NULL;
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	const struct machine_config *c = &paravirt_machine(p)->config;
	int rc = 0;

	if (!c->disk_count)
		return 0;
	*state = new_disks(e);
	if (!*state)
		return e->code;
	for (unsigned i = 0; !rc && i < c->disk_count; i++)
		rc = add_disk(p, *state, &c->disks[i], e);
	return rc;
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct disks *all = state;

	if (!all || number >= all->count || !all->images[number].blk)
		return NULL;
	return virtio_blk_device(all->images[number].blk);
}

/* Also of what was made in part. */
static void detach(void *state, unsigned number)
{
	struct image *d = &((struct disks *)state)->images[number];

	if (d->blk)
		virtio_blk_free(d->blk);
	disk_free(d->disk);
	free(d->path);
	*d = (struct image){.blk = NULL};
}

static int attach(struct paravirt *p, void **state, const struct machine_attachment *a,
		  struct err *e)
{
	unsigned number;
	int rc;

	if (!*state)
		*state = new_disks(e);
	if (!*state)
		return e->code;
	number = free_number(*state);
	rc = add_disk(p, *state, a->disk, e);
	if (rc && number < PARAVIRT_MAX)
		detach(*state, number);
	return rc ? rc : (int)number;
}

/* A qcow2 image says its size itself, and nobody else may write to it while it is open. */
static int resize(struct image *image, struct err *e)
{
	int rc;

	if (image->file.format == DISK_QCOW2)
		return err_set(e, EOPNOTSUPP,
			       "the disk %s is a qcow2 image, which keeps its size while a VM has "
			       "it: end the VM, then use 'qemu-img resize'",
			       image->path);
	rc = disk_measure(image->disk);
	if (rc)
		return err_errno(e, rc, "cannot measure the disk %s", image->path);
	virtio_blk_resize(image->blk);
	return 0;
}

static bool is_same_file(const struct image *d, const char *path)
{
	struct stat st;

	return !stat(path, &st) && st.st_dev == d->dev && st.st_ino == d->ino;
}

/* The device looks at its old disk no more when virtio_blk_swap returns. */
static int swap(struct image *d, const char *path, struct err *e)
{
	struct disk *disk, *old = d->disk;
	char *name, *old_name = d->path;
	int rc;

	if (is_same_file(d, path))
		return resize(d, e);
	disk = open_image(d, path, e);
	if (!disk)
		return e->code;
	name = strdup(path);
	rc = name ? virtio_blk_swap(d->blk, disk) : -ENOMEM;
	if (rc) {
		err_errno(e, rc, "the disk %s keeps its file: cannot flush it", d->path);
		disk_free(disk);
		free(name);
		return rc;
	}
	d->disk = disk;
	pthread_mutex_lock(&virtio_blk_device(d->blk)->lock); /* on_disk_failed reads it */
	d->path = name;
	pthread_mutex_unlock(&virtio_blk_device(d->blk)->lock);
	note_file(d);
	disk_free(old);
	free(old_name);
	return 0;
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct disks *all = state;

	if (!device(state, c->device))
		return err_set(e, ENOENT, "the machine has no disk %u", c->device);
	if (c->kind == MACHINE_CHANGE_DISK_SIZE)
		return resize(&all->images[c->device], e);
	if (c->kind == MACHINE_CHANGE_DISK_FILE)
		return swap(&all->images[c->device], c->path, e);
	virtio_blk_limit(all->images[c->device].blk, paravirt_bandwidth(&c->limits[0]),
			 paravirt_ops(&c->limits[0]));
	return 0;
}

static void release(void *state)
{
	struct disks *all = state;

	workers_free(all->workers);
	for (unsigned i = 0; i < all->count; i++)
		detach(all, i);
	free(all);
}

const struct paravirt_kind paravirt_disks = {
	.make = make,
	.release = release,
	.change = change,
	.name = "disk",
	.attach = attach,
	.device = device,
	.detach = detach,
};
