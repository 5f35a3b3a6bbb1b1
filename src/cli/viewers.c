/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/viewers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/listen.h"

#define LAST_MS 1000

int viewers_open(struct viewers *v, int listen, int to_guest)
{
	*v = (struct viewers){.listen = listen, .to_guest = to_guest};
	for (unsigned i = 0; i < VIEWERS_MAX; i++)
		v->viewer[i].fd = -1;
	v->ring = malloc(VIEWERS_RING);
	return v->ring ? 0 : -ENOMEM;
}

static void leave(struct viewer *w)
{
	close(w->fd);
	w->fd = -1;
}

/* The first byte that the ring still has. */
static uint64_t oldest(const struct viewers *v)
{
	return v->printed > VIEWERS_RING ? v->printed - VIEWERS_RING : 0;
}

/* Words that it has seen a part of stay as they are. */
static void note_loss(struct viewer *w, uint64_t lost)
{
	bool unseen = w->note_len && !w->note_at;
	int n;

	w->missed = unseen ? w->missed + lost : lost;
	n = snprintf(w->note, sizeof(w->note),
		     "\r\n[lodge: %llu bytes were passed over: too slow]\r\n",
		     (unsigned long long)w->missed);

	w->note_len = (size_t)n;
	w->note_at = 0;
}

/* The next bytes that it is to see. */
static size_t next(struct viewers *v, struct viewer *w, const char **bytes)
{
	size_t from, len;

	if ((w->note_at == w->note_len || !w->note_at) && w->at < oldest(v)) {
		note_loss(w, oldest(v) - w->at);
		w->at = oldest(v);
	}
	if (w->note_at < w->note_len) {
		*bytes = w->note + w->note_at;
		return w->note_len - w->note_at;
	}
	from = w->at % VIEWERS_RING;
	len = (size_t)(v->printed - w->at);
	*bytes = v->ring + from;
	return len < VIEWERS_RING - from ? len : VIEWERS_RING - from;
}

/* Sends what the socket takes now. */
static void show(struct viewers *v, struct viewer *w)
{
	const char *bytes;
	size_t len;

	while (w->fd >= 0 && (len = next(v, w, &bytes))) {
		ssize_t n = send(w->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			leave(w);
			return;
		}
		if (w->note_at < w->note_len)
			w->note_at += (size_t)n;
		else
			w->at += (uint64_t)n;
	}
}

void viewers_print(struct viewers *v, const char *bytes, size_t len)
{
	if (v->listen < 0)
		return;
	while (len) {
		size_t from = v->printed % VIEWERS_RING;
		size_t n = len < VIEWERS_RING - from ? len : VIEWERS_RING - from;

		memcpy(v->ring + from, bytes, n);
		v->printed += n;
		bytes += n;
		len -= n;
	}
	for (unsigned i = 0; i < VIEWERS_MAX; i++)
		if (v->viewer[i].fd >= 0)
			show(v, &v->viewer[i]);
}

size_t viewers_poll(struct viewers *v, struct pollfd *fds)
{
	const char *bytes;

	if (v->listen < 0)
		return 0;
	fds[0] = (struct pollfd){v->listen, POLLIN, 0};
	fds[1] = (struct pollfd){v->typed_len ? v->to_guest : -1, POLLOUT, 0};
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		struct viewer *w = &v->viewer[i];
		short events = 0;

		if (w->fd >= 0 && w->hears && !v->typed_len)
			events |= POLLIN;
		if (w->fd >= 0 && next(v, w, &bytes))
			events |= POLLOUT;
		fds[2 + i] = (struct pollfd){w->fd, events, 0};
	}
	return VIEWERS_FDS;
}

static void type(struct viewers *v)
{
	while (v->typed_len) {
		ssize_t n = write(v->to_guest, v->typed + v->typed_at, v->typed_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) /* the guest is gone */
			n = (ssize_t)v->typed_len;
		v->typed_at += (size_t)n;
		v->typed_len -= (size_t)n;
	}
}

static void hear(struct viewers *v, struct viewer *w)
{
	ssize_t n = recv(w->fd, v->typed, sizeof(v->typed), MSG_DONTWAIT);

	if (!n)
		w->hears = false;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		leave(w);
	if (n > 0) {
		v->typed_at = 0;
		v->typed_len = (size_t)n;
		type(v);
	}
}

static void welcome(struct viewers *v)
{
	static const char full[] = "lodge: the console has as many viewers as it can have\r\n";
	int fd;

	while ((fd = listen_accept(v->listen)) >= 0) {
		unsigned i = 0;

		while (i < VIEWERS_MAX && v->viewer[i].fd >= 0)
			i++;
		if (i == VIEWERS_MAX) {
			(void)!send(fd, full, strlen(full), MSG_NOSIGNAL);
			close(fd);
			continue;
		}
		v->viewer[i] = (struct viewer){.fd = fd, .hears = true, .at = oldest(v)};
		show(v, &v->viewer[i]);
	}
}

void viewers_polled(struct viewers *v, const struct pollfd *fds, size_t count)
{
	if (!count)
		return;
	if (fds[1].revents)
		type(v);
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		struct viewer *w = &v->viewer[i];
		short events = fds[2 + i].revents;

		if (w->fd < 0 || w->fd != fds[2 + i].fd)
			continue;
		if (events & POLLIN && !v->typed_len)
			hear(v, w);
		if (w->fd >= 0 && events & (POLLERR | POLLHUP) && !(events & POLLIN))
			leave(w);
		if (w->fd >= 0 && events & POLLOUT)
			show(v, w);
	}
	if (fds[0].revents)
		welcome(v);
}

/* For the rest of what was printed. */
static bool somebody_waits(struct viewers *v, struct pollfd *fds)
{
	const char *bytes;
	bool any = false;

	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		struct viewer *w = &v->viewer[i];

		fds[i] = (struct pollfd){w->fd >= 0 && next(v, w, &bytes) ? w->fd : -1, POLLOUT, 0};
		any |= fds[i].fd >= 0;
	}
	return any;
}

void viewers_close(struct viewers *v)
{
	struct pollfd fds[VIEWERS_MAX];

	if (v->listen < 0)
		return;
	welcome(v);
	while (somebody_waits(v, fds) && poll(fds, VIEWERS_MAX, LAST_MS) > 0)
		for (unsigned i = 0; i < VIEWERS_MAX; i++)
			if (fds[i].revents)
				show(v, &v->viewer[i]);
	for (unsigned i = 0; i < VIEWERS_MAX; i++)
		if (v->viewer[i].fd >= 0)
			leave(&v->viewer[i]);
	close(v->listen);
	v->listen = -1;
	free(v->ring);
	v->ring = NULL;
}
