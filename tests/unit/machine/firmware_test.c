/* SPDX-License-Identifier: Apache-2.0 */
/* Registers as firmware leaves them (Intel SDM vol. 3A, "Memory Type Range Registers", "Local
 * Vector Table"; MultiProcessor Specification 1.4, 3.6.2.2). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "machine/firmware.h"

static uint64_t msr(const struct vcpu_state *s, uint32_t index)
{
	for (unsigned i = 0; i < s->msr_count; i++)
		if (s->msrs[i].index == index)
			return s->msrs[i].value;
	fail_msg("no MSR %x", index);
	return 0;
}

static void the_processor_is_told_by_cpuid(void **state)
{
	static const struct {
		uint32_t sizes;
		unsigned bits;
	} cases[] = {{0x3024, 36}, {0x3028, 40}, {0x3934, 52}, {0x3935, 36}, {0x301f, 36}};
	struct cpuid_table t = {.count = 0};
	struct firmware_cpu cpu;

	(void)state;
	firmware_identify(&cpu, &t);
	assert_int_equal(cpu.signature, 0);
	assert_int_equal(cpu.phys_bits, 36);
	assert_false(cpu.mtrr);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct cpuid_entry basic = {.leaf = 1, .eax = 0x50654, .edx = 1u << 12};
		const struct cpuid_entry sizes = {.leaf = 0x80000008, .eax = cases[i].sizes};

		t.count = 0;
		cpuid_put(&t, &basic);
		cpuid_put(&t, &sizes);
		firmware_identify(&cpu, &t);
		assert_int_equal(cpu.signature, 0x50654);
		assert_true(cpu.mtrr);
		assert_int_equal(cpu.phys_bits, cases[i].bits);
	}
}

/* 3 GiB to 4 GiB is uncacheable, everything else write-back. */
static void memory_types(void **state)
{
	static const struct {
		unsigned bits;
		uint64_t mask;
	} cases[] = {{36, 0xfc0000800}, {40, 0xffc0000800}, {52, 0xfffffc0000800}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct firmware_cpu cpu = {.phys_bits = cases[i].bits, .mtrr = true};
		struct vcpu_state s;

		vcpu_state_reset(&s, 1);
		firmware_set_vcpu(&cpu, &s, false);
		assert_int_equal(msr(&s, 0x200), 0xc0000000); /* base, type 0 */
		assert_int_equal(msr(&s, 0x201), cases[i].mask);
		assert_int_equal(msr(&s, 0x2ff), 0x806); /* enabled, write-back */
		assert_int_equal(msr(&s, 0x203) & 0x800, 0);
	}
}

static void a_processor_without_mtrrs_is_left_alone(void **state)
{
	const struct firmware_cpu cpu = {.signature = 0x611, .phys_bits = 36};
	struct vcpu_state s, reset;

	(void)state;
	vcpu_state_reset(&reset, 1);
	vcpu_state_reset(&s, 1);
	firmware_set_vcpu(&cpu, &s, false);
	assert_int_equal(s.gpr[GPR_RDX], 0x611);
	s.gpr[GPR_RDX] = reset.gpr[GPR_RDX];
	assert_memory_equal(&s, &reset, sizeof(s));
}

/* Virtual wire mode: the 8259s reach the bootstrap processor by LINT0, NMI by LINT1; the others
 * have both masked. */
static void local_interrupts(void **state)
{
	const struct firmware_cpu cpu = {.phys_bits = 40, .mtrr = true};
	struct vcpu_state s;

	(void)state;
	vcpu_state_reset(&s, 0);
	firmware_set_vcpu(&cpu, &s, true);
	assert_int_equal(load_le(s.lapic + 0x0f0, 4), 0x10f);
	assert_int_equal(load_le(s.lapic + 0x350, 4), 0x700);
	assert_int_equal(load_le(s.lapic + 0x360, 4), 0x400);
	vcpu_state_reset(&s, 1);
	firmware_set_vcpu(&cpu, &s, false);
	assert_int_equal(load_le(s.lapic + 0x350, 4), 0x10000);
	assert_int_equal(load_le(s.lapic + 0x360, 4), 0x10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_processor_is_told_by_cpuid),
		cmocka_unit_test(memory_types),
		cmocka_unit_test(a_processor_without_mtrrs_is_left_alone),
		cmocka_unit_test(local_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
