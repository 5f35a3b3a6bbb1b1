/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUID bits give an instruction to a processor. Source: Intel SDM vol. 2A CPUID; AMD APM
 * vol. 3 appendix E. */
#ifndef LODGE_ENGINE_BT_DECODE_FEATURE_H
#define LODGE_ENGINE_BT_DECODE_FEATURE_H

#include <stdbool.h>

#include "core/x86/cpuid.h"
#include "engine/bt/decode/ops.h"

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* The bit that stands for a feature. */
struct insn_feature_bit {
	uint32_t leaf; /* 0: no bit, see insn_features_of */
	uint8_t subleaf;
	uint8_t reg; /* enum cpuid_register */
	uint8_t bit;
	uint8_t with; /* a feature that is needed too, or FEATURE_BASE */
};

const struct insn_feature_bit *insn_feature_cpuid(enum insn_feature feature);

/* What a processor with these CPUID leaves has: to index by insn->feature. FEATURE_BASE is always,
 * FEATURE_NEVER never there. */
void insn_features_of(const struct cpuid_table *t, bool features[FEATURE_COUNT]);

#endif
