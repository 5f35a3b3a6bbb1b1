/* SPDX-License-Identifier: Apache-2.0 */
/* A process that runs cases, and what it tells its parent through shared memory. */
#ifndef LODGE_TESTS_INSN_WORKER_H
#define LODGE_TESTS_INSN_WORKER_H

#include "coverage.h"
#include "insn.h"

#define GROUPS_MAX 4096

/* Failures of one instruction in one field. */
struct failure {
	char name[NAME_MAX];
	char field[16];
	uint64_t count, first; /* how many; the number of the first */
};

struct report {
	_Atomic uint64_t current; /* the number of the case under way, + 1 */
	uint64_t run, left_out;   /* cases compared; excluded, or not asked for */
	uint64_t reached, faulted, endless;
	uint64_t failed, transient; /* differ; did so the first time only */
	bool ldt;                   /* the kernel gave 16-bit segments */
	unsigned groups;
	struct failure group[GROUPS_MAX];
};

struct options {
	uint64_t seed, from, cases;
	unsigned jobs;
	const char *only;
	const char *executor;      /* of execute.h */
	struct coverage *coverage; /* NULL: not asked for */
	bool self;                 /* the host against itself */
	bool single;               /* one case, printed whether it fails or not */
	double seconds;
	bool verbose;
};

/* Runs the cases from, from + step, ... below end. Never returns: exits with 0, or 1 where it
 * could not begin. */
_Noreturn void worker(const struct options *o, struct report *r, uint64_t from, uint64_t step,
		      uint64_t end);

#endif
