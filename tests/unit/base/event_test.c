/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No test here waits for a time: each ends when what it waits for has happened,
 * and hangs (the test runner's limit) if it does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/event.h"
#include "base/time.h"

/* A source that counts its calls and does one thing in them. */
struct probe {
	struct event_source src;
	struct event_loop *loop;
	unsigned calls;
	unsigned events; /* of the last call */
	void (*act)(struct probe *p);
	struct probe *other;
};

static void probe_ready(void *opaque, unsigned events)
{
	struct probe *p = opaque;

	p->calls++;
	p->events = events;
	if (p->act)
		p->act(p);
}

static void probe_init(struct probe *p, struct event_loop *loop, int fd,
		       void (*act)(struct probe *))
{
	*p = (struct probe){.loop = loop, .act = act};
	p->src = (struct event_source){.ready = probe_ready, .opaque = p, .fd = fd};
}

static void act_stop(struct probe *p)
{
	event_loop_stop(p->loop);
}

static struct event_loop *new_loop(void)
{
	struct err e = ERR_INIT;
	struct event_loop *loop = event_loop_new(&e);

	if (!loop)
		fail_msg("%s", e.text);
	return loop;
}

static void a_loop_stopped_before_it_runs_returns_at_once(void **state)
{
	struct event_loop *loop = new_loop();

	(void)state;
	event_loop_stop(loop);
	event_loop_stop(loop);
	assert_int_equal(event_loop_run(loop), 0);
	event_loop_free(loop);
	event_loop_free(NULL);
}

static void a_readable_descriptor_is_reported_until_it_is_read(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe p;
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	probe_init(&p, loop, fd[0], act_stop);
	assert_int_equal(event_add(loop, &p.src, EVENT_READ), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(event_loop_run(loop), 0);
	assert_true(p.calls >= 1);
	assert_int_equal(p.events, EVENT_READ);
	event_loop_free(loop);
	close(fd[0]);
	close(fd[1]);
}

static void act_remove_other_and_stop(struct probe *p)
{
	if (p->calls > 1)
		return;
	event_remove(p->loop, &p->other->src);
	event_remove(p->loop, &p->other->src);     /* twice is once */
	memset(p->other, 0xee, sizeof(*p->other)); /* its owner may free it now */
	event_loop_stop(p->loop);
}

/* Both are ready in one batch; whichever comes first removes the other, which then stays silent. */
static void a_removed_source_is_not_called_from_the_same_batch(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe a, b;
	int fd[2], fd2[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(pipe(fd2), 0);
	probe_init(&a, loop, fd[0], act_remove_other_and_stop);
	probe_init(&b, loop, fd2[0], act_remove_other_and_stop);
	a.other = &b;
	b.other = &a;
	event_add(loop, &a.src, EVENT_READ);
	event_add(loop, &b.src, EVENT_READ);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(write(fd2[1], "x", 1), 1);
	assert_int_equal(event_loop_run(loop), 0);
	/* One of them was overwritten, the other called. */
	assert_true((a.calls == 0xeeeeeeee && b.calls >= 1) ||
		    (b.calls == 0xeeeeeeee && a.calls >= 1));
	event_loop_free(loop);
	close(fd[0]);
	close(fd[1]);
	close(fd2[0]);
	close(fd2[1]);
}

static void act_remove_self_wake_other(struct probe *p)
{
	event_remove(p->loop, &p->src);
	event_want(p->loop, &p->other->src, EVENT_READ);
}

static void a_source_may_remove_itself_and_resume_a_paused_one(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe a, b;
	int fd[2], fd2[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(pipe(fd2), 0);
	probe_init(&a, loop, fd[0], act_remove_self_wake_other);
	probe_init(&b, loop, fd2[0], act_stop);
	a.other = &b;
	event_add(loop, &a.src, EVENT_READ);
	event_add(loop, &b.src, EVENT_READ);
	assert_int_equal(event_want(loop, &b.src, 0), 0);
	assert_int_equal(event_want(loop, &b.src, 0), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(write(fd2[1], "x", 1), 1);
	assert_int_equal(event_loop_run(loop), 0);
	assert_int_equal(a.calls, 1);
	assert_true(b.calls >= 1);
	assert_int_equal(event_want(loop, &a.src, EVENT_READ), -ENOENT);
	event_loop_free(loop);
	close(fd[0]);
	close(fd[1]);
	close(fd2[0]);
	close(fd2[1]);
}

static void act_pause(struct probe *p)
{
	event_want(p->loop, &p->src, 0);
}

/* Stops some turns after the other one was paused. */
static void act_stop_later(struct probe *p)
{
	if (!p->other->calls)
		p->calls = 0;
	if (p->calls == 10)
		event_loop_stop(p->loop);
}

/* A source that is paused does not spin on a hang-up, which epoll reports unasked. */
static void a_hang_up_is_readable_and_a_pause_silences_it(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe p, later;
	int fd[2], sv[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	probe_init(&p, loop, fd[0], act_pause);
	event_add(loop, &p.src, EVENT_READ);
	close(fd[1]);
	probe_init(&later, loop, sv[0], act_stop_later);
	later.other = &p;
	event_add(loop, &later.src, EVENT_READ);
	close(sv[1]); /* a socket whose other end is gone */
	assert_int_equal(event_loop_run(loop), 0);
	assert_int_equal(later.events, EVENT_READ);
	assert_int_equal(p.events, EVENT_READ);
	assert_int_equal(p.calls, 1);
	event_loop_free(loop);
	close(fd[0]);
	close(sv[0]);
}

/* The reader went away: the writer is told that it can write, and then learns of EPIPE. */
static void a_pipe_without_reader_is_writable(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe p;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	while (write(fd[1], "full", 4) > 0)
		;
	probe_init(&p, loop, fd[1], act_stop);
	event_add(loop, &p.src, EVENT_WRITE);
	close(fd[0]);
	assert_int_equal(event_loop_run(loop), 0);
	assert_int_equal(p.events, EVENT_WRITE);
	event_loop_free(loop);
	close(fd[1]);
}

static void act_count_to_three(struct probe *p)
{
	if (p->calls == 3)
		event_want(p->loop, &p->src, EVENT_WRITE);
	if (p->calls == 5)
		event_loop_stop(p->loop);
}

static void a_regular_file_is_always_ready(void **state)
{
	struct event_loop *loop = new_loop();
	char name[] = "/tmp/lodge-event-XXXXXX";
	struct probe p, other;
	int fd = mkstemp(name), pipes[2];

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(pipe(pipes), 0);
	probe_init(&p, loop, fd, act_count_to_three);
	assert_int_equal(event_add(loop, &p.src, EVENT_READ), 0);
	/* The others are not starved by it. */
	probe_init(&other, loop, pipes[0], NULL);
	event_add(loop, &other.src, EVENT_READ);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(event_loop_run(loop), 0);
	assert_true(p.calls >= 5);
	assert_int_equal(p.events, EVENT_WRITE);
	assert_true(other.calls >= 1);
	event_remove(loop, &p.src);
	event_loop_free(loop);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
}

static void regular_files_have_a_limit_and_give_their_place_back(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe p[16];
	int fd = open("/dev/null", O_RDWR);
	unsigned added = 0;

	(void)state;
	while (added < 16) {
		probe_init(&p[added], loop, fd, NULL);
		if (event_add(loop, &p[added].src, EVENT_READ))
			break;
		added++;
	}
	assert_true(added >= 4 && added < 16);
	assert_int_equal(event_add(loop, &p[added].src, EVENT_READ), -ENOSPC);
	event_remove(loop, &p[added].src); /* never added: nothing happens */
	event_remove(loop, &p[1].src);
	assert_int_equal(event_add(loop, &p[added].src, EVENT_READ), 0);
	event_loop_free(loop);
	close(fd);
}

static void a_bad_descriptor_is_refused(void **state)
{
	struct event_loop *loop = new_loop();
	struct probe p;

	(void)state;
	probe_init(&p, loop, -1, NULL);
	assert_int_equal(event_add(loop, &p.src, EVENT_READ), -EBADF);
	assert_int_equal(event_want(loop, &p.src, EVENT_READ), -ENOENT);
	event_remove(loop, &p.src);
	event_loop_free(loop);
}

struct timers {
	struct event_loop *loop;
	struct event_timer a, b;
	unsigned a_fired, b_fired;
};

static void a_fired(void *opaque)
{
	((struct timers *)opaque)->a_fired++;
}

static void b_fired(void *opaque)
{
	struct timers *t = opaque;

	t->b_fired++;
	if (t->b_fired == 3)
		event_loop_stop(t->loop);
	else
		event_timer_set(&t->b, 1); /* long past: at once */
}

static void timers_fire_once_and_can_be_replaced_or_disarmed(void **state)
{
	struct timers t = {.loop = new_loop()};

	(void)state;
	assert_int_equal(event_timer_init(&t.a, t.loop, a_fired, &t), 0);
	assert_int_equal(event_timer_init(&t.b, t.loop, b_fired, &t), 0);
	event_timer_set(&t.a, 1);
	event_timer_set(&t.a, 0); /* expired already, and disarmed all the same */
	event_timer_set(&t.b, UINT64_MAX);
	event_timer_set(&t.b, time_monotonic_ns() + 1000);
	assert_int_equal(event_loop_run(t.loop), 0);
	assert_int_equal(t.a_fired, 0);
	assert_int_equal(t.b_fired, 3);
	event_timer_release(&t.a, t.loop);
	event_timer_release(&t.b, t.loop);
	event_timer_release(&t.b, t.loop); /* twice is once */
	event_loop_free(t.loop);
}

/* When the host has no descriptor left, what is made leaves nothing behind. */
static void running_out_of_descriptors_fails_cleanly(void **state)
{
	struct event_loop *loop = new_loop();
	struct rlimit was, none;
	struct event_timer timer;
	struct event_wake wake;
	struct err e = ERR_INIT;
	int next = dup(0);

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(event_timer_init(&timer, loop, a_fired, NULL), -EMFILE);
	assert_int_equal(event_wake_init(&wake, loop, a_fired, NULL), -EMFILE);
	assert_null(event_loop_new(&e));
	assert_int_equal(e.code, -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	event_timer_release(&timer, loop);
	event_wake_release(&wake, loop);
	event_loop_free(loop);
}

struct wakes {
	struct event_loop *loop;
	struct event_wake wake;
	struct event_timer timer;
	atomic_uint signalled, finished;
	unsigned woken; /* loop thread */
};

static void on_woken(void *opaque)
{
	struct wakes *w = opaque;

	w->woken++;
	if (atomic_load(&w->finished) == 4)
		event_loop_stop(w->loop);
}

static void *signaller(void *opaque)
{
	struct wakes *w = opaque;

	for (unsigned i = 0; i < 1000; i++) {
		atomic_fetch_add(&w->signalled, 1);
		event_wake_signal(&w->wake);
		event_timer_set(&w->timer, i % 2 ? 0 : UINT64_MAX);
	}
	atomic_fetch_add(&w->finished, 1);
	event_wake_signal(&w->wake);
	return NULL;
}

static void wake_ups_come_from_any_thread_and_none_is_lost(void **state)
{
	struct wakes w = {.loop = new_loop()};
	pthread_t threads[4];

	(void)state;
	assert_int_equal(event_wake_init(&w.wake, w.loop, on_woken, &w), 0);
	assert_int_equal(event_timer_init(&w.timer, w.loop, a_fired, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, signaller, &w), 0);
	assert_int_equal(event_loop_run(w.loop), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&w.signalled), 4000);
	assert_true(w.woken >= 1 && w.woken <= 4004);
	event_wake_release(&w.wake, w.loop);
	event_timer_release(&w.timer, w.loop);
	event_loop_free(w.loop);
}

static void *run_loop(void *opaque)
{
	return (void *)(intptr_t)event_loop_run(opaque);
}

static void another_thread_stops_the_loop(void **state)
{
	struct event_loop *loop = new_loop();
	pthread_t thread;
	void *rc = (void *)1;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
	event_loop_stop(loop);
	pthread_join(thread, &rc);
	assert_null(rc);
	event_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_stopped_before_it_runs_returns_at_once),
		cmocka_unit_test(a_readable_descriptor_is_reported_until_it_is_read),
		cmocka_unit_test(a_removed_source_is_not_called_from_the_same_batch),
		cmocka_unit_test(a_source_may_remove_itself_and_resume_a_paused_one),
		cmocka_unit_test(a_hang_up_is_readable_and_a_pause_silences_it),
		cmocka_unit_test(a_pipe_without_reader_is_writable),
		cmocka_unit_test(a_regular_file_is_always_ready),
		cmocka_unit_test(regular_files_have_a_limit_and_give_their_place_back),
		cmocka_unit_test(a_bad_descriptor_is_refused),
		cmocka_unit_test(timers_fire_once_and_can_be_replaced_or_disarmed),
		cmocka_unit_test(running_out_of_descriptors_fails_cleanly),
		cmocka_unit_test(wake_ups_come_from_any_thread_and_none_is_lost),
		cmocka_unit_test(another_thread_stops_the_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
