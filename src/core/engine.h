/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between the machine and what executes guest code.
 *
 * An engine is a const struct engine_ops. Two are meant: kvm (VT-x, AMD-V, VIA VT
 * through the kernel) and bt (binary translation in this process). Nothing here
 * is an engine's type, so that the machine, the devices and a snapshot do not
 * know which one runs them.
 *
 * How a guest access travels: the machine calls run() on the vCPU's own thread.
 * When the guest touches a port or a device's memory, the engine itself calls
 * bus_read/bus_write on env->pio or env->mmio, synchronously, and completes the
 * instruction; run() returns only for the reasons of enum engine_exit. This is
 * what translated code needs (it cannot unwind a read-modify-write to an outer
 * loop), and KVM completes its exits the same way.
 *
 * Interrupts come in three ways, all callable from any thread with device and
 * interrupt-controller locks held:
 *   msi     a message to the local APICs (also how the I/O APIC delivers);
 *   extint  the level of the 8259's INTR wire to the first vCPU; the engine
 *           fetches the vector with env->intack when it takes the interrupt;
 *   nmi     to one vCPU.
 * The engine kicks the vCPU concerned by itself.
 *
 * Where the engine has its own local APICs (caps & ENGINE_HAS_LAPIC) it reports a
 * level-triggered vector's EOI through env->eoi, for vectors that the machine
 * announced with route(), and a halted vCPU waits inside run().
 *
 * An engine without them (bt) has msi and extint NULL, and reaches them by env->lapic: the
 * machine wires
 * devices/irqchip's local APICs, which see messages and the 8259's wire, and tell
 * the engine a level for each vCPU by intr(); env->intack then gives that local
 * APIC's vector. Such an engine returns ENGINE_HALTED, and the machine, which is
 * the only one to raise interrupts, wakes the vCPU. INIT and SIPI are state that the
 * machine sets between two run().
 */
#ifndef LODGE_CORE_ENGINE_H
#define LODGE_CORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/err.h"
#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/x86/cpuid.h"
#include "core/x86/vcpu_state.h"

#define ENGINE_VCPUS_MAX 64
#define ENGINE_GSIS_MAX  24 /* pins of the I/O APIC: the GSIs that route() takes */

/*
 * The local APICs that the machine has for an engine without (devices/irqchip/lapic.h). A vCPU's
 * engine calls these on that vCPU's thread, no lock held, for the accesses that only reach a
 * processor's own local APIC: its page at IA32_APIC_BASE, the x2APIC MSRs, CR8. Registers are named
 * by their offset on the xAPIC page. Intel SDM vol. 3A chapter 11.
 */
struct engine_lapic_ops {
	/* An access of 32 bits to the page, at an offset that is a multiple of 16; the engine drops
	 * or splits what else a guest tries there. */
	uint32_t (*read)(void *opaque, unsigned vcpu, unsigned offset);
	void (*write)(void *opaque, unsigned vcpu, unsigned offset, uint32_t value);
	/* RDMSR and WRMSR of 0x800 + offset / 16 in x2APIC mode; false: #GP(0). */
	bool (*x2apic_read)(void *opaque, unsigned vcpu, unsigned offset, uint64_t *value);
	bool (*x2apic_write)(void *opaque, unsigned vcpu, unsigned offset, uint64_t value);
	/* IA32_APIC_BASE is to become value (reserved bits are zero); false: not a transition
	 * that the architecture has, #GP(0). */
	bool (*set_base)(void *opaque, unsigned vcpu, uint64_t value);
	/* TPR bits 7 to 4, for CR8. */
	uint8_t (*get_cr8)(void *opaque, unsigned vcpu);
	void (*set_cr8)(void *opaque, unsigned vcpu, uint8_t cr8);
	/* The timer in TSC-deadline mode fires at guest clock time ns (core/clock.h), at once if
	 * that is past; 0 disarms it. Ignored in other modes. */
	void (*set_deadline)(void *opaque, unsigned vcpu, uint64_t ns);
	/* Whether such a deadline is still to come: IA32_TSC_DEADLINE reads as 0 if not. */
	bool (*deadline_armed)(void *opaque, unsigned vcpu);
};

/* What a user may ask of an engine that translates guest code; others do not look. */
struct engine_options {
	/* Bytes for each vCPU that hold what is made of guest code: translated code, all that is
	 * remembered of it, and decoded instructions. ENGINE_CODE_MIN to _MAX, or 0: the engine's
	 * default, ENGINE_CODE_DEFAULT. */
	uint64_t code_memory;
	/* Stages of translation, as bits, that are written as text to dump_fd, which is the
	 * caller's and stays open. */
	unsigned dump;
	int dump_fd;
};

/* The stages that a block of guest code goes through. */
enum engine_dump {
	ENGINE_DUMP_GUEST = 1 << 0,   /* its bytes */
	ENGINE_DUMP_DECODED = 1 << 1, /* instructions */
	ENGINE_DUMP_FLAGS = 1 << 2,   /* with the status flags that are looked at later */
	ENGINE_DUMP_HOST = 1 << 3,    /* the host's instructions */
	ENGINE_DUMP_ALL = (1 << 5) - 1,
	ENGINE_DUMP_LINKS = 1 << 4, /* found by its address, linked, forgotten */
};

#define ENGINE_CODE_MIN     MIB(8)
#define ENGINE_CODE_MAX     GIB(1)
#define ENGINE_CODE_DEFAULT MIB(256)

/* What the engine asks of the machine that it runs in. Lives as long as the engine's VM. */
struct engine_env {
	struct mem *mem;
	struct bus *pio;
	struct bus *mmio;
	struct clock *clock;
	void *opaque; /* handed to the functions below */
	/* The interrupt acknowledge cycle of a vCPU: the vector that its interrupt controller
	 * gives, the 8259s where the engine has the local APICs. vCPU thread. */
	uint8_t (*intack)(void *opaque, unsigned vcpu);
	/* A level-triggered interrupt with this vector was ended by its EOI. vCPU thread. */
	void (*eoi)(void *opaque, uint8_t vector);
	/* A vCPU that halted, or is about to, has a reason to be run again. For engines without
	 * local APICs. Any thread, no lock held. */
	void (*wake)(void *opaque, unsigned vcpu);
	/* The machine's local APICs: not NULL for an engine without; others do not look. */
	const struct engine_lapic_ops *lapic;
	struct engine_options options;
};

/* What an engine has, beside the mandatory. */
#define ENGINE_HAS_LAPIC    BIT(0) /* local APICs of its own */
#define ENGINE_HAS_IRQFD    BIT(1)
#define ENGINE_HAS_DOORBELL BIT(2)

/* What the host offers an engine: the result of a probe, in words for the user. */
struct engine_offer {
	bool usable;     /* a VM can be created here and now */
	bool efficient;  /* guest code runs at a speed near the host's */
	double ratio;    /* guest time / native time of the same loop; 0: not measured */
	char why[256];   /* if not usable, or not efficient: why and what to do, one line */
	uint64_t caps;   /* ENGINE_HAS_* */
	int api_version; /* of the kernel's interface; 0: none */
};

/* An interface of the host that an engine uses. */
struct engine_feature {
	const char *name; /* as the host's documentation calls it, e.g. "KVM_CAP_IRQFD" */
	bool required;    /* the engine cannot do without */
	bool present;     /* this host has it */
};

/* Why run() returned. */
enum engine_exit {
	ENGINE_KICKED,   /* kick() was called, or a signal came */
	ENGINE_HALTED,   /* the vCPU halted and no interrupt is pending (engines with a local APIC
			    of their own wait inside run() instead) */
	ENGINE_SHUTDOWN, /* triple fault: the processor entered the shutdown state */
	ENGINE_CRASHED,  /* the guest reported its own crash by a paravirtual interface */
	ENGINE_RESET,    /* the guest asked for a reset by a paravirtual interface */
	ENGINE_POWEROFF, /* the guest asked for power-off by a paravirtual interface */
	ENGINE_ERROR,    /* the engine cannot go on: see the detail */
};

/* The words to an exit that is not ENGINE_KICKED or ENGINE_HALTED. */
struct engine_detail {
	char text[256];    /* one line; empty: nothing to add */
	uint8_t insn[15];  /* the instruction at RIP, where the engine knows it */
	unsigned insn_len; /* bytes valid in insn */
};

/* Events counted by name, for lodge stats and for tests; order is the engine's. */
struct engine_stat {
	const char *name;
	uint64_t count;
};

struct engine_vm;   /* an engine's VM */
struct engine_vcpu; /* an engine's vCPU */

struct engine_vcpu_config {
	unsigned id;                     /* APIC id, 0 is the bootstrap processor */
	const struct cpuid_table *cpuid; /* as composed for this vCPU; copied */
};

/* A guest's write of size bytes to addr that signals an eventfd instead of reaching the device. */
struct engine_doorbell {
	const struct bus *bus; /* env->pio or env->mmio */
	uint64_t addr;
	unsigned size; /* 1, 2, 4 or 8; 0: any, where match is not asked for */
	bool matching; /* only a write of the value match; others reach the device */
	uint64_t match;
	int eventfd;
};

/*
 * Every function returns 0 or a negative errno with e set, where not said otherwise; e may be
 * NULL. An entry marked optional may be NULL: what that means stands beside it.
 */
struct engine_ops {
	const char *name; /* as in --engine */

	/* What this host offers. Measures for up to some tens of milliseconds where measure is set.
	 * Any thread, no VM needed. */
	void (*probe)(struct engine_offer *offer, bool measure);

	/* optional (NULL: it uses none that could be missing): fills up to max features, returns
	 * how many there are; 0 where the host cannot be asked. For lodge host. Any thread. */
	size_t (*features)(struct engine_feature *features, size_t max);

	/* Creates a VM; env is the caller's and outlives it. */
	int (*vm_create)(struct engine_vm **vm, const struct engine_env *env, struct err *e);
	/* All vCPUs must be gone. */
	void (*vm_destroy)(struct engine_vm *vm);

	/* The CPUID leaves and features that this engine can give on this host. */
	int (*cpuid_supported)(struct engine_vm *vm, struct cpuid_table *table, struct err *e);

	/* Makes a region of RAM visible to the guest, or takes it away; by region->slot. */
	int (*map)(struct engine_vm *vm, const struct mem_region *region, struct err *e);
	int (*unmap)(struct engine_vm *vm, const struct mem_region *region, struct err *e);

	/* Starts or stops recording the pages that the guest writes; dirty_take ORs the region's
	 * bitmap (as mem_dirty_take) into bitmap and clears it. */
	int (*dirty_start)(struct engine_vm *vm, struct err *e);
	int (*dirty_stop)(struct engine_vm *vm, struct err *e);
	int (*dirty_take)(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
			  struct err *e);

	/* Creates vCPU config->id; the bootstrap processor is runnable, the others wait for
	 * INIT-SIPI. Any thread; run() may then be called from one thread only. */
	int (*vcpu_create)(struct engine_vm *vm, const struct engine_vcpu_config *config,
			   struct engine_vcpu **vcpu, struct err *e);
	void (*vcpu_destroy)(struct engine_vcpu *vcpu);

	/* Runs guest code on the calling thread until one of the exits. */
	enum engine_exit (*run)(struct engine_vcpu *vcpu, struct engine_detail *detail);

	/* Makes run() return ENGINE_KICKED soon, the next run() if none is under way. Any thread,
	 * async-signal-safe. */
	void (*kick)(struct engine_vcpu *vcpu);

	/* Reads or sets the whole architectural state. Only while run() is not under way. */
	int (*get_state)(struct engine_vcpu *vcpu, struct vcpu_state *state, struct err *e);
	int (*set_state)(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e);

	/* With ENGINE_HAS_LAPIC: delivers a message to the local APICs. Any thread. */
	void (*msi)(struct engine_vm *vm, const struct msi_msg *msg);
	/* With ENGINE_HAS_LAPIC: level of INTR from the 8259s. Any thread. */
	void (*extint)(struct engine_vm *vm, bool level);
	/* Without ENGINE_HAS_LAPIC: level of the vCPU's interrupt request, from its local APIC in
	 * the machine. Any thread. */
	void (*intr)(struct engine_vcpu *vcpu, bool level);
	/* A non-maskable interrupt to one vCPU. Any thread. */
	void (*nmi)(struct engine_vcpu *vcpu);

	/* optional (NULL: the machine's I/O APIC needs no help): what I/O APIC pin gsi sends now,
	 * NULL if masked; the engine then reports EOIs of its level-triggered vector. Any thread.
	 */
	void (*route)(struct engine_vm *vm, unsigned gsi, const struct msi_msg *msg);

	/* optional (NULL: the machine waits for the eventfd itself): each signal of eventfd
	 * sends msg, until irqfd_remove. */
	int (*irqfd_add)(struct engine_vm *vm, int eventfd, const struct msi_msg *msg,
			 struct err *e);
	int (*irqfd_remove)(struct engine_vm *vm, int eventfd, struct err *e);

	/* optional (NULL: the access goes through the bus): rings the doorbell in the device's
	 * place, until doorbell_remove is given the same. */
	int (*doorbell_add)(struct engine_vm *vm, const struct engine_doorbell *bell,
			    struct err *e);
	int (*doorbell_remove)(struct engine_vm *vm, const struct engine_doorbell *bell,
			       struct err *e);

	/*
	 * optional (NULL: every write reaches its device at once): posted writes. While on, the
	 * engine may collect guest writes of size bytes to addr on bus; they reach the device in
	 * order, before any later access of any vCPU that leaves the guest, and before post_drain
	 * returns. Any thread, device locks may be held.
	 */
	int (*post)(struct engine_vm *vm, const struct bus *bus, uint64_t addr, unsigned size,
		    bool on, struct err *e);
	/* Hands over what was collected; whether there was anything. Any thread, no device lock
	 * held. */
	bool (*post_drain)(struct engine_vm *vm);

	/* Guest paravirtual clock as ns, for snapshots; optional (NULL: there is none). */
	int (*clock_get)(struct engine_vm *vm, uint64_t *ns, struct err *e);
	int (*clock_set)(struct engine_vm *vm, uint64_t ns, struct err *e);

	/* Fills up to max counters of this VM, all its vCPUs together; returns how many there are.
	 * Any thread; figures of running vCPUs are recent, not exact. */
	size_t (*stats)(struct engine_vm *vm, struct engine_stat *stats, size_t max);
};

#endif
