/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the machine's guest gets and gives back while it runs.
 *
 * The engine has it in pieces: one is mapped while any of its blocks is there. A guest that
 * writes where a block is not there, in such a piece, takes memory that it was not given,
 * up to the piece; elsewhere it finds no memory.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/memory.h"

#define PIECES_MAX (MEM_SLOTS_MAX - MEM_REGIONS_MAX)

struct memory {
	struct machine *machine;
	struct virtio_memory device;
	struct event_wake wake;
	bool made; /* device and wake are */
	uint64_t slot;
	struct piece {
		struct mem_region region;
		bool mapped;
	} pieces[PIECES_MAX];
	unsigned count;
};

static void wake(void *opaque)
{
	struct memory *m = opaque;

	event_wake_signal(&m->wake);
}

static void woken(void *opaque)
{
	struct memory *m = opaque;

	virtio_memory_serve(&m->device);
}

static bool touches(const struct piece *p, uint64_t gpa, uint64_t len)
{
	return ranges_overlap(p->region.gpa, p->region.size, gpa, len);
}

/* Unmaps what of it has no block any more. What the guest writes until its piece is gone must not
 * be there when it comes again. */
static void drop(struct memory *m, uint64_t gpa, uint64_t len)
{
	struct machine *machine = m->machine;

	for (unsigned i = 0; i < m->count; i++) {
		struct piece *p = &m->pieces[i];

		if (!p->mapped || !touches(p, gpa, len) ||
		    !mem_all_plugged(m->device.region, p->region.gpa, p->region.size, false) ||
		    machine->engine->unmap(machine->vm, &p->region, NULL))
			continue;
		p->mapped = false;
		mem_give_back(&machine->mem, p->region.gpa, p->region.size);
	}
}

static bool plug(void *opaque, uint64_t gpa, uint64_t len)
{
	struct memory *m = opaque;
	struct machine *machine = m->machine;

	for (unsigned i = 0; i < m->count; i++) {
		struct piece *p = &m->pieces[i];

		if (p->mapped || !touches(p, gpa, len))
			continue;
		if (machine->engine->map(machine->vm, &p->region, NULL)) {
			drop(m, gpa, len); /* the pieces before this one */
			return false;
		}
		p->mapped = true;
	}
	mem_plug(&machine->mem, gpa, len);
	return true;
}

static void unplug(void *opaque, uint64_t gpa, uint64_t len)
{
	struct memory *m = opaque;

	mem_unplug(&m->machine->mem, gpa, len);
	drop(m, gpa, len);
}

static void cut(struct memory *m, const struct mem_region *r)
{
	uint64_t slots = (r->size + m->slot - 1) / m->slot;
	uint64_t size = m->slot * ((slots + PIECES_MAX - 1) / PIECES_MAX);

	for (uint64_t at = 0; at < r->size; at += size) {
		m->pieces[m->count].region = (struct mem_region){
			.gpa = r->gpa + at,
			.size = MIN(size, r->size - at),
			.host = r->host + at,
			.slot = MEM_REGIONS_MAX + m->count,
		};
		m->count++;
	}
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *machine = paravirt_machine(p);
	const struct machine_memory *from = &machine->config.hotplug;
	struct virtio_memory_config config = {
		.requested = from->requested, .wake = wake, .plug = plug, .unplug = unplug};
	struct memory *m;
	int rc;

	if (!from->size)
		return 0;
	*state = m = calloc(1, sizeof(*m));
	if (!m)
		return err_errno(e, ENOMEM, "cannot make virtio-mem");
	m->machine = machine;
	m->slot = from->slot;
	config.opaque = m;
	config.start = machine_memory_place(machine, from->size, e);
	if (!config.start)
		return e->code;
	rc = mem_add_blocks(&machine->mem, config.start, from->size, from->block, e);
	if (rc)
		return rc;
	cut(m, mem_find(&machine->mem, config.start));
	rc = event_wake_init(&m->wake, machine->loop, woken, m);
	if (rc)
		return err_errno(e, rc, "cannot make virtio-mem");
	virtio_memory_init(&m->device, &machine->mem, &config);
	m->made = true;
	return paravirt_add(p, &m->device.device, PARAVIRT_CLASS_OTHER, e);
}

static void release(void *state)
{
	struct memory *m = state;

	if (m->made) {
		event_wake_release(&m->wake, m->machine->loop);
		virtio_memory_release(&m->device);
	}
	free(m);
}

static void reset(void *state)
{
	struct memory *m = state;

	virtio_memory_clear(&m->device);
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct memory *m = state;
	bool done;

	if (!m)
		return err_set(e, ENOENT,
			       "the machine has no memory to be plugged: start it with "
			       "hotplug-memory");
	pthread_mutex_lock(&m->device.device.lock);
	done = virtio_memory_request(&m->device, c->size);
	pthread_mutex_unlock(&m->device.device.lock);
	return done ? 0
		    : err_set(e, EINVAL,
			      "the memory's size cannot be %llu bytes: give whole blocks of %llu, "
			      "up to %llu",
			      (unsigned long long)c->size,
			      (unsigned long long)m->device.region->block,
			      (unsigned long long)m->device.region->size);
}

static size_t stats(void *state, struct engine_stat *out, size_t max)
{
	struct memory *m = state;
	struct engine_stat all[] = {
		{"total", 0}, {"slot", 0}, {"block", 0}, {"plugged", 0}, {"requested", 0}};

	if (!m)
		return 0;
	pthread_mutex_lock(&m->device.device.lock);
	all[0].count = m->device.region->size;
	all[1].count = m->slot;
	all[2].count = m->device.region->block;
	all[3].count = m->device.plugged;
	all[4].count = virtio_memory_requested(&m->device);
	pthread_mutex_unlock(&m->device.device.lock);
	for (size_t i = 0; i < ARRAY_LEN(all) && i < max; i++)
		out[i] = all[i];
	return ARRAY_LEN(all);
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct memory *m = state;

	return m && m->made && !number ? &m->device.device : NULL;
}

const struct paravirt_kind paravirt_memory = {
	.make = make,
	.release = release,
	.change = change,
	.stats = stats,
	.reset = reset,
	.device = device,
};
