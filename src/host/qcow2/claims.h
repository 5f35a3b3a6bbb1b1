/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at work on which clusters of the disk. Those who leave the mapping as it is share a range;
 * one who changes it has it alone, so that no data is on its way to a cluster of the file that is
 * being given to somebody else. First come, first served. Any thread, no lock held.
 */
#ifndef LODGE_HOST_QCOW2_CLAIMS_H
#define LODGE_HOST_QCOW2_CLAIMS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct qcow2_claim {
	uint64_t first, last; /* clusters of the disk */
	bool alone;
	struct qcow2_claim *next; /* that came later */
};

struct qcow2_claims {
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct qcow2_claim *oldest, **end; /* guarded by lock */
};

void qcow2_claims_init(struct qcow2_claims *all);
void qcow2_claims_release(struct qcow2_claims *all);

/* Waits until the claim, whose fields but next are set, may be used. */
void qcow2_claim(struct qcow2_claims *all, struct qcow2_claim *c);

/* The same without waiting: whether it may. */
bool qcow2_claim_now(struct qcow2_claims *all, struct qcow2_claim *c);

void qcow2_unclaim(struct qcow2_claims *all, struct qcow2_claim *c);

#endif
