/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's hypercalls, and what else a guest says of its waiting for another processor.
 *
 * A processor that waits for a lock does so by PAUSE in a loop. Where there are more vCPUs than the
 * host has processors for them, the one that has the lock may not be running at all. A guest that
 * knows CPUID's KVM_FEATURE_PV_UNHALT spins for a while only, then halts with interrupts off, and
 * is kicked by who frees the lock. For the others, a loop of PAUSEs that goes on gives up the rest
 * of its thread's time slice, as processors with PAUSE-loop exiting have it.
 *
 * A kick of a processor that does not halt is for its next HLT.
 *
 * Source: Linux Documentation/virt/kvm/x86/hypercalls.rst and cpuid.rst; Intel SDM vol. 3C 25.1.3
 * (PAUSE-loop exiting: gap and window).
 */
#include <immintrin.h>

#include "base/thread.h"
#include "engine/bt/interp/system_int.h"
#include "engine/bt/vm.h"

#define KVM_LEAF          0x40000001
#define KVM_HC_VAPIC_POLL 1
#define KVM_HC_KICK_CPU   5
#define KVM_ENOSYS        1000
#define KVM_EPERM         1

/* RBX: flags, of which there are none; RCX: an APIC id. One that there is not is kicked for
 * nothing, as KVM has it. */
static void kick(struct cpu *cpu)
{
	uint64_t id = cpu->gpr[GPR_RCX];
	struct vm *vm = cpu->vm;
	bool there;

	if (id >= ENGINE_VCPUS_MAX)
		return;
	pthread_mutex_lock(&vm->exclusive.lock); /* no vCPU goes away meanwhile */
	there = vm->cpu[id];
	if (there)
		atomic_store(&vm->cpu[id]->unhalted, true);
	pthread_mutex_unlock(&vm->exclusive.lock);
	if (there)
		vm->env->wake(vm->env->opaque, (unsigned)id);
}

/* Intel's VMCALL and AMD's VMMCALL, each on its own vendor: the guest knows which. */
void system_vmcall(struct cpu *cpu, const struct insn *insn)
{
	int64_t result = -KVM_ENOSYS;

	if ((insn->op == OP_VMMCALL) != cpu->amd || !cpuid_find(&cpu->cpuid, KVM_LEAF, 0))
		cpu_raise(cpu, VECTOR_UD);
	if (cpu->cpl) {
		result = -KVM_EPERM;
	} else if (cpu->gpr[GPR_RAX] == KVM_HC_VAPIC_POLL) {
		result = 0;
	} else if (cpu->gpr[GPR_RAX] == KVM_HC_KICK_CPU) {
		kick(cpu);
		result = 0;
	}
	cpu->gpr[GPR_RAX] = cpu->mode == CPU_LONG ? (uint64_t)result : (uint32_t)result;
}

/* Cycles of the time-stamp counter: two PAUSEs further apart are not of one loop, and a loop that
 * has gone on for so long has spun enough. */
#define LOOP_GAP    4096
#define LOOP_WINDOW 65536

void system_pause(struct cpu *cpu, const struct insn *insn)
{
	uint64_t now = __rdtsc();

	(void)insn;
	_mm_pause(); /* the other thread of this core may be the one that is waited for */
	if (now - cpu->paused.last > LOOP_GAP) {
		cpu->paused.since = now;
	} else if (now - cpu->paused.since > LOOP_WINDOW) {
		thread_yield();
		now = cpu->paused.since = __rdtsc();
	}
	cpu->paused.last = now;
}
