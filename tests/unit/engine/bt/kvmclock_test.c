/* SPDX-License-Identifier: Apache-2.0 */
/* Linux Documentation/virt/kvm/x86/msr.rst: MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/bt/runtime/tsc.h"
#include "system_rig.h"

#define PAGE   0x4000
#define SECOND 1000000000ULL

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];
static uint8_t *ram;

static int setup(void **state)
{
	(void)state;
	system_rig_init(&r);
	rig_long_mode(&r.cpu[0]);
	rig_long_mode(&r.cpu[1]);
	ram = mem_ptr_rw(&r.mem, 0, RIG_RAM);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

/* The time that a guest finds on its page when its TSC is tsc, by the document's formula. */
static uint64_t told(uint64_t gpa, uint64_t tsc)
{
	const uint8_t *page = ram + gpa;
	int8_t shift = (int8_t)page[28];
	uint64_t delta = tsc - load_le(page + 8, 8);
	unsigned __int128 product;

	assert_int_equal(load_le(page, 4) & 1, 0); /* not under way */
	if (shift >= 0)
		delta <<= shift;
	else
		delta >>= -shift;
	product = (unsigned __int128)delta * load_le(page + 24, 4);
	return (uint64_t)(product >> 32) + load_le(page + 16, 8);
}

static uint64_t guest_tsc(const struct cpu *c, uint64_t host)
{
	return host + c->tsc_offset;
}

static void the_page_tells_the_time(void **state)
{
	static const uint32_t rates[] = {100000, 999999, 1000000, 2596144, 4000001, 20000000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rates); i++) {
		uint64_t tsc;

		r.vm.tsc_khz = rates[i];
		clock_advance(&r.clock, 12345);
		r.clock.host_base++; /* time stood still, and goes on */
		assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, PAGE | 1), RIG_NO_FAULT);
		tsc = load_le(ram + PAGE + 8, 8);
		assert_int_equal(told(PAGE, tsc), clock_now(&r.clock));
		/* A thousand seconds on, to a microsecond. */
		tsc += 1000ULL * rates[i] * 1000;
		assert_in_range(told(PAGE, tsc), clock_now(&r.clock) + 1000 * SECOND - 1000,
				clock_now(&r.clock) + 1000 * SECOND);
	}
	assert_int_equal(load_le(ram + PAGE + 32, 8), 0); /* and no byte more */
}

static void all_vcpus_tell_the_same(void **state)
{
	uint64_t host;

	(void)state;
	assert_int_equal(rig_wrmsr(&r.cpu[0], MSR_KVM_SYSTEM_TIME, PAGE | 1), RIG_NO_FAULT);
	clock_advance(&r.clock, SECOND); /* the second one comes later, and its TSC is apart */
	assert_int_equal(rig_wrmsr(&r.cpu[1], MSR_IA32_TSC_ADJUST, 1 << 20), RIG_NO_FAULT);
	assert_int_equal(rig_wrmsr(&r.cpu[1], MSR_KVM_SYSTEM_TIME, (PAGE + 64) | 1), RIG_NO_FAULT);
	host = r.vm.kvmclock.host_tsc + 1000000;
	assert_int_equal(told(PAGE, guest_tsc(&r.cpu[0], host)),
			 told(PAGE + 64, guest_tsc(&r.cpu[1], host)));
	/* A vCPU whose TSC is written keeps its time. */
	assert_int_equal(rig_wrmsr(&r.cpu[1], MSR_IA32_TSC, 5), RIG_NO_FAULT);
	assert_int_equal(told(PAGE, guest_tsc(&r.cpu[0], host)),
			 told(PAGE + 64, guest_tsc(&r.cpu[1], host)));
}

static void written_anew_when_time_goes_on(void **state)
{
	uint32_t version;

	(void)state;
	store_le(ram + PAGE, 4, 0x77); /* whatever stood there */
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, PAGE | 1), RIG_NO_FAULT);
	version = (uint32_t)load_le(ram + PAGE, 4);
	assert_int_equal(version & 1, 0);
	kvmclock_refresh(cpu);
	assert_int_equal(load_le(ram + PAGE, 4), version);
	r.clock.host_base++;
	clock_advance(&r.clock, 5 * SECOND);
	kvmclock_refresh(cpu);
	assert_true(load_le(ram + PAGE, 4) > version);
	assert_int_equal(load_le(ram + PAGE + 16, 8), 5 * SECOND);
}

/* A state that was set has its page written before the vCPU runs, at the new TSC. */
static void written_after_the_state_was_set(void **state)
{
	static struct vcpu_state s;

	(void)state;
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, PAGE | 1), RIG_NO_FAULT);
	cpu_get_state(cpu, &s);
	s.tsc = 1ULL << 50;
	assert_int_equal(cpu_set_state(cpu, &s, NULL), 0);
	kvmclock_refresh(cpu);
	assert_int_equal(told(PAGE, guest_tsc(cpu, r.vm.kvmclock.host_tsc)),
			 r.vm.kvmclock.guest_ns);
}

static void not_where_it_is_not_wanted(void **state)
{
	static const uint8_t none[64];

	(void)state;
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, PAGE), RIG_NO_FAULT); /* disabled */
	assert_memory_equal(ram + PAGE, none, sizeof(none));
	/* Outside RAM, and across its end: nobody can read it. */
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, UINT64_MAX), RIG_NO_FAULT);
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_SYSTEM_TIME, (RIG_RAM - 16) | 1), RIG_NO_FAULT);
	assert_memory_equal(ram + RIG_RAM - 16, none, 16);
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_WALL_CLOCK, UINT64_MAX - 3), RIG_NO_FAULT);
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_WALL_CLOCK, RIG_RAM - 8), RIG_NO_FAULT);
	assert_memory_equal(ram + RIG_RAM - 16, none, 16);
}

/* The date at which guest time was 0. */
static void wall_clock(void **state)
{
	(void)state;
	clock_advance(&r.clock, 7 * SECOND);
	clock_set_wall(&r.clock, 1700000007 * SECOND + 5);
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_WALL_CLOCK, PAGE), RIG_NO_FAULT);
	assert_int_equal(load_le(ram + PAGE, 4) & 1, 0);
	assert_int_equal(load_le(ram + PAGE + 4, 4), 1700000000);
	assert_int_equal(load_le(ram + PAGE + 8, 4), 5);
	assert_int_equal(load_le(ram + PAGE + 12, 4), 0);
	assert_int_equal(rig_wrmsr(cpu, MSR_KVM_WALL_CLOCK_OLD, PAGE + 64), RIG_NO_FAULT);
	assert_int_equal(load_le(ram + PAGE + 68, 4), 1700000000);
}

/* What is asked twice is answered alike: 1 % is far above what a measurement differs by. */
static void rate_of_the_host(void **state)
{
	uint32_t a = tsc_khz(), b = tsc_khz();

	(void)state;
	assert_true(a > 100000);
	assert_in_range(b, a - a / 100, a + a / 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_page_tells_the_time),
		TEST(all_vcpus_tell_the_same),
		TEST(written_anew_when_time_goes_on),
		TEST(written_after_the_state_was_set),
		TEST(not_where_it_is_not_wanted),
		TEST(wall_clock),
		TEST(rate_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
