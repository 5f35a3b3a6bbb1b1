/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moments in which one vCPU runs and all others of the VM stand between two
 * instructions: for locked accesses that the host cannot do in one instruction, and
 * for changes of what other vCPUs' caches hold.
 *
 * A vCPU executes guest code only between exclusive_enter and exclusive_leave;
 * exclusive_begin waits until every other vCPU has left, and holds them out until
 * exclusive_end. A vCPU learns by ATTENTION_EXCLUSIVE that it is waited for.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_EXCLUSIVE_H
#define LODGE_ENGINE_BT_RUNTIME_EXCLUSIVE_H

#include <pthread.h>
#include <stdbool.h>

struct cpu;
struct vm;

struct exclusive {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned inside; /* vCPUs that execute guest code; guarded by lock */
	bool wanted;     /* one waits, or has begun; guarded by lock */
};

void exclusive_init(struct exclusive *x);
void exclusive_release(struct exclusive *x);

/* The vCPU becomes one of its VM's (vm->cpu), or ceases to be, while nobody is exclusive: whoever
 * is finds the same vCPUs to the end. Any thread; the vCPU does not run. */
void exclusive_join(struct cpu *cpu);
void exclusive_part(struct cpu *cpu);

/* The vCPU begins, or ceases, to execute guest code; enter waits while another is exclusive. */
void exclusive_enter(struct cpu *cpu);
void exclusive_leave(struct cpu *cpu);

/* From inside: the others stop. Not nested; nothing may be raised between the two. */
void exclusive_begin(struct cpu *cpu);
void exclusive_end(struct cpu *cpu);

/* The same for a thread that is no vCPU. It must not hold a device's lock. */
void exclusive_begin_outside(struct vm *vm);
void exclusive_end_outside(struct vm *vm);

#endif
