/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's persistent memory: files of the host, above the RAM. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/memfile.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/pmem.h"

struct file {
	struct machine *machine;
	char *path;
	struct memfile *memory;
	struct event_source lost, changed;
	struct virtio_pmem *pmem; /* NULL: not made */
};

struct files {
	struct workers *workers;
	struct file files[MACHINE_PMEMS_MAX];
	unsigned count;
};

static int flush(void *opaque)
{
	struct file *f = opaque;

	return memfile_flush(f->memory);
}

static void on_flush_failed(void *opaque, int error)
{
	struct file *f = opaque;

	machine_warn(f->machine,
		     "the memory file %s failed to flush: %s: the guest was told: look after the "
		     "host's disk",
		     f->path, strerror(error));
}

/* Once is enough. */
static void on_lost(void *opaque, unsigned events)
{
	struct file *f = opaque;

	(void)events;
	event_remove(f->machine->loop, &f->lost);
	machine_warn(f->machine,
		     "the memory file %s was made shorter, or cannot be read: the guest finds "
		     "zeroes there, and its flushes fail: stop the VM before the file is changed",
		     f->path);
}

static void on_changed(void *opaque, unsigned events)
{
	struct file *f = opaque;

	(void)events;
	memfile_look(f->memory);
}

static int watch(struct file *f, struct err *e)
{
	struct event_loop *loop = f->machine->loop;
	int rc;

	f->lost = (struct event_source){
		.ready = on_lost, .opaque = f, .fd = memfile_lost_fd(f->memory)};
	f->changed = (struct event_source){
		.ready = on_changed, .opaque = f, .fd = memfile_watch_fd(f->memory)};
	rc = event_add(loop, &f->lost, EVENT_READ);
	if (!rc && f->changed.fd >= 0)
		rc = event_add(loop, &f->changed, EVENT_READ);
	return rc ? err_errno(e, rc, "cannot make virtio-pmem") : 0;
}

static int map(struct machine *m, const struct memfile *memory, uint64_t *gpa, struct err *e)
{
	uint64_t size = memfile_size(memory);
	int rc;

	*gpa = machine_memory_place(m, size, e);
	if (!*gpa)
		return e->code;
	rc = mem_add_file(&m->mem, *gpa, size, memfile_host(memory), e);
	return rc ? rc : m->engine->map(m->vm, mem_find(&m->mem, *gpa), e);
}

static int open_file(struct files *all, struct file *f, const struct machine_pmem *from,
		     struct err *e)
{
	struct machine *m = f->machine;
	struct virtio_pmem_config config = {
		.workers = all->workers,
		.clock = &m->clock,
		.flush = flush,
		.failed = on_flush_failed,
		.opaque = f,
	};
	uint64_t spare;
	int rc;

	f->path = strdup(from->path);
	if (!f->path)
		return err_errno(e, ENOMEM, "cannot make virtio-pmem");
	f->memory = memfile_open(from->path, from->readonly, e);
	if (!f->memory)
		return e->code;
	spare = memfile_size(f->memory) - memfile_length(f->memory);
	if (spare && !from->readonly)
		machine_warn(m,
			     "the memory file %s is no multiple of 2 MiB: the last %llu bytes of "
			     "the guest's device are not kept: change its size with truncate(1)",
			     f->path, (unsigned long long)spare);
	rc = watch(f, e);
	if (rc)
		return rc;
	config.size = memfile_size(f->memory);
	config.length = memfile_length(f->memory);
	rc = map(m, f->memory, &config.start, e);
	if (rc)
		return rc;
	f->pmem = calloc(1, sizeof(*f->pmem));
	if (!f->pmem)
		return err_errno(e, ENOMEM, "cannot make virtio-pmem");
	virtio_pmem_init(f->pmem, &m->mem, &config);
	virtio_pmem_limit(f->pmem, &from->limits.bandwidth, &from->limits.ops);
	return 0;
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	const struct machine_config *c = &m->config;
	struct files *all;
	int rc = 0;

	if (!c->pmem_count)
		return 0;
	*state = all = calloc(1, sizeof(*all));
	if (!all)
		return err_errno(e, ENOMEM, "cannot make virtio-pmem");
	all->workers = workers_new("lodge-pmem", MACHINE_PMEMS_MAX, e);
	if (!all->workers)
		return e->code;
	for (unsigned i = 0; !rc && i < c->pmem_count; i++) {
		struct file *f = &all->files[all->count++];

		f->machine = m;
		rc = open_file(all, f, &c->pmems[i], e);
		if (!rc)
			rc = paravirt_add(p, &f->pmem->device, PARAVIRT_CLASS_OTHER, e);
	}
	return rc;
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct files *all = state;

	if (!all || c->device >= all->count)
		return err_set(e, ENOENT, "the machine has no persistent memory %u", c->device);
	virtio_pmem_limit(all->files[c->device].pmem, paravirt_bandwidth(&c->limits[0]),
			  paravirt_ops(&c->limits[0]));
	return 0;
}

/* The memory goes when nobody can reach it: no vCPU runs, the workers have ended, and other devices
 * were stopped by the machine. */
static void release(void *state)
{
	struct files *all = state;

	workers_free(all->workers);
	for (unsigned i = 0; i < all->count; i++) {
		struct file *f = &all->files[i];

		if (f->lost.added)
			event_remove(f->machine->loop, &f->lost);
		if (f->changed.added)
			event_remove(f->machine->loop, &f->changed);
		if (f->pmem)
			virtio_pmem_release(f->pmem);
		free(f->pmem);
		memfile_free(f->memory);
		free(f->path);
	}
	free(all);
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct files *all = state;

	return all && number < all->count && all->files[number].pmem
		       ? &all->files[number].pmem->device
		       : NULL;
}

const struct paravirt_kind paravirt_pmem = {
	.make = make, .release = release, .change = change, .device = device};
