/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of thing a descriptor is decides how it is read and written: fdio.h. */
#include "host/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"

/* Character devices of Linux's major number 1 that take and give bytes at once: null, zero, full
 * (Documentation/admin-guide/devices.txt). */
static bool is_memory_device(const struct stat *st)
{
	unsigned n = minor(st->st_rdev);

	return S_ISCHR(st->st_mode) && major(st->st_rdev) == 1 && (n == 3 || n == 5 || n == 7);
}

/* Opening the master side of a pseudo-terminal again makes another pseudo-terminal. */
static bool is_pty_master(int fd)
{
	unsigned number;

	return ioctl(fd, TIOCGPTN, &number) == 0;
}

static int open_again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* The controlling terminal, if fd is it: /dev/tty opens where the terminal's own file belongs to
 * another user, as after su. */
static int open_controlling(int fd, int flags)
{
	unsigned wanted, got;
	int tty;

	if (ioctl(fd, TIOCGDEV, &wanted))
		return -1;
	tty = open("/dev/tty", flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (tty >= 0 && (ioctl(tty, TIOCGDEV, &got) || got != wanted)) {
		close(tty);
		tty = -1;
	}
	return tty;
}

/* A description of our own for the pipe, FIFO or terminal behind fd; -1 if there is no way. */
static int open_private(int fd, const struct stat *st, int flags)
{
	int own = -1;

	if (S_ISFIFO(st->st_mode))
		return open_again(fd, flags);
	if (isatty(fd) && !is_pty_master(fd)) {
		own = open_again(fd, flags);
		if (own < 0)
			own = open_controlling(fd, flags);
	}
	return own;
}

static int check_mode(int fd, bool writing, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);
	int mode = flags & O_ACCMODE;

	if (flags < 0)
		return err_errno(e, errno, "cannot use file descriptor %d", fd);
	if ((flags & O_PATH) || mode == (writing ? O_RDONLY : O_WRONLY))
		return err_set(e, EBADF, "cannot use file descriptor %d: it is not open for %s", fd,
			       writing ? "writing" : "reading");
	return flags;
}

int fdio_open(struct fdio *f, int fd, bool writing, struct err *e)
{
	int flags = check_mode(fd, writing, e);
	struct stat st;

	*f = (struct fdio){.fd = -1};
	if (flags < 0)
		return flags;
	if (fstat(fd, &st))
		return err_errno(e, errno, "cannot use file descriptor %d", fd);
	f->pipe = writing && S_ISFIFO(st.st_mode);
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || is_memory_device(&st)) {
		f->kind = FDIO_PLAIN;
	} else if (S_ISSOCK(st.st_mode)) {
		f->kind = FDIO_SOCKET;
	} else {
		f->kind = FDIO_PRIVATE;
		f->fd = open_private(fd, &st, writing ? O_WRONLY : O_RDONLY);
		if (f->fd >= 0)
			return 0;
		f->kind = flags & O_NONBLOCK ? FDIO_PRIVATE : FDIO_SHARED;
	}
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (f->fd < 0)
		return err_errno(e, errno, "cannot duplicate file descriptor %d", fd);
	return 0;
}

void fdio_close(struct fdio *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static bool ready(const struct fdio *f, short events, int timeout_ms)
{
	struct pollfd p = {.fd = f->fd, .events = events};

	return poll(&p, 1, timeout_ms) > 0;
}

void fdio_wait_writable(const struct fdio *f, int timeout_ms)
{
	ready(f, POLLOUT, timeout_ms);
}

/* write(), or send() for a socket; SIGPIPE may come. */
static ssize_t write_some(const struct fdio *f, const void *bytes, size_t len)
{
	ssize_t n;

	do {
		n = f->kind == FDIO_SOCKET ? send(f->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT)
					   : write(f->fd, bytes, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t write_without_sigpipe(const struct fdio *f, const void *bytes, size_t len)
{
	const struct timespec now = {0, 0};
	sigset_t pipe_signal, before;
	ssize_t n;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	n = write_some(f, bytes, len);
	if (n == -EPIPE)
		while (sigtimedwait(&pipe_signal, NULL, &now) < 0 && errno == EINTR)
			;
	if (!sigismember(&before, SIGPIPE))
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

ssize_t fdio_write(const struct fdio *f, const void *bytes, size_t len)
{
	if (f->kind == FDIO_SHARED) {
		if (!ready(f, POLLOUT, 0))
			return -EAGAIN;
		len = MIN(len, PIPE_BUF);
	}
	return f->pipe ? write_without_sigpipe(f, bytes, len) : write_some(f, bytes, len);
}

ssize_t fdio_read(const struct fdio *f, void *bytes, size_t len)
{
	ssize_t n;

	if (f->kind == FDIO_SHARED && !ready(f, POLLIN, 0))
		return -EAGAIN;
	do {
		n = f->kind == FDIO_SOCKET ? recv(f->fd, bytes, len, MSG_DONTWAIT)
					   : read(f->fd, bytes, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
