/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/read.h"

#include <errno.h>

#include "host/qcow2/compressed.h"
#include "host/qcow2/file.h"
#include "host/qcow2/map.h"
#include "host/spans.h"

static int read_extent(struct qcow2 *q, const struct qcow2_extent *x, uint64_t offset,
		       const struct disk_span *spans, unsigned count)
{
	switch (x->kind) {
	case QCOW2_DATA:
		return qcow2_file_read_spans(q->file, spans, count, x->at, false);
	case QCOW2_PACKED:
		return qcow2_inflate(q, x->entry, offset & (q->cluster - 1), x->len, spans, count);
	case QCOW2_ABSENT:
		if (q->backing)
			return qcow2_file_read_spans(q->backing, spans, count, offset, false);
		break;
	case QCOW2_ZEROES:
		break;
	}
	spans_zero(spans, count);
	return 0;
}

int qcow2_read_claimed(struct qcow2 *q, const struct disk_span *spans, unsigned count,
		       uint64_t offset)
{
	uint64_t left = spans_len(spans, count);
	struct disk_span part[DISK_SPANS_MAX];
	struct span_cursor at;
	int rc = 0;

	spans_begin(&at, spans, count);
	while (!rc && left) {
		struct qcow2_extent x;

		pthread_mutex_lock(&q->lock);
		rc = qcow2_extent(q, offset, left, false, &x);
		pthread_mutex_unlock(&q->lock);
		if (rc)
			break;
		rc = read_extent(q, &x, offset, part, spans_cut(&at, x.len, part));
		offset += x.len;
		left -= x.len;
	}
	return rc;
}

static struct qcow2_claim claim_of(const struct qcow2 *q, const struct disk_span *spans,
				   unsigned count, uint64_t offset)
{
	uint64_t len = spans_len(spans, count);

	return (struct qcow2_claim){
		.first = offset >> q->bits,
		.last = (offset + (len ? len - 1 : 0)) >> q->bits,
	};
}

int qcow2_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	struct qcow2 *q = qcow2_of(d);
	struct qcow2_claim claim = claim_of(q, spans, count, offset);
	int rc;

	qcow2_claim(&q->claims, &claim);
	rc = qcow2_read_claimed(q, spans, count, offset);
	qcow2_unclaim(&q->claims, &claim);
	return rc;
}

/* The extent at hand, without waiting for anything. */
static int read_extent_now(struct qcow2 *q, const struct qcow2_extent *x, uint64_t offset,
			   const struct disk_span *spans, unsigned count)
{
	if (x->kind == QCOW2_DATA)
		return qcow2_file_read_spans(q->file, spans, count, x->at, true);
	if (x->kind == QCOW2_PACKED)
		return -EAGAIN;
	if (x->kind == QCOW2_ABSENT && q->backing)
		return qcow2_file_read_spans(q->backing, spans, count, offset, true);
	spans_zero(spans, count);
	return 0;
}

int qcow2_read_now(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	struct qcow2 *q = qcow2_of(d);
	struct qcow2_claim claim = claim_of(q, spans, count, offset);
	uint64_t left = spans_len(spans, count);
	struct disk_span part[DISK_SPANS_MAX];
	struct span_cursor at;
	int rc = 0;

	if (!qcow2_claim_now(&q->claims, &claim))
		return -EAGAIN;
	spans_begin(&at, spans, count);
	while (!rc && left) {
		struct qcow2_extent x;

		if (pthread_mutex_trylock(&q->lock)) {
			rc = -EAGAIN;
			break;
		}
		rc = qcow2_extent(q, offset, left, true, &x);
		pthread_mutex_unlock(&q->lock);
		if (rc)
			break;
		rc = read_extent_now(q, &x, offset, part, spans_cut(&at, x.len, part));
		offset += x.len;
		left -= x.len;
	}
	qcow2_unclaim(&q->claims, &claim);
	return rc ? -EAGAIN : 0;
}
