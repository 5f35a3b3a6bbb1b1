/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed clusters. They are read, and written elsewhere: never changed. The last one that was
 * read is kept. Any thread, no lock held but that of qcow2_inflated_forget's caller. */
#ifndef LODGE_HOST_QCOW2_COMPRESSED_H
#define LODGE_HOST_QCOW2_COMPRESSED_H

#include "host/qcow2/image.h"

/* Loads what the image's compression needs: 0, or -errno with e set. */
int qcow2_compression_open(struct qcow2 *q, struct err *e);
void qcow2_compression_close(struct qcow2 *q);

/* len bytes from the one at skip on of the cluster that entry refers to: 0 or -errno. */
int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, uint64_t len,
		  const struct disk_span *spans, unsigned count);

/* The entry is not in use any more. */
void qcow2_inflated_forget(struct qcow2 *q, uint64_t entry);

#endif
