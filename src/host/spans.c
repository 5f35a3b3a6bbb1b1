/* SPDX-License-Identifier: Apache-2.0 */
#include "host/spans.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

uint64_t spans_len(const struct disk_span *spans, unsigned count)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += spans[i].len;
	return len;
}

void spans_zero(const struct disk_span *spans, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		memset(spans[i].base, 0, spans[i].len);
}

void spans_begin(struct span_cursor *c, const struct disk_span *spans, unsigned count)
{
	*c = (struct span_cursor){spans, count, 0};
}

/* The next piece, of up to len bytes. */
static struct disk_span next(struct span_cursor *c, uint64_t len)
{
	struct disk_span s;

	while (c->count && c->skip == c->spans->len) {
		c->spans++;
		c->count--;
		c->skip = 0;
	}
	assert(c->count);
	s.base = (char *)c->spans->base + c->skip;
	s.len = MIN(len, c->spans->len - c->skip);
	c->skip += s.len;
	return s;
}

unsigned spans_cut(struct span_cursor *c, uint64_t len, struct disk_span *part)
{
	unsigned n = 0;

	for (; len; len -= part[n++].len)
		part[n] = next(c, len);
	return n;
}

void spans_gather(struct span_cursor *c, void *bytes, uint64_t len)
{
	char *to = bytes;

	while (len) {
		struct disk_span s = next(c, len);

		memcpy(to, s.base, s.len);
		to += s.len;
		len -= s.len;
	}
}

void spans_scatter(struct span_cursor *c, const void *bytes, uint64_t len)
{
	const char *from = bytes;

	while (len) {
		struct disk_span s = next(c, len);

		memcpy(s.base, from, s.len);
		from += s.len;
		len -= s.len;
	}
}
