/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked at before an image is written to. */
#ifndef LODGE_HOST_QCOW2_CHECK_H
#define LODGE_HOST_QCOW2_CHECK_H

#include "host/qcow2/image.h"

/* Called for each table of snapshot's L1 table entries: those that are used, as they are in the
 * file. 0, or what ends the walk. */
typedef int (*qcow2_snapshot_fn)(struct qcow2 *q, uint64_t l1_offset, const uint64_t *l1,
				 uint32_t entries, void *opaque);

/* Goes through the snapshots. -EUCLEAN where their table cannot be; *end is where it ends. */
int qcow2_snapshots(struct qcow2 *q, qcow2_snapshot_fn each, void *opaque, uint64_t *end);

/* Finds out which clusters are metadata: 0, -EUCLEAN where two things share one, or something lies
 * outside the file; or another -errno. */
int qcow2_find_owners(struct qcow2 *q);

/* Counts all references anew and corrects the refcounts and the flags of tables by them: for images
 * that were not closed by somebody who kept no counts. The image is not in use yet. 0 or -errno. */
int qcow2_repair(struct qcow2 *q);

#endif
