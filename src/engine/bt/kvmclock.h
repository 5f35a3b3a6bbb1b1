/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's paravirtual clock: pages in guest RAM that tell how to make guest time of the
 * TSC, and the wall clock at power-on.
 *
 * Source: Linux Documentation/virt/kvm/x86/msr.rst.
 */
#ifndef LODGE_ENGINE_BT_KVMCLOCK_H
#define LODGE_ENGINE_BT_KVMCLOCK_H

#include <pthread.h>
#include <stdint.h>

struct cpu;

/* The moment from which all vCPUs of the VM count, so that their clocks agree. */
struct kvmclock {
	pthread_mutex_t lock; /* guards everything below */
	uint64_t epoch;       /* raised with each new moment; 0: there is none yet */
	uint64_t clock_base;  /* core/clock.h's host_base then: differs once time was stopped */
	uint64_t host_tsc;
	uint64_t guest_ns;
};

void kvmclock_init(struct kvmclock *k);
void kvmclock_release(struct kvmclock *k);

/* Writes the vCPU's page, if the guest has asked for one and it does not tell the time from the
 * VM's moment yet; takes a new moment where guest time has stopped since the last. On the vCPU's
 * thread, at the beginning of run(), when the clock runs. */
void kvmclock_refresh(struct cpu *cpu);

/* The guest wrote MSR_KVM_SYSTEM_TIME, or MSR_KVM_WALL_CLOCK. vCPU's thread. */
void kvmclock_set_system_time(struct cpu *cpu, uint64_t value);
void kvmclock_set_wall_clock(struct cpu *cpu, uint64_t value);

#endif
