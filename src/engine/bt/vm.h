/* SPDX-License-Identifier: Apache-2.0 */
/* What the vCPUs of a VM share in the software engine. */
#ifndef LODGE_ENGINE_BT_VM_H
#define LODGE_ENGINE_BT_VM_H

#include "core/engine.h"
#include "engine/bt/kvmclock.h"
#include "engine/bt/mmu/pages.h"
#include "engine/bt/runtime/exclusive.h"

struct cpu;
struct decoder;

/* How guest code is executed. */
enum vm_way {
	VM_TRANSLATED,
	VM_EAGER, /* the same, also what runs but once: for tests */
	VM_HOT,   /* ... and as hot code: for tests */
	VM_INTERPRETED,
	VM_CHECKED, /* both, block by block: runtime/tandem.h */
};

struct vm {
	enum vm_way way;
	const struct engine_env *env; /* env->lapic is not NULL */
	struct decoder *decoder;
	struct pages pages;
	struct exclusive exclusive;
	struct kvmclock kvmclock;
	/* By APIC id; NULL: not created. Written by exclusive_join and exclusive_part; read with
	 * exclusive.lock held, or between exclusive_begin and _end. */
	struct cpu *cpu[ENGINE_VCPUS_MAX];
	bool amd;         /* the guest's vendor, as the host's, is AMD */
	uint32_t tsc_khz; /* rate of the host's TSC, and so of the guest's */
};

#endif
