/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "host/disk_int.h"
#include "host/qcow2/format.h"

#define FEATURE_SIZE 48u
#define FEATURE_NAME 46u

/* The first cluster, and what is known while it is looked through. */
struct parse {
	const char *name;
	const uint8_t *bytes;
	uint64_t len; /* of the bytes: the first cluster, or the file if that is shorter */
	struct qcow2_header *h;
	struct err *e;
};

static int refuse(struct parse *p, const char *why)
{
	return err_set(p->e, EINVAL, "the disk %s is no qcow2 image that can be used: %s", p->name,
		       why);
}

static uint64_t field(const struct parse *p, unsigned at, unsigned size)
{
	return qcow2_load(p->bytes + at, size);
}

/* The name that the image has for an incompatible feature; "" if it has none. */
static void feature_name(const uint8_t *table, uint32_t len, unsigned bit,
			 char name[FEATURE_NAME + 1])
{
	name[0] = 0;
	for (; len >= FEATURE_SIZE; table += FEATURE_SIZE, len -= FEATURE_SIZE) {
		if (table[0] || table[1] != bit)
			continue;
		memcpy(name, table + 2, FEATURE_NAME);
		name[FEATURE_NAME] = 0;
		return;
	}
}

/* Features that change what the image means; the table may name those that lodge cannot know. */
static int check_features(struct parse *p, const uint8_t *table, uint32_t table_len)
{
	const uint64_t known = QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION;
	uint64_t unknown = p->h->incompatible & ~known;
	char name[FEATURE_NAME + 1];
	unsigned bit;

	if (!unknown)
		return 0;
	if (unknown & QCOW2_DATA_FILE)
		return refuse(p, "its data is in another file: 'qemu-img convert' makes one file "
				 "of them");
	if (unknown & QCOW2_EXTENDED_L2)
		return refuse(p, "it has subclusters (extended L2 entries): 'qemu-img convert -O "
				 "qcow2' makes an image without");
	bit = (unsigned)__builtin_ctzll(unknown);
	feature_name(table, table_len, bit, name);
	return err_set(p->e, EINVAL,
		       "the disk %s asks for a feature that is not known here, '%s' (bit %u): "
		       "'qemu-img convert' may make an image without it",
		       p->name, name, bit);
}

static void keep_format(struct parse *p, const uint8_t *bytes, uint32_t len)
{
	if (len >= sizeof(p->h->backing_format))
		len = sizeof(p->h->backing_format) - 1;
	memcpy(p->h->backing_format, bytes, len);
	p->h->backing_format[len] = 0;
}

static int parse_extensions(struct parse *p, uint64_t at)
{
	const uint8_t *features = NULL;
	uint32_t features_len = 0;

	while (range_within(at, 8, p->len)) {
		uint32_t type = (uint32_t)field(p, (unsigned)at, 4);
		uint32_t len = (uint32_t)field(p, (unsigned)at + 4, 4);

		if (type == QCOW2_EXT_END)
			break;
		at += 8;
		if (!range_within(at, len, p->len))
			return refuse(p, "an extension of its header does not end");
		if (type == QCOW2_EXT_BACKING)
			keep_format(p, p->bytes + at, len);
		else if (type == QCOW2_EXT_BITMAPS)
			p->h->bitmaps = true;
		else if (type == QCOW2_EXT_FEATURES) {
			features = p->bytes + at;
			features_len = len;
		}
		at += align_up(len, 8);
	}
	return check_features(p, features, features_len);
}

static int parse_backing(struct parse *p)
{
	uint64_t at = field(p, QCOW2_H_BACKING_OFFSET, 8);
	uint32_t len = (uint32_t)field(p, QCOW2_H_BACKING_LEN, 4);

	if (!at)
		return 0;
	if (!len || len > QCOW2_NAME_MAX || !range_within(at, len, p->len) ||
	    memchr(p->bytes + at, 0, len))
		return refuse(p, "the name of its backing file cannot be");
	memcpy(p->h->backing, p->bytes + at, len);
	return 0;
}

/* The fields that version 2 has not. Gives where the extensions begin. */
static int parse_version_3(struct parse *p, uint64_t *end)
{
	struct qcow2_header *h = p->h;
	uint32_t len;

	h->refcount_order = 4;
	*end = QCOW2_H2_LEN;
	if (h->version == 2)
		return 0;
	if (p->len < QCOW2_H3_LEN)
		return refuse(p, "it ends within its header");
	h->incompatible = field(p, QCOW2_H_INCOMPATIBLE, 8);
	h->autoclear = field(p, QCOW2_H_AUTOCLEAR, 8);
	h->refcount_order = (unsigned)field(p, QCOW2_H_REFCOUNT_ORDER, 4);
	len = (uint32_t)field(p, QCOW2_H_LEN, 4);
	if (h->refcount_order > 6 || len < QCOW2_H3_LEN || len % 8 || len > p->len)
		return refuse(p, "its header cannot be");
	if (len > QCOW2_H_COMPRESSION)
		h->compression = p->bytes[QCOW2_H_COMPRESSION];
	if (h->compression > 1 || !!h->compression != !!(h->incompatible & QCOW2_COMPRESSION))
		return refuse(p, "its compression is not known here");
	*end = len;
	return 0;
}

/* That the tables have a size and a place that can be. */
static int check_tables(struct parse *p)
{
	struct qcow2_header *h = p->h;
	uint64_t cluster = BIT(h->cluster_bits), mask = cluster - 1;
	uint64_t covered = cluster * (cluster / 8); /* by an entry of the L1 table */

	if (!h->size || h->size % DISK_SECTOR || h->size > BIT(62))
		return refuse(p, "the size of the disk is no number of sectors");
	if (h->l1_entries > QCOW2_L1_MAX || (h->size + covered - 1) / covered > h->l1_entries)
		return refuse(p, "its L1 table does not fit the size of the disk");
	if (h->l1_offset & mask || h->reftable_offset & mask || !h->l1_offset ||
	    !h->reftable_offset)
		return refuse(p, "its tables do not begin where a cluster does");
	if (!h->reftable_clusters ||
	    (uint64_t)h->reftable_clusters << h->cluster_bits > QCOW2_REFTABLE_MAX)
		return refuse(p, "its refcount table cannot be");
	if (h->snapshots > QCOW2_SNAPSHOT_MAX || (h->snapshots && h->snapshots_offset & mask))
		return refuse(p, "its snapshot table cannot be");
	return 0;
}

static int parse_fixed(struct parse *p)
{
	struct qcow2_header *h = p->h;

	h->size = field(p, QCOW2_H_SIZE, 8);
	h->l1_entries = (uint32_t)field(p, QCOW2_H_L1_ENTRIES, 4);
	h->l1_offset = field(p, QCOW2_H_L1_OFFSET, 8);
	h->reftable_offset = field(p, QCOW2_H_REFTABLE, 8);
	h->reftable_clusters = (uint32_t)field(p, QCOW2_H_REFTABLE_CLUSTERS, 4);
	h->snapshots = (uint32_t)field(p, QCOW2_H_SNAPSHOTS, 4);
	h->snapshots_offset = field(p, QCOW2_H_SNAPSHOTS_OFFSET, 8);
	if (field(p, QCOW2_H_CRYPT, 4))
		return refuse(p, "it is encrypted: 'qemu-img convert' decrypts it");
	return 0;
}

static int parse(struct parse *p)
{
	uint64_t extensions;
	int rc = parse_fixed(p);

	if (!rc)
		rc = parse_version_3(p, &extensions);
	if (!rc)
		rc = parse_extensions(p, extensions);
	if (!rc)
		rc = parse_backing(p);
	return rc ? rc : check_tables(p);
}

/* Whether there is a magic number, and of a version and cluster size that can be. */
static int begin(struct parse *p)
{
	uint8_t first[QCOW2_H2_LEN];
	struct qcow2_header *h = p->h;

	memcpy(first, p->bytes, sizeof(first));
	if (qcow2_load(first, 4) != QCOW2_MAGIC)
		return refuse(p, "it does not begin like one: is it raw (',format=raw')?");
	h->version = (unsigned)qcow2_load(first + QCOW2_H_VERSION, 4);
	if (h->version != 2 && h->version != 3)
		return refuse(p, "its version is neither 2 nor 3");
	h->cluster_bits = (unsigned)qcow2_load(first + QCOW2_H_CLUSTER_BITS, 4);
	if (h->cluster_bits < QCOW2_BITS_MIN || h->cluster_bits > QCOW2_BITS_MAX)
		return refuse(p, "its clusters are not of 512 bytes to 2 MiB");
	return 0;
}

int qcow2_header_read(struct disk *file, const char *name, struct qcow2_header *h, struct err *e)
{
	uint64_t have = disk_size(file);
	struct disk_span span;
	struct parse p = {.name = name, .h = h, .e = e};
	uint8_t *bytes;
	int rc;

	memset(h, 0, sizeof(*h));
	if (have < QCOW2_H2_LEN)
		return refuse(&p, "it is too short for one");
	bytes = malloc(BIT(QCOW2_BITS_MAX));
	if (!bytes)
		return err_errno(e, ENOMEM, "cannot open the disk %s", name);
	span = (struct disk_span){bytes, MIN(have, BIT(QCOW2_BITS_MAX))};
	rc = disk_read(file, &span, 1, 0);
	p.bytes = bytes;
	if (rc)
		err_errno(e, -rc, "cannot read the disk %s", name);
	else
		rc = begin(&p);
	if (!rc) {
		p.len = MIN(span.len, BIT(h->cluster_bits));
		rc = parse(&p);
	}
	free(bytes);
	return rc;
}
