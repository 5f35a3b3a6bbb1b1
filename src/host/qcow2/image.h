/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qcow2 image that is open: what its parts share.
 *
 *	header   what the image says of itself, read once
 *	file     bytes of the file that it is in
 *	owners   which clusters of the file are metadata
 *	tables   the cache of L2 tables and of refcount blocks
 *	refcount which clusters are used; finds free ones
 *	map      from a place on the disk to a place in the file
 *	claims   who is at work where on the disk
 *	commit   brings what was changed in memory into the file, in an order that is safe
 *	read, write, zero   the disk's functions
 *	compressed, backing, snapshots, repair   what their names say
 *
 * Locks, in this order: a claim; committing; lock. The lock is not held while data is read or
 * written, nor while the host makes things durable.
 */
#ifndef LODGE_HOST_QCOW2_IMAGE_H
#define LODGE_HOST_QCOW2_IMAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "host/disk_int.h"
#include "host/qcow2/claims.h"
#include "host/qcow2/format.h"
#include "host/qcow2/header.h"
#include "host/qcow2/owners.h"
#include "host/qcow2/tables.h"

/* Clusters of the file that nothing in memory refers to any more, while the file still may. */
struct qcow2_list {
	uint64_t *clusters;
	size_t count, room;
};

struct qcow2 {
	struct disk disk;
	struct disk *file, *backing; /* ours; backing may be NULL */
	char *name;                  /* for the user */
	unsigned bits;               /* of an offset within a cluster */
	uint64_t cluster;            /* bytes */
	struct qcow2_header header;
	struct qcow2_claims claims;
	pthread_mutex_t committing; /* one commit at a time */

	/* What follows is guarded by lock. */
	pthread_mutex_t lock;
	int broken; /* why nothing may be written any more, a negative errno; 0: it may */
	struct qcow2_tables l2, refblocks;
	struct qcow2_owners owners; /* empty where the image is read only */
	uint64_t *l1;               /* entries, in the host's order */
	uint8_t *l1_dirty;          /* of each sector of the table: whether it has changed */
	uint64_t *reftable;         /* offsets of refcount blocks, in the host's order */
	uint64_t reftable_entries;
	uint8_t *reftable_dirty; /* as l1_dirty */
	bool l1_changed, reftable_changed, reftable_moved;
	uint64_t free_hint; /* no cluster below it is free */
	uint64_t fresh;     /* from this cluster on the file has never held anything */
	struct qcow2_list frees;

	pthread_mutex_t inflating;
	uint64_t inflated_entry; /* the compressed cluster that is in inflated; 0: none */
	uint8_t *inflated;       /* both guarded by inflating */
	void *zstd;              /* its library; NULL: not needed */
};

/* Entries of 8 bytes in a sector. */
#define QCOW2_SECTOR_ENTRIES (DISK_SECTOR / 8)

static inline struct qcow2 *qcow2_of(struct disk *d)
{
	return container_of(d, struct qcow2, disk);
}

/* Damage was found: the image is marked (where its version can be) and not written again.
 * -EUCLEAN. The lock is held. */
int qcow2_corrupt(struct qcow2 *q);

/* Appends, or -ENOMEM. */
int qcow2_list_add(struct qcow2_list *l, uint64_t cluster);

/* A range of the file as clusters: whether it lies within the file, whose last cluster may be cut
 * off. */
bool qcow2_in_file(const struct qcow2 *q, uint64_t offset, uint64_t len);

#endif
