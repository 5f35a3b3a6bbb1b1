/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of memory one after the other, taken as one row of bytes. Pure. */
#ifndef LODGE_HOST_SPANS_H
#define LODGE_HOST_SPANS_H

#include <stdint.h>

#include "host/disk.h"

/* A place within spans. */
struct span_cursor {
	const struct disk_span *spans;
	unsigned count; /* left */
	size_t skip;    /* bytes of the first that are behind */
};

uint64_t spans_len(const struct disk_span *spans, unsigned count);
void spans_zero(const struct disk_span *spans, unsigned count);

void spans_begin(struct span_cursor *c, const struct disk_span *spans, unsigned count);

/* The next len bytes, which there are, as spans of their own: how many; part has room for as many
 * as there were. */
unsigned spans_cut(struct span_cursor *c, uint64_t len, struct disk_span *part);

/* The next len bytes are copied to bytes, or from there. */
void spans_gather(struct span_cursor *c, void *bytes, uint64_t len);
void spans_scatter(struct span_cursor *c, const void *bytes, uint64_t len);

#endif
