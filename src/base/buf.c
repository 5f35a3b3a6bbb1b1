/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

bool buf_failed(const struct buf *b)
{
	return b->failed;
}

/* Room for len more bytes and a NUL. */
static bool buf_reserve(struct buf *b, size_t len)
{
	size_t want = b->room ? b->room : 256;
	uint8_t *data;

	if (b->failed || len >= SIZE_MAX / 4 - b->len)
		goto fail;
	if (b->room - b->len > len)
		return true;
	while (want - b->len <= len)
		want *= 2;
	data = realloc(b->data, want);
	if (!data)
		goto fail;
	b->data = data;
	b->room = want;
	return true;
fail:
	b->failed = true;
	return false;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
	if (!buf_reserve(b, len))
		return;
	if (p)
		memcpy(b->data + b->len, p, len);
	else
		memset(b->data + b->len, 0, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add_le(struct buf *b, uint64_t v, unsigned size)
{
	buf_add(b, &v, size);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || !buf_reserve(b, (size_t)len))
		return;
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
}

const char *buf_str(struct buf *b)
{
	return b->len ? (const char *)b->data : "";
}
