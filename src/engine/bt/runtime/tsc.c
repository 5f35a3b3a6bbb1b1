/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TSC's rate: CPUID leaf 0x15 (crystal and ratio), a hypervisor's leaf 0x40000010,
 * else a comparison with CLOCK_MONOTONIC_RAW.
 *
 * Sources: Intel SDM vol. 3B 18.17.4; Linux arch/x86/kernel/cpu/vmware.c names the
 * hypervisor leaf, which others have too.
 */
#include "engine/bt/runtime/tsc.h"

#include <cpuid.h>
#include <stdbool.h>
#include <time.h>

#include "base/bits.h"

#define LEAF_TSC        0x15u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_TIMING     0x40000010u
#define ECX_HYPERVISOR  BIT(31)
#define MEASURE_NS      10000000ULL
#define TRIES           5
#define KHZ_MIN         100000u
#define KHZ_MAX         20000000u

static uint32_t from_crystal(void)
{
	uint32_t denominator, numerator, hz, unused;

	if (!__get_cpuid(LEAF_TSC, &denominator, &numerator, &hz, &unused) || !denominator || !hz)
		return 0;
	return (uint32_t)((uint64_t)hz * numerator / denominator / 1000);
}

static uint32_t from_hypervisor(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & ECX_HYPERVISOR))
		return 0;
	__cpuid(LEAF_HYPERVISOR, eax, ebx, ecx, edx);
	if (eax < LEAF_TIMING || eax > LEAF_HYPERVISOR + 0xffff)
		return 0;
	__cpuid(LEAF_TIMING, eax, ebx, ecx, edx);
	return eax;
}

/* CLOCK_MONOTONIC in ns and the TSC at that time, read as near each other as in the best of some
 * tries. */
static uint64_t read_both(uint64_t *tsc)
{
	uint64_t best = UINT64_MAX, ns = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		struct timespec now;
		uint64_t before = __builtin_ia32_rdtsc(), after;

		clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		after = __builtin_ia32_rdtsc();
		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = before + best / 2;
		ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	}
	return ns;
}

static uint32_t measured(void)
{
	uint64_t tsc[2], ns[2];

	ns[0] = read_both(&tsc[0]);
	nanosleep(&(struct timespec){.tv_nsec = MEASURE_NS}, NULL);
	ns[1] = read_both(&tsc[1]);
	if (ns[1] <= ns[0])
		return 0;
	return (uint32_t)((tsc[1] - tsc[0]) * 1000000 / (ns[1] - ns[0]));
}

static bool plausible(uint32_t khz)
{
	return khz >= KHZ_MIN && khz <= KHZ_MAX;
}

uint32_t tsc_khz(void)
{
	uint32_t (*const ways[])(void) = {from_crystal, from_hypervisor, measured};

	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		uint32_t khz = ways[i]();

		if (plausible(khz))
			return khz;
	}
	return 1000000; /* a clock that cannot be trusted: any rate is as good as another */
}
