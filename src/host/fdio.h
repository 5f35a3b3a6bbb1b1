/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing, without blocking, a descriptor that other processes share.
 *
 * O_NONBLOCK belongs to the open file description, which a shell shares with every
 * program it starts: setting it on a terminal or a pipe that was handed to us would
 * break those programs. So a pipe, a FIFO or a terminal is opened a second time, by
 * /proc/self/fd (or /dev/tty), for a description of our own. A socket needs none:
 * MSG_DONTWAIT is for each call. Regular files never block and are not opened again,
 * so that offset and O_APPEND stay shared. What is left (no permission to open it
 * again, unusual devices) is asked by poll() before each call, and written in pieces
 * of at most PIPE_BUF bytes, which a pipe that is ready takes whole; as others may
 * write in between, such a call can block, and is for the I/O thread only.
 *
 * Writing to a pipe without a reader raises SIGPIPE. lodge is a library: it may
 * neither die of it nor set a handler. The signal is directed at the writing thread,
 * so it is blocked around the write and taken back if it came. Threads that keep
 * SIGPIPE blocked save one system call a write.
 */
#ifndef LODGE_HOST_FDIO_H
#define LODGE_HOST_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum fdio_kind {
	FDIO_PLAIN,   /* never blocks: regular files, block devices, /dev/null */
	FDIO_PRIVATE, /* a description in non-blocking mode */
	FDIO_SOCKET,
	FDIO_SHARED, /* a description in blocking mode: poll() first */
};

struct fdio {
	int fd; /* ours; -1: none */
	enum fdio_kind kind;
	bool pipe; /* writing may raise SIGPIPE */
};

/* Makes f from fd, which stays the caller's; for writing or for reading. 0, or -errno with e set:
 * not open, not open for that. Any thread. */
int fdio_open(struct fdio *f, int fd, bool writing, struct err *e);

/* Closes f's descriptor. Idempotent. */
void fdio_close(struct fdio *f);

/* Whether calls on f are sure not to block; if not, they are for the I/O thread only. */
static inline bool fdio_never_blocks(const struct fdio *f)
{
	return f->kind != FDIO_SHARED;
}

/* Writes up to len bytes. Returns how many, or -errno; -EAGAIN: not now. Any thread. */
ssize_t fdio_write(const struct fdio *f, const void *bytes, size_t len);

/* Reads up to len bytes. Returns how many, 0 at the end of input, or -errno; -EAGAIN: not now. Any
 * thread. */
ssize_t fdio_read(const struct fdio *f, void *bytes, size_t len);

/* Waits until f can be written, at most timeout_ms. Any thread. */
void fdio_wait_writable(const struct fdio *f, int timeout_ms);

#endif
