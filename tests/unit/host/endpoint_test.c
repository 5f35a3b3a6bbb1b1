/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of ports: who connects and hangs up, names that are taken over, refused and removed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chardev_rig.h"
#include "host/endpoint.h"

static char folder[] = "/tmp/lodge-endpoint-XXXXXX";
static char path[64];

static void on_changed(void *opaque, bool open)
{
	struct chardev_rig *f = opaque;

	pthread_mutex_lock(&f->lock);
	if (open)
		f->readable++;
	else
		f->writable++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* Waits until that many have connected and hung up. */
static void wait_for(struct chardev_rig *f, unsigned connected, unsigned gone)
{
	pthread_mutex_lock(&f->lock);
	while (f->readable < connected || f->writable < gone)
		pthread_cond_wait(&f->changed, &f->lock);
	assert_int_equal(f->readable, connected);
	assert_int_equal(f->writable, gone);
	pthread_mutex_unlock(&f->lock);
}

static struct endpoint *make(struct chardev_rig *f, enum endpoint_kind kind)
{
	struct err e = ERR_INIT;
	struct endpoint *end = endpoint_new(f->loop, kind, path, &e);

	assert_string_equal(e.text, "");
	return end;
}

static void refused(struct chardev_rig *f, enum endpoint_kind kind, const char *why)
{
	struct err e = ERR_INIT;

	assert_null(endpoint_new(f->loop, kind, path, &e));
	assert_non_null(strstr(e.text, path));
	assert_non_null(strstr(e.text, why));
}

static void finish(struct chardev_rig *f, struct endpoint *end)
{
	event_loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	f->started = false;
	endpoint_free(end, 1000);
}

static int join(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(at.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static bool exists(void)
{
	struct stat st;

	return !lstat(path, &st);
}

static void one_after_the_other(void **state)
{
	struct chardev_rig *f = *state;
	struct endpoint *end = make(f, ENDPOINT_SOCKET);
	struct chardev *c = endpoint_chardev(end);
	char got[8] = "";
	int first, second;

	assert_false(endpoint_is_open(end));
	chardev_connect(c, &(struct chardev_user){.readable = NULL});
	endpoint_listen(end, on_changed, f);
	assert_int_equal(chardev_write(c, "nobody\n", 7), 7);
	chardev_rig_run_loop(f);
	first = join();
	second = join();
	wait_for(f, 1, 0);
	assert_int_equal(chardev_write(c, "first\n", 6), 6);
	expect_bytes(first, "first\n");
	assert_int_equal(send(first, "in", 2, 0), 2);
	while (!chardev_has_input(c))
		usleep(1000);
	close(first);
	usleep(20000);
	wait_for(f, 1, 0); /* its input is there still */
	assert_int_equal(chardev_read(c, got, sizeof(got)), 2);
	wait_for(f, 2, 1);
	assert_int_equal(chardev_write(c, "second\n", 7), 7);
	expect_bytes(second, "second\n");
	finish(f, end);
	assert_int_equal(recv(second, got, 1, 0), 0);
	close(second);
	assert_false(exists());
}

/* Who comes while no descriptor is left waits for one. */
static void one_that_comes_too_early(void **state)
{
	struct chardev_rig *f = *state;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct endpoint *end = make(f, ENDPOINT_SOCKET);
	struct chardev *c = endpoint_chardev(end);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), next = dup(fd);
	struct rlimit before, none;

	chardev_connect(c, &(struct chardev_user){.readable = NULL});
	endpoint_listen(end, on_changed, f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	close(next);
	strcpy(at.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	none = (struct rlimit){(rlim_t)next, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	chardev_rig_run_loop(f);
	usleep(100000); /* the loop looks at it */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	wait_for(f, 1, 0);
	assert_int_equal(chardev_write(c, "late\n", 5), 5);
	expect_bytes(fd, "late\n");
	close(fd);
	finish(f, end);
}

/* What waits for one that reads nothing is dropped when it goes, and its writer told. */
static void a_reader_that_goes_away_while_full(void **state)
{
	static char bytes[1 << 20];
	struct chardev_rig *f = *state;
	struct endpoint *end = make(f, ENDPOINT_SOCKET);
	struct chardev *c = endpoint_chardev(end);
	int fd;

	chardev_connect(c, &(struct chardev_user){.readable = NULL});
	endpoint_listen(end, on_changed, f);
	chardev_rig_run_loop(f);
	fd = join();
	wait_for(f, 1, 0);
	while (chardev_write(c, bytes, sizeof(bytes)))
		;
	close(fd);
	wait_for(f, 1, 1);
	assert_true(chardev_write(c, bytes, 1000));
	fd = join();
	wait_for(f, 2, 1);
	while (chardev_write(c, "after\n", 6) != 6)
		usleep(1000);
	expect_bytes(fd, "after\n");
	close(fd);
	finish(f, end);
}

static void names_of_sockets(void **state)
{
	struct chardev_rig *f = *state;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct endpoint *end;

	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	refused(f, ENDPOINT_SOCKET, "in use");
	close(fd);
	end = make(f, ENDPOINT_SOCKET); /* left behind */
	assert_non_null(end);
	endpoint_free(end, 0);
	assert_false(exists());
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	refused(f, ENDPOINT_SOCKET, "in use");
	assert_true(exists());
	unlink(path);
}

static void a_terminal(void **state)
{
	struct chardev_rig *f = *state;
	struct endpoint *end;
	struct chardev *c;
	char got[8];
	int fd;

	assert_int_equal(symlink("/dev/pts/none", path), 0); /* left behind */
	end = make(f, ENDPOINT_PTY);
	c = endpoint_chardev(end);
	assert_true(endpoint_is_open(end));
	chardev_connect(c, &(struct chardev_user){.readable = NULL});
	chardev_rig_run_loop(f);
	/* What was said waits for who comes, whoever was there before. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(chardev_write(c, "\x03hi\n", 4), 4);
		fd = open(path, O_RDWR | O_NOCTTY);
		assert_true(fd >= 0);
		expect_bytes(fd, "\x03hi\n");
		assert_int_equal(write(fd, "\x03\r", 2), 2);
		while (!chardev_has_input(c))
			usleep(1000);
		assert_int_equal(chardev_read(c, got, sizeof(got)), 2);
		assert_memory_equal(got, "\x03\r", 2);
		close(fd);
	}
	finish(f, end);
	assert_false(exists());
}

static void names_of_terminals(void **state)
{
	struct chardev_rig *f = *state;

	assert_int_equal(symlink("/etc/hostname", path), 0);
	refused(f, ENDPOINT_PTY, "it exists");
	assert_true(exists());
	unlink(path);
}

static void a_file(void **state)
{
	struct chardev_rig *f = *state;
	struct endpoint *end = make(f, ENDPOINT_FILE);
	struct chardev *c = endpoint_chardev(end);
	int fd;

	assert_true(endpoint_is_open(end));
	chardev_connect(c, &(struct chardev_user){.readable = NULL});
	chardev_rig_run_loop(f);
	assert_int_equal(chardev_write(c, "kept", 4), 4);
	finish(f, end);
	fd = open(path, O_RDONLY);
	expect_bytes(fd, "kept");
	close(fd);
	unlink(path);
}

static void a_fifo_without_a_reader(void **state)
{
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(*state, ENDPOINT_FILE, "a FIFO that nobody reads");
	unlink(path);
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/end", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_after_the_other),
		TEST(one_that_comes_too_early),
		TEST(a_reader_that_goes_away_while_full),
		TEST(names_of_sockets),
		TEST(a_terminal),
		TEST(names_of_terminals),
		TEST(a_file),
		TEST(a_fifo_without_a_reader),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
