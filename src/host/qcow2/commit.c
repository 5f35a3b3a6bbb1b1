/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a changed image goes into its file, so that whatever moment the machine stops
 * at, the file is sound, but for clusters that are counted and not used (leaks), and has all that a
 * flush has confirmed.
 *
 * A host that crashes may have written, or not written, each of the writes since the last flush of
 * the file. What refers to something is therefore written only after a flush that came after what
 * it refers to:
 *
 *	data, copies of data			written when the guest writes, before the
 *						entry for it is changed in memory
 *	counts that went up, new refcount
 *	blocks, new L2 tables that nothing
 *	refers to in the file, a refcount
 *	table at a new place
 *	   -- flush, if there are new blocks or a new table --
 *	refcount table, or the header's
 *	pointer to the new one
 *	   -- flush --
 *	L2 tables that the file refers to,
 *	entries of the L1 table
 *	   -- flush --
 *	counts that go down, holes		now nothing in the file refers to them
 *
 * After the last of these steps clusters may be used again, not before. Without freed clusters the
 * last flush is for the guest's only; where nothing but data was written, it is the only one.
 * Changes are kept in memory until the guest flushes or they become many, so that two flushes do
 * for all that came between.
 *
 * Every count is, in the file, at least as large as the number of references in the file, in each
 * state between these steps: a count that is taken goes up in an earlier step, one that is given
 * back goes down in a later.
 *
 * What is written after the first flush is a copy, made before it: in the meantime others change
 * the tables further, and refer to clusters that the flush knows nothing of. Such a table is
 * pinned, so that nobody reads it back from the file before the copy is there.
 */
#include "host/qcow2/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/qcow2/file.h"
#include "host/qcow2/refcount.h"

#define FREES_MAX 65536u

/* A piece of a table to be written. */
struct piece {
	struct piece *next;
	struct qcow2_table *table; /* pinned; NULL: of the L1 table or the refcount table */
	uint64_t offset, len;
	uint8_t bytes[];
};

struct commit {
	struct qcow2 *q;
	struct piece *reftable; /* or the header's pointer */
	struct piece *tables;   /* L2 and L1 */
	struct qcow2_list frees;
};

static struct piece *add_piece(struct piece **list, uint64_t offset, uint64_t len)
{
	struct piece *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	p->next = *list;
	p->table = NULL;
	p->offset = offset;
	p->len = len;
	*list = p;
	return p;
}

static void free_pieces(struct piece **list)
{
	while (*list) {
		struct piece *p = *list;

		*list = p->next;
		if (p->table)
			p->table->pins--;
		free(p);
	}
}

static int write_pieces(struct qcow2 *q, const struct piece *p)
{
	int rc = 0;

	for (; !rc && p; p = p->next)
		rc = qcow2_file_write(q->file, p->bytes, p->len, p->offset);
	return rc;
}

static void store_entries(uint8_t *bytes, const uint64_t *entries, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		qcow2_store(bytes + 8 * i, 8, entries[i]);
}

/* The changed sectors of a table of count entries that is at offset. */
static int add_sectors(struct piece **list, const uint64_t *entries, uint64_t count,
		       const uint8_t *dirty, uint64_t offset)
{
	for (uint64_t at = 0; at < count; at += QCOW2_SECTOR_ENTRIES) {
		uint64_t n = MIN(QCOW2_SECTOR_ENTRIES, count - at);
		struct piece *p;

		if (!dirty[at / QCOW2_SECTOR_ENTRIES])
			continue;
		p = add_piece(list, offset + 8 * at, 8 * n);
		if (!p)
			return -ENOMEM;
		store_entries(p->bytes, entries + at, n);
	}
	return 0;
}

/* A refcount table at a new place is written there, and the header is to point to it. */
static int move_reftable(struct commit *c)
{
	struct qcow2 *q = c->q;
	struct piece *whole = NULL;
	struct piece *pointer;
	int rc = -ENOMEM;

	pointer = add_piece(&c->reftable, QCOW2_H_REFTABLE, 12);
	if (!pointer || !add_piece(&whole, q->header.reftable_offset, 8 * q->reftable_entries))
		return rc;
	qcow2_store(pointer->bytes, 8, q->header.reftable_offset);
	qcow2_store(pointer->bytes + 8, 4, q->header.reftable_clusters);
	store_entries(whole->bytes, q->reftable, q->reftable_entries);
	rc = write_pieces(q, whole);
	free_pieces(&whole);
	return rc;
}

/* L2 tables that the file does not refer to are written, the others copied. */
static int collect_l2(struct commit *c)
{
	struct qcow2_tables *all = &c->q->l2;
	int rc = 0;

	if (!all->dirty)
		return 0;
	for (struct qcow2_table *t = all->newest; !rc && t; t = t->older) {
		struct piece *p;

		if (!t->dirty || t->unlinked)
			continue;
		p = add_piece(&c->tables, t->offset, all->size);
		if (!p)
			return -ENOMEM;
		memcpy(p->bytes, t->bytes, all->size);
		p->table = t;
		t->pins++;
	}
	return rc;
}

static int write_unlinked(struct commit *c)
{
	struct qcow2_tables *all = &c->q->l2;
	int rc = 0;

	for (struct qcow2_table *t = all->newest; !rc && t; t = t->older) {
		/* It stays unlinked until the L1 table is written for sure. */
		if (t->dirty && t->unlinked)
			rc = qcow2_file_write(all->file, t->bytes, all->size, t->offset);
	}
	return rc;
}

/* All pieces are there: what they are copies of is clean now. */
static void mark_clean(struct commit *c)
{
	struct qcow2 *q = c->q;

	for (struct qcow2_table *t = q->l2.newest; t; t = t->older) {
		q->l2.dirty -= t->dirty;
		t->dirty = false;
		t->unlinked = false;
	}
	if (q->l1_changed)
		memset(q->l1_dirty, 0, q->header.l1_entries / QCOW2_SECTOR_ENTRIES + 1);
	if (q->reftable_changed)
		memset(q->reftable_dirty, 0, q->reftable_entries / QCOW2_SECTOR_ENTRIES);
	q->l1_changed = q->reftable_changed = q->reftable_moved = false;
	c->frees = q->frees;
	memset(&q->frees, 0, sizeof(q->frees));
}

/* The first step, and copies for the later ones. If it fails nothing has changed. The lock is
 * held. */
static int collect(struct commit *c)
{
	struct qcow2 *q = c->q;
	int rc = qcow2_refcounts_write(q);

	if (!rc)
		rc = write_unlinked(c);
	if (!rc)
		rc = collect_l2(c);
	if (!rc && q->l1_changed)
		rc = add_sectors(&c->tables, q->l1, q->header.l1_entries, q->l1_dirty,
				 q->header.l1_offset);
	if (!rc && q->reftable_moved)
		rc = move_reftable(c);
	else if (!rc && q->reftable_changed)
		rc = add_sectors(&c->reftable, q->reftable, q->reftable_entries, q->reftable_dirty,
				 q->header.reftable_offset);
	if (rc) {
		free_pieces(&c->tables);
		free_pieces(&c->reftable);
		return rc;
	}
	mark_clean(c);
	return 0;
}

/* The steps between the first flush and the last. */
static int write_in_order(struct commit *c, bool durable)
{
	struct disk *file = c->q->file;
	int rc = 0;

	if (c->reftable) {
		rc = disk_flush(file);
		if (!rc)
			rc = write_pieces(c->q, c->reftable);
	}
	if (!rc && c->tables) {
		rc = disk_flush(file);
		if (!rc)
			rc = write_pieces(c->q, c->tables);
	}
	if (!rc && (durable || c->frees.count))
		rc = disk_flush(file);
	return rc;
}

static int compare_clusters(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Holes where clusters are not used any more, which the lock keeps from being used again. */
static int drop_counts(struct commit *c, uint64_t *gone, size_t *count)
{
	struct qcow2 *q = c->q;
	int rc = 0;

	*count = 0;
	for (size_t i = 0; !rc && i < c->frees.count; i++) {
		uint64_t left;

		rc = qcow2_refcount(q, c->frees.clusters[i], &left);
		if (!rc && left == 1)
			gone[(*count)++] = c->frees.clusters[i];
		else if (!rc)
			rc = qcow2_refcount_drop(q, c->frees.clusters[i], &left);
	}
	return rc;
}

static void punch(struct qcow2 *q, const uint64_t *clusters, size_t count)
{
	for (size_t i = 0; i < count;) {
		size_t n = 1;

		while (i + n < count && clusters[i + n] == clusters[i] + n)
			n++;
		/* That the space is not given back harms nobody. */
		(void)!disk_discard(q->file, clusters[i] << q->bits, (uint64_t)n << q->bits);
		i += n;
	}
}

/* The last step. Clusters whose count is one are still taken while their holes are made. */
static int give_back(struct commit *c)
{
	struct qcow2 *q = c->q;
	uint64_t *gone = malloc(c->frees.count * sizeof(*gone)), left;
	size_t count;
	int rc;

	if (!gone)
		return 0; /* a leak */
	qsort(c->frees.clusters, c->frees.count, sizeof(*gone), compare_clusters);
	pthread_mutex_lock(&q->lock);
	rc = drop_counts(c, gone, &count);
	pthread_mutex_unlock(&q->lock);
	if (!rc)
		punch(q, gone, count);
	pthread_mutex_lock(&q->lock);
	for (size_t i = 0; !rc && i < count; i++) {
		qcow2_owners_remove(&q->owners, gone[i]);
		rc = qcow2_refcount_drop(q, gone[i], &left);
	}
	if (!rc)
		rc = qcow2_refcounts_write(q);
	pthread_mutex_unlock(&q->lock);
	free(gone);
	return rc;
}

/* committing is held. */
static int commit(struct qcow2 *q, bool durable)
{
	struct commit c = {.q = q};
	int rc;

	pthread_mutex_lock(&q->lock);
	rc = q->broken;
	if (!rc)
		rc = collect(&c);
	pthread_mutex_unlock(&q->lock);
	if (rc)
		return rc;
	rc = write_in_order(&c, durable);
	pthread_mutex_lock(&q->lock);
	if (rc && !q->broken)
		q->broken = rc;
	free_pieces(&c.tables);
	free_pieces(&c.reftable);
	pthread_mutex_unlock(&q->lock);
	if (!rc && c.frees.count)
		rc = give_back(&c);
	free(c.frees.clusters);
	return rc;
}

int qcow2_commit(struct qcow2 *q, bool durable)
{
	int rc;

	pthread_mutex_lock(&q->committing);
	rc = commit(q, durable);
	pthread_mutex_unlock(&q->committing);
	return rc;
}

int qcow2_relieve(struct qcow2 *q)
{
	bool full;

	pthread_mutex_lock(&q->lock);
	full = q->l2.dirty > q->l2.limit / 2 || q->frees.count > FREES_MAX;
	pthread_mutex_unlock(&q->lock);
	return full ? qcow2_commit(q, false) : 0;
}
