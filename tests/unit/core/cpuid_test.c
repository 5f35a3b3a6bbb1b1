/* SPDX-License-Identifier: Apache-2.0 */
/* Every model is held against rules of the manuals, on tables like those of real hosts and on
 * random ones. */
#include "cpuid_rig.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/vcpu_state.h"

static void every_model_keeps_the_rules_on_every_vendor(void **state)
{
	static const unsigned counts[] = {1, 2, 3, 8, 9, 63, 64};
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned v = 0; v < VENDORS; v++) {
		host_all(&host, vendors[v]);
		for (unsigned m = 0; cpuid_model_name(m); m++) {
			for (unsigned c = 0; c < ARRAY_LEN(counts); c++) {
				for (unsigned id = 0; id < counts[c]; id += MAX(counts[c] / 3, 1)) {
					compose(&t, cpuid_model_name(m), &host, id, counts[c]);
					check_all(&t, &host, id, counts[c]);
				}
			}
		}
	}
}

static void xsave_areas_that_do_not_fit_are_left_out(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 0x2e7);
	assert_int_equal(leaf(&t, 0xd, 0).ecx, 2696);
	put_sub(&host, 0xd, 7, 1024, VCPU_XSAVE_SIZE - 1023, 0, 0);
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 0x207);
	check_all(&t, &host, 0, 1);
	put_sub(&host, 0xd, 9, ~0u, ~0u, 0, 0);
	put_sub(&host, 0xd, 2, 256, 576, 1, 0);
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 3);
	check_all(&t, &host, 0, 1);
}

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Mostly ones, mostly zeroes, or anything. */
static uint32_t random_bits(uint64_t *s)
{
	uint32_t a = (uint32_t)random_next(s), b = (uint32_t)(random_next(s) >> 8);

	switch (random_next(s) % 5) {
	case 0:
		return a | b;
	case 1:
		return a & b;
	case 2:
		return ~0u;
	case 3:
		return 0;
	default:
		return a;
	}
}

static void random_hosts_give_sound_tables_or_a_clear_refusal(void **state)
{
	static struct cpuid_table host, t;
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	unsigned composed = 0, refused = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct cpuid_topology topology = {.cpus = 1 + random_next(&seed) % 64};
		struct err e = ERR_INIT;
		int rc;

		host_all(&host, vendors[random_next(&seed) % VENDORS]);
		for (unsigned i = 1; i < host.count; i++) {
			struct cpuid_entry *entry = &host.entries[i];

			if (random_next(&seed) % 8 == 0)
				entry->eax = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->ebx = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->ecx = random_bits(&seed);
			if (random_next(&seed) % 8 == 0)
				entry->edx = random_bits(&seed);
		}
		if (random_next(&seed) % 16 == 0)
			host.count = 1 + random_next(&seed) % host.count;
		topology.apic_id = random_next(&seed) % topology.cpus;
		rc = cpuid_compose(&t, cpuid_model_name(random_next(&seed) % 3), &host, &topology,
				   &e);
		if (rc) {
			assert_int_equal(rc, -ENOTSUP);
			assert_non_null(strstr(e.text, ": use host"));
			refused++;
			continue;
		}
		check_all(&t, &host, topology.apic_id, topology.cpus);
		composed++;
	}
	assert_true(composed > 5000 && refused > 500);
}

static void a_table_replaces_finds_and_fills_up(void **state)
{
	static struct cpuid_table t;
	struct cpuid_entry e = {.leaf = 7, .indexed = true};

	(void)state;
	t.count = 0;
	for (unsigned i = 0; i < CPUID_ENTRIES_MAX; i++) {
		e.subleaf = i;
		e.eax = i;
		assert_true(cpuid_put(&t, &e));
	}
	e.subleaf = CPUID_ENTRIES_MAX;
	assert_false(cpuid_put(&t, &e));
	e.subleaf = 5;
	e.eax = 1000;
	assert_true(cpuid_put(&t, &e));
	assert_int_equal(cpuid_find(&t, 7, 5)->eax, 1000);
	assert_int_equal(cpuid_find(&t, 7, 6)->eax, 6);
	assert_null(cpuid_find(&t, 7, CPUID_ENTRIES_MAX));
	assert_null(cpuid_find(&t, 8, 5));
	t.count = 0;
	put(&t, 1, 42, 0, 0, 0);
	assert_int_equal(cpuid_find(&t, 1, 99)->eax, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_model_keeps_the_rules_on_every_vendor),
		cmocka_unit_test(xsave_areas_that_do_not_fit_are_left_out),
		cmocka_unit_test(random_hosts_give_sound_tables_or_a_clear_refusal),
		cmocka_unit_test(a_table_replaces_finds_and_fills_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
