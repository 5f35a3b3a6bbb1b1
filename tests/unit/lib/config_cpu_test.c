/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lib/config_cpu.h"

static void bits_by_position(void **state)
{
	struct machine_cpu_edits edits = {0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(config_cpu_add_cpuid(&edits, "0x80000001.0b10:edx=0b1x_0", &e), 0);
	assert_int_equal(config_cpu_add_cpuid(&edits, "0x1:eax=0b0", &e), 0);
	assert_int_equal(edits.cpuid_count, 2);
	assert_int_equal(edits.cpuid[0].leaf, 0x80000001);
	assert_int_equal(edits.cpuid[0].subleaf, 2);
	assert_int_equal(edits.cpuid[0].reg, 3);
	assert_int_equal(edits.cpuid[0].mask, 5);
	assert_int_equal(edits.cpuid[0].value, 4);
	assert_int_equal(edits.cpuid[1].subleaf, 0);
	assert_int_equal(config_cpu_add_msr(&edits,
					    "0x10a=0b1xxxxxxx_xxxxxxxx_xxxxxxxx_xxxxxxxx_"
					    "xxxxxxxx_xxxxxxxx_xxxxxxxx_xxxxxx01",
					    &e),
			 0);
	assert_int_equal(edits.msr[0].index, 0x10a);
	assert_true(edits.msr[0].mask == (BIT(63) | 3));
	assert_true(edits.msr[0].value == (BIT(63) | 1));
	config_cpu_release(&edits);
	assert_int_equal(edits.cpuid_count + edits.msr_count, 0);
}

static void what_cannot_be_read(void **state)
{
	static const char *const cpuid[] = {
		"",
		"1:eax=0b1",
		"0x:eax=0b1",
		"0x1",
		"0x1:eax",
		"0x1:eax=",
		"0x1:eax=1",
		"0x1:eax=0b",
		"0x1:eax=0b_",
		"0x1:eax=0b2",
		"0x1:exx=0b1",
		"0x1:e",
		"0x1:eaxb1",
		"0x1.:eax=0b1",
		"0x100000000:eax=0b1",
		"0xffffffffffffffffffff:eax=0b1",
		"0x1:eax=0b111111111111111111111111111111111",
		"0x1:eax=0b1 ",
	};
	static const char *const msr[] = {"", "0x1", "0x1=", "1=0b1", "0x1=0x1", "0b=0b1"};
	struct machine_cpu_edits edits = {0};
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cpuid); i++)
		if (config_cpu_add_cpuid(&edits, cpuid[i], &e) != -EINVAL)
			fail_msg("%s", cpuid[i]);
	for (unsigned i = 0; i < ARRAY_LEN(msr); i++)
		if (config_cpu_add_msr(&edits, msr[i], &e) != -EINVAL)
			fail_msg("%s", msr[i]);
	assert_int_equal(edits.cpuid_count + edits.msr_count, 0);
	config_cpu_release(&edits);
}

static void there_is_an_end(void **state)
{
	struct machine_cpu_edits edits = {0};
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < CONFIG_CPU_EDITS_MAX; i++)
		assert_int_equal(config_cpu_add_msr(&edits, "0x1=0b1", &e), 0);
	assert_int_equal(config_cpu_add_msr(&edits, "0x1=0b1", &e), -EINVAL);
	assert_int_equal(edits.msr_count, CONFIG_CPU_EDITS_MAX);
	config_cpu_release(&edits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_by_position),
		cmocka_unit_test(what_cannot_be_read),
		cmocka_unit_test(there_is_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
