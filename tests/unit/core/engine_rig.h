/* SPDX-License-Identifier: Apache-2.0 */
/* A small machine that knows nothing of its engine but engine_ops, here the fake one: RAM, two
 * buses with a device each, vCPUs on threads. */
#ifndef LODGE_TESTS_CORE_ENGINE_RIG_H
#define LODGE_TESTS_CORE_ENGINE_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/engine.h"
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine_fake.h"

/* Where a guest's things are. */
#define PROGRAM  0x1000
#define HANDLERS 0x8000 /* table, 256 entries */
#define HANDLER  0x4000 /* program of the handlers */
#define STACKS   0xa000
#define COUNTER  0xc000
#define CPUS     4

struct engine_rig {
	const struct engine_ops *engine;
	struct engine_vm *vm;
	struct engine_env env;
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock;
	struct engine_vcpu *vcpu[CPUS];
	unsigned cpus;
	struct cpu {
		struct engine_rig *rig;
		struct engine_vcpu *vcpu;
		pthread_t thread;
		enum engine_exit exit;
		struct engine_detail detail;
	} cpu[CPUS];
	/* Of the devices and of the callbacks. */
	uint64_t written[8];
	unsigned writes, sizes[8];
	atomic_uint eois, eoi_vector, intacks;
	uint8_t intack_vector;
};

void engine_rig_init(struct engine_rig *r, unsigned cpus);
void engine_rig_release(struct engine_rig *r);

/* Loads a program for the first vCPU, and handlers of all vectors that run `handler` (NULL: none).
 * Both are released. */
void engine_rig_load(struct engine_rig *r, struct buf *program, struct buf *handler);

/* Runs the first vCPU on this thread. */
enum engine_exit engine_rig_run(struct engine_rig *r);

/* Starts each vCPU on a thread of its own; waits for all to come back from run. */
void engine_rig_start(struct engine_rig *r);
void engine_rig_join(struct engine_rig *r);

/* The guest's counter n now; waits until it has this value. */
uint64_t counter(struct engine_rig *r, unsigned n);
void await(struct engine_rig *r, unsigned n, uint64_t value);

struct vcpu_state state_of(struct engine_rig *r, unsigned id);

/* The guest adds 1 to counter n; uses registers 8 and 9. */
void emit_count(struct buf *p, unsigned n);

#endif
