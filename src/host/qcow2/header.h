/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a qcow2 image: read once, checked, and refused where it asks for what lodge has
 * not. */
#ifndef LODGE_HOST_QCOW2_HEADER_H
#define LODGE_HOST_QCOW2_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct disk;

#define QCOW2_NAME_MAX 1023

struct qcow2_header {
	unsigned version, cluster_bits;
	unsigned refcount_order; /* a refcount has 1 << this bits */
	unsigned compression;    /* 0: deflate, 1: zstd */
	uint64_t size;           /* of the disk, bytes */
	uint64_t l1_offset, reftable_offset, snapshots_offset;
	uint32_t l1_entries, reftable_clusters, snapshots;
	uint64_t incompatible, autoclear;
	bool bitmaps;                     /* it has dirty bitmaps */
	char backing[QCOW2_NAME_MAX + 1]; /* "": none */
	char backing_format[16];          /* "": not said */
};

/* Reads the header of the file that the user knows as name. What it says is within the bounds of
 * the format; that what it points to is sound is for others to check. 0, or -errno with e set. */
int qcow2_header_read(struct disk *file, const char *name, struct qcow2_header *h, struct err *e);

#endif
