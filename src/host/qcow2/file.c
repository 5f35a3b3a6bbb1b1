/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/file.h"

#include <string.h>

#include "base/bits.h"
#include "host/spans.h"

int qcow2_file_read_spans(struct disk *file, const struct disk_span *spans, unsigned count,
			  uint64_t offset, bool now)
{
	uint64_t size = disk_size(file), len = spans_len(spans, count);
	uint64_t have = offset >= size ? 0 : MIN(len, size - offset);
	struct disk_span part[DISK_SPANS_MAX];
	struct span_cursor at;
	unsigned n;

	if (!len)
		return 0; /* wherever it would be */
	if (have == len)
		return now ? disk_read_now(file, spans, count, offset)
			   : disk_read(file, spans, count, offset);
	spans_begin(&at, spans, count);
	if (have) {
		int rc;

		n = spans_cut(&at, have, part);
		rc = now ? disk_read_now(file, part, n, offset) : disk_read(file, part, n, offset);
		if (rc)
			return rc;
	}
	n = spans_cut(&at, len - have, part);
	spans_zero(part, n);
	return 0;
}

int qcow2_file_read(struct disk *file, void *bytes, uint64_t len, uint64_t offset)
{
	const struct disk_span span = {bytes, len};

	return qcow2_file_read_spans(file, &span, 1, offset, false);
}

int qcow2_file_write(struct disk *file, const void *bytes, uint64_t len, uint64_t offset)
{
	const struct disk_span span = {(void *)(uintptr_t)bytes, len};

	return disk_write(file, &span, 1, offset);
}
