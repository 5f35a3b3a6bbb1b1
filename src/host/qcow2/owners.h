/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which clusters of the file hold metadata: so that no table of a damaged or hostile image can have
 * data written over another. A hash table of cluster numbers. The image's lock is held.
 */
#ifndef LODGE_HOST_QCOW2_OWNERS_H
#define LODGE_HOST_QCOW2_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qcow2_owner {
	QCOW2_NOBODY, /* or data */
	QCOW2_HEADER,
	QCOW2_L1,
	QCOW2_L2,
	QCOW2_REFTABLE,
	QCOW2_REFBLOCK,
	QCOW2_SNAPSHOTS,   /* their table, and their L1 tables */
	QCOW2_SNAPSHOT_L2, /* an L2 table of a snapshot, and perhaps of the disk as well */
};

struct qcow2_owners {
	uint64_t *slots; /* the cluster + 1, << 4, and its owner; 0: free */
	size_t size;     /* a power of two */
	size_t used;
};

void qcow2_owners_release(struct qcow2_owners *o);

enum qcow2_owner qcow2_owner(const struct qcow2_owners *o, uint64_t cluster);

/* 0; -EEXIST where somebody else has the cluster (an L2 table may be of the disk and of any number
 * of snapshots); -ENOMEM. */
int qcow2_owners_add(struct qcow2_owners *o, uint64_t cluster, enum qcow2_owner owner);

/* It is nobody's. */
void qcow2_owners_remove(struct qcow2_owners *o, uint64_t cluster);

#endif
