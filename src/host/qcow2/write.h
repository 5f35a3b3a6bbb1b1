/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LODGE_HOST_QCOW2_WRITE_H
#define LODGE_HOST_QCOW2_WRITE_H

#include "host/qcow2/image.h"

/* The functions of struct disk_ops. */
int qcow2_write(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);
int qcow2_discard(struct disk *d, uint64_t offset, uint64_t len);
int qcow2_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap);

#endif
