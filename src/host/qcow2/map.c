/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/map.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "host/qcow2/compressed.h"
#include "host/qcow2/refcount.h"

enum qcow2_kind qcow2_kind_of(uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_PACKED;
	if (entry & QCOW2_ZERO)
		return QCOW2_ZEROES;
	return entry & QCOW2_OFFSET ? QCOW2_DATA : QCOW2_ABSENT;
}

struct qcow2_packed qcow2_packed_at(const struct qcow2 *q, uint64_t entry)
{
	unsigned shift = 62 - (q->bits - 8);
	uint64_t sectors = (entry & MASK(62)) >> shift, offset = entry & MASK(shift);

	return (struct qcow2_packed){offset, (sectors + 1) * 512 - (offset & 511)};
}

/* Whether no cluster of a range is metadata. */
static bool is_data(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
	for (uint64_t c = offset >> q->bits; c <= (offset + len - 1) >> q->bits; c++) {
		if (qcow2_owner(&q->owners, c) != QCOW2_NOBODY)
			return false;
	}
	return true;
}

static bool is_sound(const struct qcow2 *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET;

	if (entry & QCOW2_COMPRESSED) {
		struct qcow2_packed p = qcow2_packed_at(q, entry);

		return !(entry & QCOW2_COPIED) && p.offset < BIT(56) &&
		       qcow2_in_file(q, p.offset, p.len) && is_data(q, p.offset, p.len);
	}
	if (entry & ~(QCOW2_COPIED | QCOW2_OFFSET | (q->header.version > 2 ? QCOW2_ZERO : 0)))
		return false;
	if (!offset)
		return !(entry & QCOW2_COPIED);
	return !(offset & (q->cluster - 1)) && qcow2_in_file(q, offset, q->cluster) &&
	       is_data(q, offset, q->cluster);
}

static uint64_t per_l2(const struct qcow2 *q)
{
	return q->cluster / 8;
}

/* The L2 table that has a cluster's entry; *table is NULL where there is none. */
static int find_l2(struct qcow2 *q, uint64_t cluster, bool cached, struct qcow2_table **table)
{
	uint64_t entry = q->l1[cluster / per_l2(q)], offset = entry & QCOW2_OFFSET;

	*table = NULL;
	if (!entry)
		return 0;
	if (entry & ~(QCOW2_COPIED | QCOW2_OFFSET) || !offset || offset & (q->cluster - 1) ||
	    !qcow2_in_file(q, offset, q->cluster))
		return qcow2_corrupt(q);
	if (!cached)
		return qcow2_tables_get(&q->l2, offset, table);
	*table = qcow2_tables_peek(&q->l2, offset);
	return *table ? 0 : -EAGAIN;
}

static int load(struct qcow2 *q, uint64_t cluster, bool cached, uint64_t *entry)
{
	struct qcow2_table *table;
	int rc = find_l2(q, cluster, cached, &table);

	*entry = 0;
	if (rc || !table)
		return rc;
	*entry = qcow2_load(table->bytes + cluster % per_l2(q) * 8, 8);
	return is_sound(q, *entry) ? 0 : qcow2_corrupt(q);
}

int qcow2_entry(struct qcow2 *q, uint64_t cluster, uint64_t *entry)
{
	return load(q, cluster, false, entry);
}

/* Whether entry goes on where the extent ends, so far. */
static bool goes_on(const struct qcow2_extent *x, uint64_t offset, uint64_t entry)
{
	if (qcow2_kind_of(entry) != x->kind || x->kind == QCOW2_PACKED)
		return false;
	return x->kind != QCOW2_DATA || (entry & QCOW2_OFFSET) == x->at + offset;
}

int qcow2_extent(struct qcow2 *q, uint64_t offset, uint64_t len, bool cached,
		 struct qcow2_extent *x)
{
	uint64_t within = offset & (q->cluster - 1), cluster = offset >> q->bits, entry;
	int rc = load(q, cluster, cached, &x->entry);

	if (rc)
		return rc;
	x->kind = qcow2_kind_of(x->entry);
	x->at = (x->entry & QCOW2_OFFSET) + within;
	for (x->len = q->cluster - within; x->len < len; x->len += q->cluster) {
		/* What comes behind may be wrong: that is for him who gets there. */
		if (load(q, ++cluster, cached, &entry) || !goes_on(x, x->len, entry))
			break;
	}
	x->len = MIN(x->len, len);
	return 0;
}

int qcow2_is_ours(struct qcow2 *q, uint64_t entry, bool *ours)
{
	uint64_t count;
	int rc;

	*ours = false;
	if (!(entry & QCOW2_COPIED))
		return 0;
	rc = qcow2_refcount(q, (entry & QCOW2_OFFSET) >> q->bits, &count);
	if (!rc && count != 1)
		return qcow2_corrupt(q);
	*ours = !rc;
	return rc;
}

static void set_l1(struct qcow2 *q, uint64_t i, uint64_t entry)
{
	q->l1[i] = entry;
	q->l1_dirty[i / QCOW2_SECTOR_ENTRIES] = 1;
	q->l1_changed = true;
}

/* A new table for entry i of the L1 table, with the contents of the old one, if there is one. */
static int replace_l2(struct qcow2 *q, uint64_t i, struct qcow2_table *old)
{
	struct qcow2_table *table;
	uint64_t at, was = q->l1[i] & QCOW2_OFFSET;
	bool fresh;
	int rc = qcow2_take(q, &at, &fresh);

	if (rc)
		return rc;
	rc = qcow2_owners_add(&q->owners, at, QCOW2_L2);
	if (rc)
		return rc == -EEXIST ? qcow2_corrupt(q) : rc;
	if (old)
		old->pins++;
	table = qcow2_tables_add(&q->l2, at << q->bits);
	if (old)
		old->pins--;
	if (!table)
		rc = -ENOMEM;
	else if (old)
		rc = qcow2_free_later(q, was >> q->bits, 1);
	if (rc) {
		qcow2_tables_forget(&q->l2, at << q->bits);
		qcow2_owners_remove(&q->owners, at);
		qcow2_give_back(q, at);
		return rc;
	}
	if (old) {
		memcpy(table->bytes, old->bytes, q->cluster);
		qcow2_tables_forget(&q->l2, was);
	}
	set_l1(q, i, at << q->bits | QCOW2_COPIED);
	return 0;
}

int qcow2_own_l2(struct qcow2 *q, uint64_t cluster)
{
	uint64_t i = cluster / per_l2(q);
	struct qcow2_table *old;
	bool ours;
	int rc = find_l2(q, cluster, false, &old);

	if (!rc)
		rc = qcow2_is_ours(q, q->l1[i], &ours);
	return rc || ours ? rc : replace_l2(q, i, old);
}

/* What an entry refers to is to be freed. */
static int release_entry(struct qcow2 *q, uint64_t entry)
{
	struct qcow2_packed p;

	if (!(entry & QCOW2_COMPRESSED))
		return entry & QCOW2_OFFSET
			       ? qcow2_free_later(q, (entry & QCOW2_OFFSET) >> q->bits, 1)
			       : 0;
	p = qcow2_packed_at(q, entry);
	qcow2_inflated_forget(q, entry);
	return qcow2_free_later(
		q, p.offset >> q->bits,
		(unsigned)(((p.offset + p.len - 1) >> q->bits) - (p.offset >> q->bits) + 1));
}

int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, uint64_t entry)
{
	struct qcow2_table *table;
	uint64_t old;
	int rc = find_l2(q, cluster, false, &table);

	if (rc)
		return rc;
	old = qcow2_load(table->bytes + cluster % per_l2(q) * 8, 8);
	if (old & QCOW2_COMPRESSED || (old & QCOW2_OFFSET) != (entry & QCOW2_OFFSET))
		rc = release_entry(q, old);
	if (rc)
		return rc;
	qcow2_store(table->bytes + cluster % per_l2(q) * 8, 8, entry);
	qcow2_tables_touch(&q->l2, table);
	return 0;
}
