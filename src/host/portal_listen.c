/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callers of the host's side, up to the moment when they have said which port they
 * want. The line that says it is read to its end exactly, byte by byte: what follows
 * is the guest's.
 *
 * A call that there is no descriptor for is accepted by a spare one, and closed: left
 * in the queue it would be reported for ever.
 *
 * Whether a socket is left over from a monitor that was killed is asked of the kernel:
 * nobody listens to it, so connect() is refused. The directory is locked meanwhile, so
 * that two monitors which start at once do not both take the same name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/portal_unix_int.h"

#define BACKLOG 1024

/* CONNECT <port>\n, of len bytes. */
static bool parse(const char *words, size_t len, uint32_t *port)
{
	static const char command[] = "CONNECT ";
	size_t at = sizeof(command) - 1;
	uint64_t number = 0;

	if (len < at + 2 || memcmp(words, command, at) != 0 || words[len - 1] != '\n')
		return false;
	for (; at < len - 1; at++) {
		if (words[at] < '0' || words[at] > '9')
			return false;
		number = number * 10 + (uint64_t)(words[at] - '0');
		if (number > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)number;
	return true;
}

/* Reads more of what the caller says, up to the end of its line and not beyond. True: all is there,
 * or never will be. */
static bool listen_to(struct line *l)
{
	ssize_t n;

	while (l->said < sizeof(l->greeting)) {
		n = recv(l->src.fd, l->greeting + l->said,
			 l->line.packets ? sizeof(l->greeting) : 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		l->said += n > 0 ? (unsigned)n : 0;
		if (n <= 0 || l->line.packets || l->greeting[l->said - 1] == '\n')
			break;
	}
	return true;
}

void portal_greeting(struct line *l)
{
	struct portal_unix *p = l->portal;
	uint32_t port;

	if (!listen_to(l))
		return;
	if (!parse(l->greeting, l->said, &port)) {
		portal_line_close(l);
		return;
	}
	l->state = LINE_OPEN;
	portal_line_want(l, 0);
	if (!p->portal.user.called(p->portal.user.opaque, &l->line, port))
		portal_line_close(l);
}

/* No descriptor is left: the caller is told so by the end of its connection. */
static void refuse(struct listener *l)
{
	struct portal_unix *p = l->portal;
	int fd;

	portal_exhausted(p, errno);
	if (p->spare >= 0)
		close(p->spare);
	fd = accept4(l->src.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	p->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_all(struct portal_unix *p)
{
	p->full = true;
	for (unsigned i = 0; i < ARRAY_LEN(p->listeners); i++)
		event_want(p->loop, &p->listeners[i].src, 0);
}

static void accept_one(struct listener *l)
{
	struct line *line;
	int fd;

	if (l->portal->count >= PORTAL_LINES_MAX) {
		pause_all(l->portal);
		return;
	}
	fd = accept4(l->src.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			refuse(l);
		return;
	}
	line = portal_line_new(l->portal, fd, l->packets);
	if (!line)
		return;
	line->state = LINE_GREETING;
	portal_line_want(line, EVENT_READ);
}

static void on_call(void *opaque, unsigned events)
{
	struct listener *l = opaque;

	(void)events;
	portal_enter(l->portal);
	accept_one(l);
	portal_leave(l->portal);
}

/* Whether somebody listens to a socket. */
static bool is_in_use(const struct sockaddr_un *name, bool packets)
{
	int fd = socket(AF_UNIX,
			(packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)name, sizeof(*name)) &&
		       (errno == ECONNREFUSED || errno == ENOENT);

	if (fd >= 0)
		close(fd);
	return !refused;
}

/* Takes away what is left of an earlier socket. */
static int make_room(const struct listener *l, struct err *e)
{
	const char *path = l->name.sun_path;
	struct stat there;

	if (lstat(path, &there))
		return 0;
	if (!S_ISSOCK(there.st_mode))
		return err_set(e, EEXIST, "%s exists and is no socket: give another name", path);
	if (is_in_use(&l->name, l->packets))
		return err_set(e, EADDRINUSE,
			       "the socket %s is in use by another program: give another name",
			       path);
	if (unlink(path) && errno != ENOENT)
		return err_errno(e, errno, "cannot replace the socket %s", path);
	return 0;
}

static int bind_to(struct listener *l, struct err *e)
{
	int rc = make_room(l, e);

	if (rc)
		return rc;
	if (bind(l->src.fd, (const struct sockaddr *)&l->name, sizeof(l->name)) ||
	    lstat(l->name.sun_path, &l->made) || listen(l->src.fd, BACKLOG))
		return err_errno(e, errno, "cannot listen at %s", l->name.sun_path);
	return 0;
}

/* Locks the directory that a name lies in; -1: that cannot be, and there is no lock. */
static int lock_directory(const struct portal_unix *p)
{
	const char *slash = strrchr(p->path, '/');
	char *name = slash ? strndup(p->path, (size_t)(slash - p->path) + 1) : strdup(".");
	int fd = name ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(name);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

int portal_listen(struct portal_unix *p, struct listener *l, struct err *e)
{
	int lock, rc;

	l->portal = p;
	l->name.sun_family = AF_UNIX;
	snprintf(l->name.sun_path, sizeof(l->name.sun_path), "%s%s", p->path,
		 l->packets ? ".seqpacket" : "");
	l->src = (struct event_source){
		.ready = on_call,
		.opaque = l,
		.fd = socket(AF_UNIX,
			     (l->packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC |
				     SOCK_NONBLOCK,
			     0),
	};
	if (l->src.fd < 0)
		return err_errno(e, errno, "cannot listen at %s", l->name.sun_path);
	lock = lock_directory(p);
	rc = bind_to(l, e);
	if (lock >= 0)
		close(lock);
	if (rc)
		return rc;
	rc = event_add(p->loop, &l->src, EVENT_READ);
	return rc ? err_errno(e, rc, "cannot watch %s", l->name.sun_path) : 0;
}

void portal_unlisten(struct portal_unix *p, struct listener *l)
{
	struct stat there;

	if (l->src.fd < 0)
		return;
	event_remove(p->loop, &l->src);
	close(l->src.fd);
	l->src.fd = -1;
	if (l->made.st_ino && !lstat(l->name.sun_path, &there) && there.st_dev == l->made.st_dev &&
	    there.st_ino == l->made.st_ino)
		unlink(l->name.sun_path);
}
