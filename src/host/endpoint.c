/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pseudo-terminal's master end reports a hang-up while nobody has the slave open, for
 * ever: so the slave is kept open here, and what the guest sends waits in it for its
 * first reader.
 *
 * A socket is watched for the next connection only while there is none: others wait in
 * its backlog. So does one that there is no descriptor for, which is looked at again now
 * and then: watched, it would be reported without end.
 */
#include "host/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/time.h"

#define BACKLOG  16
#define AGAIN_NS 250000000u

struct endpoint {
	struct event_loop *loop;
	enum endpoint_kind kind;
	struct chardev *chardev;
	char *name;                   /* to be unlinked at the end; NULL: nothing */
	int slave;                    /* of a terminal; else -1 */
	struct event_source listener; /* fd -1: none */
	struct event_timer again;     /* to watch it once more; made (timed) with a socket only */
	bool timed;
	void (*changed)(void *opaque, bool open);
	void *opaque;
};

static int refuse(const char *path, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "cannot open the port's end %s: %s", path, why);
}

static int keep_name(struct endpoint *end, const char *path, struct err *e)
{
	end->name = strdup(path);
	if (end->name)
		return 0;
	unlink(path);
	return err_errno(e, ENOMEM, "cannot open the port's end %s", path);
}

static int open_file(struct endpoint *end, const char *path, struct err *e)
{
	/* Without waiting: nobody may ever open the other end of a FIFO. */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	if (fd < 0 && errno == ENXIO)
		return refuse(path, "it is a FIFO that nobody reads: start its reader first", e);
	if (fd < 0)
		return err_errno(e, errno, "cannot open the port's end %s", path);
	end->chardev = chardev_new(end->loop, -1, fd, e);
	close(fd);
	return end->chardev ? 0 : e->code;
}

/* Whether a socket of that name is one that nobody listens at any more. */
static bool is_left_behind(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool left = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) &&
		    errno == ECONNREFUSED;
	struct stat st;

	if (fd >= 0)
		close(fd);
	return left && !lstat(at->sun_path, &st) && S_ISSOCK(st.st_mode);
}

static int bind_to(int fd, const struct sockaddr_un *at)
{
	const struct sockaddr *addr = (const struct sockaddr *)at;

	if (!bind(fd, addr, sizeof(*at)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!is_left_behind(at) || unlink(at->sun_path))
		return -EADDRINUSE;
	return bind(fd, addr, sizeof(*at)) ? -errno : 0;
}

static void accepting(void *opaque, unsigned events);
static void watch_again(void *opaque);

static int open_socket(struct endpoint *end, const char *path, struct err *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int rc;

	if (strlen(path) >= sizeof(at.sun_path))
		return refuse(path, "a socket's name has up to 107 characters: give a shorter one",
			      e);
	strcpy(at.sun_path, path);
	end->listener = (struct event_source){.ready = accepting, .opaque = end};
	end->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (end->listener.fd < 0)
		return err_errno(e, errno, "cannot open the port's end %s", path);
	rc = bind_to(end->listener.fd, &at);
	if (rc == -EADDRINUSE)
		return refuse(path, "it exists or is in use: give another name, or remove it", e);
	if (!rc)
		rc = keep_name(end, path, e);
	if (!rc && listen(end->listener.fd, BACKLOG))
		rc = -errno;
	if (!rc)
		rc = event_timer_init(&end->again, end->loop, watch_again, end);
	if (rc)
		return err_errno(e, rc, "cannot open the port's end %s", path);
	end->timed = true;
	end->chardev = chardev_new(end->loop, -1, -1, e);
	return end->chardev ? 0 : e->code;
}

static int link_to(const char *slave, const char *path)
{
	char old[32] = "";

	if (!symlink(slave, path))
		return 0;
	if (errno != EEXIST)
		return -errno;
	/* A link to a terminal may be replaced, nothing else. */
	if (readlink(path, old, sizeof(old) - 1) < 0 || strncmp(old, "/dev/pts/", 9))
		return -EEXIST;
	return unlink(path) || symlink(slave, path) ? -errno : 0;
}

static int open_slave(struct endpoint *end, int master, const char *path)
{
	struct termios raw;
	char name[64];
	int rc;

	if (grantpt(master) || unlockpt(master))
		return -errno;
	rc = -ptsname_r(master, name, sizeof(name));
	if (rc)
		return rc;
	end->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (end->slave < 0 || tcgetattr(end->slave, &raw))
		return -errno;
	cfmakeraw(&raw);
	if (tcsetattr(end->slave, TCSANOW, &raw))
		return -errno;
	return link_to(name, path);
}

static int open_pty(struct endpoint *end, const char *path, struct err *e)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int rc;

	if (master < 0 || fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK)) {
		rc = err_errno(e, errno, "cannot make a pseudo-terminal");
		goto out;
	}
	rc = open_slave(end, master, path);
	if (rc == -EEXIST)
		rc = refuse(path, "it exists: give another name, or remove it", e);
	else if (rc)
		rc = err_errno(e, rc, "cannot make a pseudo-terminal at %s", path);
	else
		rc = keep_name(end, path, e);
	if (!rc) {
		end->chardev = chardev_new(end->loop, master, master, e);
		rc = end->chardev ? 0 : e->code;
	}
out:
	if (master >= 0)
		close(master);
	return rc;
}

struct endpoint *endpoint_new(struct event_loop *loop, enum endpoint_kind kind, const char *path,
			      struct err *e)
{
	static int (*const open_kind[])(struct endpoint *, const char *, struct err *) = {
		[ENDPOINT_FILE] = open_file,
		[ENDPOINT_SOCKET] = open_socket,
		[ENDPOINT_PTY] = open_pty,
	};
	struct endpoint *end = calloc(1, sizeof(*end));

	if (!end) {
		err_errno(e, ENOMEM, "cannot open the port's end %s", path);
		return NULL;
	}
	end->loop = loop;
	end->kind = kind;
	end->slave = -1;
	end->listener.fd = -1;
	if (open_kind[kind](end, path, e)) {
		endpoint_free(end, 0);
		return NULL;
	}
	return end;
}

void endpoint_free(struct endpoint *end, int timeout_ms)
{
	if (!end)
		return;
	if (end->listener.fd >= 0) {
		event_remove(end->loop, &end->listener);
		close(end->listener.fd);
	}
	if (end->timed)
		event_timer_release(&end->again, end->loop);
	if (end->name)
		unlink(end->name);
	chardev_free(end->chardev, timeout_ms);
	if (end->slave >= 0)
		close(end->slave);
	free(end->name);
	free(end);
}

struct chardev *endpoint_chardev(struct endpoint *end)
{
	return end->chardev;
}

bool endpoint_is_open(const struct endpoint *end)
{
	return end->kind != ENDPOINT_SOCKET;
}

/* Loop's thread. */
static void hung_up(void *opaque)
{
	struct endpoint *end = opaque;

	end->changed(end->opaque, false);
	event_want(end->loop, &end->listener, EVENT_READ);
}

/* Loop's thread. */
static void watch_again(void *opaque)
{
	struct endpoint *end = opaque;

	event_want(end->loop, &end->listener, EVENT_READ);
}

/* Loop's thread. */
static void accepting(void *opaque, unsigned events)
{
	struct endpoint *end = opaque;
	int fd = accept4(end->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int rc;

	(void)events;
	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	if (fd < 0) {
		event_want(end->loop, &end->listener, 0);
		event_timer_set(&end->again, time_monotonic_ns() + AGAIN_NS);
		return;
	}
	rc = chardev_attach(end->chardev, fd, fd, NULL);
	close(fd);
	if (rc)
		return;
	event_want(end->loop, &end->listener, 0);
	end->changed(end->opaque, true);
}

void endpoint_listen(struct endpoint *end, void (*changed)(void *opaque, bool open), void *opaque)
{
	if (end->kind != ENDPOINT_SOCKET)
		return;
	end->changed = changed;
	end->opaque = opaque;
	chardev_on_hangup(end->chardev, hung_up, end);
	event_add(end->loop, &end->listener, EVENT_READ);
}
