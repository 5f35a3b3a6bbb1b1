/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/host.h"

#include <cpuid.h>

#include "base/bits.h"

#define LEAF_FEATURES 7
#define EBX_BMI2      BIT(8)
#define EBX_AUTHENTIC 0x68747541u /* "Auth", enticAMD */
#define EBX_HYGON     0x6f677948u /* "Hygo", nGenuine */
#define FAMILY_17H    0x17u
#define FAMILY_18H    0x18u

static unsigned family(unsigned eax)
{
	unsigned base = eax >> 8 & 15;

	return base == 15 ? base + (eax >> 20 & 0xff) : base;
}

bool host_has_fast_pext(void)
{
	unsigned eax, ebx, ecx, edx, vendor;

	if (!__get_cpuid_count(LEAF_FEATURES, 0, &eax, &ebx, &ecx, &edx) || !(ebx & EBX_BMI2))
		return false;
	__cpuid(0, eax, vendor, ecx, edx);
	__cpuid(1, eax, ebx, ecx, edx);
	return !(vendor == EBX_AUTHENTIC && family(eax) == FAMILY_17H) &&
	       !(vendor == EBX_HYGON && family(eax) == FAMILY_18H);
}
