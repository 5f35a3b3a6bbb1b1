/* SPDX-License-Identifier: Apache-2.0 */
/* Output that nobody takes: what is lost, and how a character device tells it. */
#include "chardev_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void the_end_does_not_wait_for_ever(void **state)
{
	struct chardev_rig *f = *state;
	uint8_t bytes[10000];
	int fds[2];

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(pipe(fds), 0);
	chardev_rig_start(f, -1, fds[1]);
	while (write_locked(f, bytes, sizeof(bytes)))
		;
	chardev_rig_stop(f, 1);
	assert_int_equal(f->losses, 1);
	assert_int_equal(f->loss_error, ETIMEDOUT);
	close_pair(fds);
}

static void being_empty_is_told_once_and_not_before(void **state)
{
	static uint8_t bytes[20000], got[sizeof(bytes)];
	struct chardev_rig *f = *state;
	size_t done = 0;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
	memset(bytes, 'x', sizeof(bytes));
	f->c = chardev_new(f->loop, -1, fds[1], NULL);
	assert_non_null(f->c);
	chardev_when_empty(f->c, on_empty, f);
	assert_int_equal(f->empty, 1);
	assert_int_equal(chardev_write(f->c, bytes, sizeof(bytes)), sizeof(bytes));
	chardev_when_empty(f->c, on_empty, f);
	assert_int_equal(f->empty, 1);
	chardev_rig_run_loop(f);
	while (done < sizeof(got)) {
		ssize_t n = read(fds[0], got + done, sizeof(got) - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	assert_memory_equal(got, bytes, sizeof(got));
	pthread_mutex_lock(&f->lock);
	while (f->empty < 2)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	chardev_rig_stop(f, 0);
	assert_int_equal(f->empty, 2);
	close_pair(fds);
}

static void what_nobody_will_read_counts_as_gone(void **state)
{
	struct chardev_rig *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->c = chardev_new(f->loop, -1, fds[1], NULL);
	assert_non_null(f->c);
	assert_int_equal(chardev_write(f->c, "lost", 4), 4);
	close(fds[0]);
	fds[0] = -1;
	chardev_when_empty(f->c, on_empty, f);
	assert_int_equal(f->empty, 1);
	assert_int_equal(chardev_lost(f->c), 4);
	chardev_rig_stop(f, 0);
	close_pair(fds);
}

static void lose_reader(struct chardev_rig *f, int fds[2], int error)
{
	sigset_t pending;

	chardev_rig_start(f, -1, fds[1]);
	write_locked(f, "a\n", 2);
	close(fds[0]);
	fds[0] = -1;
	assert_int_equal(write_locked(f, "bc\n", 3), 3);
	wait_for_loss(f);
	assert_int_equal(write_locked(f, "d\n", 2), 2); /* the guest never waits */
	write_locked(f, "e\n", 2);
	assert_int_equal(f->losses, 1);
	assert_int_equal(f->loss_error, error);
	assert_int_equal(chardev_lost(f->c), 7);
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	close_pair(fds);
}

/* SIGPIPE has its default action here: the test program would die. */
static void a_reader_that_goes_away_is_no_sigpipe(void **state)
{
	sigset_t mask;
	int fds[2];

	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(pipe(fds), 0);
	lose_reader(*state, fds, EPIPE);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGPIPE));
}

static void a_socket_that_goes_away_is_no_sigpipe(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	lose_reader(*state, fds, EPIPE);
}

static void a_terminal_that_hangs_up_loses_output(void **state)
{
	int fds[2];

	open_pty(fds);
	lose_reader(*state, fds, EIO);
}

static void a_full_disk_is_told_once(void **state)
{
	struct chardev_rig *f = *state;
	int fd = open("/dev/full", O_WRONLY);

	chardev_rig_start(f, -1, fd);
	write_locked(f, "one\n", 4);
	write_locked(f, "two\n", 4);
	wait_for_loss(f);
	write_locked(f, "three\n", 6);
	assert_int_equal(chardev_lost(f->c), 14);
	chardev_rig_stop(f, 0);
	assert_int_equal(f->losses, 1);
	assert_int_equal(f->loss_error, ENOSPC);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_end_does_not_wait_for_ever),
		TEST(a_reader_that_goes_away_is_no_sigpipe),
		TEST(a_socket_that_goes_away_is_no_sigpipe),
		TEST(a_terminal_that_hangs_up_loses_output),
		TEST(being_empty_is_told_once_and_not_before),
		TEST(what_nobody_will_read_counts_as_gone),
		TEST(a_full_disk_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
