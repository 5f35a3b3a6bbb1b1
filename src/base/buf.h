/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer that grows: tables, reports and messages are built in it.
 *
 * An allocation that fails is remembered, not returned at each append: later
 * appends do nothing, and the user asks buf_failed once at the end.
 */
#ifndef LODGE_BASE_BUF_H
#define LODGE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t room;
	bool failed;
};

#define BUF_INIT                  \
	{                         \
		NULL, 0, 0, false \
	}

/* Frees the bytes; the buffer is empty and can be used again. */
void buf_release(struct buf *b);

/* Whether an append failed for want of memory; the contents are then useless. */
bool buf_failed(const struct buf *b);

/* Appends len bytes from p (zeroes if p is NULL). */
void buf_add(struct buf *b, const void *p, size_t len);

/* Appends v as size bytes, little-endian. */
void buf_add_le(struct buf *b, uint64_t v, unsigned size);

/* Appends formatted text; the bytes are kept NUL-terminated, the NUL not counted in len. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The contents as a string: "" if empty. Valid until the next change. */
const char *buf_str(struct buf *b);

#endif
