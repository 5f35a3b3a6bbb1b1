/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cli/terminal.h"

/* Feeds typed to t; checks what reaches the guest and which word comes out. */
static void feed(struct terminal *t, const char *typed, const char *guest, enum terminal_key key,
		 size_t used)
{
	char bytes[64];
	size_t len = strlen(typed), looked_at;

	memcpy(bytes, typed, len);
	assert_int_equal(terminal_sort(t, bytes, &len, &looked_at), key);
	assert_int_equal(len, strlen(guest));
	assert_memory_equal(bytes, guest, len);
	assert_int_equal(looked_at, used);
}

static void plain_keys_go_to_the_guest(void **state)
{
	struct terminal t = {0};

	(void)state;
	feed(&t, "ls\r\x03\x1b[A", "ls\r\x03\x1b[A", TERMINAL_NONE, 7);
}

static void escapes_are_taken_out(void **state)
{
	struct terminal t = {0};

	(void)state;
	feed(&t, "ab\x01xcd", "ab", TERMINAL_QUIT, 4);
	feed(&t, "\x01hcd", "", TERMINAL_HELP, 2);
	feed(&t, "\x01p", "", TERMINAL_POWER, 2);
	feed(&t,
	     "\x01"
	     "c",
	     "", TERMINAL_CTRL_ALT_DEL, 2);
	feed(&t,
	     "1\x01"
	     "a2\x01\x01"
	     "3",
	     "1\x01"
	     "2\x01"
	     "3",
	     TERMINAL_NONE, 7);
	feed(&t, "1\x01z2", "12", TERMINAL_NONE, 4);
}

static void an_escape_may_come_in_two_reads(void **state)
{
	struct terminal t = {0};

	(void)state;
	feed(&t, "a\x01", "a", TERMINAL_NONE, 2);
	feed(&t, "xb", "", TERMINAL_QUIT, 1);
	feed(&t, "b", "b", TERMINAL_NONE, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_keys_go_to_the_guest),
		cmocka_unit_test(escapes_are_taken_out),
		cmocka_unit_test(an_escape_may_come_in_two_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
