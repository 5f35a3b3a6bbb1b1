/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each cluster of the file is referred to.
 *
 * In memory a count goes up when a cluster is taken, and down once the file has nothing more that
 * refers to it (commit.c): so a refcount block may be written at any time, and what a crash leaves
 * is a count too high, a leak. The lock is held for all functions; 0 or -errno.
 */
#ifndef LODGE_HOST_QCOW2_REFCOUNT_H
#define LODGE_HOST_QCOW2_REFCOUNT_H

#include "host/qcow2/image.h"

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count);

/* Sets a count whose block there is, or makes the block. -ERANGE where it does not fit. */
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);

/* Takes one off; *left is what remains. */
int qcow2_refcount_drop(struct qcow2 *q, uint64_t cluster, uint64_t *left);

/* A free cluster, counted once from now on; *fresh: it reads as zeroes. */
int qcow2_take(struct qcow2 *q, uint64_t *cluster, bool *fresh);

/* Gives a cluster back that nothing refers to, neither in memory nor in the file. */
void qcow2_give_back(struct qcow2 *q, uint64_t cluster);

/* What an entry of an L2 table refers to, none by now in memory, is given back when the file
 * knows. */
int qcow2_free_later(struct qcow2 *q, uint64_t cluster, unsigned count);

/* Writes all blocks that have changed. */
int qcow2_refcounts_write(struct qcow2 *q);

#endif
