/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll with the source's address as the cookie. A callback may remove any
 * source, also one whose event lies further on in the batch being handled: the
 * loop therefore keeps the batch where event_remove can strike entries out.
 *
 * epoll refuses regular files with EPERM. They never block, so they are kept in
 * a short list and called on every turn while they want anything.
 */
#include "base/event.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"

#define BATCH      16
#define ALWAYS_MAX 8

struct event_loop {
	int epoll;
	int stop_fd; /* eventfd: readable once event_loop_stop was called */
	struct event_source stop_src;
	bool stopped;
	struct epoll_event batch[BATCH];
	int batch_len;
	struct event_source *always[ALWAYS_MAX];
};

static void stop_ready(void *opaque, unsigned events)
{
	struct event_loop *loop = opaque;

	(void)events;
	loop->stopped = true;
}

struct event_loop *event_loop_new(struct err *e)
{
	struct event_loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		err_errno(e, ENOMEM, "cannot make an event loop");
		return NULL;
	}
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->stop_src = (struct event_source){
		.ready = stop_ready, .opaque = loop, .fd = loop->stop_fd};
	if (loop->epoll < 0 || loop->stop_fd < 0 ||
	    event_add(loop, &loop->stop_src, EVENT_READ) < 0) {
		err_errno(e, errno, "cannot make an event loop");
		event_loop_free(loop);
		return NULL;
	}
	return loop;
}

void event_loop_free(struct event_loop *loop)
{
	if (!loop)
		return;
	if (loop->stop_fd >= 0)
		close(loop->stop_fd);
	if (loop->epoll >= 0)
		close(loop->epoll);
	free(loop);
}

static int add_always(struct event_loop *loop, struct event_source *src)
{
	for (unsigned i = 0; i < ALWAYS_MAX; i++) {
		if (!loop->always[i]) {
			loop->always[i] = src;
			src->always = true;
			return 0;
		}
	}
	return -ENOSPC;
}

static uint32_t to_epoll(unsigned events)
{
	return (events & EVENT_READ ? EPOLLIN | EPOLLRDHUP : 0) |
	       (events & EVENT_WRITE ? EPOLLOUT : 0);
}

int event_add(struct event_loop *loop, struct event_source *src, unsigned events)
{
	struct epoll_event ev = {.events = to_epoll(events), .data.ptr = src};
	int rc = 0;

	src->wanted = events;
	src->always = false;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, src->fd, &ev))
		rc = errno == EPERM ? add_always(loop, src) : -errno;
	src->added = !rc;
	return rc;
}

int event_want(struct event_loop *loop, struct event_source *src, unsigned events)
{
	struct epoll_event ev = {.events = to_epoll(events), .data.ptr = src};

	if (!src->added)
		return -ENOENT;
	src->wanted = events;
	if (src->always)
		return 0;
	if (!events) /* a hang-up would be reported for ever: take it out */
		epoll_ctl(loop->epoll, EPOLL_CTL_DEL, src->fd, NULL);
	else if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, src->fd, &ev) &&
		 epoll_ctl(loop->epoll, EPOLL_CTL_ADD, src->fd, &ev))
		return -errno;
	return 0;
}

void event_remove(struct event_loop *loop, struct event_source *src)
{
	if (!src->added)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, src->fd, NULL);
	for (unsigned i = 0; i < ALWAYS_MAX; i++)
		if (loop->always[i] == src)
			loop->always[i] = NULL;
	for (int i = 0; i < loop->batch_len; i++)
		if (loop->batch[i].data.ptr == src)
			loop->batch[i].data.ptr = NULL;
	src->added = false;
}

static bool any_always(const struct event_loop *loop)
{
	for (unsigned i = 0; i < ALWAYS_MAX; i++)
		if (loop->always[i] && loop->always[i]->wanted)
			return true;
	return false;
}

static void call(struct event_source *src, unsigned events)
{
	if (src->added && (events & src->wanted))
		src->ready(src->opaque, events & src->wanted);
}

static unsigned from_epoll(uint32_t events)
{
	return (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? EVENT_READ : 0) |
	       (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? EVENT_WRITE : 0);
}

static void handle_batch(struct event_loop *loop)
{
	for (int i = 0; i < loop->batch_len; i++) {
		struct event_source *src = loop->batch[i].data.ptr;

		if (src)
			call(src, from_epoll(loop->batch[i].events));
	}
	loop->batch_len = 0;
	for (unsigned i = 0; i < ALWAYS_MAX; i++)
		if (loop->always[i])
			call(loop->always[i], EVENT_READ | EVENT_WRITE);
}

int event_loop_run(struct event_loop *loop)
{
	while (!loop->stopped) {
		int n = epoll_wait(loop->epoll, loop->batch, BATCH, any_always(loop) ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		loop->batch_len = n < 0 ? 0 : n;
		handle_batch(loop);
	}
	return 0;
}

void event_loop_stop(struct event_loop *loop)
{
	uint64_t one = 1;
	ssize_t n = write(loop->stop_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the counter is full, so it is readable already */
}

/* Sources whose descriptor is theirs: zeroed structs (never initialised) are left alone. */
static void source_release(struct event_source *src, struct event_loop *loop)
{
	if (!src->ready)
		return;
	event_remove(loop, src);
	if (src->fd >= 0)
		close(src->fd);
	src->fd = -1;
	src->ready = NULL;
}

/* Adds a source whose descriptor was just made; on failure nothing is left of it. */
static int source_start(struct event_source *src, struct event_loop *loop)
{
	int rc;

	if (src->fd < 0) {
		rc = -errno;
		src->ready = NULL;
		return rc;
	}
	rc = event_add(loop, src, EVENT_READ);
	if (rc)
		source_release(src, loop);
	return rc;
}

static void timer_ready(void *opaque, unsigned events)
{
	struct event_timer *t = opaque;
	uint64_t expirations;

	(void)events;
	if (read(t->src.fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		t->fired(t->opaque);
}

int event_timer_init(struct event_timer *t, struct event_loop *loop, void (*fired)(void *opaque),
		     void *opaque)
{
	*t = (struct event_timer){.fired = fired, .opaque = opaque};
	t->src.ready = timer_ready;
	t->src.opaque = t;
	t->src.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return source_start(&t->src, loop);
}

void event_timer_set(struct event_timer *t, uint64_t monotonic_ns)
{
	struct itimerspec when = {
		.it_value = {
			.tv_sec = (time_t)(MIN(monotonic_ns, (uint64_t)INT64_MAX) / NS_PER_SEC),
			.tv_nsec = (long)(monotonic_ns % NS_PER_SEC)}};

	timerfd_settime(t->src.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void event_timer_release(struct event_timer *t, struct event_loop *loop)
{
	source_release(&t->src, loop);
}

static void wake_ready(void *opaque, unsigned events)
{
	struct event_wake *w = opaque;
	uint64_t count;

	(void)events;
	if (read(w->src.fd, &count, sizeof(count)) == sizeof(count))
		w->woken(w->opaque);
}

int event_wake_init(struct event_wake *w, struct event_loop *loop, void (*woken)(void *opaque),
		    void *opaque)
{
	*w = (struct event_wake){.woken = woken, .opaque = opaque};
	w->src.ready = wake_ready;
	w->src.opaque = w;
	w->src.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return source_start(&w->src, loop);
}

void event_wake_signal(struct event_wake *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->src.fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the counter is full, so the loop is awake */
}

void event_wake_release(struct event_wake *w, struct event_loop *loop)
{
	source_release(&w->src, loop);
}
