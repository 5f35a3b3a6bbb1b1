/* SPDX-License-Identifier: Apache-2.0 */
/* The portal of Unix sockets: names, calls both ways, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "host/portal_unix.h"

static char dir[] = "/tmp/portal-XXXXXX";
static char path[64];
static struct event_loop *loop;
static struct portal *portal;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct portal_line *line;
static uint32_t called_port;
static unsigned events_seen, exhausted;
static bool accept_calls;

static bool on_called(void *opaque, struct portal_line *l, uint32_t port)
{
	(void)opaque;
	called_port = port;
	line = accept_calls ? l : NULL;
	event_loop_stop(loop);
	return accept_calls;
}

static void on_ready(void *opaque, struct portal_line *l, unsigned events)
{
	(void)opaque;
	assert_ptr_equal(l, line);
	events_seen |= events;
	portal_watch(portal, l, 0);
	event_loop_stop(loop);
}

static void on_exhausted(void *opaque, int error)
{
	(void)opaque;
	assert_int_equal(error, EMFILE);
	exhausted++;
	event_loop_stop(loop);
}

/* A loop runs once: what is watched moves to no other, so each test has its own portal. */
static int setup(void **state)
{
	const struct portal_user user = {&lock, on_called, on_ready, on_exhausted, NULL};
	struct err e = ERR_INIT;

	(void)state;
	strcpy(dir, "/tmp/portal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	loop = event_loop_new(NULL);
	portal = portal_unix_open(loop, path, &e);
	assert_non_null(portal);
	portal_connect(portal, &user);
	line = NULL;
	events_seen = exhausted = 0;
	accept_calls = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	portal_free(portal);
	event_loop_free(loop);
	assert_int_equal(rmdir(dir), 0); /* nothing was left */
	return 0;
}

static struct sockaddr_un name_of(const char *suffix)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	snprintf(name.sun_path, sizeof(name.sun_path), "%s%s", path, suffix);
	return name;
}

static int connect_to(int type, const char *suffix)
{
	const struct sockaddr_un name = name_of(suffix);
	int fd = socket(AF_UNIX, type, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static int listen_at(int type, const char *suffix)
{
	const struct sockaddr_un name = name_of(suffix);
	int fd = socket(AF_UNIX, type, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static void a_call_says_its_port(void **state)
{
	int fd = connect_to(SOCK_STREAM, "");
	char words[32] = "";
	struct portal_span span = {words, sizeof(words)};

	(void)state;
	assert_int_equal(write(fd, "CONNECT 4294967295\nhello", 24), 24);
	event_loop_run(loop);
	assert_int_equal(called_port, 4294967295u);
	assert_non_null(line);
	pthread_mutex_lock(&lock);
	assert_int_equal(portal_answer(portal, line, 1073741824), 0);
	assert_int_equal(portal_receive(portal, line, &span, 1), 5);
	assert_memory_equal(words, "hello", 5);
	assert_int_equal(portal_receive(portal, line, &span, 1), -EAGAIN);
	assert_int_equal(read(fd, words, sizeof(words)), 14);
	assert_memory_equal(words, "OK 1073741824\n", 14);
	assert_false(portal_deaf(portal, line));
	close(fd);
	assert_true(portal_deaf(portal, line));
	assert_int_equal(portal_receive(portal, line, &span, 1), 0);
	assert_int_equal(portal_send(portal, line, &span, 1), -EPIPE);
	portal_hang_up(portal, line);
	pthread_mutex_unlock(&lock);
}

static void packets_have_a_socket_of_their_own(void **state)
{
	int fd = connect_to(SOCK_SEQPACKET, ".seqpacket");
	char words[32] = "";
	struct portal_span span = {words, 3};

	(void)state;
	assert_int_equal(write(fd, "CONNECT 5\n", 10), 10);
	assert_int_equal(write(fd, "packet", 6), 6);
	event_loop_run(loop);
	assert_int_equal(called_port, 5);
	assert_true(line->packets);
	pthread_mutex_lock(&lock);
	assert_int_equal(portal_packet_len(portal, line), 6);
	assert_int_equal(portal_receive(portal, line, &span, 1), 3);
	assert_int_equal(portal_packet_len(portal, line), -EAGAIN);
	pthread_mutex_unlock(&lock);
	close(fd);
}

static void what_is_no_call_is_hung_up(void **state)
{
	static const char *const words[] = {
		"CONNECT\n",     "CONNECT \n",  "CONNECT 4294967296\n",
		"CONNECT -1\n",  "connect 1\n", "CONNECT 1 2\n",
		"CONNECT 1\r\n", "\n",          "GET / HTTP/1.1 of some length more than fits\n",
	};
	int fds[9], last;
	char byte;

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		fds[i] = connect_to(SOCK_STREAM, "");
		assert_true(write(fds[i], words[i], strlen(words[i])) > 0);
	}
	last = connect_to(SOCK_STREAM, "");
	assert_int_equal(write(last, "CONNECT 1\n", 10), 10);
	event_loop_run(loop);
	assert_int_equal(called_port, 1);
	for (unsigned i = 0; i < 9; i++) {
		assert_true(read(fds[i], &byte, 1) <= 0);
		close(fds[i]);
	}
	close(last);
}

static void a_call_that_is_refused(void **state)
{
	int fd = connect_to(SOCK_STREAM, "");
	char byte;

	(void)state;
	accept_calls = false;
	assert_int_equal(write(fd, "CONNECT 9\n", 10), 10);
	event_loop_run(loop);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

static void dialing(void **state)
{
	int listener = listen_at(SOCK_STREAM, "_7"), fd;
	struct portal_span span = {(void *)(uintptr_t) "abc", 3};
	char words[4];

	(void)state;
	pthread_mutex_lock(&lock);
	assert_int_equal(portal_dial(portal, 8, false, &line), -ENOENT);
	assert_int_equal(portal_dial(portal, 7, true, &line), -EPROTOTYPE);
	assert_int_equal(portal_dial(portal, 7, false, &line), 0);
	assert_int_equal(portal_send(portal, line, &span, 1), 3);
	portal_watch(portal, line, PORTAL_READ);
	pthread_mutex_unlock(&lock);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(read(fd, words, 4), 3);
	assert_int_equal(write(fd, "x", 1), 1);
	event_loop_run(loop);
	assert_int_equal(events_seen, PORTAL_READ);
	close(fd);
	close(listener);
	unlink(name_of("_7").sun_path);
}

static void names_in_use_and_left_over(void **state)
{
	struct event_loop *second = event_loop_new(NULL);
	struct err e = ERR_INIT;
	struct portal *other;
	char name[128];
	int fd;

	(void)state;
	assert_null(portal_unix_open(second, path, &e));
	assert_int_equal(e.code, -EADDRINUSE);
	assert_non_null(strstr(e.text, "in use"));
	err_clear(&e);
	/* one whose owner is gone */
	close(listen_at(SOCK_STREAM, "-old"));
	snprintf(name, sizeof(name), "%s-old", path);
	other = portal_unix_open(second, name, &e);
	assert_non_null(other);
	portal_free(other);
	assert_int_equal(access(name, F_OK), -1);
	/* what is no socket stays */
	fd = creat(name, 0600);
	close(fd);
	assert_null(portal_unix_open(second, name, &e));
	assert_int_equal(e.code, -EEXIST);
	assert_int_equal(unlink(name), 0);
	event_loop_free(second);
}

/* Without a descriptor for it a call is refused; the user is told once. */
static void descriptors_run_out(void **state)
{
	struct rlimit before, none;
	int fds[2] = {connect_to(SOCK_STREAM, ""), connect_to(SOCK_STREAM, "")};
	char byte;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){(rlim_t)fds[1] + 1, before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	event_loop_run(loop);
	pthread_mutex_lock(&lock);
	assert_int_equal(portal_dial(portal, 7, false, &line), -EMFILE);
	pthread_mutex_unlock(&lock);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(exhausted, 1);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_says_its_port),
		TEST(packets_have_a_socket_of_their_own),
		TEST(what_is_no_call_is_hung_up),
		TEST(a_call_that_is_refused),
		TEST(dialing),
		TEST(names_in_use_and_left_over),
		TEST(descriptors_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
