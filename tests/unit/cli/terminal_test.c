/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
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

/* A terminal: its end for programs; *master is the user's. */
static int open_terminal(int *master)
{
	int fd;

	*master = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(*master >= 0);
	assert_int_equal(grantpt(*master), 0);
	assert_int_equal(unlockpt(*master), 0);
	fd = open(ptsname(*master), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	return fd;
}

static bool is_raw(int fd)
{
	struct termios now;

	assert_int_equal(tcgetattr(fd, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
}

static void raw_and_back(void **state)
{
	struct terminal t = {0};
	struct sigaction before, after;
	int master, fd = open_terminal(&master);

	(void)state;
	terminal_close(&t);
	sigaction(SIGABRT, NULL, &before);
	assert_int_equal(terminal_open(&t, fd), 0);
	assert_true(is_raw(fd));
	terminal_close(&t);
	assert_false(is_raw(fd));
	sigaction(SIGABRT, NULL, &after);
	assert_ptr_equal(before.sa_handler, after.sa_handler);
	terminal_close(&t);
	close(fd);
	close(master);
	assert_int_equal(terminal_open(&t, fd), -EBADF);
	terminal_close(&t);
}

/* In a process of its own: its terminal is raw when it dies, in one of several ways. */
static void die(int fd, int number)
{
	struct terminal t;

	if (terminal_open(&t, fd) || !is_raw(fd))
		_exit(1);
	if (number == SIGABRT)
		abort();
	if (number == SIGILL)
		__builtin_trap();
	raise(number);
	_exit(2);
}

static void a_death_by_a_bug_leaves_the_terminal_as_it_was(void **state)
{
	static const int numbers[] = {SIGABRT, SIGILL, SIGSEGV, SIGBUS};
	int master, fd = open_terminal(&master);

	(void)state;
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		pid_t child = fork();
		int status;

		if (!child) {
			for (int s = 1; s < 32; s++)
				signal(s, SIG_DFL); /* cmocka has handlers of its own */
			die(fd, numbers[i]);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), numbers[i]);
		assert_false(is_raw(fd));
	}
	close(fd);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_keys_go_to_the_guest),
		cmocka_unit_test(escapes_are_taken_out),
		cmocka_unit_test(an_escape_may_come_in_two_reads),
		cmocka_unit_test(raw_and_back),
		cmocka_unit_test(a_death_by_a_bug_leaves_the_terminal_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
