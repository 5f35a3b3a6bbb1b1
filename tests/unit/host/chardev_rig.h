/* SPDX-License-Identifier: Apache-2.0 */
/* A character device on real descriptors, with its loop on a thread of its own. */
#ifndef LODGE_TESTS_HOST_CHARDEV_RIG_H
#define LODGE_TESTS_HOST_CHARDEV_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "host/chardev.h"

struct chardev_rig {
	struct event_loop *loop;
	pthread_t thread;
	bool started;
	struct chardev *c;
	pthread_mutex_t lock; /* the user's */
	pthread_cond_t changed;
	unsigned readable, writable, losses, empty; /* calls */
	int loss_error;
};

/* cmocka's. */
int chardev_rig_setup(void **state);
int chardev_rig_teardown(void **state);

/* Makes the device on these descriptors (-1: none) and runs its loop. */
void chardev_rig_start(struct chardev_rig *f, int in, int out);

/* Runs the loop of a device that is there. */
void chardev_rig_run_loop(struct chardev_rig *f);

/* Stops the loop if it runs and frees the device, which has that long for what it still holds. */
void chardev_rig_stop(struct chardev_rig *f, int timeout_ms);

/* chardev_write, as a device calls it. */
size_t write_locked(struct chardev_rig *f, const void *bytes, size_t len);

/* Writes all, waiting for writable where it must, as a device does; reads as many, likewise. */
void write_all(struct chardev_rig *f, const uint8_t *bytes, size_t len);
void read_all(struct chardev_rig *f, uint8_t *bytes, size_t len);

void wait_for_loss(struct chardev_rig *f);

/* chardev_when_empty's callback, which counts in f->empty. */
void on_empty(void *opaque);

/* The next bytes of fd must be these. */
void expect_bytes(int fd, const char *text);

/* Byte i of a stream in which a lost byte shows, and its first len bytes: the caller frees them. */
uint8_t pattern(size_t i);
uint8_t *make_pattern(size_t len);

/* A pseudo-terminal, in raw mode: the master's and the slave's descriptor. */
void open_pty(int fds[2]);

/* Closes what is not -1. */
void close_pair(int fds[2]);

#define TEST(name) cmocka_unit_test_setup_teardown(name, chardev_rig_setup, chardev_rig_teardown)

#endif
