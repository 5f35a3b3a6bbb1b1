/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes is read in large pieces into one buffer and handed out frame by frame
 * from there: a call of the kernel brings many short frames, or a long one and the
 * next one's beginning.
 *
 *	buffer   |  used up  | len frame | len frame | len fra |  free  |
 *	                     begin                             end
 *
 * A frame is sent from where it lies. Where the socket takes only part of it, the rest
 * is kept and goes out before any other: a stream cannot be left in the middle of a
 * frame.
 */
#include "host/passt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"

#define PREFIX 4u

/* Holds any frame, and some more to be read at a time. */
#define BUFFER_SIZE (4u << 16)

/* Asked of the kernel, which gives what its administrator allows. */
#define SOCKET_BUFFER (4 << 20)

struct passt {
	struct netif netif;
	int fd;
	size_t begin, end; /* of what was read and not handed out */
	uint8_t rest[PREFIX + NETIF_FRAME_MAX];
	size_t rest_at, rest_len; /* of rest: what is still to be sent */
	uint8_t buffer[BUFFER_SIZE];
};

_Static_assert(BUFFER_SIZE >= 2 * (PREFIX + NETIF_FRAME_MAX), "a frame and more fit");

static struct passt *passt_of(struct netif *n)
{
	return container_of(n, struct passt, netif);
}

static void lost(struct passt *p)
{
	netif_lost(&p->netif, "passt has ended");
}

/* An error of the socket's, as the sender gets it. */
static int send_error(struct passt *p)
{
	if (errno == EAGAIN || errno == ENOBUFS)
		return -EAGAIN;
	lost(p);
	return -ENODEV;
}

static int flush(struct netif *n, unsigned queue)
{
	struct passt *p = passt_of(n);
	ssize_t done;

	(void)queue;
	while (p->rest_len) {
		done = send(p->fd, p->rest + p->rest_at, p->rest_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (done < 0)
			return send_error(p);
		p->rest_at += (size_t)done;
		p->rest_len -= (size_t)done;
	}
	return 0;
}

/* Keeps what of the pieces comes after the first skip bytes. */
static void keep(struct passt *p, const struct iovec *pieces, size_t count, size_t skip)
{
	p->rest_at = 0;
	for (size_t i = 0; i < count; i++) {
		size_t past = MIN(skip, pieces[i].iov_len);

		skip -= past;
		memcpy(p->rest + p->rest_len, (const uint8_t *)pieces[i].iov_base + past,
		       pieces[i].iov_len - past);
		p->rest_len += pieces[i].iov_len - past;
	}
}

static int send_frame(struct netif *n, unsigned queue, const struct netif_span *spans,
		      unsigned count)
{
	struct passt *p = passt_of(n);
	struct iovec pieces[NETIF_SPANS_MAX + 1];
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count + 1};
	uint8_t prefix[PREFIX];
	size_t len = 0;
	ssize_t done;
	int rc = flush(n, queue);

	if (rc)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		pieces[i + 1] = (struct iovec){spans[i].base, spans[i].len};
		len += spans[i].len;
	}
	for (unsigned i = 0; i < PREFIX; i++)
		prefix[i] = (uint8_t)(len >> (8 * (PREFIX - 1 - i)));
	pieces[0] = (struct iovec){prefix, PREFIX};
	done = sendmsg(p->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0)
		return send_error(p);
	keep(p, pieces, count + 1, (size_t)done);
	/* The rest is sent on by the next that sends, or by flush when there is room. */
	if (p->rest_len)
		netif_blocked(n, queue);
	return 0;
}

/* The length that stands at begin; false: it has not come yet. */
static bool next_len(const struct passt *p, size_t *len)
{
	const uint8_t *at = p->buffer + p->begin;

	*len = 0;
	if (p->end - p->begin < PREFIX)
		return false;
	for (unsigned i = 0; i < PREFIX; i++)
		*len = *len << 8 | at[i];
	return true;
}

static bool staged(struct netif *n, unsigned queue)
{
	const struct passt *p = passt_of(n);
	size_t len;

	(void)queue;
	return next_len(p, &len) && p->end - p->begin - PREFIX >= len;
}

/* Reads once. False: nothing more came, or never will. */
static bool read_more(struct passt *p)
{
	ssize_t got;

	memmove(p->buffer, p->buffer + p->begin, p->end - p->begin);
	p->end -= p->begin;
	p->begin = 0;
	got = recv(p->fd, p->buffer + p->end, BUFFER_SIZE - p->end, MSG_DONTWAIT);
	if (got > 0) {
		p->end += (size_t)got;
		return true;
	}
	if (!got || (errno != EAGAIN && errno != EINTR))
		lost(p);
	return false;
}

static int receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	struct passt *p = passt_of(n);

	for (;;) {
		/* The buffer has room for some that are too long. */
		if (next_len(p, len) && *len > NETIF_FRAME_MAX) {
			netif_lost(n, "passt sent something else than frames");
			return -EAGAIN;
		}
		if (staged(n, queue))
			break;
		if (n->why || !read_more(p))
			return -EAGAIN;
	}
	*frame = p->buffer + p->begin + PREFIX;
	return 0;
}

static void received(struct netif *n, unsigned queue)
{
	struct passt *p = passt_of(n);
	size_t len;

	(void)queue;
	next_len(p, &len);
	p->begin += PREFIX + len;
}

static void passt_free(struct netif *n)
{
	struct passt *p = passt_of(n);

	netif_close_ports(n);
	close(p->fd);
	free(p);
}

static const struct netif_ops passt_ops = {
	.send = send_frame,
	.flush = flush,
	.receive = receive,
	.received = received,
	.staged = staged,
	.free = passt_free,
};

struct netif *passt_connect(struct event_loop *loop, int fd, struct err *e)
{
	struct passt *p = calloc(1, sizeof(*p));
	int size = SOCKET_BUFFER;

	if (!p) {
		close(fd);
		err_errno(e, ENOMEM, "cannot use passt");
		return NULL;
	}
	p->netif.ops = &passt_ops;
	p->netif.loop = loop;
	p->netif.queues = 1;
	p->fd = fd;
	/* If it may not, the usual size does as well. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (!netif_open_ports(&p->netif, &p->fd, e))
		return &p->netif;
	passt_free(&p->netif);
	return NULL;
}
