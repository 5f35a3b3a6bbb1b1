/* SPDX-License-Identifier: Apache-2.0 */
/* Verdict, advice, words and JSON for hosts of every kind, made up here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/host_report.h"

/* A physical AMD machine where all is well. */
static struct host_facts good(void)
{
	struct host_facts f = {
		.cpu = {.vendor = "AuthenticAMD",
			.model = "AMD EPYC 7003",
			.kind = HOST_VIRT_AMDV,
			.has_virt = true,
			.nested = HOST_YES},
		.kvm = {.present = true,
			.mode = 0660,
			.owner = "root",
			.group = "kvm",
			.user = "ada",
			.group_may_open = true,
			.listed = true,
			.member = true,
			.module = "kvm_amd",
			.nested_paging = HOST_YES},
		.kernel = "Linux 6.1.0",
		.engines = {{.name = "kvm",
			     .offer = {.usable = true,
				       .efficient = true,
				       .ratio = 1.04,
				       .api_version = 12},
			     .features = {{"CAP_A", true, true},
					  {"CAP_B", true, true},
					  {"CAP_C", false, false},
					  {"CAP_D", false, true}},
			     .feature_count = 4}},
		.engine_count = 1,
	};

	return f;
}

static void unusable(struct host_facts *f, const char *why)
{
	f->engines[0].offer = (struct engine_offer){0};
	snprintf(f->engines[0].offer.why, sizeof(f->engines[0].offer.why), "%s", why);
}

/* No /dev/kvm, no module. */
static struct host_facts bare(void)
{
	struct host_facts f = good();

	f.kvm = (struct host_kvm){
		.open_error = ENOENT, .user = "ada", .nested_paging = HOST_UNKNOWN};
	unusable(&f, "no device");
	return f;
}

static void contains(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in: %s", wanted, text);
}

/* The advice for a host, line n; there must be that many. */
static const char *advice(struct host_verdict *v, const struct host_facts *f, unsigned count)
{
	host_verdict(v, f);
	if (v->advice_count != count)
		fail_msg("%u lines of advice, first: %s", v->advice_count, v->advice[0]);
	return v->advice[0];
}

static void all_well_needs_no_advice(void **state)
{
	const struct host_facts f = good();
	struct host_verdict v;

	(void)state;
	advice(&v, &f, 0);
	assert_int_equal(v.engine, 0);
	contains(v.why, "kvm is efficient");
}

static void efficient_goes_before_usable(void **state)
{
	struct host_facts f = good();
	struct host_verdict v;

	(void)state;
	f.engines[0].offer.efficient = false;
	strcpy(f.engines[0].offer.why, "an interpreter");
	f.engines[1] = (struct host_engine){.name = "other", .offer = {.usable = true}};
	f.engine_count = 2;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, 1);
	f.engines[1].offer.efficient = true;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, 1);
	contains(v.why, "other is efficient");
	f.engines[1].offer.usable = false;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, 0);
	contains(v.why, "not efficient here, but nothing better is usable: an interpreter");
	f.engines[0].offer.usable = false;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, -1);
	f.engine_count = 0;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, -1);
	contains(v.why, "without engines");
}

static void no_permission_names_the_way_in(void **state)
{
	struct host_facts f = good();
	struct host_verdict v;

	(void)state;
	unusable(&f, "permission denied");
	f.kvm.open_error = EACCES;
	f.kvm.listed = f.kvm.member = false;
	contains(advice(&v, &f, 1), "sudo usermod -aG kvm ada");
	assert_int_equal(v.engine, -1);
	contains(v.why, "no engine is usable: kvm: permission denied");
	f.kvm.listed = true;
	contains(advice(&v, &f, 1), "log in again");
	f.kvm.member = true;
	contains(advice(&v, &f, 1), "getfacl");

	/* A device that is root's alone: joining group root would not do. */
	strcpy(f.kvm.group, "root");
	f.kvm.mode = 0600;
	f.kvm.group_may_open = f.kvm.member = f.kvm.listed = false;
	contains(advice(&v, &f, 1), "setfacl -m u:ada:rw /dev/kvm");
	contains(v.advice[0], "mode 0600");
}

static void no_device_names_module_firmware_or_the_outer_host(void **state)
{
	struct host_facts f = bare();
	struct host_verdict v;

	(void)state;
	contains(advice(&v, &f, 2), "modprobe kvm_amd");
	contains(v.advice[1], "switch on SVM (AMD-V)");
	f.cpu.kind = HOST_VIRT_VTX;
	contains(advice(&v, &f, 2), "modprobe kvm_intel");
	contains(v.advice[1], "switch on VT-x");
	f.cpu.kind = HOST_VIRT_VIA;
	contains(advice(&v, &f, 2), "modprobe kvm_intel");
	contains(v.advice[1], "switch on VIA VT");

	/* The kernel has found it switched off: firmware comes first. */
	f.cpu.firmware_off = true;
	contains(advice(&v, &f, 2), "switch on VIA VT");
	contains(v.advice[1], "modprobe kvm_intel");

	f.cpu.has_virt = f.cpu.firmware_off = false;
	f.cpu.is_virtual = true;
	strcpy(f.cpu.hypervisor, "Microsoft Hv");
	contains(advice(&v, &f, 1), "ExposeVirtualizationExtensions");
	strcpy(f.cpu.hypervisor, "Unheard Of");
	contains(advice(&v, &f, 1), "switch on nested virtualization");

	/* A container: the module is there, the device is not. */
	strcpy(f.kvm.module, "kvm_intel");
	contains(advice(&v, &f, 1), "--device /dev/kvm");

	f = bare();
	f.cpu.kind = HOST_VIRT_NONE;
	f.cpu.has_virt = false;
	contains(advice(&v, &f, 1), "unknown to lodge");
}

static void slow_kvm_is_explained(void **state)
{
	struct host_facts f = good();
	struct host_verdict v;

	(void)state;
	f.engines[0].offer.efficient = false;
	f.kvm.nested_paging = HOST_NO;
	contains(advice(&v, &f, 1), "load it again with npt=1");
	f.cpu.has_virt = false;
	f.cpu.is_virtual = true;
	contains(advice(&v, &f, 1), "given no hardware virtualization");
}

/* The software engine takes over where KVM is missing or slow; the advice is about KVM still. */
static void the_software_engine_takes_over(void **state)
{
	struct host_facts f = good();
	struct host_verdict v;

	(void)state;
	f.engines[1] = (struct host_engine){.name = "bt", .offer = {.usable = true}};
	f.engine_count = 2;
	contains(advice(&v, &f, 0), "");
	assert_int_equal(v.engine, 0);
	assert_string_equal(v.why, "kvm is efficient here");

	f.engines[0].offer.efficient = false;
	strcpy(f.engines[0].offer.why, "an interpreter");
	f.kvm.nested_paging = HOST_NO;
	contains(advice(&v, &f, 1), "load it again with npt=1");
	assert_int_equal(v.engine, 1);
	assert_string_equal(v.why, "bt executes guest code in software, on any host; kvm is not "
				   "efficient here: an interpreter");

	unusable(&f, "no device");
	host_verdict(&v, &f);
	assert_int_equal(v.engine, 1);
	assert_string_equal(v.why, "bt executes guest code in software, on any host; kvm is not "
				   "usable here: no device");

	/* without it, a slow one is better than none */
	f = good();
	f.engines[0].offer.efficient = false;
	f.engines[1] = (struct host_engine){.name = "bt"};
	f.engine_count = 2;
	host_verdict(&v, &f);
	assert_int_equal(v.engine, 0);
	contains(v.why, "kvm is not efficient here, but nothing better is usable");
}

static char *words(const struct host_facts *f, struct buf *out)
{
	struct host_verdict v;

	host_verdict(&v, f);
	host_text(out, f, &v);
	assert_false(buf_failed(out));
	return (char *)out->data;
}

static void words_tell_every_fact(void **state)
{
	struct host_facts f = good();
	struct buf out = BUF_INIT;
	char *text = words(&f, &out);

	(void)state;
	contains(text, "processor       AMD EPYC 7003 (AuthenticAMD)\n");
	contains(text, "virtualization  AMD-V: yes\n");
	contains(text, "nested paging   yes\n");
	contains(text, "hypervisor      none\n");
	contains(text, "kernel          Linux 6.1.0\n");
	contains(text, "kvm module      kvm_amd\n");
	contains(text, "/dev/kvm        there, and ada may use it\n");
	contains(text, "engine kvm      usable, efficient: guest code takes 1.04 times as long");
	contains(text, "API version 12\n");
	contains(text, "kvm features    2 of 2 required, 1 of 2 optional; missing: CAP_C\n");
	contains(text, "verdict         --engine auto takes kvm: kvm is efficient here\n");
	assert_null(strstr(text, "to do"));
	buf_release(&out);

	f = bare();
	f.cpu.firmware_off = true;
	text = words(&f, &out);
	contains(text, "AMD-V: there, but the kernel finds it switched off\n");
	contains(text, "kvm module      none\n");
	contains(text, "/dev/kvm        not there\n");
	contains(text, "engine kvm      not usable: no device\n");
	contains(text, "verdict         --engine auto finds nothing: ");
	contains(text, "to do           ");
	buf_release(&out);
}

static json_t *parsed(const struct host_facts *f)
{
	struct host_verdict v;
	json_error_t error;
	json_t *root;
	char *text;

	host_verdict(&v, f);
	text = host_json(f, &v);
	assert_non_null(text);
	root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		fail_msg("%s: %s", error.text, text);
	free(text);
	return root;
}

/* A field by its path: names with dots between; "engines" means its first. */
static const json_t *field(const json_t *root, const char *path)
{
	char copy[128], *save;
	const json_t *at = root;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = strtok_r(copy, ".", &save); p; p = strtok_r(NULL, ".", &save)) {
		at = json_object_get(at, p);
		if (!at)
			fail_msg("no field %s in %s", p, path);
		if (json_is_array(at) && json_is_object(json_array_get(at, 0)))
			at = json_array_get(at, 0);
	}
	return at;
}

static void json_has_every_field_for_every_host(void **state)
{
	static const char *const paths[] = {
		"lodge",
		"cpu.vendor",
		"cpu.model",
		"cpu.virtualization",
		"cpu.present",
		"cpu.switched_off",
		"cpu.nested_paging",
		"machine.kernel",
		"machine.product",
		"machine.virtual",
		"machine.hypervisor",
		"machine.hypervisor_signature",
		"kvm.device",
		"kvm.present",
		"kvm.permitted",
		"kvm.owner",
		"kvm.group",
		"kvm.mode",
		"kvm.module",
		"kvm.nested_paging",
		"engines.name",
		"engines.usable",
		"engines.efficient",
		"engines.ratio",
		"engines.api_version",
		"engines.why",
		"engines.features",
		"verdict.engine",
		"verdict.why",
		"verdict.advice",
	};
	struct host_facts hosts[] = {good(), bare()};

	(void)state;
	for (unsigned h = 0; h < 2; h++) {
		json_t *root = parsed(&hosts[h]);

		for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
			field(root, paths[i]);
		json_decref(root);
	}
}

static void json_says_what_the_words_say(void **state)
{
	struct host_facts f = good();
	json_t *root = parsed(&f);

	(void)state;
	assert_string_equal(json_string_value(field(root, "cpu.virtualization")), "AMD-V");
	assert_true(json_is_true(field(root, "cpu.present")));
	assert_true(json_is_null(field(root, "machine.product")));
	assert_true(json_is_true(field(root, "kvm.permitted")));
	assert_string_equal(json_string_value(field(root, "kvm.mode")), "0660");
	assert_true(json_real_value(field(root, "engines.ratio")) == 1.04);
	assert_int_equal(json_integer_value(field(root, "engines.api_version")), 12);
	assert_true(json_is_true(field(root, "engines.features.CAP_A.required")));
	assert_true(json_is_false(field(root, "engines.features.CAP_C.present")));
	assert_string_equal(json_string_value(field(root, "verdict.engine")), "kvm");
	assert_int_equal(json_array_size(field(root, "verdict.advice")), 0);
	json_decref(root);

	f = bare();
	f.cpu.nested = HOST_UNKNOWN;
	root = parsed(&f);
	assert_true(json_is_null(field(root, "cpu.nested_paging")));
	assert_true(json_is_false(field(root, "kvm.permitted")));
	assert_true(json_is_null(field(root, "kvm.mode")));
	assert_true(json_is_null(field(root, "kvm.module")));
	assert_true(json_is_null(field(root, "engines.ratio")));
	assert_true(json_is_null(field(root, "verdict.engine")));
	assert_int_equal(json_array_size(field(root, "verdict.advice")), 2);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_well_needs_no_advice),
		cmocka_unit_test(efficient_goes_before_usable),
		cmocka_unit_test(no_permission_names_the_way_in),
		cmocka_unit_test(no_device_names_module_firmware_or_the_outer_host),
		cmocka_unit_test(slow_kvm_is_explained),
		cmocka_unit_test(the_software_engine_takes_over),
		cmocka_unit_test(words_tell_every_fact),
		cmocka_unit_test(json_has_every_field_for_every_host),
		cmocka_unit_test(json_says_what_the_words_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
