/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cache of the clusters of an image that are tables (L2, refcount blocks).
 *
 * A table that was changed is kept until somebody has written it; where order does not matter
 * (refcount blocks), the cache writes it itself when it needs its room. If all are changed the
 * cache grows beyond its bound rather than fail. The image's lock is held for all functions.
 * A pointer to a table is good until the next call of get or add, or for as long as it is pinned.
 */
#ifndef LODGE_HOST_QCOW2_TABLES_H
#define LODGE_HOST_QCOW2_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

struct qcow2_table {
	struct qcow2_table *chain;         /* of those with its hash */
	struct qcow2_table *newer, *older; /* in the order of use */
	uint64_t offset;                   /* in the file */
	bool dirty;
	bool unlinked; /* nothing in the file refers to it: it may be written at any time */
	unsigned pins; /* it stays */
	uint8_t bytes[];
};

#define QCOW2_BUCKETS 256u

struct qcow2_tables {
	struct disk *file;
	size_t size;     /* of a table */
	bool free_order; /* a changed table may be written at any time */
	unsigned limit, count, dirty;
	struct qcow2_table *newest, *oldest;
	struct qcow2_table *buckets[QCOW2_BUCKETS];
};

void qcow2_tables_init(struct qcow2_tables *t, struct disk *file, size_t size, size_t budget);
void qcow2_tables_release(struct qcow2_tables *t);

/* The table at offset if it is in memory, else NULL. */
struct qcow2_table *qcow2_tables_peek(struct qcow2_tables *t, uint64_t offset);

/* The same, read from the file if need be: 0 or -errno. */
int qcow2_tables_get(struct qcow2_tables *t, uint64_t offset, struct qcow2_table **table);

/* A new table of zeroes, changed and unlinked; NULL without memory. */
struct qcow2_table *qcow2_tables_add(struct qcow2_tables *t, uint64_t offset);

void qcow2_tables_touch(struct qcow2_tables *t, struct qcow2_table *table);

/* What was at offset is no table any more. */
void qcow2_tables_forget(struct qcow2_tables *t, uint64_t offset);

/* Writes a table as it is now and calls it clean: 0 or -errno. */
int qcow2_tables_write(struct qcow2_tables *t, struct qcow2_table *table);

#endif
