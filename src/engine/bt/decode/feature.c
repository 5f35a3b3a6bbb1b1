/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bits.h"
#include "engine/bt/decode/feature.h"

#define EXTENDED 0x80000001

/* clang-format off */
static const struct insn_feature_bit bits[FEATURE_COUNT] = {
	[FEATURE_CX8] =        {1, 0, CPUID_EDX, 8, 0},
	[FEATURE_SYSENTER] =   {1, 0, CPUID_EDX, 11, 0},
	[FEATURE_CMOV] =       {1, 0, CPUID_EDX, 15, 0},
	[FEATURE_CLFLUSH] =    {1, 0, CPUID_EDX, 19, 0},
	[FEATURE_MMX] =        {1, 0, CPUID_EDX, 23, 0},
	[FEATURE_FXSR] =       {1, 0, CPUID_EDX, 24, 0},
	[FEATURE_SSE] =        {1, 0, CPUID_EDX, 25, 0},
	[FEATURE_SSE2] =       {1, 0, CPUID_EDX, 26, 0},
	[FEATURE_SSE3] =       {1, 0, CPUID_ECX, 0, 0},
	[FEATURE_PCLMUL] =     {1, 0, CPUID_ECX, 1, 0},
	[FEATURE_MONITOR] =    {1, 0, CPUID_ECX, 3, 0},
	[FEATURE_SSSE3] =      {1, 0, CPUID_ECX, 9, 0},
	[FEATURE_FMA] =        {1, 0, CPUID_ECX, 12, FEATURE_AVX},
	[FEATURE_CX16] =       {1, 0, CPUID_ECX, 13, 0},
	[FEATURE_SSE4_1] =     {1, 0, CPUID_ECX, 19, 0},
	[FEATURE_SSE4_2] =     {1, 0, CPUID_ECX, 20, 0},
	[FEATURE_MOVBE] =      {1, 0, CPUID_ECX, 22, 0},
	[FEATURE_POPCNT] =     {1, 0, CPUID_ECX, 23, 0},
	[FEATURE_AES] =        {1, 0, CPUID_ECX, 25, 0},
	[FEATURE_XSAVE] =      {1, 0, CPUID_ECX, 26, 0},
	[FEATURE_AVX] =        {1, 0, CPUID_ECX, 28, 0},
	[FEATURE_F16C] =       {1, 0, CPUID_ECX, 29, FEATURE_AVX},
	[FEATURE_RDRAND] =     {1, 0, CPUID_ECX, 30, 0},
	[FEATURE_AVX_AES] =    {1, 0, CPUID_ECX, 25, FEATURE_AVX},
	[FEATURE_AVX_PCLMUL] = {1, 0, CPUID_ECX, 1, FEATURE_AVX},

	[FEATURE_FSGSBASE] =   {7, 0, CPUID_EBX, 0, 0},
	[FEATURE_BMI1] =       {7, 0, CPUID_EBX, 3, 0},
	[FEATURE_AVX2] =       {7, 0, CPUID_EBX, 5, FEATURE_AVX},
	[FEATURE_BMI2] =       {7, 0, CPUID_EBX, 8, 0},
	[FEATURE_INVPCID] =    {7, 0, CPUID_EBX, 10, 0},
	[FEATURE_RDSEED] =     {7, 0, CPUID_EBX, 18, 0},
	[FEATURE_ADX] =        {7, 0, CPUID_EBX, 19, 0},
	[FEATURE_SMAP] =       {7, 0, CPUID_EBX, 20, 0},
	[FEATURE_CLFLUSHOPT] = {7, 0, CPUID_EBX, 23, 0},
	[FEATURE_CLWB] =       {7, 0, CPUID_EBX, 24, 0},
	[FEATURE_SHA] =        {7, 0, CPUID_EBX, 29, 0},
	[FEATURE_UMIP] =       {7, 0, CPUID_ECX, 2, 0},
	[FEATURE_PKU] =        {7, 0, CPUID_ECX, 3, 0},
	[FEATURE_GFNI] =       {7, 0, CPUID_ECX, 8, 0},
	[FEATURE_AVX_GFNI] =   {7, 0, CPUID_ECX, 8, FEATURE_AVX},
	[FEATURE_VAES] =       {7, 0, CPUID_ECX, 9, FEATURE_AVX},
	[FEATURE_VPCLMUL] =    {7, 0, CPUID_ECX, 10, FEATURE_AVX},
	[FEATURE_RDPID] =      {7, 0, CPUID_ECX, 22, 0},
	[FEATURE_MOVDIRI] =    {7, 0, CPUID_ECX, 27, 0},
	[FEATURE_MOVDIR64B] =  {7, 0, CPUID_ECX, 28, 0},
	[FEATURE_SERIALIZE] =  {7, 0, CPUID_EDX, 14, 0},
	[FEATURE_AVX_VNNI] =   {7, 1, CPUID_EAX, 4, FEATURE_AVX},

	[FEATURE_XSAVEOPT] =   {0xd, 1, CPUID_EAX, 0, FEATURE_XSAVE},
	[FEATURE_XSAVEC] =     {0xd, 1, CPUID_EAX, 1, FEATURE_XSAVE},
	[FEATURE_XGETBV1] =    {0xd, 1, CPUID_EAX, 2, FEATURE_XSAVE},
	[FEATURE_XSAVES] =     {0xd, 1, CPUID_EAX, 3, FEATURE_XSAVE},

	[FEATURE_LAHF64] =     {EXTENDED, 0, CPUID_ECX, 0, 0},
	[FEATURE_LZCNT] =      {EXTENDED, 0, CPUID_ECX, 5, 0},
	[FEATURE_SSE4A] =      {EXTENDED, 0, CPUID_ECX, 6, 0},
	[FEATURE_SYSCALL] =    {EXTENDED, 0, CPUID_EDX, 11, 0},
	[FEATURE_RDTSCP] =     {EXTENDED, 0, CPUID_EDX, 27, 0},
	[FEATURE_CLZERO] =     {0x80000008, 0, CPUID_EBX, 0, 0},
	[FEATURE_WBNOINVD] =   {0x80000008, 0, CPUID_EBX, 9, 0},
};
/* clang-format on */

const struct insn_feature_bit *insn_feature_cpuid(enum insn_feature feature)
{
	return &bits[feature];
}

static bool has_bit(const struct cpuid_table *t, const struct insn_feature_bit *b)
{
	const struct cpuid_entry *e = cpuid_find(t, b->leaf, b->subleaf);

	if (!e)
		return false;
	const uint32_t regs[] = {e->eax, e->ebx, e->ecx, e->edx};

	return regs[b->reg] & BIT(b->bit);
}

void insn_features_of(const struct cpuid_table *t, bool features[FEATURE_COUNT])
{
	for (unsigned f = 0; f < FEATURE_COUNT; f++) {
		const struct insn_feature_bit *b = &bits[f];

		features[f] = b->leaf ? has_bit(t, b) && (!b->with || has_bit(t, &bits[b->with]))
				      : f == FEATURE_BASE;
	}
}
