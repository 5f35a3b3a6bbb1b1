/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A character device: the host's end of a serial line. Bytes the guest sends go to
 * a file descriptor, bytes that arrive on another go to the guest.
 *
 * Output is buffered and written by lines, by fullness, or a few milliseconds
 * after it came, so that a guest's byte does not cost a system call each. When the
 * reader on the host does not keep up, the buffer fills, chardev_write accepts less
 * and the device tells its guest that the line is busy: nothing is lost, and no
 * vCPU blocks. Input is taken from the host only while the last of it was used up.
 *
 * Descriptors that other processes share (a terminal, a pipe) are never switched
 * to non-blocking mode behind their back, and a reader that goes away never kills
 * this process with SIGPIPE: see host/fdio.h.
 */
#ifndef LODGE_HOST_CHARDEV_H
#define LODGE_HOST_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/event.h"

/* Bytes of output that are kept while the host's reader does not keep up. */
#define CHARDEV_OUT_SIZE 16384u

struct chardev;

/* The device at the guest's end. Called on the loop's thread, no lock held. */
struct chardev_user {
	void (*readable)(void *opaque); /* bytes wait: take them with chardev_read */
	void (*writable)(void *opaque); /* there is room again after a short chardev_write */
	void *opaque;
};

/* Makes a device that reads in (-1: none) and writes out (-1: output is dropped); both are
 * duplicated. NULL with e set on failure. Before the loop runs, or on its thread. */
struct chardev *chardev_new(struct event_loop *loop, int in, int out, struct err *e);

/* Writes out what is buffered, waiting at most timeout_ms for a slow reader, and frees the device.
 * After the loop has ended. Takes NULL. */
void chardev_free(struct chardev *c, int timeout_ms);

/* Connects the user, from when on input is read. Before the loop runs, or on its thread. */
void chardev_connect(struct chardev *c, const struct chardev_user *user);

/* Takes up to len bytes for output; returns how many were taken. After a short count, writable is
 * called when there is room (now and then also without need). Any thread, one at a time: the
 * user's lock sees to that, and may be held. */
size_t chardev_write(struct chardev *c, const void *bytes, size_t len);

/* chardev_write of one byte, in a few instructions when nothing is to be flushed; false where that
 * would give 0. */
bool chardev_put(struct chardev *c, uint8_t byte);

/* Writes out what is buffered, or has that done, without waiting for the end of a line. As
 * chardev_write. */
void chardev_flush(struct chardev *c);

/* Whether chardev_read has something to give: true stays so until it is called. Any thread. */
bool chardev_has_input(const struct chardev *c);

/* Gives up to len bytes of input; 0: none now, readable is called when some come. Any thread; may
 * be called with the user's lock held. */
size_t chardev_read(struct chardev *c, void *bytes, size_t len);

/* Has empty called, once, when no output is left: all was written, or is lost. Perhaps before this
 * returns. On the loop's thread. */
void chardev_when_empty(struct chardev *c, void (*empty)(void *opaque), void *opaque);

/* Closes both descriptors, so that whoever reads the other end sees the end; what is written later
 * is dropped. On the loop's thread, when empty was called. */
void chardev_close(struct chardev *c);

/* Has hung_up called when input has come to its end and the user has taken all of it: the
 * descriptors are closed then, as by chardev_detach. On the loop's thread, no lock held. Before the
 * loop runs. */
void chardev_on_hangup(struct chardev *c, void (*hung_up)(void *opaque), void *opaque);

/* Reads in and writes out from now on, as chardev_new; the device has none now, or was detached. 0,
 * or -errno with e set. On the loop's thread, after chardev_connect. */
int chardev_attach(struct chardev *c, int in, int out, struct err *e);

/* Closes both descriptors; output is dropped until others are attached. On the loop's thread. */
void chardev_detach(struct chardev *c);

/* Bytes that could not be written: the reader went away (EPIPE, EIO) or the disk is full (ENOSPC
 * and its like). Any thread. */
uint64_t chardev_lost(const struct chardev *c);

/* Has lost(opaque, error) called when the first byte is lost, with its errno, and never again: on
 * the loop's thread or from chardev_free, no lock held. Before the loop runs, or on its thread. */
void chardev_on_loss(struct chardev *c, void (*lost)(void *opaque, int error), void *opaque);

#endif
