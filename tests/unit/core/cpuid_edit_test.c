/* SPDX-License-Identifier: Apache-2.0 */
/* Bits by Intel SDM vol. 2A, "CPUID". */
#include "core/x86/cpuid_edit.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "cpuid_rig.h"

enum { EAX, EBX, ECX, EDX };

static struct cpuid_table table(void)
{
	struct cpuid_table host, t;

	host_nehalem(&host);
	compose(&t, "host", &host, 1, 4);
	return t;
}

/* One change; -errno, with the words of a refusal in *words. */
static int edit(struct cpuid_table *t, const struct cpuid_edit *one, struct err *e)
{
	err_clear(e);
	return cpuid_edit(t, one, 1, e);
}

#define EDIT(t, ...) edit(t, &(const struct cpuid_edit){__VA_ARGS__}, &e)

static void features_are_taken_away(void **state)
{
	struct cpuid_table t = table();
	struct cpuid_entry before = leaf(&t, 1, 0), after;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(before.ecx & BIT(20)); /* SSE4.2 */
	assert_int_equal(EDIT(&t, 1, 0, ECX, BIT(20), 0), 0);
	after = leaf(&t, 1, 0);
	assert_int_equal(after.ecx, before.ecx & ~BIT(20));
	assert_int_equal(after.edx, before.edx);
}

static void features_are_not_given(void **state)
{
	struct cpuid_table t = table();
	uint32_t before = leaf(&t, 1, 0).ecx;
	struct err e = ERR_INIT;

	(void)state;
	assert_false(before & BIT(28)); /* AVX: Nehalem has none */
	assert_int_equal(EDIT(&t, 1, 0, ECX, BIT(28), BIT(28)), -ENOTSUP);
	assert_non_null(strstr(e.text, "leaf 0x1, subleaf 0, ECX"));
	assert_non_null(strstr(e.text, "0x10000000"));
	assert_int_equal(leaf(&t, 1, 0).ecx, before);
}

static void what_changes_nothing_is_possible(void **state)
{
	struct cpuid_table t = table(), before = t;
	struct cpuid_entry topology = leaf(&t, 0xb, 1);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(EDIT(&t, 0xb, 1, EBX, ~0u, topology.ebx), 0);
	assert_int_equal(EDIT(&t, 0x7777, 0, EAX, ~0u, 0), 0);
	assert_int_equal(EDIT(&t, 1, 0, EDX, BIT(0), BIT(0)), 0); /* x87 */
	assert_memory_equal(&t, &before, sizeof(t));
}

static void what_identifies_is_free_and_the_rest_is_not(void **state)
{
	struct cpuid_table t = table();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(EDIT(&t, 1, 0, EAX, ~0u, 0x306f2), 0);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x306f2);
	assert_int_equal(EDIT(&t, 0x80000003, 0, EDX, 0xff, 'A'), 0);
	assert_int_equal(leaf(&t, 0x80000003, 0).edx & 0xff, 'A');
	assert_int_equal(EDIT(&t, 1, 0, EBX, 0xff000000, 0x77000000), -ENOTSUP);
	assert_int_equal(EDIT(&t, 0xb, 0, EBX, 0xff, 0x7f), -ENOTSUP);
	assert_int_equal(EDIT(&t, 0x80000008, 0, EAX, 0xff, 52), -ENOTSUP);
	assert_int_equal(EDIT(&t, 0, 0, EBX, ~0u, 0x11111111), -ENOTSUP);
	assert_int_equal(EDIT(&t, 0x7777, 0, EAX, 1, 1), -ENOTSUP);
}

static void the_first_that_cannot_be_ends_it(void **state)
{
	const struct cpuid_edit edits[] = {
		{1, 0, EAX, ~0u, 0x306f2}, {0xb, 0, EBX, 0xff, 0x7f}, {1, 0, EAX, ~0u, 0}};
	struct cpuid_table t = table();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(cpuid_edit(&t, edits, 3, &e), -ENOTSUP);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x306f2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_taken_away),
		cmocka_unit_test(features_are_not_given),
		cmocka_unit_test(what_changes_nothing_is_possible),
		cmocka_unit_test(what_identifies_is_free_and_the_rest_is_not),
		cmocka_unit_test(the_first_that_cannot_be_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
