/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is a head of three words (request, flags, length of the payload), then the
 * payload. The socket is a stream: an answer may come in pieces, and bytes beyond it
 * would be taken for the next one's, so whoever asks next finds them wrong.
 */
#include "host/vhost_message.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"

#define FLAG_VERSION    1u
#define FLAG_VERSIONS   3u
#define FLAG_REPLY      4u
#define FLAG_NEED_REPLY 8u

struct head {
	uint32_t request, flags, size;
};

static const char gone[] = "it has ended";
static const char silent[] = "it does not answer";
static const char nonsense[] = "it answers what cannot be";

/* Waits until the socket is ready for that; NULL, or what is wrong. */
static const char *wait_for(int fd, short events, uint64_t end)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = time_monotonic_ns();
		uint64_t left = now < end ? (end - now) / NS_PER_MS + 1 : 0;
		/* Also when the time is over: this thread may have been kept from running, and what
		 * it waits for be there. */
		int n = poll(&p, 1, (int)MIN(left, 1000000u));

		if (n > 0)
			return NULL;
		if (n < 0 && errno != EINTR)
			return gone;
		if (!left)
			return silent;
	}
}

static const char *send_message(int fd, const struct vhost_message *m, uint32_t flags)
{
	struct head head = {m->request, FLAG_VERSION | flags, m->size};
	struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)m->payload, m->size}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
	} control = {{0}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = m->size ? 2 : 1};
	const char *wrong;
	ssize_t n;

	assert(m->size <= VHOST_PAYLOAD_MAX && m->fd_count <= VHOST_FDS_MAX);
	if (m->fd_count) {
		size_t len = sizeof(int) * m->fd_count;
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(len);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(len);
		memcpy(CMSG_DATA(c), m->fds, len);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		wrong = n < 0 && errno == EAGAIN ? wait_for(fd, POLLOUT, m->end) : NULL;
	} while (n < 0 && (errno == EINTR || errno == EAGAIN) && !wrong);
	if (wrong)
		return wrong;
	/* A stream socket takes so little whole or not at all. */
	return n == (ssize_t)(sizeof(head) + m->size) ? NULL : gone;
}

/* Closes descriptors that came along; whether there were any. */
static int close_fds(struct msghdr *msg)
{
	int any = msg->msg_flags & MSG_CTRUNC ? 1 : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			close(fd);
			any = 1;
		}
	}
	return any;
}

static const char *receive(int fd, void *buf, size_t len, uint64_t end)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
	} control;
	size_t done = 0;

	while (done < len) {
		struct iovec part = {(uint8_t *)buf + done, len - done};
		struct msghdr msg = {.msg_iov = &part,
				     .msg_iovlen = 1,
				     .msg_control = control.bytes,
				     .msg_controllen = sizeof(control.bytes)};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		const char *wrong = NULL;

		if (n > 0 && close_fds(&msg))
			return nonsense;
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return gone;
		if (n < 0)
			wrong = wait_for(fd, POLLIN, end);
		else
			done += (size_t)n;
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *receive_answer(int fd, const struct vhost_message *m, void *answer,
				  uint32_t size)
{
	struct head head;
	const char *wrong = receive(fd, &head, sizeof(head), m->end);

	if (wrong)
		return wrong;
	if (head.request != m->request || head.size != size ||
	    (head.flags & (FLAG_VERSIONS | FLAG_REPLY)) != (FLAG_VERSION | FLAG_REPLY))
		return nonsense;
	return receive(fd, answer, size, m->end);
}

const char *vhost_message_send(int fd, const struct vhost_message *m)
{
	return send_message(fd, m, 0);
}

const char *vhost_message_order(int fd, const struct vhost_message *m)
{
	const char *wrong = send_message(fd, m, FLAG_NEED_REPLY);
	uint64_t failed = 0;

	if (!wrong)
		wrong = receive_answer(fd, m, &failed, sizeof(failed));
	return !wrong && failed ? "it refuses a request" : wrong;
}

const char *vhost_message_ask(int fd, const struct vhost_message *m, void *answer, uint32_t size)
{
	const char *wrong = send_message(fd, m, 0);

	return wrong ? wrong : receive_answer(fd, m, answer, size);
}
