/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID leaves as a table, and the CPU models that they are composed from.
 *
 * A guest's CPUID is never the host's: cpuid_compose starts from a named model,
 * keeps of it what the engine supports on this host, and writes topology and
 * identity itself. Leaf and bit numbers: Intel SDM vol. 2A "CPUID", AMD APM vol. 3
 * appendix E, Linux Documentation/virt/kvm/x86/cpuid.rst for 0x40000000.
 */
#ifndef LODGE_CORE_X86_CPUID_H
#define LODGE_CORE_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CPUID_ENTRIES_MAX 128

struct cpuid_entry {
	uint32_t leaf;
	uint32_t subleaf;
	bool indexed; /* subleaf matters */
	uint32_t eax, ebx, ecx, edx;
};

struct cpuid_table {
	struct cpuid_entry entries[CPUID_ENTRIES_MAX];
	unsigned count;
};

/* The engine's paravirtual leaves (0x40000000 up), as far as it supports them. */
enum cpuid_paravirt {
	CPUID_PARAVIRT_ALL,
	CPUID_PARAVIRT_NO_CLOCK, /* without the paravirtual clock: the guest uses the TSC */
	CPUID_PARAVIRT_NONE,     /* no such leaves; the hypervisor bit stays */
};

/* What one vCPU is told about itself and the machine. */
struct cpuid_topology {
	unsigned apic_id; /* below cpus */
	unsigned cpus;    /* in the machine, 1 to 64: one package, one thread a core */
	enum cpuid_paravirt paravirt;
};

/* The entry for a leaf and subleaf (ignored where the leaf is not indexed), or NULL. */
const struct cpuid_entry *cpuid_find(const struct cpuid_table *t, uint32_t leaf, uint32_t subleaf);

/* Adds or replaces an entry; false if the table is full. */
bool cpuid_put(struct cpuid_table *t, const struct cpuid_entry *entry);

/* The n-th model's name, "host" first, or NULL past the last. */
const char *cpuid_model_name(unsigned n);

/*
 * Composes what a vCPU of the named model sees, from what the engine supports: features that the
 * guest may use, the host's vendor in leaf 0, its signature in leaf 1 and its brand string in
 * 0x80000002 to 4 (shown by model "host" only), the paravirtual leaves. x2APIC and TSC-deadline
 * are supported if the table says so, like any feature. Leaves 0x15 and 0x16 are handed on if they
 * are there: an engine that supplies them has the local APIC's timer count that crystal. An engine
 * that supports the invariant TSC (0x80000007) on AMD shows HWCR.TscFreqSel as set: without it
 * Linux takes the former for a bug of the firmware.
 *
 * OSXSAVE, OSPKE and the current sizes in leaf 0xD follow the guest's registers: the engine keeps
 * them. A leaf that is not in the table reads as zeroes.
 *
 * Fails with -EINVAL for an unknown model (the message lists the known) and -ENOTSUP where
 * supported lacks a feature that the model promises (the message names it and the models that
 * would do).
 */
int cpuid_compose(struct cpuid_table *out, const char *model, const struct cpuid_table *supported,
		  const struct cpuid_topology *topology, struct err *e);

#endif
