/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata: RFC 7396's own examples, the limit, and what lies at a path. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "mmds/store.h"

static int put(struct mmds_store *s, const char *text)
{
	struct err e = ERR_INIT;
	int rc = mmds_store_put(s, text, strlen(text), &e);

	assert_int_equal(rc, e.code);
	return rc;
}

static int patch(struct mmds_store *s, const char *text)
{
	struct err e = ERR_INIT;
	int rc = mmds_store_patch(s, text, strlen(text), &e);

	assert_int_equal(rc, e.code);
	return rc;
}

static void is(struct mmds_store *s, const char *expected)
{
	char *text = mmds_store_text(s);

	assert_string_equal(text, expected);
	free(text);
}

/* RFC 7396, appendix A; names sorted. */
static void merge_patches(void **state)
{
	static const char *const cases[][3] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		 "{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
		{"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
		{"{\"a\":\"foo\"}", "null", "null"},
		{"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
		{"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
		{"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	struct mmds_store *s = mmds_store_new(1000);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(put(s, cases[i][0]), 0);
		assert_int_equal(patch(s, cases[i][1]), 0);
		is(s, cases[i][2]);
	}
	mmds_store_drop(s);
}

static void limits_and_errors(void **state)
{
	struct mmds_store *s = mmds_store_new(12);

	(void)state;
	is(s, "{}");
	assert_int_equal(patch(s, "{}"), -ENOENT);
	assert_int_equal(put(s, "{\"a\": \"1234\"}"), 0); /* 12 bytes as it is kept */
	is(s, "{\"a\":\"1234\"}");
	assert_int_equal(put(s, "{\"a\":\"12345\"}"), -EMSGSIZE);
	assert_int_equal(patch(s, "{\"b\":1}"), -EMSGSIZE);
	is(s, "{\"a\":\"1234\"}");
	assert_int_equal(patch(s, "{\"a\":null,\"b\":1}"), 0);
	is(s, "{\"b\":1}");
	assert_int_equal(put(s, "{\"b\":1"), -EINVAL);
	assert_int_equal(put(s, ""), -EINVAL);
	assert_int_equal(put(s, "{\"a\":1,\"a\":2}"), -EINVAL);
	assert_int_equal(patch(s, "nothing"), -EINVAL);
	is(s, "{\"b\":1}");
	mmds_store_drop(s);
}

static void held_by_several(void **state)
{
	struct mmds_store *s = mmds_store_new(100);

	(void)state;
	assert_ptr_equal(mmds_store_hold(s), s);
	mmds_store_drop(s);
	assert_int_equal(put(s, "1"), 0);
	mmds_store_drop(s);
	mmds_store_drop(NULL);
}

static void finds(struct mmds_store *s, const char *path, bool json, enum mmds_found found,
		  const char *expected)
{
	struct buf out = BUF_INIT;

	if (mmds_store_find(s, path, json, &out) != found)
		fail_msg("%s", path);
	assert_string_equal(buf_str(&out), expected);
	buf_release(&out);
}

static void what_lies_at_a_path(void **state)
{
	struct mmds_store *s = mmds_store_new(1000);

	(void)state;
	finds(s, "/", true, MMDS_NOT_FOUND, "");
	put(s, "{\"z\":{\"b\":1,\"a\":{},\"list\":[\"x\",{\"k\":\"v\"}]},\"name\":\"some\\nwords\","
	       "\"a/b\":{\"~\":true},\"nil\":null,\"empty\":\"\"}");
	finds(s, "/", false, MMDS_FOUND, "a/b/\nempty\nname\nnil\nz/");
	finds(s, "/z", false, MMDS_FOUND, "a/\nb\nlist");
	finds(s, "///z///", false, MMDS_FOUND, "a/\nb\nlist");
	finds(s, "/z/a", false, MMDS_FOUND, "");
	finds(s, "/empty", false, MMDS_FOUND, "");
	finds(s, "/name", false, MMDS_FOUND, "some\nwords");
	finds(s, "/name", true, MMDS_FOUND, "\"some\\nwords\"");
	finds(s, "/z", true, MMDS_FOUND, "{\"a\":{},\"b\":1,\"list\":[\"x\",{\"k\":\"v\"}]}");
	finds(s, "/z/list/0", false, MMDS_FOUND, "x");
	finds(s, "/z/list/1/k", false, MMDS_FOUND, "v");
	finds(s, "/z/list/2", false, MMDS_NOT_FOUND, "");
	finds(s, "/z/list/00", false, MMDS_NOT_FOUND, "");
	finds(s, "/z/list/-1", false, MMDS_NOT_FOUND, "");
	finds(s, "/z/list/99999999999999999999", false, MMDS_NOT_FOUND, "");
	finds(s, "/z/list", false, MMDS_NO_TEXT, "");
	finds(s, "/z/b", false, MMDS_NO_TEXT, "");
	finds(s, "/nil", false, MMDS_NO_TEXT, "");
	finds(s, "/nil", true, MMDS_FOUND, "null");
	finds(s, "/a~1b/~0", true, MMDS_FOUND, "true");
	finds(s, "/a~2b", true, MMDS_NOT_FOUND, "");
	finds(s, "/name/x", true, MMDS_NOT_FOUND, "");
	mmds_store_drop(s);
}

static void *find_all(void *opaque)
{
	struct buf out = BUF_INIT;
	enum mmds_found found = mmds_store_find(opaque, "/", true, &out);

	buf_release(&out);
	return (void *)(uintptr_t)found;
}

/* Lists in lists, so many. */
static int put_nested(struct mmds_store *s, unsigned levels)
{
	char text[4096];

	assert_true(2 * levels < sizeof(text));
	memset(text, '[', levels);
	memset(text + levels, ']', levels);
	text[2 * levels] = '\0';
	return put(s, text);
}

/* What is kept can be told on a vCPU's thread, too (VCPU_STACK), and half of that. */
static void nothing_is_nested_too_deep_to_be_told(void **state)
{
	struct mmds_store *s = mmds_store_new(MMDS_STORE_DEFAULT);
	pthread_attr_t attr;
	pthread_t thread;
	void *found;

	(void)state;
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, 128 << 10), 0);
	for (unsigned levels = 1; levels < 2048; levels *= 2) {
		int rc = put_nested(s, levels);

		assert_int_equal(rc, levels > 128 ? -EINVAL : 0);
		assert_int_equal(pthread_create(&thread, &attr, find_all, s), 0);
		assert_int_equal(pthread_join(thread, &found), 0);
		assert_int_equal((uintptr_t)found, MMDS_FOUND);
	}
	assert_int_equal(put_nested(s, 129), -EINVAL);
	assert_int_equal(patch(s, "{\"a\":[[[]]]}"), 0);
	pthread_attr_destroy(&attr);
	mmds_store_drop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge_patches),
		cmocka_unit_test(limits_and_errors),
		cmocka_unit_test(held_by_several),
		cmocka_unit_test(what_lies_at_a_path),
		cmocka_unit_test(nothing_is_nested_too_deep_to_be_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
