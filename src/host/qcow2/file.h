/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the file that an image is in. What lies beyond its end reads as zeroes: the last cluster
 * may be cut off. 0 or -errno; any thread. */
#ifndef LODGE_HOST_QCOW2_FILE_H
#define LODGE_HOST_QCOW2_FILE_H

#include "host/disk_int.h"

int qcow2_file_read(struct disk *file, void *bytes, uint64_t len, uint64_t offset);
int qcow2_file_write(struct disk *file, const void *bytes, uint64_t len, uint64_t offset);

/* disk_read, or disk_read_now where now is set. */
int qcow2_file_read_spans(struct disk *file, const struct disk_span *spans, unsigned count,
			  uint64_t offset, bool now);

#endif
