/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets are never put into non-blocking mode where MSG_DONTWAIT does as well; only
 * for connect() is it needed, which would wait where the listener's queue is full.
 *
 * A line that is hung up on a vCPU's thread is closed at once, so that descriptors do
 * not wait for anybody, which also takes it out of the event loop. What remains of it
 * is forgotten by the I/O thread, which may just be looking at it.
 */
#include "host/portal_unix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/portal_unix_int.h"

/* Asked of the kernel, for packets as long as a guest may send. */
#define PACKETS_BUFFER (512 << 10)

_Static_assert(PORTAL_READ == EVENT_READ && PORTAL_WRITE == EVENT_WRITE, "one set of bits");
_Static_assert(sizeof(((struct sockaddr_un *)NULL)->sun_path) >=
		       PORTAL_PATH_MAX + sizeof("_4294967295"),
	       "any port's name fits");

void portal_enter(struct portal_unix *p)
{
	pthread_mutex_lock(p->portal.user.lock);
	p->looking = true;
}

void portal_exhausted(struct portal_unix *p, int error)
{
	if (p->exhausted || !p->portal.user.exhausted)
		return;
	p->exhausted = true;
	p->portal.user.exhausted(p->portal.user.opaque, error);
}

static void forget(struct line *l)
{
	event_remove(l->portal->loop, &l->src);
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
	l->portal->count--;
	free(l);
}

/* Listens again once there is room. */
static void listen_again(struct portal_unix *p)
{
	if (!p->full || p->count >= PORTAL_LINES_MAX)
		return;
	p->full = false;
	for (unsigned i = 0; i < ARRAY_LEN(p->listeners); i++)
		event_want(p->loop, &p->listeners[i].src, EVENT_READ);
}

static void watch_now(struct line *l)
{
	struct event_loop *loop = l->portal->loop;
	int rc = 0;

	if (l->src.added)
		rc = l->wanted != l->src.wanted ? event_want(loop, &l->src, l->wanted) : 0;
	else if (l->wanted)
		rc = event_add(loop, &l->src, l->wanted);
	if (rc) /* the host has no memory for it: its end will be seen at the next use */
		portal_exhausted(l->portal, -rc);
}

static void look_at_marks(struct portal_unix *p)
{
	while (p->marked) {
		struct line *l = p->marked;

		p->marked = l->next_marked;
		l->marked = false;
		if (l->state == LINE_DEAD)
			forget(l);
		else
			watch_now(l);
	}
	listen_again(p);
}

void portal_leave(struct portal_unix *p)
{
	look_at_marks(p);
	p->looking = false;
	pthread_mutex_unlock(p->portal.user.lock);
}

static void on_wake(void *opaque)
{
	portal_enter(opaque);
	portal_leave(opaque);
}

/* Under the user's lock. */
static void mark(struct line *l)
{
	struct portal_unix *p = l->portal;

	if (l->marked)
		return;
	if (!p->marked && !p->looking)
		event_wake_signal(&p->wake);
	l->marked = true;
	l->next_marked = p->marked;
	p->marked = l;
}

void portal_line_want(struct line *l, unsigned events)
{
	l->wanted = events;
	mark(l);
}

void portal_line_close(struct line *l)
{
	if (l->state == LINE_DEAD)
		return;
	close(l->src.fd);
	l->src.fd = -1;
	l->state = LINE_DEAD;
	mark(l);
}

static void on_line(void *opaque, unsigned events)
{
	struct line *l = opaque;
	struct portal_unix *p = l->portal;

	portal_enter(p);
	if (l->state == LINE_GREETING)
		portal_greeting(l);
	else if (l->state == LINE_OPEN && events & l->wanted)
		p->portal.user.ready(p->portal.user.opaque, &l->line, events & l->wanted);
	portal_leave(p);
}

struct line *portal_line_new(struct portal_unix *p, int fd, bool packets)
{
	struct line *l = calloc(1, sizeof(*l));
	int size = PACKETS_BUFFER;

	if (!l) {
		portal_exhausted(p, ENOMEM);
		close(fd);
		return NULL;
	}
	if (packets) /* if it may not, the usual size does for most */
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*l = (struct line){.portal = p, .line = {.packets = packets}, .state = LINE_OPEN};
	l->src = (struct event_source){.ready = on_line, .opaque = l, .fd = fd};
	l->next = p->lines;
	l->link = &p->lines;
	if (l->next)
		l->next->link = &l->next;
	p->lines = l;
	p->count++;
	return l;
}

static int dial(struct portal *portal, uint32_t port, bool packets, struct portal_line **line)
{
	struct portal_unix *p = portal_unix_of(portal);
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd, error;
	struct line *l;

	if (p->count >= PORTAL_LINES_MAX)
		return -ENOBUFS;
	fd = socket(AF_UNIX,
		    (packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error = errno;
		portal_exhausted(p, error);
		return -error;
	}
	snprintf(name.sun_path, sizeof(name.sun_path), "%s_%u", p->path, port);
	if (connect(fd, (const struct sockaddr *)&name, sizeof(name))) {
		error = errno;
		close(fd);
		return -error;
	}
	l = portal_line_new(p, fd, packets);
	*line = l ? &l->line : NULL;
	return l ? 0 : -ENOMEM;
}

static unsigned to_iovec(struct iovec *pieces, const struct portal_span *spans, unsigned count)
{
	count = MIN(count, PORTAL_SPANS_MAX);
	for (unsigned i = 0; i < count; i++)
		pieces[i] = (struct iovec){spans[i].base, spans[i].len};
	return count;
}

static long result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
}

static long send_spans(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		       unsigned count)
{
	struct iovec pieces[PORTAL_SPANS_MAX];
	const struct msghdr message = {.msg_iov = pieces,
				       .msg_iovlen = to_iovec(pieces, spans, count)};

	(void)p;
	return result(sendmsg(line_of(line)->src.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static long receive(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		    unsigned count)
{
	struct iovec pieces[PORTAL_SPANS_MAX];
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = to_iovec(pieces, spans, count)};

	(void)p;
	return result(recvmsg(line_of(line)->src.fd, &message, MSG_DONTWAIT));
}

static long packet_len(struct portal *p, struct portal_line *line)
{
	(void)p;
	return result(recv(line_of(line)->src.fd, NULL, 0, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC));
}

static bool deaf(struct portal *p, struct portal_line *line)
{
	struct pollfd poll_fd = {.fd = line_of(line)->src.fd};

	(void)p;
	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & (POLLHUP | POLLERR);
}

static int answer(struct portal *p, struct portal_line *line, uint32_t port)
{
	char words[GREETING_MAX];
	int len = snprintf(words, sizeof(words), "OK %u\n", port);
	const struct portal_span span = {words, (size_t)len};

	/* Nothing was sent on this socket before: it has room. */
	return send_spans(p, line, &span, 1) == len ? 0 : -EPIPE;
}

static void shut(struct portal *p, struct portal_line *line, unsigned events)
{
	int how = events == PORTAL_READ ? SHUT_RD : events == PORTAL_WRITE ? SHUT_WR : SHUT_RDWR;

	(void)p;
	shutdown(line_of(line)->src.fd, how);
}

static void watch(struct portal *p, struct portal_line *line, unsigned events)
{
	struct line *l = line_of(line);

	(void)p;
	if (l->wanted != events)
		portal_line_want(l, events);
}

static void hang_up(struct portal *p, struct portal_line *line)
{
	(void)p;
	portal_line_close(line_of(line));
}

static void free_all(struct portal *portal)
{
	struct portal_unix *p = portal_unix_of(portal);

	for (unsigned i = 0; i < ARRAY_LEN(p->listeners); i++)
		portal_unlisten(p, &p->listeners[i]);
	while (p->lines) {
		if (p->lines->src.fd >= 0)
			close(p->lines->src.fd);
		p->lines->src.fd = -1;
		forget(p->lines);
	}
	event_wake_release(&p->wake, p->loop);
	if (p->spare >= 0)
		close(p->spare);
	free(p->path);
	free(p);
}

static const struct portal_ops ops = {
	.dial = dial,
	.answer = answer,
	.send = send_spans,
	.receive = receive,
	.packet_len = packet_len,
	.deaf = deaf,
	.shut = shut,
	.watch = watch,
	.hang_up = hang_up,
	.free = free_all,
};

static int open_all(struct portal_unix *p, struct err *e)
{
	int rc = event_wake_init(&p->wake, p->loop, on_wake, p);

	if (rc)
		return err_errno(e, rc, "cannot watch %s", p->path);
	for (unsigned i = 0; !rc && i < ARRAY_LEN(p->listeners); i++)
		rc = portal_listen(p, &p->listeners[i], e);
	return rc;
}

struct portal *portal_unix_open(struct event_loop *loop, const char *path, struct err *e)
{
	struct portal_unix *p;

	if (!*path || strlen(path) > PORTAL_PATH_MAX) {
		err_set(e, EINVAL,
			"the socket %s cannot be: a socket's name is short: give up to %d "
			"bytes",
			path, PORTAL_PATH_MAX);
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	if (!p || !(p->path = strdup(path))) {
		free(p);
		err_errno(e, ENOMEM, "cannot open %s", path);
		return NULL;
	}
	p->portal.ops = &ops;
	p->loop = loop;
	p->listeners[0].src.fd = p->listeners[1].src.fd = -1;
	p->listeners[1].packets = true;
	p->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!open_all(p, e))
		return &p->portal;
	free_all(&p->portal);
	return NULL;
}
