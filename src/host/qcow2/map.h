/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in the file the clusters of the disk are. Each entry that comes from the file is checked
 * before it is used; one that cannot be makes the image corrupt. The lock is held for all
 * functions; 0 or -errno. "cluster" is one of the disk.
 */
#ifndef LODGE_HOST_QCOW2_MAP_H
#define LODGE_HOST_QCOW2_MAP_H

#include "host/qcow2/image.h"

enum qcow2_kind {
	QCOW2_ABSENT, /* what the backing file has there, or zeroes */
	QCOW2_ZEROES,
	QCOW2_DATA,
	QCOW2_PACKED, /* compressed */
};

/* Clusters one after the other on the disk and, where they are data, in the file. */
struct qcow2_extent {
	enum qcow2_kind kind;
	uint64_t entry; /* of the first cluster */
	uint64_t at;    /* data: the offset in the file */
	uint64_t len;   /* bytes */
};

enum qcow2_kind qcow2_kind_of(uint64_t entry);

/* The extent at offset, up to len bytes of it. With cached, -EAGAIN where the file would have to
 * be read. */
int qcow2_extent(struct qcow2 *q, uint64_t offset, uint64_t len, bool cached,
		 struct qcow2_extent *x);

int qcow2_entry(struct qcow2 *q, uint64_t cluster, uint64_t *entry);

/* Whether what the entry refers to may be written where it is. */
int qcow2_is_ours(struct qcow2 *q, uint64_t entry, bool *ours);

/* Sees to it that the cluster's L2 table is there and is ours alone. */
int qcow2_own_l2(struct qcow2 *q, uint64_t cluster);

/* Changes the entry of a cluster whose L2 table is owned. What the old one referred to, and the new
 * one does not, is freed later. */
int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, uint64_t entry);

/* The file's clusters that the bytes of a compressed cluster are in. */
struct qcow2_packed {
	uint64_t offset, len;
};
struct qcow2_packed qcow2_packed_at(const struct qcow2 *q, uint64_t entry);

#endif
