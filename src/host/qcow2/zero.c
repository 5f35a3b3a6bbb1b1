/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zeroes and discards are entries of the L2 tables: "reads as zeroes" (version 3), or, where no
 * backing file would show through, nothing at all. Parts of clusters are written (zeroes) or left
 * as they are (discards).
 */
#include <errno.h>

#include "host/qcow2/commit.h"
#include "host/qcow2/map.h"
#include "host/qcow2/write.h"

#define ZEROES_SIZE 4096u
#define CHUNK       4096u /* clusters */

enum mode { DISCARD, ZERO, ZERO_UNMAP };

/* What the entry of a cluster becomes: 0, -errno, or 1: that cannot be said by an entry. */
static int change(struct qcow2 *q, enum mode mode, uint64_t entry, uint64_t *to)
{
	enum qcow2_kind kind = qcow2_kind_of(entry);
	uint64_t none = q->backing ? QCOW2_ZERO : 0;
	bool ours;
	int rc = qcow2_is_ours(q, entry, &ours);

	*to = entry;
	if (rc)
		return rc;
	if (kind == QCOW2_ABSENT && (!q->backing || mode == DISCARD))
		return 0;
	if (mode == ZERO && q->header.version > 2) {
		/* The space stays, if it is ours. */
		if (kind == QCOW2_DATA || kind == QCOW2_ZEROES)
			*to = ours ? entry | QCOW2_ZERO : QCOW2_ZERO;
		else
			*to = QCOW2_ZERO;
		return 0;
	}
	if (q->backing && q->header.version == 2)
		return mode != DISCARD;
	*to = none;
	return 0;
}

/* Whole clusters, from first to last: 0, -errno, or 1 where they have to be written. */
static int set_entries(struct qcow2 *q, enum mode mode, uint64_t first, uint64_t last)
{
	struct qcow2_claim claim = {.first = first, .last = last, .alone = true};
	uint64_t entry, to;
	int rc = qcow2_relieve(q);

	if (rc)
		return rc;
	qcow2_claim(&q->claims, &claim);
	pthread_mutex_lock(&q->lock);
	rc = q->broken;
	for (uint64_t c = first; !rc && c <= last; c++) {
		rc = qcow2_entry(q, c, &entry);
		if (!rc)
			rc = change(q, mode, entry, &to);
		if (rc || to == entry)
			continue;
		rc = qcow2_own_l2(q, c);
		if (!rc)
			rc = qcow2_entry_set(q, c, to);
	}
	pthread_mutex_unlock(&q->lock);
	qcow2_unclaim(&q->claims, &claim);
	return rc;
}

static int write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	static const uint8_t zeroes[ZEROES_SIZE];
	struct disk_span spans[16];
	int rc = 0;

	while (!rc && len) {
		uint64_t done = 0;
		unsigned n = 0;

		for (; n < ARRAY_LEN(spans) && done < len; n++) {
			spans[n].base = (void *)(uintptr_t)zeroes;
			spans[n].len = MIN(len - done, ZEROES_SIZE);
			done += spans[n].len;
		}
		rc = qcow2_write(&q->disk, spans, n, offset);
		offset += done;
		len -= done;
	}
	return rc;
}

/* A part of a cluster, which may read as zeroes anyway. */
static int zero_part(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	struct qcow2_extent x = {.kind = QCOW2_DATA};
	int rc;

	if (!len)
		return 0;
	pthread_mutex_lock(&q->lock);
	rc = qcow2_extent(q, offset, len, false, &x);
	pthread_mutex_unlock(&q->lock);
	if (!rc && x.len == len &&
	    (x.kind == QCOW2_ZEROES || (x.kind == QCOW2_ABSENT && !q->backing)))
		return 0;
	return rc ? rc : write_zeroes(q, offset, len);
}

static int zero_range(struct qcow2 *q, enum mode mode, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len, mask = q->cluster - 1;
	uint64_t from = align_up(offset, q->cluster), to = end == q->disk.size ? end : end & ~mask;
	int rc = 0;

	if (from >= to)
		return mode == DISCARD ? 0 : zero_part(q, offset, len);
	if (mode != DISCARD) {
		rc = zero_part(q, offset, from - offset);
		if (!rc)
			rc = zero_part(q, to, end - to);
	}
	while (!rc && from < to) {
		uint64_t most = MIN(to - from, (uint64_t)CHUNK << q->bits);

		rc = set_entries(q, mode, from >> q->bits, (from + most - 1) >> q->bits);
		if (rc == 1)
			rc = write_zeroes(q, from, most);
		from += most;
	}
	return rc;
}

int qcow2_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	return zero_range(qcow2_of(d), DISCARD, offset, len);
}

int qcow2_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap)
{
	return zero_range(qcow2_of(d), unmap ? ZERO_UNMAP : ZERO, offset, len);
}
