/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of engine/kvm share. Contracts of the engine's entries: core/engine.h. */
#ifndef LODGE_ENGINE_KVM_KVM_INT_H
#define LODGE_ENGINE_KVM_KVM_INT_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"

#define KVM_DEVICE "/dev/kvm"

/* GSIs of the routing table: the I/O APIC's pins, then one for each eventfd of irqfd_add. */
#define KVM_IRQFDS_MAX 512

/* Banks of machine-check registers that a vCPU has: those of vcpu_msr_list. */
#define KVM_MCE_BANKS 10

/* What this kernel's KVM can do beyond what is required: bits of engine_vm.has. */
#define KVM_HAS_SREGS2          BIT(0)
#define KVM_HAS_MANUAL_DIRTY    BIT(1)
#define KVM_HAS_TSC_CONTROL     BIT(2)
#define KVM_HAS_PAYLOAD         BIT(3)
#define KVM_HAS_TRIPLE_FAULT    BIT(4)
#define KVM_HAS_MSR_EXITS       BIT(5)
#define KVM_HAS_MSR_FILTER      BIT(6)
#define KVM_HAS_PV_ENFORCEMENT  BIT(7)
#define KVM_HAS_TSC_DEADLINE    BIT(8)
#define KVM_HAS_DOORBELL_NOSIZE BIT(9)
#define KVM_HAS_PMU_SWITCH      BIT(10)

/* Counters; their names are in stats.c, in this order. */
enum kvm_count {
	COUNT_EXITS,
	COUNT_IO_READ,
	COUNT_IO_WRITE,
	COUNT_MMIO_READ,
	COUNT_MMIO_WRITE,
	COUNT_IRQ_WINDOW,
	COUNT_IOAPIC_EOI,
	COUNT_MSR_HANDLED,
	COUNT_MSR_DENIED,
	COUNT_INTERRUPTED,
	COUNT_OTHER,
	COUNT_EXTINT,
	COUNT_VCPU_END, /* those before are a vCPU's, those after the VM's */
	COUNT_MSI = COUNT_VCPU_END,
	COUNT_ROUTING,
	COUNT_END
};

/* Bits of engine_vcpu.attention: what the run loop has to see to before it enters the guest. */
#define ATTEND_KICK   1u
#define ATTEND_EXTINT 2u /* INTR is high */
#define ATTEND_NMI    4u

/* Only the vCPU's thread writes counts, others may read them: no read-modify-write is needed. */
struct engine_vcpu {
	struct kvm_run *run;                  /* shared with the kernel */
	struct kvm_coalesced_mmio_ring *ring; /* the VM's posted writes; NULL: KVM has none */
	int fd;
	unsigned id;
	struct engine_vm *vm;
	struct bus *pio;
	struct bus *mmio;
	_Atomic unsigned attention;
	_Atomic int tid;          /* of the thread inside run(), 0: none */
	_Atomic pthread_t thread; /* the same thread, valid while tid is not 0 */
	bool ready_stale;         /* run->ready_for_interrupt_injection says nothing yet */
	int extint_vector;        /* the last one handed to KVM_INTERRUPT, -1: none */
	_Atomic uint64_t counts[COUNT_VCPU_END];
};

struct kvm_irqfd_slot {
	int fd; /* -1: free */
	struct msi_msg msg;
};

struct engine_vm {
	const struct engine_env *env;
	int sys; /* /dev/kvm */
	int fd;
	uint64_t has;     /* KVM_HAS_* */
	size_t run_bytes; /* of a vCPU's shared mapping */

	_Atomic bool intr; /* level of INTR */
	struct engine_vcpu *_Atomic vcpus[ENGINE_VCPUS_MAX];

	pthread_mutex_t post_lock;   /* held by who empties the ring of posted writes */
	_Atomic uint32_t post_first; /* its oldest entry; written under post_lock */

	pthread_mutex_t lock;                     /* guards everything below */
	struct mem_region regions[MEM_SLOTS_MAX]; /* by slot; size 0: not mapped */
	bool dirty_logging;
	struct msi_msg pins[ENGINE_GSIS_MAX]; /* level-triggered routes that KVM knows of */
	uint32_t pins_routed;                 /* a bit a pin: pins[] is in KVM's table */
	struct kvm_irqfd_slot *irqfds;        /* KVM_IRQFDS_MAX, or NULL while none was added */
	unsigned irqfds_used;                 /* slots from 0 that were ever taken */
	struct vcpu_msr msrs[VCPU_MSRS_MAX];  /* the state's MSRs that KVM has */
	unsigned msr_count;
	uint64_t gone[COUNT_VCPU_END]; /* counts of destroyed vCPUs */
	_Atomic uint64_t counts[COUNT_END - COUNT_VCPU_END];
};

static inline void vcpu_count(struct engine_vcpu *v, enum kvm_count what)
{
	uint64_t n = atomic_load_explicit(&v->counts[what], memory_order_relaxed);

	atomic_store_explicit(&v->counts[what], n + 1, memory_order_relaxed);
}

static inline void vm_count(struct engine_vm *vm, enum kvm_count what)
{
	atomic_fetch_add_explicit(&vm->counts[what - COUNT_VCPU_END], 1, memory_order_relaxed);
}

/* host.c: the device's API version, 0 if it cannot be asked. */
int kvm_host_version(const char *path);
/* Opens the device and checks it; returns the descriptor, or -errno with e saying what is
 * missing and what to do. has is set to KVM_HAS_*. */
int kvm_host_open(const char *path, uint64_t *has, struct err *e);
/* engine_ops.features: the capabilities that this engine asks for. */
size_t kvm_features(struct engine_feature *features, size_t max);
/* An ioctl that was refused: records "KVM refuses what: why" and returns -errno. */
int kvm_refused(struct err *e, const char *what);

/* vm.c: what vm_create does, with the device's path. */
int kvm_vm_open(struct engine_vm **out, const char *path, const struct engine_env *env,
		struct err *e);
void kvm_vm_destroy(struct engine_vm *vm);

/* memory.c */
int kvm_map(struct engine_vm *vm, const struct mem_region *region, struct err *e);
int kvm_unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e);
int kvm_dirty_start(struct engine_vm *vm, struct err *e);
int kvm_dirty_stop(struct engine_vm *vm, struct err *e);
int kvm_dirty_take(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
		   struct err *e);

/* vcpu.c */
int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct err *e);
int kvm_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		    struct engine_vcpu **out, struct err *e);
void kvm_vcpu_destroy(struct engine_vcpu *v);

/* run.c, kick.c */
enum engine_exit kvm_run(struct engine_vcpu *v, struct engine_detail *detail);
int kvm_kick_install(struct err *e);
void kvm_kick_enter(struct engine_vcpu *v);
void kvm_kick_leave(struct engine_vcpu *v);
void kvm_kick(struct engine_vcpu *v);
/* Makes the run loop look at v->attention soon, if run() is under way; its next begin looks anyway.
 * Any thread, async-signal-safe. */
void kvm_poke(struct engine_vcpu *v);
/* What to do about a KVM_RUN that was interrupted: true, and run() returns; false, and it goes on.
 */
bool kvm_kick_taken(struct engine_vcpu *v);

/* exits.c: an exit that is neither an access nor the end of waiting. true: run() returns *why. */
bool kvm_exit_other(struct engine_vcpu *v, enum engine_exit *why, struct engine_detail *detail);

/* state.c */
int kvm_get_state(struct engine_vcpu *v, struct vcpu_state *s, struct err *e);
int kvm_set_state(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e);

/* msr.c */
int kvm_msr_list(struct engine_vcpu *v, struct err *e);
int kvm_msr_get(struct engine_vcpu *v, struct vcpu_state *s, struct err *e);
/* deadline: whether to set the APIC timer's deadline, or all the others. */
int kvm_msr_set(struct engine_vcpu *v, const struct vcpu_state *s, bool deadline, struct err *e);
/* One MSR, as the host sees it; false if KVM refuses. */
bool kvm_msr_read(struct engine_vcpu *v, uint32_t index, uint64_t *value);
bool kvm_msr_write(struct engine_vcpu *v, uint32_t index, uint64_t value);

/* msr_filter.c: sets the filter when the VM is made; answers what it caught. */
int kvm_msr_protect(struct engine_vm *vm, struct err *e);
void kvm_msr_exit(struct engine_vcpu *v);

/* irq.c */
void kvm_msi(struct engine_vm *vm, const struct msi_msg *msg);
void kvm_extint(struct engine_vm *vm, bool level);
void kvm_nmi(struct engine_vcpu *v);
void kvm_route(struct engine_vm *vm, unsigned gsi, const struct msi_msg *msg);
int kvm_irqfd_add(struct engine_vm *vm, int eventfd, const struct msi_msg *msg, struct err *e);
int kvm_irqfd_remove(struct engine_vm *vm, int eventfd, struct err *e);
/* Sees to v->attention; vCPU thread, before the guest is entered. */
void kvm_attend(struct engine_vcpu *v);
/* The vector that was acknowledged but that KVM has not begun to deliver, or -1. */
int kvm_extint_pending(const struct engine_vcpu *v, const struct vcpu_state *s);

/* doorbell.c */
int kvm_doorbell_add(struct engine_vm *vm, const struct engine_doorbell *bell, struct err *e);
int kvm_doorbell_remove(struct engine_vm *vm, const struct engine_doorbell *bell, struct err *e);

/* post.c */
void kvm_post_attach(struct engine_vm *vm, struct engine_vcpu *v);
int kvm_post(struct engine_vm *vm, const struct bus *bus, uint64_t addr, unsigned size, bool on,
	     struct err *e);
bool kvm_post_drain(struct engine_vm *vm);
bool kvm_post_empty(struct engine_vm *vm, struct kvm_coalesced_mmio_ring *ring);

/* After KVM_RUN, before its exit is looked at: hands over what was posted before it. */
static inline void kvm_post_check(struct engine_vcpu *v)
{
	struct kvm_coalesced_mmio_ring *ring = v->ring;

	if (ring && __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) !=
			    atomic_load_explicit(&v->vm->post_first, memory_order_relaxed))
		kvm_post_empty(v->vm, ring);
}

/* clock.c */
int kvm_clock_get(struct engine_vm *vm, uint64_t *ns, struct err *e);
int kvm_clock_set(struct engine_vm *vm, uint64_t ns, struct err *e);

/* probe.c, with the device's path. */
void kvm_probe_path(const char *path, struct engine_offer *offer, bool measure);
void kvm_probe(struct engine_offer *offer, bool measure);

/* stats.c */
size_t kvm_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max);

#endif
