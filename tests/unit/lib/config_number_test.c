/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lib/config_number.h"

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {
		{"0", 0},
		{"4097", 4097},
		{"3K", 3072},
		{"2g", GIB(2)},
		{"1T", GIB(1024)},
		{"99999999999T", UINT64_MAX},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {
		"", "K", "-1", "1 ", "1KB", "0x10", "18446744073709551616"};
	uint64_t size;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(config_bytes(good[i].text, &size));
		assert_int_equal(size, good[i].size);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(config_bytes(bad[i], &size));
}

static void limit(const char *text, uint64_t size, uint64_t ms, uint64_t burst)
{
	struct limiter_bucket b = {.size = 1};
	struct err e = ERR_INIT;

	assert_int_equal(config_limit(&b, "ops", text, strcspn(text, ","), &e), 0);
	assert_int_equal(b.size, size);
	assert_int_equal(b.refill_ms, ms);
	assert_int_equal(b.burst, burst);
}

static void limits(void **state)
{
	static const char *const bad[] = {"",   "0",   "/1",    "+1",     "1/",
					  "1+", "1/0", "1+1/1", "1/1+1+1"};
	struct limiter_bucket b;
	struct err e = ERR_INIT;

	(void)state;
	limit("100M", MIB(100), 1000, 0);
	limit("5,ro", 5, 1000, 0);
	limit("10K/100", KIB(10), 100, 0);
	limit("10M/50+2G", MIB(10), 50, GIB(2));
	limit("7+8", 7, 1000, 8);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e = (struct err)ERR_INIT;
		assert_int_equal(config_limit(&b, "ops", bad[i], strlen(bad[i]), &e), -EINVAL);
	}
	assert_string_equal(e.text,
			    "ops '1/1+1+1' is not a rate: give SIZE[/MILLISECONDS][+BURST], "
			    "as in 100M or 10M/100+50M");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(limits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
