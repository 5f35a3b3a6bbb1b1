/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM device and its modules, in a tree of files that stands for a host. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/kvm_device.h"

static int setup(void **state)
{
	char *root = strdup("/tmp/kvm_device_test.XXXXXX");

	assert_non_null(root);
	assert_non_null(mkdtemp(root));
	*state = root;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	assert_int_equal(system(command), 0);
	free(*state);
	return 0;
}

/* A file of the tree, its folders made. */
static void put(const char *root, const char *path, const char *content)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *p = strchr(full + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static void empty_host_has_nothing(void **state)
{
	struct host_kvm kvm;

	host_kvm_read(&kvm, *state);
	assert_false(kvm.present);
	assert_int_equal(kvm.open_error, ENOENT);
	assert_string_equal(kvm.module, "");
	assert_int_equal(kvm.nested_paging, HOST_UNKNOWN);
	assert_true(strlen(kvm.user) > 0);
}

static void modules_tell_whether_they_use_nested_paging(void **state)
{
	struct host_kvm kvm;

	put(*state, "/sys/module/kvm_pvm/parameters/verbose", "N\n");
	host_kvm_read(&kvm, *state);
	assert_string_equal(kvm.module, "kvm_pvm");
	assert_int_equal(kvm.nested_paging, HOST_UNKNOWN);

	put(*state, "/sys/module/kvm_amd/parameters/npt", "N\n");
	host_kvm_read(&kvm, *state);
	assert_string_equal(kvm.module, "kvm_amd");
	assert_int_equal(kvm.nested_paging, HOST_NO);

	put(*state, "/sys/module/kvm_amd/parameters/npt", "1\n");
	host_kvm_read(&kvm, *state);
	assert_int_equal(kvm.nested_paging, HOST_YES);

	put(*state, "/sys/module/kvm_intel/parameters/ept", "Y\n");
	host_kvm_read(&kvm, *state);
	assert_string_equal(kvm.module, "kvm_intel");
	assert_int_equal(kvm.nested_paging, HOST_YES);
}

static void only_a_device_counts(void **state)
{
	struct host_kvm kvm;
	char path[256];

	put(*state, "/dev/kvm", "");
	host_kvm_read(&kvm, *state);
	assert_false(kvm.present);
	assert_int_not_equal(kvm.open_error, 0);

	snprintf(path, sizeof(path), "%s/dev/kvm", (char *)*state);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	host_kvm_read(&kvm, *state);
	assert_true(kvm.present);
	assert_int_equal(kvm.open_error, 0);
	assert_string_equal(kvm.owner, "root");
	assert_int_equal(kvm.mode & 0600, 0600);
	assert_int_equal(kvm.group_may_open, (kvm.mode & 0060) == 0060);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(empty_host_has_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(modules_tell_whether_they_use_nested_paging, setup,
						teardown),
		cmocka_unit_test_setup_teardown(only_a_device_counts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
