/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory types: the values that MTRRs and the PAT take. They have no effect here:
 * the host's caches are coherent.
 *
 * Source: Intel SDM vol. 3A 12.11.2 (MTRRs), 12.12.2 (PAT).
 */
#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/interp/msr_int.h"

#define PAT_TYPE_UC_MINUS 7u

#define MTRRCAP_FIXED BIT(8)
#define MTRRCAP_WC    BIT(10)

bool msr_mtrrcap_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	*value = MSR_MTRR_VARIABLE | MTRRCAP_FIXED | MTRRCAP_WC;
	return true;
}

static bool is_type(unsigned type)
{
	return type == MTRR_TYPE_UC || type == MTRR_TYPE_WC ||
	       (type >= MTRR_TYPE_WT && type <= MTRR_TYPE_WB);
}

bool msr_mtrr_variable_check(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	uint64_t reserved = ~MASK(cpu->phys_bits);

	if (index & 1) /* PHYSMASK */
		return !(*value & (reserved | MASK(11)));
	return !(*value & (reserved | (MASK(12) & ~MASK(8)))) && is_type(*value & 0xff);
}

bool msr_mtrr_fixed_check(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	for (unsigned i = 0; i < 64; i += 8)
		if (!is_type(*value >> i & 0xff))
			return false;
	return true;
}

bool msr_mtrr_def_type_check(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	return !(*value & ~(uint64_t)(MTRR_DEF_TYPE_ENABLE | MTRR_DEF_TYPE_FIXED | 0xff)) &&
	       is_type(*value & 0xff);
}

bool msr_pat_check(const struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu;
	(void)index;
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned type = *value >> i & 0xff;

		if (!is_type(type) && type != PAT_TYPE_UC_MINUS)
			return false;
	}
	return true;
}
