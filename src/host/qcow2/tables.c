/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "host/disk_int.h"
#include "host/qcow2/file.h"

#define LIMIT_MIN 8u

void qcow2_tables_init(struct qcow2_tables *t, struct disk *file, size_t size, size_t budget)
{
	memset(t, 0, sizeof(*t));
	t->file = file;
	t->size = size;
	t->limit = (unsigned)MAX(budget / size, LIMIT_MIN);
}

static struct qcow2_table **bucket_of(struct qcow2_tables *t, uint64_t offset)
{
	return &t->buckets[offset / t->size % QCOW2_BUCKETS];
}

static void unlink_use(struct qcow2_tables *t, struct qcow2_table *table)
{
	*(table->newer ? &table->newer->older : &t->newest) = table->older;
	*(table->older ? &table->older->newer : &t->oldest) = table->newer;
}

static void link_newest(struct qcow2_tables *t, struct qcow2_table *table)
{
	table->newer = NULL;
	table->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = table;
	t->newest = table;
}

static void drop(struct qcow2_tables *t, struct qcow2_table *table)
{
	struct qcow2_table **at = bucket_of(t, table->offset);

	while (*at != table)
		at = &(*at)->chain;
	*at = table->chain;
	unlink_use(t, table);
	t->count--;
	t->dirty -= table->dirty;
	free(table);
}

void qcow2_tables_release(struct qcow2_tables *t)
{
	while (t->newest)
		drop(t, t->newest);
}

struct qcow2_table *qcow2_tables_peek(struct qcow2_tables *t, uint64_t offset)
{
	struct qcow2_table *table = *bucket_of(t, offset);

	while (table && table->offset != offset)
		table = table->chain;
	if (table && table != t->newest) {
		unlink_use(t, table);
		link_newest(t, table);
	}
	return table;
}

int qcow2_tables_write(struct qcow2_tables *t, struct qcow2_table *table)
{
	int rc = qcow2_file_write(t->file, table->bytes, t->size, table->offset);

	if (rc)
		return rc;
	t->dirty -= table->dirty;
	table->dirty = false;
	table->unlinked = false;
	return 0;
}

/* Frees room for one more, if there is a table that can go. */
static void make_room(struct qcow2_tables *t)
{
	struct qcow2_table *table = t->oldest;

	while (table && t->count >= t->limit) {
		struct qcow2_table *newer = table->newer;

		if (!table->pins && table->dirty && t->free_order)
			(void)!qcow2_tables_write(t, table); /* if not, it stays */
		if (!table->pins && !table->dirty)
			drop(t, table);
		table = newer;
	}
}

static struct qcow2_table *insert(struct qcow2_tables *t, uint64_t offset)
{
	struct qcow2_table **bucket = bucket_of(t, offset);
	struct qcow2_table *table;

	make_room(t);
	table = calloc(1, sizeof(*table) + t->size);
	if (!table)
		return NULL;
	table->offset = offset;
	table->chain = *bucket;
	*bucket = table;
	link_newest(t, table);
	t->count++;
	return table;
}

int qcow2_tables_get(struct qcow2_tables *t, uint64_t offset, struct qcow2_table **table)
{
	int rc;

	*table = qcow2_tables_peek(t, offset);
	if (*table)
		return 0;
	*table = insert(t, offset);
	if (!*table)
		return -ENOMEM;
	rc = qcow2_file_read(t->file, (*table)->bytes, t->size, offset);
	if (rc)
		drop(t, *table);
	return rc;
}

struct qcow2_table *qcow2_tables_add(struct qcow2_tables *t, uint64_t offset)
{
	struct qcow2_table *table;

	qcow2_tables_forget(t, offset);
	table = insert(t, offset);
	if (!table)
		return NULL;
	table->unlinked = true;
	qcow2_tables_touch(t, table);
	return table;
}

void qcow2_tables_touch(struct qcow2_tables *t, struct qcow2_table *table)
{
	t->dirty += !table->dirty;
	table->dirty = true;
}

void qcow2_tables_forget(struct qcow2_tables *t, uint64_t offset)
{
	struct qcow2_table *table = qcow2_tables_peek(t, offset);

	if (table)
		drop(t, table);
}
