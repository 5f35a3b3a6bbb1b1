/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "engine/bt/decode/feature.h"

/* Features of a processor whose only CPUID leaf is that. */
static void of_leaf(uint32_t leaf, uint32_t subleaf, const uint32_t regs[4],
		    bool features[FEATURE_COUNT])
{
	struct cpuid_table t = {0};
	struct cpuid_entry e = {leaf, subleaf, true, regs[0], regs[1], regs[2], regs[3]};

	assert_true(cpuid_put(&t, &e));
	insn_features_of(&t, features);
}

static void base_is_always_there_and_never_never(void **state)
{
	struct cpuid_table t = {0};
	bool features[FEATURE_COUNT];

	(void)state;
	insn_features_of(&t, features);
	for (unsigned f = 0; f < FEATURE_COUNT; f++)
		assert_int_equal(features[f], f == FEATURE_BASE);
}

/* SDM vol. 2A, CPUID: leaf 1's ECX bit 28 is AVX, 25 AES, 12 FMA. */
static void a_feature_needs_what_it_stands_on(void **state)
{
	bool f[FEATURE_COUNT];

	(void)state;
	of_leaf(1, 0, (uint32_t[]){0, 0, BIT(12) | BIT(25), 0}, f);
	assert_true(f[FEATURE_AES]);
	assert_false(f[FEATURE_FMA] || f[FEATURE_AVX_AES] || f[FEATURE_AVX]);
	of_leaf(1, 0, (uint32_t[]){0, 0, BIT(12) | BIT(25) | BIT(28), 0}, f);
	assert_true(f[FEATURE_FMA] && f[FEATURE_AVX_AES] && f[FEATURE_AVX]);
}

static void each_bit_is_one_feature(void **state)
{
	(void)state;
	for (unsigned f = 0; f < FEATURE_COUNT; f++) {
		const struct insn_feature_bit *a = insn_feature_cpuid(f);

		assert_int_equal(!a->leaf, f == FEATURE_BASE || f == FEATURE_NEVER);
		for (unsigned g = 0; a->leaf && g < f; g++) {
			const struct insn_feature_bit *b = insn_feature_cpuid(g);

			assert_false(a->leaf == b->leaf && a->subleaf == b->subleaf &&
				     a->reg == b->reg && a->bit == b->bit && a->with == b->with);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base_is_always_there_and_never_never),
		cmocka_unit_test(a_feature_needs_what_it_stands_on),
		cmocka_unit_test(each_bit_is_one_feature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
