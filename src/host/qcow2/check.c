/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/check.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "host/qcow2/file.h"

/* L1 tables of all snapshots together: more are hostile. */
#define SNAPSHOT_L1_MAX MIB(64)

#define SNAPSHOT_FIXED 40u

/* One L1 table of a snapshot. */
static int read_l1(struct qcow2 *q, uint64_t offset, uint32_t entries, uint64_t **l1)
{
	uint64_t len = 8 * (uint64_t)entries;
	int rc;

	if (offset & (q->cluster - 1) || (entries && !qcow2_in_file(q, offset, len)))
		return -EUCLEAN;
	*l1 = malloc(len + 8);
	if (!*l1)
		return -ENOMEM;
	rc = qcow2_file_read(q->file, *l1, len, offset);
	for (uint32_t i = 0; !rc && i < entries; i++)
		(*l1)[i] = qcow2_load(&(*l1)[i], 8);
	if (rc)
		free(*l1);
	return rc;
}

int qcow2_snapshots(struct qcow2 *q, qcow2_snapshot_fn each, void *opaque, uint64_t *end)
{
	uint64_t at = q->header.snapshots_offset, total = 0;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < q->header.snapshots; i++) {
		uint8_t fixed[SNAPSHOT_FIXED];
		uint64_t l1_offset, *l1;
		uint32_t entries;

		if (!qcow2_in_file(q, at, sizeof(fixed)))
			return -EUCLEAN;
		rc = qcow2_file_read(q->file, fixed, sizeof(fixed), at);
		if (rc)
			return rc;
		l1_offset = qcow2_load(fixed, 8);
		entries = (uint32_t)qcow2_load(fixed + 8, 4);
		total += 8 * (uint64_t)entries;
		if (entries > QCOW2_L1_MAX || total > SNAPSHOT_L1_MAX)
			return -EUCLEAN;
		at += sizeof(fixed) + qcow2_load(fixed + 12, 2) + qcow2_load(fixed + 14, 2) +
		      qcow2_load(fixed + 36, 4);
		at = align_up(at, 8);
		rc = read_l1(q, l1_offset, entries, &l1);
		if (rc)
			return rc;
		rc = each(q, l1_offset, l1, entries, opaque);
		free(l1);
	}
	*end = at;
	return rc;
}

static int own(struct qcow2 *q, uint64_t offset, uint64_t len, enum qcow2_owner owner)
{
	int rc = 0;

	if (!len)
		return 0;
	if (offset & (q->cluster - 1) || !qcow2_in_file(q, offset, len))
		return -EUCLEAN;
	for (uint64_t c = offset >> q->bits; !rc && c <= (offset + len - 1) >> q->bits; c++)
		rc = qcow2_owners_add(&q->owners, c, owner);
	return rc == -EEXIST ? -EUCLEAN : rc;
}

static int own_tables(struct qcow2 *q, const uint64_t *l1, uint32_t entries, enum qcow2_owner owner)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < entries; i++) {
		if (l1[i] & ~(QCOW2_COPIED | QCOW2_OFFSET))
			return -EUCLEAN;
		if (l1[i] & QCOW2_OFFSET)
			rc = own(q, l1[i] & QCOW2_OFFSET, q->cluster, owner);
		else if (l1[i])
			return -EUCLEAN;
	}
	return rc;
}

static int own_snapshot(struct qcow2 *q, uint64_t l1_offset, const uint64_t *l1, uint32_t entries,
			void *opaque)
{
	int rc = own(q, l1_offset, 8 * (uint64_t)entries, QCOW2_SNAPSHOTS);

	(void)opaque;
	return rc ? rc : own_tables(q, l1, entries, QCOW2_SNAPSHOT_L2);
}

int qcow2_find_owners(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;
	uint64_t end;
	int rc = own(q, 0, 1, QCOW2_HEADER);

	if (!rc)
		rc = own(q, h->l1_offset, 8 * (uint64_t)h->l1_entries, QCOW2_L1);
	if (!rc)
		rc = own(q, h->reftable_offset, (uint64_t)h->reftable_clusters << q->bits,
			 QCOW2_REFTABLE);
	for (uint64_t i = 0; !rc && i < q->reftable_entries; i++) {
		if (q->reftable[i])
			rc = own(q, q->reftable[i], q->cluster, QCOW2_REFBLOCK);
	}
	if (!rc)
		rc = own_tables(q, q->l1, h->l1_entries, QCOW2_L2);
	if (!rc)
		rc = qcow2_snapshots(q, own_snapshot, NULL, &end);
	if (!rc && h->snapshots)
		rc = own(q, h->snapshots_offset, end - h->snapshots_offset, QCOW2_SNAPSHOTS);
	return rc;
}
