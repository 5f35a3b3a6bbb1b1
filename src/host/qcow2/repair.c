/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image with the dirty bit has refcounts that may be too low: who wrote to it put off counting,
 * and was not there to do it. Until they are right, nothing may be taken.
 *
 * All references are counted. Then each count that differs is set, then the flags in the tables of
 * the disk that say whether a count is one. A crash in the middle leaves the dirty bit where it is.
 */
#include <errno.h>
#include <stdlib.h>

#include "host/qcow2/check.h"
#include "host/qcow2/file.h"
#include "host/qcow2/map.h"
#include "host/qcow2/refcount.h"

/* Clusters that can be counted: a file of 4 TiB with clusters of 64 KiB. */
#define CLUSTERS_MAX BIT(26)

struct counts {
	uint32_t *of; /* each cluster */
	uint64_t clusters;
};

static int count(struct qcow2 *q, struct counts *c, uint64_t offset, uint64_t len)
{
	if (!len)
		return 0;
	if (!qcow2_in_file(q, offset, len))
		return -EUCLEAN;
	for (uint64_t i = offset >> q->bits; i <= (offset + len - 1) >> q->bits; i++) {
		if (i < c->clusters)
			c->of[i]++;
	}
	return 0;
}

/* What an L2 table refers to. */
static int count_l2(struct qcow2 *q, struct counts *c, uint64_t offset)
{
	struct qcow2_table *table;
	int rc = count(q, c, offset, q->cluster);

	if (!rc)
		rc = qcow2_tables_get(&q->l2, offset, &table);
	for (uint64_t i = 0; !rc && i < q->cluster / 8; i++) {
		uint64_t entry = qcow2_load(table->bytes + 8 * i, 8);

		if (entry & QCOW2_COMPRESSED) {
			struct qcow2_packed p = qcow2_packed_at(q, entry);
			uint64_t len = MIN(p.len, align_up(disk_size(q->file), q->cluster) -
							  MIN(p.offset, disk_size(q->file)));

			rc = count(q, c, p.offset, len ? len : 1);
		} else if (entry & QCOW2_OFFSET) {
			rc = entry & QCOW2_OFFSET & (q->cluster - 1)
				     ? -EUCLEAN
				     : count(q, c, entry & QCOW2_OFFSET, q->cluster);
		}
	}
	return rc;
}

static int count_tables(struct qcow2 *q, struct counts *c, const uint64_t *l1, uint32_t entries)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < entries; i++) {
		if (l1[i] & QCOW2_OFFSET)
			rc = count_l2(q, c, l1[i] & QCOW2_OFFSET);
	}
	return rc;
}

static int count_snapshot(struct qcow2 *q, uint64_t l1_offset, const uint64_t *l1, uint32_t entries,
			  void *opaque)
{
	int rc = count(q, opaque, l1_offset, 8 * (uint64_t)entries);

	return rc ? rc : count_tables(q, opaque, l1, entries);
}

static int count_all(struct qcow2 *q, struct counts *c)
{
	const struct qcow2_header *h = &q->header;
	uint64_t end;
	int rc = count(q, c, 0, 1);

	if (!rc)
		rc = count(q, c, h->l1_offset, 8 * (uint64_t)h->l1_entries);
	if (!rc)
		rc = count(q, c, h->reftable_offset, (uint64_t)h->reftable_clusters << q->bits);
	for (uint64_t i = 0; !rc && i < q->reftable_entries; i++) {
		if (q->reftable[i])
			rc = count(q, c, q->reftable[i], q->cluster);
	}
	if (!rc)
		rc = count_tables(q, c, q->l1, h->l1_entries);
	if (!rc)
		rc = qcow2_snapshots(q, count_snapshot, c, &end);
	if (!rc && h->snapshots)
		rc = count(q, c, h->snapshots_offset, end - h->snapshots_offset);
	return rc;
}

/* Blocks that are made on the way lie behind all that was counted. */
static int set_counts(struct qcow2 *q, const struct counts *c)
{
	int rc = 0;

	q->free_hint = c->clusters;
	for (uint64_t i = 0; !rc && i < c->clusters; i++) {
		uint64_t now;

		rc = qcow2_refcount(q, i, &now);
		if (!rc && now != c->of[i])
			rc = qcow2_refcount_set(q, i, c->of[i]);
	}
	q->free_hint = 0;
	return rc;
}

static bool is_once(const struct counts *c, const struct qcow2 *q, uint64_t entry)
{
	uint64_t cluster = (entry & QCOW2_OFFSET) >> q->bits;

	return !(entry & QCOW2_COMPRESSED) && entry & QCOW2_OFFSET && cluster < c->clusters &&
	       c->of[cluster] == 1;
}

/* The flags of one table of the disk. */
static int set_flags_l2(struct qcow2 *q, const struct counts *c, uint64_t offset)
{
	struct qcow2_table *table;
	bool changed = false;
	int rc = qcow2_tables_get(&q->l2, offset, &table);

	for (uint64_t i = 0; !rc && i < q->cluster / 8; i++) {
		uint64_t was = qcow2_load(table->bytes + 8 * i, 8), entry = was & ~QCOW2_COPIED;

		if (is_once(c, q, entry))
			entry |= QCOW2_COPIED;
		if (entry == was)
			continue;
		qcow2_store(table->bytes + 8 * i, 8, entry);
		changed = true;
	}
	if (changed)
		rc = qcow2_tables_write(&q->l2, table);
	return rc;
}

static int set_flags(struct qcow2 *q, const struct counts *c)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < q->header.l1_entries; i++) {
		uint64_t entry = q->l1[i] & ~QCOW2_COPIED;

		if (!entry)
			continue;
		if (is_once(c, q, entry))
			entry |= QCOW2_COPIED;
		if (entry != q->l1[i]) {
			q->l1[i] = entry;
			q->l1_dirty[i / QCOW2_SECTOR_ENTRIES] = 1;
			q->l1_changed = true;
		}
		rc = set_flags_l2(q, c, entry & QCOW2_OFFSET);
	}
	return rc;
}

int qcow2_repair(struct qcow2 *q)
{
	struct counts c = {.clusters = (disk_size(q->file) + q->cluster - 1) >> q->bits};
	int rc;

	if (c.clusters > CLUSTERS_MAX || q->header.bitmaps)
		return -EFBIG;
	c.of = calloc(c.clusters, sizeof(*c.of));
	if (!c.of)
		return -ENOMEM;
	rc = count_all(q, &c);
	if (!rc)
		rc = set_counts(q, &c);
	if (!rc)
		rc = set_flags(q, &c);
	free(c.of);
	return rc;
}
