/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/listen.h"

/* One request at a time: while its answer is not taken, the next is not read. */
struct control_client {
	int fd;
	char line[CONTROL_LINE];
	size_t len;
	char *answer; /* with its newline; NULL: none under way */
	size_t answer_len, sent;
};

void control_open(struct control *c, int listen, control_fn *answer, void *opaque)
{
	*c = (struct control){.listen = listen, .answer = answer, .opaque = opaque};
}

static void leave(struct control *c, unsigned i)
{
	struct control_client *k = c->client[i];

	close(k->fd);
	free(k->answer);
	free(k);
	c->client[i] = NULL;
}

size_t control_poll(struct control *c, struct pollfd *fds)
{
	unsigned room = 0;

	if (c->listen < 0)
		return 0;
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++) {
		const struct control_client *k = c->client[i];

		room += !k;
		fds[1 + i] = (struct pollfd){k ? k->fd : -1, k && k->answer ? POLLOUT : POLLIN, 0};
	}
	fds[0] = (struct pollfd){room ? c->listen : -1, POLLIN, 0};
	return CONTROL_FDS;
}

/* 0, or -1: it is gone. */
static int send_answer(struct control_client *k)
{
	while (k->sent < k->answer_len) {
		ssize_t n = send(k->fd, k->answer + k->sent, k->answer_len - k->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		k->sent += (size_t)n;
	}
	free(k->answer);
	k->answer = NULL;
	return 0;
}

/* Answers the lines that have come whole, as far as the answers are taken. */
static int serve(struct control *c, struct control_client *k)
{
	char *end;

	while (!k->answer && (end = memchr(k->line, '\n', k->len))) {
		size_t used = (size_t)(end - k->line) + 1;
		char *text;

		*end = '\0';
		text = c->answer(c->opaque, k->line);
		k->answer_len = text ? strlen(text) : 0;
		k->answer = text ? realloc(text, k->answer_len + 1) : NULL;
		if (!k->answer)
			return -1;
		k->answer[k->answer_len++] = '\n';
		k->sent = 0;
		memmove(k->line, k->line + used, k->len - used);
		k->len -= used;
		if (send_answer(k))
			return -1;
	}
	return 0;
}

static int hear(struct control *c, struct control_client *k)
{
	ssize_t n = recv(k->fd, k->line + k->len, sizeof(k->line) - k->len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (!n)
		return -1;
	k->len += (size_t)n;
	if (serve(c, k))
		return -1;
	return k->len == sizeof(k->line) && !k->answer ? -1 : 0; /* a line without an end */
}

static void welcome(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++) {
		int fd;

		if (c->client[i])
			continue;
		fd = listen_accept(c->listen);
		if (fd < 0)
			return;
		c->client[i] = calloc(1, sizeof(*c->client[i]));
		if (!c->client[i]) {
			close(fd);
			return;
		}
		c->client[i]->fd = fd;
	}
}

void control_polled(struct control *c, const struct pollfd *fds, size_t count)
{
	if (!count)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *k = c->client[i];
		short events = fds[1 + i].revents;
		int rc = 0;

		if (!k || k->fd != fds[1 + i].fd || !events)
			continue;
		if (k->answer)
			rc = events & POLLOUT ? send_answer(k) : -1;
		else
			rc = hear(c, k);
		if (!rc)
			rc = serve(c, k);
		if (rc)
			leave(c, i);
	}
	if (fds[0].revents)
		welcome(c);
}

void control_close(struct control *c)
{
	if (c->listen < 0)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i])
			leave(c, i);
	close(c->listen);
	c->listen = -1;
}
