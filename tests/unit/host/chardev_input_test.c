/* SPDX-License-Identifier: Apache-2.0 */
/* A character device's input. */
#include "chardev_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void pull_through(struct chardev_rig *f, int in, int writer)
{
	const size_t len = 200000;
	uint8_t *bytes = make_pattern(len);
	uint8_t *got = malloc(len);
	size_t sent = 0;

	chardev_rig_start(f, in, -1);
	for (size_t at = 0; at < len; at += 10000) {
		while (sent < at + 10000) {
			ssize_t n = write(writer, bytes + sent, at + 10000 - sent);

			assert_true(n > 0);
			sent += (size_t)n;
			if (sent < at + 10000)
				break;
		}
		read_all(f, got + at, sent - at);
		sent = at + 10000;
	}
	assert_memory_equal(got, bytes, len);
	free(got);
	free(bytes);
}

static void input_comes_in_order_however_little_is_read(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	pull_through(*state, fds[0], fds[1]);
	assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	close_pair(fds);
}

static void input_of_a_socket(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pull_through(*state, fds[0], fds[1]);
	close_pair(fds);
}

static void input_of_a_terminal_and_output_to_it(void **state)
{
	struct chardev_rig *f = *state;
	uint8_t got[3];
	int fds[2];

	open_pty(fds);
	chardev_rig_start(f, fds[1], fds[1]);
	assert_int_equal(write(fds[0], "key", 3), 3);
	read_all(f, got, 3);
	assert_memory_equal(got, "key", 3);
	write_locked(f, "echo\n", 5);
	expect_bytes(fds[0], "echo\n");
	close_pair(fds);
}

static void input_of_a_file_ends_quietly(void **state)
{
	struct chardev_rig *f = *state;
	char path[] = "/tmp/chardev_test.XXXXXX";
	uint8_t *bytes = make_pattern(10000);
	uint8_t got[10000];
	int fd = mkstemp(path);
	int fds[2];

	assert_int_equal(write(fd, bytes, 10000), 10000);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(pipe(fds), 0);
	chardev_rig_start(f, fd, fds[1]);
	read_all(f, got, sizeof(got));
	assert_memory_equal(got, bytes, sizeof(got));
	assert_int_equal(chardev_read(f->c, got, 1), 0);
	write_locked(f, "still here", 10);
	expect_bytes(fds[0], "still here");
	unlink(path);
	close(fd);
	free(bytes);
	close_pair(fds);
}

/* The descriptor is closed at the end of input, so that no loop can spin on it: the other end of a
 * socket sees that nobody holds it any more. */
static void an_ended_input_is_closed(void **state)
{
	struct chardev_rig *f = *state;
	struct pollfd p;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	chardev_rig_start(f, fds[0], -1);
	close(fds[0]);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	p = (struct pollfd){.fd = fds[1]}; /* POLLHUP comes unasked */
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_true(p.revents & POLLHUP);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(input_comes_in_order_however_little_is_read),
		TEST(input_of_a_socket),
		TEST(input_of_a_terminal_and_output_to_it),
		TEST(input_of_a_file_ends_quietly),
		TEST(an_ended_input_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
