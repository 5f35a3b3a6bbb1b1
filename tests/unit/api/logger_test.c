/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that the guest causes: some, then none, and the log says how many were left out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "api/logger.h"
#include "base/time.h"

#define LINES 10 /* in 5 s */

static void a_guest_does_not_fill_the_log(void **state)
{
	char path[] = "/tmp/lodge-log-XXXXXX", text[4096] = "";
	struct err e = ERR_INIT;
	struct logger l;
	int fd = mkstemp(path);
	ssize_t n;

	(void)state;
	assert_true(fd >= 0);
	logger_init(&l, "one");
	assert_int_equal(outlet_open(&l.outlet, "the log", path, &e), 0);
	for (unsigned i = 0; i < LINES; i++)
		assert_true(logger_lets_guest(&l));
	for (unsigned i = 0; i < 90; i++)
		assert_false(logger_lets_guest(&l));
	assert_int_equal(l.limited, 90);
	l.window -= 5 * NS_PER_SEC;
	assert_true(logger_lets_guest(&l));
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	assert_non_null(strstr(text, "90 lines were left out"));
	for (unsigned i = 1; i < LINES; i++)
		assert_true(logger_lets_guest(&l));
	assert_false(logger_lets_guest(&l));
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	logger_release(&l);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_does_not_fill_the_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
