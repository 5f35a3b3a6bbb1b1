/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A character device: the host's end of a serial line. Bytes the guest sends go to
 * a file descriptor, bytes that arrive on another go to the guest.
 *
 * Output is buffered and written by lines, by fullness, or a few milliseconds
 * after it came, so that a guest's byte does not cost a system call each. When the
 * reader on the host does not keep up, the buffer fills, chardev_write accepts less
 * and the device tells its guest that the line is busy: nothing is lost, and no
 * vCPU blocks. Input is read only while the device has room for it.
 *
 * Descriptors that other processes share (a terminal, a pipe) are never switched
 * to non-blocking mode behind their back.
 */
#ifndef LODGE_HOST_CHARDEV_H
#define LODGE_HOST_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/event.h"

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
 * After the loop has ended. */
void chardev_free(struct chardev *c, int timeout_ms);

/* Connects the user; before the loop runs. */
void chardev_connect(struct chardev *c, const struct chardev_user *user);

/* Takes up to len bytes for output; returns how many were taken. After a short count, writable is
 * called once when there is room. Any thread; may be called with the user's lock held. */
size_t chardev_write(struct chardev *c, const void *bytes, size_t len);

/* Gives up to len bytes of input; 0: none now, readable is called when some come. Any thread; may
 * be called with the user's lock held. */
size_t chardev_read(struct chardev *c, void *bytes, size_t len);

/* Bytes that could not be written because the reader went away (EPIPE, EIO). Any thread. */
uint64_t chardev_lost(const struct chardev *c);

#endif
