/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/dynlib.h"

#define CALLS(F) F(crc32) F(adler32)

struct calls {
	CALLS(DYNLIB_MEMBER)
};

static void its_functions_can_be_called(void **state)
{
	static const char *const names[] = {CALLS(DYNLIB_NAME)};
	struct calls call;
	void *library = dynlib_open("libz.so.1", names, ARRAY_LEN(names), &call);

	(void)state;
	assert_non_null(library);
	assert_int_equal(call.crc32(0, (const uint8_t *)"123456789", 9), 0xcbf43926);
	assert_int_equal(call.adler32(1, (const uint8_t *)"Wikipedia", 9), 0x11e60398);
	dynlib_close(library);
}

static void what_is_missing_is_no_library(void **state)
{
	static const char *const names[] = {"crc32", "lodge_no_such_function"};
	void *calls[2];

	(void)state;
	assert_null(dynlib_open("liblodge-none.so.7", names, 1, calls));
	assert_null(dynlib_open("libz.so.1", names, 2, calls));
	dynlib_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_functions_can_be_called),
		cmocka_unit_test(what_is_missing_is_no_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
