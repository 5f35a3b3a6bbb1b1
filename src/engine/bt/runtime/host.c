/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/host.h"

#include <cpuid.h>

#include "base/bits.h"

#define LEAF_FEATURES 7
#define EBX_BMI2      BIT(8)

bool host_has_bmi2(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid_count(LEAF_FEATURES, 0, &eax, &ebx, &ecx, &edx) && ebx & EBX_BMI2;
}
