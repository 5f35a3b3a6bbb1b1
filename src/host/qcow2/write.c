/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write goes by chunks of clusters. Where all clusters of a chunk are the image's own, nothing
 * but data is written, and others may write beside it. Else the chunk is claimed alone:
 *
 *	plan    with the lock: each cluster of the disk gets one of the file, its own or a new one
 *	fill    of a cluster that is new and written in part, the whole contents are made in memory
 *	write   the data, clusters that lie together in the file in one call
 *	enter   with the lock: the L2 tables say so
 *
 * A new cluster at the end of the file reads as zeroes, so that parts of it need not be written if
 * they are to be zeroes.
 */
#include "host/qcow2/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/qcow2/commit.h"
#include "host/qcow2/file.h"
#include "host/qcow2/map.h"
#include "host/qcow2/read.h"
#include "host/qcow2/refcount.h"
#include "host/spans.h"

#define CHUNK 64u /* clusters */

/* Where a cluster of the disk is written to. */
struct target {
	uint64_t entry; /* of before */
	uint64_t at;    /* in the file */
	bool taken;     /* newly, for this */
	bool fresh;     /* and reads as zeroes */
	bool enter;     /* its entry has to change */
	uint8_t *whole; /* its whole contents; NULL: the data is written where it belongs */
};

struct chunk {
	struct qcow2 *q;
	struct qcow2_claim claim;
	uint64_t offset, len; /* on the disk */
	unsigned count;
	struct target targets[CHUNK];
};

/* Where a cluster goes: 0, -errno, or 1: only somebody who is alone may say. */
static int plan_one(struct chunk *c, uint64_t cluster, struct target *t)
{
	struct qcow2 *q = c->q;
	bool ours;
	int rc;

	memset(t, 0, sizeof(*t));
	rc = c->claim.alone ? qcow2_own_l2(q, cluster) : 0;
	if (!rc)
		rc = qcow2_entry(q, cluster, &t->entry);
	if (!rc)
		rc = qcow2_is_ours(q, t->entry, &ours);
	if (rc)
		return rc;
	t->enter = !ours || t->entry & QCOW2_ZERO;
	if (t->enter && !c->claim.alone)
		return 1;
	t->at = t->entry & QCOW2_OFFSET;
	if (ours)
		return 0;
	rc = qcow2_take(q, &t->at, &t->fresh);
	t->at <<= q->bits;
	t->taken = !rc;
	return rc;
}

/* What is not entered was never anybody's. The lock is held. */
static void give_back_all(struct chunk *c)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (c->targets[i].taken && c->targets[i].enter)
			qcow2_give_back(c->q, c->targets[i].at >> c->q->bits);
	}
}

static int plan(struct chunk *c)
{
	struct qcow2 *q = c->q;
	int rc;

	pthread_mutex_lock(&q->lock);
	rc = q->broken;
	for (c->count = 0; !rc && c->count <= c->claim.last - c->claim.first;) {
		rc = plan_one(c, c->claim.first + c->count, &c->targets[c->count]);
		if (!rc)
			c->count++;
	}
	if (rc)
		give_back_all(c);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

static bool reads_as_zeroes(const struct qcow2 *q, const struct target *t)
{
	enum qcow2_kind kind = qcow2_kind_of(t->entry);

	return kind == QCOW2_ZEROES || (kind == QCOW2_ABSENT && !q->backing);
}

/* Cluster i of the chunk, of which a part is written. */
static int fill(struct chunk *c, unsigned i)
{
	struct qcow2 *q = c->q;
	struct target *t = &c->targets[i];
	uint64_t start = (c->claim.first + i) << q->bits;
	struct disk_span span = {.len = MIN(q->cluster, q->disk.size - start)};

	if (!t->enter || (t->fresh && reads_as_zeroes(q, t)))
		return 0;
	t->whole = calloc(1, q->cluster);
	if (!t->whole)
		return -ENOMEM;
	span.base = t->whole;
	return reads_as_zeroes(q, t) ? 0 : qcow2_read_claimed(q, &span, 1, start);
}

/* What of cluster i of the chunk is written. */
static void part_of(const struct chunk *c, unsigned i, uint64_t *from, uint64_t *len)
{
	uint64_t start = (c->claim.first + i) << c->q->bits, end = start + c->q->cluster;
	uint64_t last = MIN(end, c->offset + c->len);

	*from = MAX(start, c->offset);
	*len = last - *from;
	*from -= start;
}

static int fill_parts(struct chunk *c)
{
	unsigned last = c->count - 1;
	uint64_t from, len;
	int rc = 0;

	part_of(c, 0, &from, &len);
	if (len < c->q->cluster)
		rc = fill(c, 0);
	part_of(c, last, &from, &len);
	if (!rc && last && len < c->q->cluster)
		rc = fill(c, last);
	return rc;
}

/* The clusters from i on that one call can write: how many. */
static unsigned run_of(const struct chunk *c, unsigned i)
{
	unsigned n = 1;

	while (i + n < c->count && !c->targets[i + n].whole &&
	       c->targets[i + n].at == c->targets[i].at + ((uint64_t)n << c->q->bits))
		n++;
	return n;
}

static int write_data(struct chunk *c, struct span_cursor *data)
{
	struct disk_span part[DISK_SPANS_MAX];
	struct qcow2 *q = c->q;
	int rc = 0;

	for (unsigned i = 0; !rc && i < c->count;) {
		struct target *t = &c->targets[i];
		uint64_t from, len, more;
		unsigned n = 1;

		part_of(c, i, &from, &len);
		if (t->whole) {
			spans_gather(data, t->whole + from, len);
			rc = qcow2_file_write(q->file, t->whole, q->cluster, t->at);
			i++;
			continue;
		}
		for (unsigned run = run_of(c, i); n < run; n++) {
			uint64_t skip;

			part_of(c, i + n, &skip, &more);
			len += more;
		}
		rc = disk_write(q->file, part, spans_cut(data, len, part), t->at + from);
		i += n;
	}
	return rc;
}

/* Says in the L2 tables where the data is; if that fails, of none of the rest. */
static int enter(struct chunk *c, int rc)
{
	struct qcow2 *q = c->q;

	pthread_mutex_lock(&q->lock);
	if (!rc)
		rc = q->broken;
	for (unsigned i = 0; !rc && i < c->count; i++) {
		struct target *t = &c->targets[i];

		if (!t->enter)
			continue;
		rc = qcow2_entry_set(q, c->claim.first + i, t->at | QCOW2_COPIED);
		t->enter = rc;
	}
	if (rc)
		give_back_all(c);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

static int write_planned(struct chunk *c, struct span_cursor *data)
{
	int rc = fill_parts(c);

	if (!rc)
		rc = write_data(c, data);
	if (c->claim.alone)
		rc = enter(c, rc);
	for (unsigned i = 0; i < c->count; i++)
		free(c->targets[i].whole);
	return rc;
}

static int write_chunk(struct chunk *c, struct span_cursor *data)
{
	struct qcow2 *q = c->q;
	int rc;

	c->claim.first = c->offset >> q->bits;
	c->claim.last = (c->offset + c->len - 1) >> q->bits;
	c->claim.alone = false;
	qcow2_claim(&q->claims, &c->claim);
	rc = plan(c);
	if (rc == 1) {
		qcow2_unclaim(&q->claims, &c->claim);
		rc = qcow2_relieve(q);
		if (rc)
			return rc;
		c->claim.alone = true;
		qcow2_claim(&q->claims, &c->claim);
		rc = plan(c);
	}
	if (!rc)
		rc = write_planned(c, data);
	qcow2_unclaim(&q->claims, &c->claim);
	return rc;
}

int qcow2_write(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	struct chunk c = {.q = qcow2_of(d)};
	uint64_t left = spans_len(spans, count), most = (uint64_t)CHUNK << c.q->bits;
	struct span_cursor data;
	int rc = 0;

	spans_begin(&data, spans, count);
	while (!rc && left) {
		c.offset = offset;
		c.len = MIN(left, most - (offset & (c.q->cluster - 1)));
		rc = write_chunk(&c, &data);
		offset += c.len;
		left -= c.len;
	}
	return rc;
}
