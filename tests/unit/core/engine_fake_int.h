/* SPDX-License-Identifier: Apache-2.0 */
/* Private to engine_fake*.c: the fake engine's VM and vCPU. */
#ifndef LODGE_TESTS_CORE_ENGINE_FAKE_INT_H
#define LODGE_TESTS_CORE_ENGINE_FAKE_INT_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"

enum { COUNT_INSNS, COUNT_PIO, COUNT_MMIO, COUNT_INTERRUPTS, COUNT_HALTS, COUNTS };

struct fake_region {
	const struct mem_region *_Atomic ram; /* NULL: not mapped */
	_Atomic uint64_t *dirty;              /* guest's writes; of the slot for good once made */
	size_t words;
};

struct engine_vm {
	const struct engine_env *env;
	bool bare; /* no local APICs of its own: env->lapic's */
	struct fake_region regions[MEM_REGIONS_MAX];
	atomic_bool logging;
	atomic_bool extint;
	struct engine_vcpu *_Atomic vcpus[ENGINE_VCPUS_MAX];
	_Atomic uint64_t counts[COUNTS];
};

struct engine_vcpu {
	struct engine_vm *vm;
	unsigned id;
	struct cpuid_table cpuid;
	struct vcpu_state s; /* the vCPU thread's, or get_state's while it does not run */
	uint64_t isr[4];     /* in service; vCPU thread */

	_Atomic uint64_t irr[4]; /* requested */
	_Atomic uint64_t tmr[4]; /* and level-triggered */
	atomic_bool intr;        /* the machine's local APIC requests an interrupt */
	atomic_bool nmi, init, kicked;
	atomic_int sipi; /* vector, -1: none */
	atomic_bool attention;
	sem_t wake;
};

/* Counts an event of the VM; any thread. */
static inline void count(struct engine_vm *vm, unsigned what)
{
	atomic_fetch_add_explicit(&vm->counts[what], 1, memory_order_relaxed);
}

/* Delivers a message to the local APICs, as engine_ops.msi. */
void fake_msi(struct engine_vm *vm, const struct msi_msg *msg);

/* As engine_ops.run. */
enum engine_exit fake_run(struct engine_vcpu *v, struct engine_detail *detail);

#endif
