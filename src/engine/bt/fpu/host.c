/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processors do differently with the x87 pointers is tried out rather than
 * looked up: CPUID tells only a part of it, and that in a way of each vendor's own.
 */
#include <cpuid.h>
#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/fpu/host.h"

#define DEFAULT_MXCSR_MASK 0xffbfu /* where FXSAVE gives 0 (SDM vol. 1, 11.6.6) */

#define CPUID_1_ECX_AVX (BIT(27) | BIT(28)) /* OSXSAVE, AVX */

/* The 32-bit protected-mode environment of FNSTENV. */
struct environment {
	uint32_t control, status, tag, ip, cs_opcode, dp, ds;
};

/* Loads a number, and keeps what that leaves behind. */
static void try_load(struct environment *env, uint8_t image[512])
{
	static const double one = 1;

	memset(image, 0, 512);
	__asm__ volatile("fninit\n\t"
			 "fldl %2\n\t"
			 "fxsave64 %1\n\t"
			 "fnstenv %0\n\t"
			 "fninit"
			 : "=m"(*env), "+m"(*(uint8_t(*)[512])image)
			 : "m"(one));
}

/* Loads a pointer that shows where its sign is taken from, with a pending exception so that FXSAVE
 * shows it, too. */
static unsigned try_pointer(uint8_t image[512])
{
	const uint64_t pointer = BIT(56);
	uint64_t ip;

	memset(image, 0, 512);
	store_le(image + XSAVE_FCW, 2, 0x340);
	store_le(image + XSAVE_FSW, 2, 0x8081);
	store_le(image + XSAVE_FIP, 8, pointer);
	store_le(image + XSAVE_MXCSR, 4, MXCSR_RESET);
	__asm__ volatile("fxrstor64 %0\n\t"
			 "fxsave64 %0\n\t"
			 "fninit"
			 : "+m"(*(uint8_t(*)[512])image)
			 :
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	ip = load_le(image + XSAVE_FIP, 8);
	return ip == pointer ? 64 : ip ? 57 : 48;
}

/* Whether processor and kernel let programs use AVX. __builtin_cpu_supports would bring libgcc's
 * list of processors, which runs two dozen CPUIDs at every start of lodge, with any engine. */
static bool avx_usable(void)
{
	const uint32_t needed = XSTATE_SSE | XSTATE_AVX;
	uint32_t a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & CPUID_1_ECX_AVX) != CPUID_1_ECX_AVX)
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & needed) == needed;
}

void host_learn(struct fpu_host *host)
{
	uint8_t image[512] __attribute__((aligned(16)));
	struct environment env;
	unsigned a, b, c, d;

	try_load(&env, image);
	host->mxcsr_mask = load_le(image + XSAVE_MXCSR_MASK, 4);
	if (!host->mxcsr_mask)
		host->mxcsr_mask = DEFAULT_MXCSR_MASK;
	host->fop_always = env.cs_opcode >> 16 & 0x7ff;
	host->fdp_always = env.dp;
	host->hides_pointer = env.ip && !load_le(image + XSAVE_FIP, 8);
	host->pointer_bits = try_pointer(image);
	host->selectors = !(__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & BIT(13));
	host->avx = avx_usable();
}
