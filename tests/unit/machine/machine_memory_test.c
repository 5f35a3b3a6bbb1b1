/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a machine's guest is given while it runs, of an engine that does not take it all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "machine/pc.h"
#include "machine_rig.h"
#include "virtio/memory.h"

#define PIECE  MIB(128)
#define PIECES 4u

/* What the engine has of it, by a region's slot; and from which on it takes no more. */
static bool mapped[MEM_SLOTS_MAX];
static unsigned limit;

/* The fake one has no such regions, and its guest does not look. */
static int map(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	if (region->slot < MEM_REGIONS_MAX)
		return fake_engine.map(vm, region, e);
	if (region->slot - MEM_REGIONS_MAX >= limit)
		return err_set(e, ENOMEM, "no more");
	assert_false(mapped[region->slot]);
	mapped[region->slot] = true;
	return 0;
}

static int unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	if (region->slot < MEM_REGIONS_MAX)
		return fake_engine.unmap(vm, region, e);
	assert_true(mapped[region->slot]);
	mapped[region->slot] = false;
	return 0;
}

static unsigned pieces(void)
{
	unsigned n = 0;

	for (unsigned i = MEM_REGIONS_MAX; i < MEM_SLOTS_MAX; i++)
		n += mapped[i];
	return n;
}

struct request {
	uint64_t at, len; /* in its region */
	bool done;
};

static const struct virtio_memory_config *memory_of(struct machine *m)
{
	struct paravirt *p = pc_paravirt(m->pc);

	for (unsigned n = 0; n < p->count; n++) {
		struct virtio_device *d = p->seats[n]->device;

		if (d->ops->id == VIRTIO_ID_MEM)
			return &container_of(d, struct virtio_memory, device)->kind;
	}
	fail_msg("the machine has no such device");
	return NULL;
}

static int plug(struct machine *m, void *opaque, struct err *e)
{
	const struct virtio_memory_config *memory = memory_of(m);
	struct request *r = opaque;

	(void)e;
	r->done = memory->plug(memory->opaque, memory->start + r->at, r->len);
	return 0;
}

static int unplug(struct machine *m, void *opaque, struct err *e)
{
	const struct virtio_memory_config *memory = memory_of(m);
	struct request *r = opaque;

	(void)e;
	memory->unplug(memory->opaque, memory->start + r->at, r->len);
	return 0;
}

static void start(struct rig *r)
{
	struct buf p = BUF_INIT;

	rig_spin(&p);
	rig_init(r, &p);
	r->engine.map = map;
	r->engine.unmap = unmap;
	r->config.hotplug = (struct machine_memory){
		.size = PIECES * PIECE, .block = MIB(2), .slot = PIECE};
	rig_start(r);
}

static bool plugged(struct rig *r, uint64_t at, uint64_t len)
{
	struct request request = {at, len, false};
	struct err e = ERR_INIT;

	assert_int_equal(machine_call(r->machine, plug, &request, &e), 0);
	return request.done;
}

static void unplugged(struct rig *r, uint64_t at, uint64_t len)
{
	struct request request = {at, len, false};
	struct err e = ERR_INIT;

	assert_int_equal(machine_call(r->machine, unplug, &request, &e), 0);
}

static void pieces_come_and_go_with_their_blocks(void **state)
{
	struct rig r;

	(void)state;
	limit = PIECES;
	start(&r);
	assert_int_equal(pieces(), 0);
	assert_true(plugged(&r, 0, MIB(2)));
	assert_true(plugged(&r, MIB(2), MIB(2)));
	assert_int_equal(pieces(), 1);
	assert_true(plugged(&r, PIECE - MIB(2), MIB(4)));
	assert_int_equal(pieces(), 2);
	unplugged(&r, MIB(2), PIECE - MIB(2));
	assert_int_equal(pieces(), 2);
	unplugged(&r, 0, MIB(2));
	assert_int_equal(pieces(), 1);
	unplugged(&r, 0, PIECES * PIECE);
	assert_int_equal(pieces(), 0);
	rig_release(&r);
}

/* What was mapped for a request that cannot be met as a whole is not left to the guest. */
static void a_request_that_fails_leaves_nothing(void **state)
{
	struct rig r;

	(void)state;
	limit = 2;
	start(&r);
	assert_false(plugged(&r, 0, 3 * PIECE));
	assert_int_equal(pieces(), 0);
	assert_true(plugged(&r, PIECE, MIB(2)));
	assert_int_equal(pieces(), 1);
	/* Nor is what was there before taken. */
	assert_false(plugged(&r, MIB(2), 3 * PIECE));
	assert_int_equal(pieces(), 1);
	assert_true(mapped[MEM_REGIONS_MAX + 1]);
	limit = PIECES;
	unplugged(&r, PIECE, MIB(2));
	assert_true(plugged(&r, 0, 3 * PIECE));
	assert_int_equal(pieces(), 3);
	unplugged(&r, 0, PIECES * PIECE);
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_come_and_go_with_their_blocks),
		cmocka_unit_test(a_request_that_fails_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
