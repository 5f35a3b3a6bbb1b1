/* SPDX-License-Identifier: Apache-2.0 */
/* The public API's metadata. What it does to a value: tests/unit/mmds. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/config.h"
#include "lodge/lodge.h"
#include "mmds/store.h"

static void is(lodge_metadata *md, const char *expected)
{
	char *text = lodge_metadata_json(md);

	assert_string_equal(text, expected);
	free(text);
}

static void values(void **state)
{
	lodge_metadata *md = lodge_metadata_new(20);
	char why[80] = "", cut[8];

	(void)state;
	is(md, "{}");
	assert_int_equal(lodge_metadata_patch(md, "{}", why, sizeof(why)), -ENOENT);
	assert_string_not_equal(why, "");
	assert_int_equal(lodge_metadata_put(md, "{\"a\": 1}", why, sizeof(why)), 0);
	assert_string_equal(why, "");
	assert_int_equal(lodge_metadata_patch(md, "{\"b\": [2]}", NULL, 0), 0);
	is(md, "{\"a\":1,\"b\":[2]}");
	assert_int_equal(lodge_metadata_put(md, "{", cut, sizeof(cut)), -EINVAL);
	assert_int_equal(strlen(cut), sizeof(cut) - 1);
	assert_int_equal(lodge_metadata_put(md, "\"a text that is long\"", NULL, 0), -EMSGSIZE);
	is(md, "{\"a\":1,\"b\":[2]}");
	lodge_metadata_free(md);
	lodge_metadata_free(NULL);
}

static void a_vm_holds_it(void **state)
{
	lodge_vm *vm = lodge_vm_new(), *other = lodge_vm_new();
	lodge_metadata *md = lodge_metadata_new(0);

	(void)state;
	assert_int_equal(lodge_vm_metadata(vm, md), 0);
	assert_int_equal(lodge_vm_metadata(vm, md), 0);
	assert_int_equal(lodge_vm_metadata(other, md), 0);
	lodge_vm_free(other);
	lodge_metadata_free(md);
	assert_int_equal(lodge_metadata_put(md, "1", NULL, 0), 0); /* the VM's now */
	assert_int_equal(lodge_vm_metadata(vm, NULL), 0);
	lodge_vm_free(vm);
}

static int check(const char *metadata, unsigned nets, const char *words)
{
	struct config c;
	struct err e = ERR_INIT;
	int rc;

	config_init(&c);
	assert_int_equal(config_set(&c, "kernel", "k", &e), 0);
	assert_int_equal(config_set(&c, "metadata", metadata, &e), 0);
	while (nets--)
		assert_int_equal(config_set(&c, "net", "user", &e), 0);
	rc = config_check(&c, &e);
	if (rc && !strstr(e.text, words))
		fail_msg("%s", e.text);
	config_release(&c);
	return rc;
}

static void it_needs_a_network(void **state)
{
	(void)state;
	assert_int_equal(check("f", 0, "needs a network"), -EINVAL);
	assert_int_equal(check("f", 1, ""), 0);
	assert_int_equal(check("f,net=1", 1, "net=N names none"), -EINVAL);
	assert_int_equal(check("f,net=1", 2, ""), 0);
	assert_int_equal(check("f,net=11", 12, ""), 0);
}

static void files(void **state)
{
	char name[] = "/tmp/lodge-metadata-XXXXXX", value[64];
	struct config_mmds m = {.given = false};
	struct mmds_store *store = mmds_store_new(100);
	struct err e = ERR_INIT;
	int fd = mkstemp(name);

	(void)state;
	assert_int_equal(config_mmds_load(&m, store, &e), 0);
	assert_int_equal(write(fd, "[1]\n", 4), 4);
	snprintf(value, sizeof(value), "%s,version=2", name);
	assert_int_equal(config_mmds_set(&m, value, &e), 0);
	assert_true(m.service.tokens);
	assert_int_equal(config_mmds_load(&m, store, &e), 0);
	is((lodge_metadata *)(void *)store, "[1]");
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(config_mmds_load(&m, store, &e), -EINVAL);
	unlink(name);
	err_clear(&e);
	assert_int_equal(config_mmds_load(&m, store, &e), -ENOENT);
	assert_non_null(strstr(e.text, name));
	config_mmds_release(&m);
	mmds_store_drop(store);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(a_vm_holds_it),
		cmocka_unit_test(it_needs_a_network),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
