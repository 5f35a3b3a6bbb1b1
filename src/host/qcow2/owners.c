/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/owners.h"

#include <errno.h>
#include <stdlib.h>

#define OWNER_BITS 4u
#define SIZE_MIN   256u

void qcow2_owners_release(struct qcow2_owners *o)
{
	free(o->slots);
}

static size_t slot_of(const struct qcow2_owners *o, uint64_t cluster)
{
	return (size_t)((cluster * 0x9e3779b97f4a7c15u) >> 20) & (o->size - 1);
}

/* The slot of a cluster, or the free one where it would be. */
static size_t find(const struct qcow2_owners *o, uint64_t cluster)
{
	size_t i = slot_of(o, cluster);

	while (o->slots[i] && o->slots[i] >> OWNER_BITS != cluster + 1)
		i = (i + 1) & (o->size - 1);
	return i;
}

enum qcow2_owner qcow2_owner(const struct qcow2_owners *o, uint64_t cluster)
{
	if (!o->size)
		return QCOW2_NOBODY;
	return (enum qcow2_owner)(o->slots[find(o, cluster)] & ((1u << OWNER_BITS) - 1));
}

static int grow(struct qcow2_owners *o)
{
	struct qcow2_owners bigger = {.size = o->size ? 2 * o->size : SIZE_MIN, .used = o->used};

	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < o->size; i++) {
		if (o->slots[i])
			bigger.slots[find(&bigger, (o->slots[i] >> OWNER_BITS) - 1)] = o->slots[i];
	}
	free(o->slots);
	*o = bigger;
	return 0;
}

int qcow2_owners_add(struct qcow2_owners *o, uint64_t cluster, enum qcow2_owner owner)
{
	enum qcow2_owner before;
	size_t i;

	if (2 * o->used >= o->size && grow(o))
		return -ENOMEM;
	i = find(o, cluster);
	if (o->slots[i]) {
		before = (enum qcow2_owner)(o->slots[i] & ((1u << OWNER_BITS) - 1));
		if (owner != QCOW2_SNAPSHOT_L2 ||
		    (before != QCOW2_L2 && before != QCOW2_SNAPSHOT_L2))
			return -EEXIST;
	} else {
		o->used++;
	}
	o->slots[i] = (cluster + 1) << OWNER_BITS | owner;
	return 0;
}

void qcow2_owners_remove(struct qcow2_owners *o, uint64_t cluster)
{
	size_t i, next;

	if (!o->size)
		return;
	i = find(o, cluster);
	if (!o->slots[i])
		return;
	o->used--;
	/* Those behind it, up to the next free slot, move up where they may. */
	for (next = i;;) {
		size_t home;

		next = (next + 1) & (o->size - 1);
		if (!o->slots[next])
			break;
		home = slot_of(o, (o->slots[next] >> OWNER_BITS) - 1);
		if (((next - home) & (o->size - 1)) < ((next - i) & (o->size - 1)))
			continue;
		o->slots[i] = o->slots[next];
		i = next;
	}
	o->slots[i] = 0;
}
