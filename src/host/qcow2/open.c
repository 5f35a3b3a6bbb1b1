/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/open.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "host/qcow2/backing.h"
#include "host/qcow2/check.h"
#include "host/qcow2/commit.h"
#include "host/qcow2/compressed.h"
#include "host/qcow2/file.h"
#include "host/qcow2/read.h"
#include "host/qcow2/write.h"

/* Bytes of tables that are kept. */
#define L2_BUDGET       MIB(4)
#define REFBLOCK_BUDGET MIB(2)

int qcow2_list_add(struct qcow2_list *l, uint64_t cluster)
{
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		uint64_t *clusters = realloc(l->clusters, room * sizeof(*clusters));

		if (!clusters)
			return -ENOMEM;
		l->clusters = clusters;
		l->room = room;
	}
	l->clusters[l->count++] = cluster;
	return 0;
}

bool qcow2_in_file(const struct qcow2 *q, uint64_t offset, uint64_t len)
{
	return range_within(offset, len, align_up(disk_size(q->file), q->cluster));
}

static int write_incompatible(struct qcow2 *q)
{
	uint8_t bytes[8];
	int rc;

	qcow2_store(bytes, 8, q->header.incompatible);
	rc = qcow2_file_write(q->file, bytes, 8, QCOW2_H_INCOMPATIBLE);
	return rc ? rc : disk_flush(q->file);
}

int qcow2_corrupt(struct qcow2 *q)
{
	if (q->disk.readonly || q->broken == -EUCLEAN)
		return -EUCLEAN;
	q->broken = -EUCLEAN;
	q->header.incompatible |= QCOW2_CORRUPT;
	if (q->header.version > 2)
		(void)!write_incompatible(q); /* it is not written in either case */
	return -EUCLEAN;
}

static int flush(struct disk *d)
{
	return qcow2_commit(qcow2_of(d), true);
}

/* What is open, whether or not all is. */
static void release(struct qcow2 *q)
{
	disk_free(q->backing);
	disk_free(q->file);
	qcow2_tables_release(&q->l2);
	qcow2_tables_release(&q->refblocks);
	qcow2_owners_release(&q->owners);
	qcow2_compression_close(q);
	qcow2_claims_release(&q->claims);
	pthread_mutex_destroy(&q->committing);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->inflating);
	free(q->frees.clusters);
	free(q->l1);
	free(q->l1_dirty);
	free(q->reftable);
	free(q->reftable_dirty);
	free(q->name);
	free(q);
}

/* All that is left is written. The end of the file that was made in advance is cut off. */
static void close_image(struct disk *d)
{
	struct qcow2 *q = qcow2_of(d);

	if (!d->readonly && !qcow2_commit(q, true) && disk_size(q->file) > q->fresh << q->bits)
		(void)!disk_set_size(q->file, q->fresh << q->bits);
	release(q);
}

static const struct disk_ops qcow2_ops = {
	.free = close_image,
	.read = qcow2_read,
	.write = qcow2_write,
	.read_now = qcow2_read_now,
	.flush = flush,
	.discard = qcow2_discard,
	.zero = qcow2_zero,
};

/* A table of count entries, as numbers. */
static int read_table(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t **table,
		      uint8_t **dirty)
{
	int rc;

	if (!qcow2_in_file(q, offset, 8 * count))
		return -EUCLEAN;
	*table = calloc(count + 1, sizeof(**table));
	*dirty = calloc(count / QCOW2_SECTOR_ENTRIES + 1, 1);
	if (!*table || !*dirty)
		return -ENOMEM;
	rc = qcow2_file_read(q->file, *table, 8 * count, offset);
	for (uint64_t i = 0; !rc && i < count; i++)
		(*table)[i] = qcow2_load(&(*table)[i], 8);
	return rc;
}

static int read_tables(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;
	int rc = read_table(q, h->l1_offset, h->l1_entries, &q->l1, &q->l1_dirty);

	if (rc || q->disk.readonly)
		return rc;
	q->reftable_entries = (uint64_t)h->reftable_clusters << (q->bits - 3);
	return read_table(q, h->reftable_offset, q->reftable_entries, &q->reftable,
			  &q->reftable_dirty);
}

static int repair(struct qcow2 *q, struct err *e)
{
	int rc;

	if (!(q->header.incompatible & QCOW2_DIRTY))
		return 0;
	rc = qcow2_repair(q);
	if (!rc)
		rc = qcow2_commit(q, true);
	q->header.incompatible &= ~QCOW2_DIRTY;
	if (!rc)
		rc = write_incompatible(q);
	if (rc)
		err_set(e, rc,
			"the disk %s was not closed, and its refcounts cannot be repaired here: "
			"repair it with 'qemu-img check -r all'",
			q->name);
	return rc;
}

/* Features that whoever does not know them has to take away when he writes. */
static int clear_features(struct qcow2 *q, struct err *e)
{
	const uint8_t none[8] = {0};
	int rc = 0;

	if (q->header.autoclear)
		rc = qcow2_file_write(q->file, none, sizeof(none), QCOW2_H_AUTOCLEAR);
	return rc ? err_errno(e, -rc, "cannot write to the disk %s", q->name) : 0;
}

/* A file that ends within a cluster gets the rest of it, so that it can be written. A block device
 * cannot: there the host refuses to write beyond the end. */
static int complete_file(struct qcow2 *q, struct err *e)
{
	uint64_t whole = align_up(disk_size(q->file), q->cluster);
	int rc = whole == disk_size(q->file) ? 0 : disk_set_size(q->file, whole);

	return rc && rc != -ENOSPC ? err_errno(e, -rc, "cannot write to the disk %s", q->name) : 0;
}

/* Before the first write. */
static int prepare_writing(struct qcow2 *q, struct err *e)
{
	int rc;

	if (q->header.incompatible & QCOW2_CORRUPT)
		return err_set(
			e, EUCLEAN,
			"the disk %s is marked as corrupt: repair it with 'qemu-img check -r "
			"all', or have it read only with ',ro'",
			q->name);
	rc = qcow2_find_owners(q);
	if (rc == -EUCLEAN) {
		qcow2_corrupt(q);
		return err_set(e, EUCLEAN,
			       "the disk %s is corrupt, its tables cannot be: repair it with "
			       "'qemu-img check -r all', or have it read only with ',ro'",
			       q->name);
	}
	if (rc)
		return err_errno(e, -rc, "cannot open the disk %s", q->name);
	rc = complete_file(q, e);
	if (!rc)
		rc = repair(q, e);
	return rc ? rc : clear_features(q, e);
}

static void init(struct qcow2 *q)
{
	q->disk.ops = &qcow2_ops;
	q->disk.readonly = disk_readonly(q->file);
	pthread_mutex_init(&q->committing, NULL);
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->inflating, NULL);
	qcow2_claims_init(&q->claims);
}

static int open_it(struct qcow2 *q, unsigned depth, struct err *e)
{
	int rc = qcow2_header_read(q->file, q->name, &q->header, e);

	if (rc)
		return rc;
	q->disk.size = q->header.size;
	q->bits = q->header.cluster_bits;
	q->cluster = BIT(q->bits);
	q->fresh = (disk_size(q->file) + q->cluster - 1) >> q->bits;
	qcow2_tables_init(&q->l2, q->file, q->cluster, L2_BUDGET);
	qcow2_tables_init(&q->refblocks, q->file, q->cluster, REFBLOCK_BUDGET);
	q->refblocks.free_order = true;
	rc = qcow2_compression_open(q, e);
	if (rc)
		return rc;
	rc = read_tables(q);
	if (rc)
		return err_errno(e, -rc, "cannot read the tables of the disk %s", q->name);
	rc = qcow2_backing_open(q, depth, e);
	return rc || q->disk.readonly ? rc : prepare_writing(q, e);
}

struct disk *qcow2_open_file(struct disk *file, const char *name, unsigned depth, struct err *e)
{
	struct qcow2 *q = calloc(1, sizeof(*q));

	if (q)
		q->name = strdup(name);
	if (!q || !q->name) {
		err_errno(e, ENOMEM, "cannot open the disk %s", name);
		free(q);
		disk_free(file);
		return NULL;
	}
	q->file = file;
	init(q);
	if (!open_it(q, depth, e))
		return &q->disk;
	release(q);
	return NULL;
}

struct disk *qcow2_open(const struct disk_config *config, unsigned depth, struct err *e)
{
	struct disk *file = disk_raw_open_file(config, e);

	return file ? qcow2_open_file(file, config->path, depth, e) : NULL;
}
