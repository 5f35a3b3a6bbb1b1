/* SPDX-License-Identifier: Apache-2.0 */
/* What a PC's firmware leaves in a processor before it hands over to a kernel. */
#ifndef LODGE_MACHINE_FIRMWARE_H
#define LODGE_MACHINE_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/x86/cpuid.h"
#include "core/x86/vcpu_state.h"

/* Of the processor, by CPUID. */
struct firmware_cpu {
	uint32_t signature; /* leaf 1, EAX */
	unsigned phys_bits; /* leaf 0x80000008, EAX 7-0; 36 where there is none */
	bool mtrr;          /* leaf 1, EDX 12 */
};

/* What cpuid tells of the processor. */
void firmware_identify(struct firmware_cpu *cpu, const struct cpuid_table *cpuid);

/*
 * Changes s from power-on state: memory types (MTRRs enabled, write-back, the device window below
 * 4 GiB uncacheable), the local APIC's LINT0 and LINT1 as the MP and ACPI specifications expect
 * them on the bootstrap processor, and the processor's signature in EDX as after a reset.
 */
void firmware_set_vcpu(const struct firmware_cpu *cpu, struct vcpu_state *s, bool bootstrap);

#endif
