/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/viewers.h"

#define PRINTED (4u << 20)

struct scene {
	struct viewers v;
	int guest[2];  /* a pipe: what is typed */
	int viewer[2]; /* a socket's two ends: 0 is the viewer's */
};

static uint8_t pattern(size_t at)
{
	return (uint8_t)('a' + at * 7 % 23);
}

/* Nobody connects to this listening socket: the one viewer is put in its place. */
static int begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	int listen = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_non_null(s);
	assert_int_equal(pipe(s->guest), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->viewer), 0);
	assert_int_equal(viewers_open(&s->v, listen, s->guest[1]), 0);
	s->v.viewer[0] = (struct viewer){.fd = s->viewer[1], .hears = 1};
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct scene *s = *state;

	viewers_close(&s->v);
	viewers_close(&s->v);
	close(s->viewer[0]);
	close(s->guest[0]);
	close(s->guest[1]);
	free(s);
	return 0;
}

static void turn(struct scene *s)
{
	struct pollfd fds[VIEWERS_FDS];
	size_t n = viewers_poll(&s->v, fds);

	assert_int_equal(n, VIEWERS_FDS);
	assert_true(poll(fds, n, 0) >= 0);
	viewers_polled(&s->v, fds, n);
}

/* All that the viewer can see now. */
static size_t look(struct scene *s, char *seen, size_t room)
{
	size_t len = 0;
	ssize_t n;

	do {
		turn(s);
		n = recv(s->viewer[0], seen + len, room - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return len;
}

static void print_pattern(struct scene *s, size_t count)
{
	char bytes[1000];

	for (size_t at = 0; at < count; at += sizeof(bytes)) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)pattern(at + i);
		viewers_print(&s->v, bytes, sizeof(bytes));
	}
}

static void one_who_looks_sees_all(void **state)
{
	struct scene *s = *state;
	char seen[64];

	viewers_print(&s->v, "one ", 4);
	assert_int_equal(look(s, seen, sizeof(seen)), 4);
	viewers_print(&s->v, "two", 3);
	assert_int_equal(look(s, seen, sizeof(seen)), 3);
	assert_memory_equal(seen, "two", 3);
}

/* The words stand where bytes are missing, and the last bytes are all there. */
static void one_who_does_not_look_is_told_what_he_missed(void **state)
{
	struct scene *s = *state;
	char *seen = malloc(PRINTED), *note, *after;
	size_t len, count = PRINTED / 1000 * 1000, before;
	unsigned long long missed;

	assert_non_null(seen);
	print_pattern(s, count);
	len = look(s, seen, PRINTED - 1);
	seen[len] = '\0';
	note = strstr(seen, "\r\n[lodge: ");
	assert_non_null(note);
	missed = strtoull(note + strlen("\r\n[lodge: "), NULL, 10);
	after = strstr(note + 2, "\r\n");
	assert_non_null(after);
	after += 2;
	before = (size_t)(note - seen);
	assert_int_equal(len - (size_t)(after - seen), VIEWERS_RING);
	assert_int_equal(before + missed + VIEWERS_RING, count);
	for (size_t i = 0; i < before; i++)
		assert_int_equal((uint8_t)seen[i], pattern(i));
	for (size_t i = 0; i < VIEWERS_RING; i++)
		assert_int_equal((uint8_t)after[i], pattern(count - VIEWERS_RING + i));
	free(seen);
}

static void what_is_typed_comes_to_the_guest(void **state)
{
	struct scene *s = *state;
	char got[8];

	assert_int_equal(send(s->viewer[0], "keys", 4, 0), 4);
	turn(s);
	assert_int_equal(read(s->guest[0], got, sizeof(got)), 4);
	assert_memory_equal(got, "keys", 4);
}

static void a_viewer_that_typed_its_last_still_looks(void **state)
{
	struct scene *s = *state;
	char seen[8];

	assert_int_equal(shutdown(s->viewer[0], SHUT_WR), 0);
	turn(s);
	turn(s);
	viewers_print(&s->v, "more", 4);
	assert_int_equal(look(s, seen, sizeof(seen)), 4);
}

static void a_viewer_that_left_makes_room(void **state)
{
	struct scene *s = *state;

	close(s->viewer[0]);
	turn(s);
	turn(s);
	assert_int_equal(s->v.viewer[0].fd, -1);
	s->viewer[0] = dup(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_who_looks_sees_all, begin, end),
		cmocka_unit_test_setup_teardown(one_who_does_not_look_is_told_what_he_missed, begin,
						end),
		cmocka_unit_test_setup_teardown(what_is_typed_comes_to_the_guest, begin, end),
		cmocka_unit_test_setup_teardown(a_viewer_that_typed_its_last_still_looks, begin,
						end),
		cmocka_unit_test_setup_teardown(a_viewer_that_left_makes_room, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
