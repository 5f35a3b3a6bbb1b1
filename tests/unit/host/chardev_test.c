/* SPDX-License-Identifier: Apache-2.0 */
/* A character device's output, and the descriptors that it takes. */
#include "chardev_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/fdio.h"

static void a_line_is_written_by_its_writer(void **state)
{
	struct chardev_rig *f = *state;
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
	struct chardev_rig *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	chardev_rig_start(f, -1, fds[1]);
	write_locked(f, "login: ", 7);
	expect_bytes(fds[0], "login: ");
	write_locked(f, "x", 1);
	expect_bytes(fds[0], "x");
	close_pair(fds);
}

static void what_is_buffered_is_written_at_the_end(void **state)
{
	struct chardev_rig *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->c = chardev_new(f->loop, -1, fds[1], NULL);
	write_locked(f, "bye", 3);
	chardev_rig_stop(f, 1000);
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

static void push_through(struct chardev_rig *f, int out, int reader)
{
	const size_t len = 3000000;
	struct slow_reader r = {.fd = reader, .expected = len};
	uint8_t *bytes = make_pattern(len);
	pthread_t thread;

	chardev_rig_start(f, -1, out);
	assert_int_equal(pthread_create(&thread, NULL, slow_reader_main, &r), 0);
	for (size_t at = 0; at < len; at += 997)
		write_all(f, bytes + at, len - at < 997 ? len - at : 997);
	chardev_rig_stop(f, 10000);
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
	struct chardev_rig *f = *state;
	uint8_t bytes[10000];
	size_t taken = 0, n;
	int fds[2];

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(pipe(fds), 0);
	chardev_rig_start(f, -1, fds[1]);
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

static void files_keep_offset_and_append_of_the_callers_description(void **state)
{
	struct chardev_rig *f = *state;
	char path[] = "/tmp/chardev_test.XXXXXX";
	char text[32] = "";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before ", 7), 7);
	chardev_rig_start(f, -1, fd);
	write_locked(f, "during\n", 7);
	chardev_rig_stop(f, 0);
	assert_int_equal(write(fd, "after\n", 6), 6);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 20);
	assert_string_equal(text, "before during\nafter\n");
	unlink(path);
	close(fd);
}

static void wrong_descriptors_are_refused(void **state)
{
	struct chardev_rig *f = *state;
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
	struct chardev_rig *f = *state;
	uint8_t byte;

	chardev_rig_start(f, -1, -1);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(write_locked(f, i % 80 ? "x" : "\n", 1), 1);
	assert_int_equal(chardev_read(f->c, &byte, 1), 0);
	assert_int_equal(chardev_lost(f->c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_is_written_by_its_writer),
		TEST(a_part_of_a_line_is_written_soon),
		TEST(what_is_buffered_is_written_at_the_end),
		TEST(a_slow_reader_on_a_pipe_loses_nothing),
		TEST(a_slow_reader_on_a_socket_loses_nothing),
		TEST(a_slow_reader_on_a_terminal_loses_nothing),
		TEST(a_shared_description_loses_nothing),
		TEST(a_reader_that_does_not_read_stops_the_writer_not_the_thread),
		TEST(files_keep_offset_and_append_of_the_callers_description),
		TEST(wrong_descriptors_are_refused),
		TEST(without_descriptors_output_vanishes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
