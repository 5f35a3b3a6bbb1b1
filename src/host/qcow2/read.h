/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LODGE_HOST_QCOW2_READ_H
#define LODGE_HOST_QCOW2_READ_H

#include "host/qcow2/image.h"

/* The functions of struct disk_ops. */
int qcow2_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);
int qcow2_read_now(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);

/* Reads what the caller has claimed. */
int qcow2_read_claimed(struct qcow2 *q, const struct disk_span *spans, unsigned count,
		       uint64_t offset);

#endif
