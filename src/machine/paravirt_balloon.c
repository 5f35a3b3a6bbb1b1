/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's memory balloon. */
#include <errno.h>
#include <stdlib.h>

#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/balloon.h"

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	const struct machine_balloon *from = &m->config.balloon;
	const struct virtio_balloon_config config = {
		.size = from->size,
		.deflate_on_oom = from->deflate_on_oom,
		.reporting = from->reporting,
		.hinting = from->hinting,
		.stats_s = from->stats_s,
		.clock = &m->clock,
	};
	struct virtio_balloon *b;

	if (!from->present)
		return 0;
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_errno(e, ENOMEM, "cannot make virtio-balloon");
	virtio_balloon_init(b, &m->mem, &config);
	*state = b;
	return paravirt_add(p, &b->device, PARAVIRT_CLASS_OTHER, e);
}

static void release(void *state)
{
	struct virtio_balloon *b = state;

	virtio_balloon_release(b);
	free(b);
}

static int resize(struct virtio_balloon *b, uint64_t size, struct err *e)
{
	if (size > b->device.mem->size)
		return err_set(e, EINVAL, "the balloon is larger than the memory: give less");
	virtio_balloon_resize(b, size);
	return 0;
}

static int poll_stats(struct virtio_balloon *b, unsigned seconds, struct err *e)
{
	if (virtio_balloon_poll(b, seconds))
		return 0;
	return err_set(e, ENOENT, "the balloon has no statistics: start the VM with 'stats='");
}

static int change_hints(struct virtio_balloon *b, const struct machine_change *c, struct err *e)
{
	if (c->on ? virtio_balloon_hint(b, c->acknowledge) : virtio_balloon_stop_hints(b))
		return 0;
	return err_set(e, ENOENT, "the balloon has no hints: start the VM with 'hinting'");
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct virtio_balloon *b = state;
	int rc;

	if (!b)
		return err_set(e, ENOENT, "the machine has no balloon");
	pthread_mutex_lock(&b->device.lock);
	if (c->kind == MACHINE_CHANGE_BALLOON)
		rc = resize(b, c->size, e);
	else if (c->kind == MACHINE_CHANGE_BALLOON_STATS)
		rc = poll_stats(b, c->seconds, e);
	else
		rc = change_hints(b, c, e);
	pthread_mutex_unlock(&b->device.lock);
	return rc;
}

/* Where a list of numbers goes that may be longer than its room. */
struct list {
	struct engine_stat *stats;
	size_t max, count;
};

static void add(struct list *l, const char *name, uint64_t count)
{
	if (l->count < l->max)
		l->stats[l->count] = (struct engine_stat){name, count};
	l->count++;
}

static size_t stats(void *state, struct engine_stat *out, size_t max)
{
	static const char *const names[BALLOON_STATS] = {
		[BALLOON_SWAP_IN] = "swap_in",
		[BALLOON_SWAP_OUT] = "swap_out",
		[BALLOON_MAJOR_FAULTS] = "major_faults",
		[BALLOON_MINOR_FAULTS] = "minor_faults",
		[BALLOON_FREE] = "free_memory",
		[BALLOON_TOTAL] = "total_memory",
		[BALLOON_AVAILABLE] = "available_memory",
		[BALLOON_CACHES] = "disk_caches",
		[BALLOON_HUGE_ALLOCATIONS] = "hugetlb_allocations",
		[BALLOON_HUGE_FAILURES] = "hugetlb_failures",
		[BALLOON_OOM_KILLS] = "oom_kill",
		[BALLOON_ALLOC_STALLS] = "alloc_stall",
		[BALLOON_ASYNC_SCANS] = "async_scan",
		[BALLOON_DIRECT_SCANS] = "direct_scan",
		[BALLOON_ASYNC_RECLAIMS] = "async_reclaim",
		[BALLOON_DIRECT_RECLAIMS] = "direct_reclaim",
	};
	struct virtio_balloon *b = state;
	struct list l = {out, max, 0};

	if (!b)
		return 0;
	pthread_mutex_lock(&b->device.lock);
	add(&l, "target", virtio_balloon_target(b));
	add(&l, "actual", virtio_balloon_actual(b));
	add(&l, "returned", b->returned);
	add(&l, "hints_command", b->host_command);
	if (b->guest_commanded)
		add(&l, "hints_guest_command", b->guest_command);
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		if (b->stats.known & 1u << i)
			add(&l, names[i], b->stats.value[i]);
	pthread_mutex_unlock(&b->device.lock);
	return l.count;
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct virtio_balloon *b = state;

	return b && !number ? &b->device : NULL;
}

const struct paravirt_kind paravirt_balloon = {
	.make = make, .release = release, .change = change, .stats = stats, .device = device};
