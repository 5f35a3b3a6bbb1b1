/* SPDX-License-Identifier: Apache-2.0 */
/* The character device on real descriptors, with its loop on a thread of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "host/chardev.h"
#include "host/fdio.h"

struct fixture {
	struct event_loop *loop;
	pthread_t thread;
	bool started;
	struct chardev *c;
	pthread_mutex_t lock; /* the user's */
	pthread_cond_t changed;
	unsigned readable, writable, losses, empty; /* calls */
	int loss_error;
};

static void on_readable(void *opaque)
{
	struct fixture *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->readable++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void on_writable(void *opaque)
{
	struct fixture *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->writable++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void on_loss(void *opaque, int error)
{
	struct fixture *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->losses++;
	f->loss_error = error;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void on_empty(void *opaque)
{
	struct fixture *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->empty++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void *loop_main(void *opaque)
{
	struct fixture *f = opaque;

	event_loop_run(f->loop);
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->loop = event_loop_new(NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	*state = f;
	return 0;
}

static void start(struct fixture *f, int in, int out)
{
	struct chardev_user user = {on_readable, on_writable, f};
	struct err e = ERR_INIT;

	f->c = chardev_new(f->loop, in, out, &e);
	assert_string_equal(e.text, "");
	assert_non_null(f->c);
	chardev_connect(f->c, &user);
	chardev_on_loss(f->c, on_loss, f);
	assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
	f->started = true;
}

static void stop(struct fixture *f, int timeout_ms)
{
	if (f->started) {
		event_loop_stop(f->loop);
		pthread_join(f->thread, NULL);
		f->started = false;
	}
	chardev_free(f->c, timeout_ms);
	f->c = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f, 0);
	event_loop_free(f->loop);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
	return 0;
}

static size_t write_locked(struct fixture *f, const void *bytes, size_t len)
{
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = chardev_write(f->c, bytes, len);
	pthread_mutex_unlock(&f->lock);
	return n;
}

/* Writes all, waiting for writable where it must, as a device does. */
static void write_all(struct fixture *f, const uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&f->lock);
	while (len) {
		unsigned calls = f->writable;
		size_t n = chardev_write(f->c, bytes, len);

		bytes += n;
		len -= n;
		while (len && f->writable == calls)
			pthread_cond_wait(&f->changed, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
}

static void read_all(struct fixture *f, uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&f->lock);
	while (len) {
		unsigned calls = f->readable;
		size_t n = chardev_read(f->c, bytes, len > 7 ? 7 : len);

		bytes += n;
		len -= n;
		while (!n && f->readable == calls)
			pthread_cond_wait(&f->changed, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
}

static void wait_for_loss(struct fixture *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->losses)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static void expect_bytes(int fd, const char *text)
{
	char got[256];
	size_t done = 0, len = strlen(text);

	while (done < len) {
		ssize_t n = read(fd, got + done, len - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	assert_memory_equal(got, text, len);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13);
}

static uint8_t *make_pattern(size_t len)
{
	uint8_t *bytes = malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(i);
	return bytes;
}

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void a_line_is_written_by_its_writer(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->c = chardev_new(f->loop, -1, fds[1], NULL); /* no loop runs */
	assert_non_null(f->c);
	assert_int_equal(write_locked(f, "hello\n", 6), 6);
	expect_bytes(fds[0], "hello\n");
	close_pair(fds);
}

static void a_part_of_a_line_is_written_soon(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	start(f, -1, fds[1]);
	write_locked(f, "login: ", 7);
	expect_bytes(fds[0], "login: ");
	write_locked(f, "x", 1);
	expect_bytes(fds[0], "x");
	close_pair(fds);
}

static void what_is_buffered_is_written_at_the_end(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->c = chardev_new(f->loop, -1, fds[1], NULL);
	write_locked(f, "bye", 3);
	stop(f, 1000);
	expect_bytes(fds[0], "bye");
	close_pair(fds);
}

struct slow_reader {
	int fd;
	size_t expected;
	bool same;
};

static void *slow_reader_main(void *opaque)
{
	struct slow_reader *r = opaque;
	uint8_t bytes[3000];
	size_t done = 0;

	r->same = true;
	while (done < r->expected) {
		ssize_t n = read(r->fd, bytes, sizeof(bytes));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			r->same = r->same && bytes[i] == pattern(done + (size_t)i);
		done += (size_t)n;
	}
	r->same = r->same && done == r->expected;
	return NULL;
}

static void push_through(struct fixture *f, int out, int reader)
{
	const size_t len = 3000000;
	struct slow_reader r = {.fd = reader, .expected = len};
	uint8_t *bytes = make_pattern(len);
	pthread_t thread;

	start(f, -1, out);
	assert_int_equal(pthread_create(&thread, NULL, slow_reader_main, &r), 0);
	for (size_t at = 0; at < len; at += 997)
		write_all(f, bytes + at, len - at < 997 ? len - at : 997);
	stop(f, 10000);
	pthread_join(thread, NULL);
	assert_true(r.same);
	free(bytes);
}

static void a_slow_reader_on_a_pipe_loses_nothing(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	push_through(*state, fds[1], fds[0]);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close_pair(fds);
}

static void a_slow_reader_on_a_socket_loses_nothing(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	push_through(*state, fds[1], fds[0]);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close_pair(fds);
}

static void make_raw(int tty)
{
	struct termios t;

	assert_int_equal(tcgetattr(tty, &t), 0);
	cfmakeraw(&t);
	assert_int_equal(tcsetattr(tty, TCSANOW, &t), 0);
}

static void open_pty(int fds[2])
{
	fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(fds[0] >= 0);
	assert_int_equal(grantpt(fds[0]), 0);
	assert_int_equal(unlockpt(fds[0]), 0);
	fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY);
	assert_true(fds[1] >= 0);
	make_raw(fds[1]);
}

static void a_slow_reader_on_a_terminal_loses_nothing(void **state)
{
	int fds[2];

	open_pty(fds);
	push_through(*state, fds[1], fds[0]);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close_pair(fds);
}

/* The master side cannot be opened a second time: it is a shared description, polled. */
static void a_shared_description_loses_nothing(void **state)
{
	struct fdio io;
	int fds[2];

	open_pty(fds);
	assert_int_equal(fdio_open(&io, fds[0], true, NULL), 0);
	assert_int_equal(io.kind, FDIO_SHARED);
	fdio_close(&io);
	push_through(*state, fds[0], fds[1]);
	assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	close_pair(fds);
}

static void a_reader_that_does_not_read_stops_the_writer_not_the_thread(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[10000];
	size_t taken = 0, n;
	int fds[2];

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(pipe(fds), 0);
	start(f, -1, fds[1]);
	while ((n = write_locked(f, bytes, sizeof(bytes))))
		taken += n;
	assert_true(taken >= CHARDEV_OUT_SIZE);
	assert_int_equal(write_locked(f, bytes, 1), 0);
	while (taken) {
		n = (size_t)read(fds[0], bytes, sizeof(bytes));
		taken -= n;
	}
	pthread_mutex_lock(&f->lock);
	while (!f->writable)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	assert_int_equal(write_locked(f, "\n", 1), 1);
	assert_int_equal(chardev_lost(f->c), 0);
	close_pair(fds);
}

static void the_end_does_not_wait_for_ever(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[10000];
	int fds[2];

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(pipe(fds), 0);
	start(f, -1, fds[1]);
	while (write_locked(f, bytes, sizeof(bytes)))
		;
	stop(f, 1);
	assert_int_equal(f->losses, 1);
	assert_int_equal(f->loss_error, ETIMEDOUT);
	close_pair(fds);
}

static void being_empty_is_told_once_and_not_before(void **state)
{
	static uint8_t bytes[20000], got[sizeof(bytes)];
	struct fixture *f = *state;
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
	assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
	f->started = true;
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
	stop(f, 0);
	assert_int_equal(f->empty, 2);
	close_pair(fds);
}

static void what_nobody_will_read_counts_as_gone(void **state)
{
	struct fixture *f = *state;
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
	stop(f, 0);
	close_pair(fds);
}

static void lose_reader(struct fixture *f, int fds[2], int error)
{
	sigset_t pending;

	start(f, -1, fds[1]);
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
	struct fixture *f = *state;
	int fd = open("/dev/full", O_WRONLY);

	start(f, -1, fd);
	write_locked(f, "one\n", 4);
	write_locked(f, "two\n", 4);
	wait_for_loss(f);
	write_locked(f, "three\n", 6);
	assert_int_equal(chardev_lost(f->c), 14);
	stop(f, 0);
	assert_int_equal(f->losses, 1);
	assert_int_equal(f->loss_error, ENOSPC);
	close(fd);
}

static void files_keep_offset_and_append_of_the_callers_description(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/chardev_test.XXXXXX";
	char text[32] = "";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before ", 7), 7);
	start(f, -1, fd);
	write_locked(f, "during\n", 7);
	stop(f, 0);
	assert_int_equal(write(fd, "after\n", 6), 6);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 20);
	assert_string_equal(text, "before during\nafter\n");
	unlink(path);
	close(fd);
}

static void pull_through(struct fixture *f, int in, int writer)
{
	const size_t len = 200000;
	uint8_t *bytes = make_pattern(len);
	uint8_t *got = malloc(len);
	size_t sent = 0;

	start(f, in, -1);
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
	struct fixture *f = *state;
	uint8_t got[3];
	int fds[2];

	open_pty(fds);
	start(f, fds[1], fds[1]);
	assert_int_equal(write(fds[0], "key", 3), 3);
	read_all(f, got, 3);
	assert_memory_equal(got, "key", 3);
	write_locked(f, "echo\n", 5);
	expect_bytes(fds[0], "echo\n");
	close_pair(fds);
}

static void input_of_a_file_ends_quietly(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/chardev_test.XXXXXX";
	uint8_t *bytes = make_pattern(10000);
	uint8_t got[10000];
	int fd = mkstemp(path);
	int fds[2];

	assert_int_equal(write(fd, bytes, 10000), 10000);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(pipe(fds), 0);
	start(f, fd, fds[1]);
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
	struct fixture *f = *state;
	struct pollfd p;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	start(f, fds[0], -1);
	close(fds[0]);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	p = (struct pollfd){.fd = fds[1]}; /* POLLHUP comes unasked */
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_true(p.revents & POLLHUP);
	close(fds[1]);
}

static void wrong_descriptors_are_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_null(chardev_new(f->loop, fds[1], -1, &e));
	assert_int_equal(e.code, -EBADF);
	assert_non_null(strstr(e.text, "not open for reading"));
	err_clear(&e);
	assert_null(chardev_new(f->loop, -1, fds[0], &e));
	assert_non_null(strstr(e.text, "not open for writing"));
	err_clear(&e);
	assert_null(chardev_new(f->loop, -1, 9999, &e));
	assert_int_equal(e.code, -EBADF);
	close_pair(fds);
}

static void without_descriptors_output_vanishes(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;

	start(f, -1, -1);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(write_locked(f, i % 80 ? "x" : "\n", 1), 1);
	assert_int_equal(chardev_read(f->c, &byte, 1), 0);
	assert_int_equal(chardev_lost(f->c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_line_is_written_by_its_writer),
		TEST(a_part_of_a_line_is_written_soon),
		TEST(what_is_buffered_is_written_at_the_end),
		TEST(a_slow_reader_on_a_pipe_loses_nothing),
		TEST(a_slow_reader_on_a_socket_loses_nothing),
		TEST(a_slow_reader_on_a_terminal_loses_nothing),
		TEST(a_shared_description_loses_nothing),
		TEST(a_reader_that_does_not_read_stops_the_writer_not_the_thread),
		TEST(the_end_does_not_wait_for_ever),
		TEST(a_reader_that_goes_away_is_no_sigpipe),
		TEST(a_socket_that_goes_away_is_no_sigpipe),
		TEST(a_terminal_that_hangs_up_loses_output),
		TEST(being_empty_is_told_once_and_not_before),
		TEST(what_nobody_will_read_counts_as_gone),
		TEST(a_full_disk_is_told_once),
		TEST(files_keep_offset_and_append_of_the_callers_description),
		TEST(input_comes_in_order_however_little_is_read),
		TEST(input_of_a_socket),
		TEST(input_of_a_terminal_and_output_to_it),
		TEST(input_of_a_file_ends_quietly),
		TEST(an_ended_input_is_closed),
		TEST(wrong_descriptors_are_refused),
		TEST(without_descriptors_output_vanishes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
