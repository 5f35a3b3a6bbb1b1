/* SPDX-License-Identifier: Apache-2.0 */
/* What each CPU model shows of a host. The lists of the psABI levels are written here anew, so that
 * a slip in the models' table does not hide. */
#include "cpuid_rig.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/vcpu_state.h"

static void model_names_begin_with_host_and_end(void **state)
{
	(void)state;
	assert_string_equal(cpuid_model_name(0), "host");
	assert_string_equal(cpuid_model_name(1), "x86-64-v2");
	assert_string_equal(cpuid_model_name(2), "x86-64-v3");
	assert_null(cpuid_model_name(3));
	assert_null(cpuid_model_name(~0u));
}

/* The psABI's table 3.1, as bits. */
#define V1_EDX1 (BIT(0) | BIT(8) | BIT(15) | BIT(23) | BIT(24) | BIT(25) | BIT(26))
#define V2_ECX1 (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
#define V3_ECX1 (V2_ECX1 | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))
#define V3_EBX7 (BIT(3) | BIT(5) | BIT(8))
#define ECX1_V3 (BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))

static void named_models_have_the_psabi_lists(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned v = 0; v < 2; v++) {
		host_all(&host, vendors[v]);
		compose(&t, "x86-64-v2", &host, 0, 1);
		assert_int_equal(leaf(&t, 1, 0).edx & V1_EDX1, V1_EDX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & V2_ECX1, V2_ECX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & ECX1_V3, 0);
		assert_int_equal(leaf(&t, 7, 0).ebx & V3_EBX7, 0);
		assert_int_equal(leaf(&t, 0x80000001, 0).ecx & (BIT(0) | BIT(5)), BIT(0));
		assert_int_equal(leaf(&t, 0x80000001, 0).edx & (BIT(11) | BIT(20) | BIT(29)),
				 BIT(11) | BIT(20) | BIT(29));
		compose(&t, "x86-64-v3", &host, 0, 1);
		assert_int_equal(leaf(&t, 1, 0).edx & V1_EDX1, V1_EDX1);
		assert_int_equal(leaf(&t, 1, 0).ecx & V3_ECX1, V3_ECX1);
		assert_int_equal(leaf(&t, 7, 0).ebx & V3_EBX7, V3_EBX7);
		assert_int_equal(leaf(&t, 0x80000001, 0).ecx & (BIT(0) | BIT(5)), BIT(0) | BIT(5));
		assert_int_equal(leaf(&t, 0xd, 0).eax, 7);
		assert_int_equal(leaf(&t, 0xd, 0).ecx, 832);
		/* No AVX-512, and no XSAVE area for it. */
		assert_int_equal(leaf(&t, 7, 0).ebx & 0xdc230000 & ~BIT(29), 0);
	}
}

static void what_protects_the_guest_is_offered(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	for (unsigned m = 0; cpuid_model_name(m); m++) {
		host_all(&host, "GenuineIntel");
		compose(&t, cpuid_model_name(m), &host, 0, 1);
		/* MD_CLEAR SPEC_CTRL STIBP FLUSH_L1D ARCH_CAPABILITIES SSBD; SMEP SMAP; UMIP */
		assert_int_equal(leaf(&t, 7, 0).edx & 0xbc000400, 0xbc000400);
		assert_int_equal(leaf(&t, 7, 0).ebx & (BIT(7) | BIT(20)), BIT(7) | BIT(20));
		assert_true(leaf(&t, 7, 0).ecx & BIT(2));
		assert_int_equal(leaf(&t, 0x80000008, 0).ebx & BIT(12), 0);
		assert_true(leaf(&t, 0x80000007, 0).edx & BIT(8));
		/* x2APIC, TSC deadline, PCID with INVPCID, 1 GiB pages */
		assert_int_equal(leaf(&t, 1, 0).ecx & 0x01220000, 0x01220000);
		assert_true(leaf(&t, 7, 0).ebx & BIT(10));
		assert_true(leaf(&t, 0x80000001, 0).edx & BIT(26));
		host_all(&host, "AuthenticAMD");
		compose(&t, cpuid_model_name(m), &host, 0, 1);
		assert_int_equal(leaf(&t, 7, 0).edx & 0xbc000400, 0);
		assert_int_equal(leaf(&t, 0x80000008, 0).ebx & 0x6100d000, 0x6100d000);
		assert_true(leaf(&t, 0x80000007, 0).edx & BIT(8));
	}
}

static void brand_of(const struct cpuid_table *t, char brand[49])
{
	for (unsigned i = 0; i < 3; i++) {
		struct cpuid_entry e = leaf(t, 0x80000002 + i, 0);

		memcpy(brand + i * 16, (uint32_t[4]){e.eax, e.ebx, e.ecx, e.edx}, 16);
	}
	brand[48] = '\0';
}

static void named_models_hide_the_host_and_host_shows_it(void **state)
{
	static struct cpuid_table host, t;
	char brand[49];

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "x86-64-v3", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "lodge x86-64-v3");
	assert_int_equal(leaf(&t, 1, 0).eax, 0x50654);
	assert_memory_equal(&t.entries[0].ebx, &host.entries[0].ebx, 12); /* vendor */
	compose(&t, "host", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "  Some Vendor(R) CPU 1234 @ 3.00GHz");
	assert_int_equal(leaf(&t, 1, 0).eax, 0x806f8);
	assert_int_equal(leaf(&t, 0x80000001, 0).eax, 0);
	host_all(&host, "AuthenticAMD");
	compose(&t, "x86-64-v2", &host, 0, 1);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x00830f10);
	assert_int_equal(leaf(&t, 0x80000001, 0).eax, 0x00830f10);
	assert_int_equal(leaf(&t, 0x80000000, 0).ebx, leaf(&t, 0, 0).ebx);
	/* A vendor of whose family numbers lodge knows nothing keeps its own. */
	host_all(&host, "HygonGenuine");
	compose(&t, "x86-64-v2", &host, 0, 1);
	assert_int_equal(leaf(&t, 1, 0).eax, 0x806f8);
	/* KVM does not hand on the brand: then there is still one. */
	host_nehalem(&host);
	compose(&t, "host", &host, 0, 1);
	brand_of(&t, brand);
	assert_string_equal(brand, "lodge host");
}

static void two_hosts_give_a_named_model_the_same_caches(void **state)
{
	static struct cpuid_table a, b, ta, tb;

	(void)state;
	host_all(&a, "GenuineIntel");
	host_all(&b, "GenuineIntel");
	put_sub(&b, 4, 0, 0x7c004121, 0x02c0003f, 0x7f, 4);
	put(&b, 1, 0x000a06d1, 0x87654321, ~0u, ~0u);
	put_text(&b, 0x80000002, "another");
	compose(&ta, "x86-64-v3", &a, 5, 8);
	compose(&tb, "x86-64-v3", &b, 5, 8);
	assert_int_equal(ta.count, tb.count);
	for (unsigned i = 0; i < ta.count; i++)
		assert_memory_equal(&ta.entries[i].eax, &tb.entries[i].eax, 16);
}

static void the_paravirtual_leaves_can_be_left_out(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	const uint32_t clock = BIT(0) | BIT(3) | BIT(24);

	(void)state;
	host_all(&host, "GenuineIntel");
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_int_equal(leaf(&t, 0x40000000, 0).eax, 0x40000001);
	assert_int_equal(leaf(&t, 0x40000000, 0).ebx, 0x4b4d564b);
	assert_int_equal(leaf(&t, 0x40000001, 0).eax, clock | 0x7ef2);
	assert_int_equal(leaf(&t, 0x40000001, 0).edx, 0);
	topology.paravirt = CPUID_PARAVIRT_NO_CLOCK;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_int_equal(leaf(&t, 0x40000001, 0).eax, 0x7ef2);
	topology.paravirt = CPUID_PARAVIRT_NONE;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_null(cpuid_find(&t, 0x40000000, 0));
	assert_null(cpuid_find(&t, 0x40000001, 0));
	assert_true(leaf(&t, 1, 0).ecx & BIT(31));
	/* An engine without them: none, and no trouble. */
	host_nehalem(&host);
	topology.paravirt = CPUID_PARAVIRT_ALL;
	assert_int_equal(cpuid_compose(&t, "host", &host, &topology, NULL), 0);
	assert_null(cpuid_find(&t, 0x40000000, 0));
}

static void frequencies_are_handed_on_only_if_known(void **state)
{
	static struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_null(cpuid_find(&t, 0x15, 0));
	put(&host, 0x15, 2, 200, 25000000, 0);
	put(&host, 0x16, 0, 0, 0, 0);
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_int_equal(leaf(&t, 0x15, 0).ecx, 25000000);
	assert_null(cpuid_find(&t, 0x16, 0));
	assert_int_equal(leaf(&t, 0, 0).eax, 0x15);
}

/* SDM vol. 3A 4.1.4: CPUID.80000008:EAX[15:8] is 57 on a processor with LA57, else 48. */
static void linear_addresses_are_as_wide_as_paging(void **state)
{
	struct cpuid_table host, t;

	(void)state;
	host_all(&host, "GenuineIntel");
	compose(&t, "host", &host, 0, 1);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 0x3934);
	compose(&t, "x86-64-v3", &host, 0, 1);
	assert_int_equal(leaf(&t, 7, 0).ecx & BIT(16), 0);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 0x3034);
}

static void a_model_that_the_host_lacks_is_refused_with_a_way_out(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	struct err e = ERR_INIT;

	(void)state;
	host_nehalem(&host);
	compose(&t, "x86-64-v2", &host, 0, 1);
	check_all(&t, &host, 0, 1);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, &e), -ENOTSUP);
	assert_int_equal(e.code, -ENOTSUP);
	assert_string_equal(e.text, "no CPU model x86-64-v3 here: this host lacks FMA, MOVBE, "
				    "XSAVE, AVX and 5 more: use host or x86-64-v2");
	/* One missing feature is named; AVX cannot be had without a place to save it. */
	host_all(&host, "AuthenticAMD");
	put_sub(&host, 7, 0, 2, ~0x100u, ~0u, ~0u);
	err_clear(&e);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, &e), -ENOTSUP);
	assert_string_equal(e.text, "no CPU model x86-64-v3 here: this host lacks BMI2: use host "
				    "or x86-64-v2");
	host_all(&host, "AuthenticAMD");
	put_sub(&host, 0xd, 2, 256, VCPU_XSAVE_SIZE - 255, 0, 0);
	assert_int_equal(cpuid_compose(&t, "x86-64-v3", &host, &topology, NULL), -ENOTSUP);
	/* Not even v2. */
	host.count = 0;
	err_clear(&e);
	assert_int_equal(cpuid_compose(&t, "x86-64-v2", &host, &topology, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, ": use host"));
	assert_null(strstr(e.text, "use host or"));
}

static void an_unknown_model_is_refused_with_the_known(void **state)
{
	static struct cpuid_table host, t;
	struct cpuid_topology topology = {.cpus = 1};
	struct err e = ERR_INIT;

	(void)state;
	host_all(&host, "GenuineIntel");
	assert_int_equal(cpuid_compose(&t, "x86-64-v9", &host, &topology, &e), -EINVAL);
	assert_string_equal(e.text,
			    "no CPU model 'x86-64-v9': there are host, x86-64-v2, x86-64-v3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model_names_begin_with_host_and_end),
		cmocka_unit_test(named_models_have_the_psabi_lists),
		cmocka_unit_test(what_protects_the_guest_is_offered),
		cmocka_unit_test(named_models_hide_the_host_and_host_shows_it),
		cmocka_unit_test(two_hosts_give_a_named_model_the_same_caches),
		cmocka_unit_test(the_paravirtual_leaves_can_be_left_out),
		cmocka_unit_test(frequencies_are_handed_on_only_if_known),
		cmocka_unit_test(linear_addresses_are_as_wide_as_paging),
		cmocka_unit_test(a_model_that_the_host_lacks_is_refused_with_a_way_out),
		cmocka_unit_test(an_unknown_model_is_refused_with_the_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
