/* SPDX-License-Identifier: Apache-2.0 */
/* What the software engine can give a guest on this host, as CPUID says it. */
#ifndef LODGE_ENGINE_BT_FEATURES_H
#define LODGE_ENGINE_BT_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/x86/cpuid.h"

struct cpu;

/* Fills t for cpuid_compose. 0, or -ENOTSUP with e set where this host's processor cannot be the
 * guest's. Any thread. */
int features_supported(struct cpuid_table *t, struct err *e);

/* Adds leaf 0x15, the TSC's rate, which Intel's processors have. For machines whose local APICs
 * count 1 GHz, as devices/irqchip/lapic.h does. */
void features_put_tsc(struct cpuid_table *t, uint32_t khz);

/* Whether the host's vendor, and so the guest's, is AMD or Hygon. */
bool features_amd(void);

/* Sets what struct cpu keeps of cpu->cpuid: features, phys_bits, null_keeps. Before the vCPU runs,
 * with cpu->amd set. */
void features_apply(struct cpu *cpu);

#endif
