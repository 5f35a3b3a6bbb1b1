/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block counts the clusters of its range of the file; the refcount table says where the blocks
 * are. A block that is missing is placed at the first cluster of its own range that is asked for,
 * where all are free. When the table is too short, a longer one, and the blocks that count it, are
 * placed behind everything that the old one could count.
 */
#include "host/qcow2/refcount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* The file grows by steps, so that not each cluster takes a call. What is too much is cut off when
 * the image is closed. */
#define GROW_STEP MIB(4)

static uint64_t per_block(const struct qcow2 *q)
{
	return q->cluster * 8 >> q->header.refcount_order;
}

static uint64_t load_count(const struct qcow2 *q, const uint8_t *bytes, uint64_t i)
{
	unsigned order = q->header.refcount_order;

	if (order >= 3)
		return qcow2_load(bytes + (i << (order - 3)), 1u << (order - 3));
	return bytes[i >> (3 - order)] >> ((i << order) & 7) & MASK(1u << order);
}

static void store_count(const struct qcow2 *q, uint8_t *bytes, uint64_t i, uint64_t count)
{
	unsigned order = q->header.refcount_order, shift = (i << order) & 7;
	uint8_t mask = (uint8_t)(MASK(1u << order) << shift);

	if (order >= 3)
		qcow2_store(bytes + (i << (order - 3)), 1u << (order - 3), count);
	else
		bytes[i >> (3 - order)] = (uint8_t)((bytes[i >> (3 - order)] & ~mask) |
						    count << shift);
}

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	uint64_t i = cluster / per_block(q);
	struct qcow2_table *block;
	int rc;

	*count = 0;
	if (i >= q->reftable_entries || !q->reftable[i])
		return 0;
	rc = qcow2_tables_get(&q->refblocks, q->reftable[i], &block);
	if (!rc)
		*count = load_count(q, block->bytes, cluster % per_block(q));
	return rc;
}

/* The file has room for a cluster. */
static int reach(struct qcow2 *q, uint64_t cluster)
{
	uint64_t end = (cluster + 1) << q->bits;

	if (end <= disk_size(q->file))
		return 0;
	return disk_set_size(q->file, align_up(end, GROW_STEP));
}

/* Makes the block of index i at a cluster, which is counted by whoever calls. */
static int place_block(struct qcow2 *q, uint64_t i, uint64_t at)
{
	int rc = reach(q, at);

	if (!rc)
		rc = qcow2_owners_add(&q->owners, at, QCOW2_REFBLOCK);
	if (rc)
		return rc == -EEXIST ? qcow2_corrupt(q) : rc;
	if (!qcow2_tables_add(&q->refblocks, at << q->bits)) {
		qcow2_owners_remove(&q->owners, at);
		return -ENOMEM;
	}
	q->fresh = MAX(q->fresh, at + 1);
	q->reftable[i] = at << q->bits;
	q->reftable_dirty[i / QCOW2_SECTOR_ENTRIES] = 1;
	q->reftable_changed = true;
	return 0;
}

static int set_in_block(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	struct qcow2_table *block;
	int rc = qcow2_tables_get(&q->refblocks, q->reftable[cluster / per_block(q)], &block);

	if (rc)
		return rc;
	store_count(q, block->bytes, cluster % per_block(q), count);
	qcow2_tables_touch(&q->refblocks, block);
	return 0;
}

/* A longer table in memory; the old one stays where that fails. */
static int lengthen(struct qcow2 *q, uint64_t entries)
{
	uint64_t *table = calloc(entries, sizeof(*table));
	uint8_t *dirty = calloc(entries / QCOW2_SECTOR_ENTRIES, 1);

	if (!table || !dirty) {
		free(table);
		free(dirty);
		return -ENOMEM;
	}
	memcpy(table, q->reftable, q->reftable_entries * sizeof(*table));
	free(q->reftable);
	free(q->reftable_dirty);
	q->reftable = table;
	q->reftable_dirty = dirty;
	q->reftable_entries = entries;
	return 0;
}

/* The clusters of the table that was, and those of the one that is. */
static int swap_owners(struct qcow2 *q, uint64_t old, uint64_t old_count, uint64_t at,
		       uint64_t count)
{
	int rc = 0;

	for (uint64_t c = at; !rc && c < at + count; c++) {
		rc = qcow2_owners_add(&q->owners, c, QCOW2_REFTABLE);
		if (!rc)
			rc = set_in_block(q, c, 1);
	}
	for (uint64_t c = old; !rc && c < old + old_count; c++)
		rc = qcow2_free_later(q, c, 1);
	return rc;
}

/* Half as long again, and one more. What goes wrong in the middle leaves counts that belong to
 * nothing: the image is not written any more. */
static int grow_table(struct qcow2 *q)
{
	uint64_t old = q->header.reftable_offset >> q->bits;
	uint64_t old_count = q->header.reftable_clusters, first = q->reftable_entries;
	uint64_t count = old_count + old_count / 2 + 1, at = first * per_block(q);
	uint64_t blocks = 1;
	int rc;

	while (blocks * per_block(q) < blocks + count)
		blocks++;
	if (count << q->bits > QCOW2_REFTABLE_MAX || first + blocks > count * (q->cluster / 8))
		return -EFBIG;
	rc = reach(q, at + blocks + count);
	if (!rc)
		rc = lengthen(q, count * (q->cluster / 8));
	if (rc)
		return rc;
	for (uint64_t i = 0; !rc && i < blocks; i++)
		rc = place_block(q, first + i, at + i);
	for (uint64_t i = 0; !rc && i < blocks; i++)
		rc = set_in_block(q, at + i, 1);
	if (!rc)
		rc = swap_owners(q, old, old_count, at + blocks, count);
	if (rc) {
		q->broken = rc;
		return rc;
	}
	q->fresh = MAX(q->fresh, at + blocks + count);
	q->header.reftable_offset = (at + blocks) << q->bits;
	q->header.reftable_clusters = (uint32_t)count;
	q->reftable_moved = true;
	return 0;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	uint64_t i = cluster / per_block(q), at;
	bool fresh;
	int rc;

	if (count > MASK(1u << q->header.refcount_order))
		return -ERANGE;
	if (i >= q->reftable_entries)
		return -EFBIG;
	if (q->reftable[i])
		return set_in_block(q, cluster, count);
	rc = qcow2_take(q, &at, &fresh);
	if (rc)
		return rc;
	/* To take one may have made the very block. */
	if (q->reftable[i])
		qcow2_give_back(q, at);
	else
		rc = place_block(q, i, at);
	return rc ? rc : set_in_block(q, cluster, count);
}

int qcow2_refcount_drop(struct qcow2 *q, uint64_t cluster, uint64_t *left)
{
	int rc = qcow2_refcount(q, cluster, left);

	if (rc)
		return rc;
	if (!*left)
		return qcow2_corrupt(q);
	rc = set_in_block(q, cluster, --*left);
	if (!rc && !*left && cluster < q->free_hint)
		q->free_hint = cluster;
	return rc;
}

/* Looks at cluster c: takes it if it is free. */
static int try_take(struct qcow2 *q, uint64_t c, bool *taken)
{
	uint64_t i = c / per_block(q), count;
	int rc = 0;

	*taken = false;
	if (i >= q->reftable_entries)
		rc = grow_table(q);
	if (!rc && !q->reftable[i]) {
		rc = place_block(q, i, c);
		return rc ? rc : set_in_block(q, c, 1);
	}
	if (!rc)
		rc = qcow2_refcount(q, c, &count);
	if (rc || count)
		return rc;
	/* Free, and yet in use: somebody has counted wrongly. */
	if (qcow2_owner(&q->owners, c) != QCOW2_NOBODY)
		return qcow2_corrupt(q);
	rc = reach(q, c);
	if (!rc)
		rc = set_in_block(q, c, 1);
	*taken = !rc;
	return rc;
}

int qcow2_take(struct qcow2 *q, uint64_t *cluster, bool *fresh)
{
	bool taken = false;
	uint64_t c;
	int rc;

	for (c = q->free_hint; !taken; c++) {
		if (c >= BIT(56) >> q->bits)
			return -EFBIG;
		rc = try_take(q, c, &taken);
		if (rc)
			return rc;
		q->free_hint = c + 1;
	}
	*cluster = c - 1;
	*fresh = *cluster >= q->fresh;
	q->fresh = MAX(q->fresh, *cluster + 1);
	return 0;
}

void qcow2_give_back(struct qcow2 *q, uint64_t cluster)
{
	uint64_t left;

	/* Otherwise it leaks, which is the least harm. */
	(void)!qcow2_refcount_drop(q, cluster, &left);
}

int qcow2_free_later(struct qcow2 *q, uint64_t cluster, unsigned count)
{
	size_t before = q->frees.count;
	int rc = 0;

	for (unsigned i = 0; !rc && i < count; i++)
		rc = qcow2_list_add(&q->frees, cluster + i);
	if (rc)
		q->frees.count = before;
	return rc;
}

int qcow2_refcounts_write(struct qcow2 *q)
{
	int rc = 0;

	if (!q->refblocks.dirty)
		return 0;
	for (struct qcow2_table *t = q->refblocks.newest; !rc && t; t = t->older) {
		if (t->dirty)
			rc = qcow2_tables_write(&q->refblocks, t);
	}
	return rc;
}
