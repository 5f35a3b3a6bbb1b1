/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of frames to and from passt, whose part the test plays; and passt's start. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "host/passt.h"

#define FRAMES 200u

static struct event_loop *loop;
static struct netif *netif;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the user's */
static int peer;

/* The user: takes up to may_take frames, which have the bytes that frame_byte says. */
static unsigned may_take, taken;
static bool wrong;
static atomic_uint gone, writable, readable, full;

static uint8_t frame_byte(unsigned n, size_t at)
{
	return (uint8_t)(n * 31 + at * 7 + at / 256);
}

static size_t frame_len(unsigned n)
{
	return n % 10 == 9 ? 65000 + n : 14 + n * 13;
}

static void check_frame(const uint8_t *frame, size_t len)
{
	wrong |= len != frame_len(taken);
	for (size_t i = 0; !wrong && i < len; i++)
		wrong = frame[i] != frame_byte(taken, i);
	taken++;
}

static bool on_readable(void *opaque, unsigned queue)
{
	const uint8_t *frame;
	size_t len;
	bool room = true;

	(void)opaque;
	atomic_fetch_add(&readable, 1);
	pthread_mutex_lock(&lock);
	while (room && !netif_receive(netif, queue, &frame, &len)) {
		room = taken < may_take;
		if (room) {
			check_frame(frame, len);
			netif_received(netif, queue);
		}
	}
	if (!room)
		atomic_fetch_add(&full, 1);
	pthread_mutex_unlock(&lock);
	return room;
}

static void on_writable(void *opaque, unsigned queue)
{
	(void)opaque;
	pthread_mutex_lock(&lock);
	if (!netif_flush(netif, queue))
		atomic_fetch_add(&writable, 1);
	pthread_mutex_unlock(&lock);
}

static void on_gone(void *opaque, const char *why)
{
	(void)opaque;
	wrong |= !why;
	atomic_fetch_add(&gone, 1);
}

static void *run(void *opaque)
{
	event_loop_run(opaque);
	return NULL;
}

static int setup(void **state)
{
	const struct netif_user user = {on_readable, on_writable, on_gone, NULL};
	int ends[2], small = 100000;

	(void)state;
	may_take = FRAMES;
	taken = 0;
	wrong = false;
	atomic_store(&gone, 0);
	atomic_store(&writable, 0);
	atomic_store(&readable, 0);
	atomic_store(&full, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	peer = ends[0];
	loop = event_loop_new(NULL);
	netif = passt_connect(loop, ends[1], NULL);
	assert_non_null(netif);
	/* So that it is soon full. */
	assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	netif_connect(netif, &user);
	netif_resume(netif, 0);
	assert_int_equal(pthread_create(&thread, NULL, run, loop), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	event_loop_stop(loop);
	pthread_join(thread, NULL);
	netif_free(netif);
	event_loop_free(loop);
	if (peer >= 0)
		close(peer);
	return 0;
}

/* Waits until what is counted, under the user's lock, has come; the runner's limit is the end. */
static void await(unsigned *count, unsigned wanted)
{
	unsigned now;

	do {
		usleep(200);
		pthread_mutex_lock(&lock);
		now = *count;
		pthread_mutex_unlock(&lock);
	} while (now < wanted);
	assert_int_equal(now, wanted);
}

static void await_atomic(atomic_uint *count)
{
	while (!atomic_load(count))
		usleep(200);
}

/* Frame n as it is on the wire; its length. */
static size_t make(unsigned n, uint8_t *wire)
{
	size_t len = frame_len(n);

	for (unsigned i = 0; i < 4; i++)
		wire[i] = (uint8_t)(len >> (24 - 8 * i));
	for (size_t i = 0; i < len; i++)
		wire[4 + i] = frame_byte(n, i);
	return 4 + len;
}

/* Writes frames from first to last in pieces of that size. */
static void write_frames(unsigned first, unsigned last, size_t piece)
{
	static uint8_t wire[FRAMES * 70000];
	size_t len = 0;

	for (unsigned i = first; i < last; i++)
		len += make(i, wire + len);
	for (size_t at = 0; at < len;) {
		ssize_t n = send(peer, wire + at, MIN(piece, len - at), MSG_NOSIGNAL);

		assert_true(n > 0);
		at += (size_t)n;
	}
}

static void frames_come_in_any_pieces(void **state)
{
	(void)state;
	write_frames(0, 9, 1);
	write_frames(9, 30, 1000);
	write_frames(30, FRAMES, 1 << 20);
	await(&taken, FRAMES);
	assert_false(wrong);
}

static void a_user_without_room_is_left_alone(void **state)
{
	unsigned calls;

	(void)state;
	may_take = 3;
	write_frames(0, 6, 1 << 20);
	await_atomic(&full);
	assert_int_equal(taken, 3);
	calls = atomic_load(&readable);
	write_frames(6, 8, 1 << 20);
	usleep(20000);
	assert_int_equal(atomic_load(&readable), calls);
	/* All that has come already comes without another byte on the socket. */
	pthread_mutex_lock(&lock);
	may_take = FRAMES;
	pthread_mutex_unlock(&lock);
	netif_resume(netif, 0);
	await(&taken, 8);
	assert_false(wrong);
}

static int send_frame(unsigned n)
{
	static uint8_t wire[70000];
	size_t len = make(n, wire) - 4;
	const struct netif_span spans[] = {{wire + 4, 10}, {wire + 14, len - 10}};
	int rc;

	pthread_mutex_lock(&lock);
	rc = netif_send(netif, 0, spans, 2);
	pthread_mutex_unlock(&lock);
	return rc;
}

static void *read_all(void *opaque)
{
	static uint8_t want[70000], got[70000];

	for (unsigned n = 0; n < FRAMES; n++) {
		size_t len = make(n, want);

		if (recv(peer, got, len, MSG_WAITALL) != (ssize_t)len || memcmp(want, got, len))
			*(bool *)opaque = true;
	}
	return NULL;
}

/* More than the socket holds: frames are refused, none is torn, and the user is called. */
static void frames_are_sent_whole(void **state)
{
	bool torn = false;
	pthread_t reader;
	unsigned n = 0;

	(void)state;
	while (!send_frame(n))
		n++;
	assert_true(n > 2 && n < FRAMES);
	assert_int_equal(atomic_load(&writable), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &torn), 0);
	await_atomic(&writable);
	while (n < FRAMES) {
		int rc = send_frame(n);

		assert_true(!rc || rc == -EAGAIN);
		n += !rc;
	}
	pthread_join(reader, NULL);
	assert_false(torn);
}

static void an_end_is_told_once(void **state)
{
	(void)state;
	write_frames(0, 3, 1 << 20);
	close(peer);
	peer = -1;
	await_atomic(&gone);
	assert_int_equal(taken, 3);
	assert_int_equal(send_frame(0), -ENODEV);
	netif_resume(netif, 0);
	usleep(20000);
	assert_int_equal(atomic_load(&gone), 1);
}

/* Also while frames are not wanted: by the next that is sent. */
static void an_end_is_seen_by_a_sender(void **state)
{
	(void)state;
	may_take = 0;
	write_frames(0, 1, 1 << 20);
	while (!atomic_load(&readable))
		usleep(200);
	usleep(20000);
	close(peer);
	peer = -1;
	send_frame(0);
	await_atomic(&gone);
}

static void what_is_no_frame_is_the_end(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0};

	(void)state;
	assert_int_equal(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	await_atomic(&gone);
}

/* Also where it is there as a whole: the user has no room for more than a frame. */
static void a_frame_that_is_too_long_is_the_end(void **state)
{
	static const uint8_t bytes[4 + NETIF_FRAME_MAX + 1] = {0, 1, 0, 0x12};

	(void)state;
	_Static_assert(NETIF_FRAME_MAX + 1 == 0x10012, "the length in bytes");
	may_take = 0;
	write_frames(0, 1, 1 << 20);
	await_atomic(&full);
	assert_int_equal(send(peer, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
	pthread_mutex_lock(&lock);
	may_take = FRAMES;
	pthread_mutex_unlock(&lock);
	netif_resume(netif, 0);
	await_atomic(&gone);
	assert_int_equal(taken, 1);
	assert_false(wrong);
}

/* --- its start: programs of that name that the test has made ------------------------------- */

static char directory[] = "/tmp/lodge-passt-test-XXXXXX";

static int setup_path(void **state)
{
	(void)state;
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(directory));
	loop = event_loop_new(NULL);
	return 0;
}

static int teardown_path(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "%s/passt", directory);
	unlink(name);
	snprintf(name, sizeof(name), "%s/words", directory);
	unlink(name);
	rmdir(directory);
	event_loop_free(loop);
	return 0;
}

/* Starts a program of this text in passt's place. */
static struct netif *start(const char *text, const struct passt_config *config, struct err *e)
{
	char name[64], path[128], *before = strdup(getenv("PATH"));
	struct netif *made;
	FILE *f;

	snprintf(name, sizeof(name), "%s/passt", directory);
	if (text) {
		f = fopen(name, "w");
		assert_non_null(f);
		fprintf(f, "#!/bin/sh\ncd %s\n%s\n", directory, text);
		fclose(f);
		chmod(name, 0755);
	}
	snprintf(path, sizeof(path), "%s%s", directory, text ? ":/usr/bin:/bin" : "");
	setenv("PATH", path, 1);
	made = passt_open(loop, config, e);
	setenv("PATH", before, 1);
	free(before);
	return made;
}

static void it_is_started_with_a_socket(void **state)
{
	const struct passt_forward forwards[] = {{false, "8080", 80}, {true, "127.0.0.1/53", 5353}};
	const struct passt_config config = {forwards, 2, 1500};
	struct err e = ERR_INIT;
	struct netif *made;
	const uint8_t *frame;
	size_t len;
	char words[256] = "", name[64];
	FILE *f;

	(void)state;
	made = start("echo \"$@\" >words; printf '\\0\\0\\0\\002ab' >&3", &config, &e);
	if (!made)
		fail_msg("%s", e.text);
	assert_int_equal(netif_receive(made, 0, &frame, &len), 0);
	assert_int_equal(len, 2);
	assert_memory_equal(frame, "ab", 2);
	netif_free(made);
	snprintf(name, sizeof(name), "%s/words", directory);
	f = fopen(name, "r");
	assert_non_null(f);
	assert_non_null(fgets(words, sizeof(words), f));
	fclose(f);
	assert_string_equal(words, "--quiet --fd 3 --mtu 1500 --tcp-ports 8080:80 "
				   "--udp-ports 127.0.0.1/53:5353\n");
}

static void what_it_refuses_is_told(void **state)
{
	const struct passt_config config = {NULL, 0, 1500};
	struct err e = ERR_INIT;

	(void)state;
	assert_null(
		start("echo hello >&2; echo 'Failed to bind port 80' >&2; exit 1", &config, &e));
	assert_string_equal(e.text, "passt refuses: Failed to bind port 80");
	err_clear(&e);
	assert_null(start("kill -9 $$", &config, &e));
	assert_non_null(strstr(e.text, "signal 9"));
}

static void a_missing_passt_is_refused(void **state)
{
	const struct passt_config config = {NULL, 0, 1500};
	struct err e = ERR_INIT;

	(void)state;
	assert_null(start(NULL, &config, &e));
	assert_non_null(strstr(e.text, "install the package passt"));
}

#define TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define START(f) cmocka_unit_test_setup_teardown(f, setup_path, teardown_path)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_come_in_any_pieces),
		TEST(a_user_without_room_is_left_alone),
		TEST(frames_are_sent_whole),
		TEST(an_end_is_told_once),
		TEST(an_end_is_seen_by_a_sender),
		TEST(what_is_no_frame_is_the_end),
		TEST(a_frame_that_is_too_long_is_the_end),
		START(it_is_started_with_a_socket),
		START(what_it_refuses_is_told),
		START(a_missing_passt_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
