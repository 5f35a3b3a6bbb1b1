/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The qcow2 format's numbers. All of them are big-endian in the file.
 *
 * Source: docs/interop/qcow2.txt of QEMU, versions 2 and 3 of the format.
 */
#ifndef LODGE_HOST_QCOW2_FORMAT_H
#define LODGE_HOST_QCOW2_FORMAT_H

#include <stdint.h>

#include "base/bits.h"

#define QCOW2_MAGIC 0x514649fbu

/* The header: where its fields lie. */
#define QCOW2_H_VERSION           4
#define QCOW2_H_BACKING_OFFSET    8
#define QCOW2_H_BACKING_LEN       16
#define QCOW2_H_CLUSTER_BITS      20
#define QCOW2_H_SIZE              24
#define QCOW2_H_CRYPT             32
#define QCOW2_H_L1_ENTRIES        36
#define QCOW2_H_L1_OFFSET         40
#define QCOW2_H_REFTABLE          48
#define QCOW2_H_REFTABLE_CLUSTERS 56
#define QCOW2_H_SNAPSHOTS         60
#define QCOW2_H_SNAPSHOTS_OFFSET  64
#define QCOW2_H2_LEN              72
#define QCOW2_H_INCOMPATIBLE      72
#define QCOW2_H_AUTOCLEAR         88
#define QCOW2_H_REFCOUNT_ORDER    96
#define QCOW2_H_LEN               100
#define QCOW2_H3_LEN              104
#define QCOW2_H_COMPRESSION       104

/* Incompatible features. */
#define QCOW2_DIRTY       BIT(0)
#define QCOW2_CORRUPT     BIT(1)
#define QCOW2_DATA_FILE   BIT(2)
#define QCOW2_COMPRESSION BIT(3)
#define QCOW2_EXTENDED_L2 BIT(4)

/* Header extensions. */
#define QCOW2_EXT_END      0u
#define QCOW2_EXT_BACKING  0xe2792acau
#define QCOW2_EXT_FEATURES 0x6803f857u
#define QCOW2_EXT_BITMAPS  0x23852875u

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED     BIT(63) /* the only reference: it may be overwritten */
#define QCOW2_COMPRESSED BIT(62)
#define QCOW2_ZERO       BIT(0) /* reads as zeroes */
#define QCOW2_OFFSET     (MASK(56) & ~MASK(9))

#define QCOW2_BITS_MIN 9u
#define QCOW2_BITS_MAX 21u

/* As large as others take them. */
#define QCOW2_L1_MAX       ((uint32_t)MIB(32) / 8) /* entries */
#define QCOW2_REFTABLE_MAX MIB(8)                  /* bytes */
#define QCOW2_SNAPSHOT_MAX 65536u

static inline uint64_t qcow2_load(const void *p, unsigned size)
{
	const uint8_t *bytes = p;
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v = v << 8 | bytes[i];
	return v;
}

static inline void qcow2_store(void *p, unsigned size, uint64_t v)
{
	uint8_t *bytes = p;

	for (unsigned i = size; i--; v >>= 8)
		bytes[i] = (uint8_t)v;
}

#endif
