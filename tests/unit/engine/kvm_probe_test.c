/* SPDX-License-Identifier: Apache-2.0 */
/* What the probe says of hosts with and without a usable KVM. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/kvm_int.h"
#include "kvm_guest.h"

static void expect_words(const char *text, const char *word)
{
	if (!strstr(text, word))
		fail_msg("\"%s\" does not say \"%s\"", text, word);
}

static void a_missing_device_is_explained(void **state)
{
	struct engine_offer offer;
	uint64_t has;
	struct err e = ERR_INIT;

	(void)state;
	kvm_probe_path("/nonexistent/kvm", &offer, true);
	assert_false(offer.usable);
	assert_false(offer.efficient);
	assert_int_equal(offer.api_version, 0);
	expect_words(offer.why, "/nonexistent/kvm");
	expect_words(offer.why, "switch on");
	assert_int_equal(kvm_host_open("/nonexistent/kvm", &has, &e), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
}

static void a_file_that_is_no_kvm_is_refused(void **state)
{
	uint64_t has;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kvm_host_open("/dev/null", &has, &e), -ENODEV);
	expect_words(e.text, "not a KVM device");
}

static void a_directory_is_refused(void **state)
{
	uint64_t has;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(kvm_host_open("/", &has, &e), -EISDIR);
	expect_words(e.text, "cannot open /");
}

/* As another user, in a child: root may open everything. */
static void no_permission_names_the_group(void **state)
{
	char path[] = "/tmp/kvm_probe_test.XXXXXX";
	int fd = mkstemp(path);
	uint64_t has;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(path, 0), 0);
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(kvm_host_open(path, &has, &e), -EACCES);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	expect_words(e.text, "group");
	expect_words(e.text, "kvm");
	unlink(path);
}

static void this_host_is_measured(void **state)
{
	struct engine_offer offer;

	(void)state;
	kvm_engine.probe(&offer, true);
	print_message("usable %d, efficient %d, ratio %.2f: %s\n", offer.usable, offer.efficient,
		      offer.ratio, offer.why);
	assert_true(offer.usable);
	assert_int_equal(offer.api_version, 12);
	assert_true(offer.ratio > 0);
	assert_true(offer.efficient == (offer.ratio <= 10));
	assert_true(offer.efficient == (offer.why[0] == 0));
	assert_true(offer.caps & ENGINE_HAS_LAPIC);
}

static void features_are_named(void **state)
{
	struct engine_feature f[64];
	size_t n = kvm_engine.features(f, ARRAY_LEN(f));
	bool split = false;

	(void)state;
	assert_true(n > 0 && n <= ARRAY_LEN(f));
	for (size_t i = 0; i < n; i++) {
		assert_non_null(f[i].name);
		if (f[i].required)
			assert_true(f[i].present);
		if (!strcmp(f[i].name, "KVM_CAP_SPLIT_IRQCHIP"))
			split = f[i].required;
	}
	assert_true(split);
	assert_int_equal(kvm_engine.features(f, 1), n);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest anywhere[] = {
		cmocka_unit_test(a_missing_device_is_explained),
		cmocka_unit_test(a_file_that_is_no_kvm_is_refused),
		cmocka_unit_test(a_directory_is_refused),
		cmocka_unit_test(no_permission_names_the_group),
	};
	const struct CMUnitTest with_kvm[] = {
		cmocka_unit_test(this_host_is_measured),
		cmocka_unit_test(features_are_named),
	};
	int failed = cmocka_run_group_tests(anywhere, NULL, NULL);

	if (failed)
		return failed;
	guest_require_kvm(argc, argv);
	return cmocka_run_group_tests(with_kvm, NULL, NULL);
}
