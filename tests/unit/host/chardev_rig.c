/* SPDX-License-Identifier: Apache-2.0 */
#include "chardev_rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void on_readable(void *opaque)
{
	struct chardev_rig *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->readable++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void on_writable(void *opaque)
{
	struct chardev_rig *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->writable++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void on_loss(void *opaque, int error)
{
	struct chardev_rig *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->losses++;
	f->loss_error = error;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void on_empty(void *opaque)
{
	struct chardev_rig *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->empty++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void *loop_main(void *opaque)
{
	struct chardev_rig *f = opaque;

	event_loop_run(f->loop);
	return NULL;
}

int chardev_rig_setup(void **state)
{
	struct chardev_rig *f = calloc(1, sizeof(*f));

	f->loop = event_loop_new(NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	*state = f;
	return 0;
}

void chardev_rig_run_loop(struct chardev_rig *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
	f->started = true;
}

void chardev_rig_start(struct chardev_rig *f, int in, int out)
{
	struct chardev_user user = {on_readable, on_writable, f};
	struct err e = ERR_INIT;

	f->c = chardev_new(f->loop, in, out, &e);
	assert_string_equal(e.text, "");
	assert_non_null(f->c);
	chardev_connect(f->c, &user);
	chardev_on_loss(f->c, on_loss, f);
	chardev_rig_run_loop(f);
}

void chardev_rig_stop(struct chardev_rig *f, int timeout_ms)
{
	if (f->started) {
		event_loop_stop(f->loop);
		pthread_join(f->thread, NULL);
		f->started = false;
	}
	chardev_free(f->c, timeout_ms);
	f->c = NULL;
}

int chardev_rig_teardown(void **state)
{
	struct chardev_rig *f = *state;

	chardev_rig_stop(f, 0);
	event_loop_free(f->loop);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
	return 0;
}

size_t write_locked(struct chardev_rig *f, const void *bytes, size_t len)
{
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = chardev_write(f->c, bytes, len);
	pthread_mutex_unlock(&f->lock);
	return n;
}

void write_all(struct chardev_rig *f, const uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&f->lock);
	while (len) {
		unsigned calls = f->writable;
		size_t n = chardev_write(f->c, bytes, len);

		bytes += n;
		len -= n;
		while (len && f->writable == calls)
			pthread_cond_wait(&f->changed, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
}

void read_all(struct chardev_rig *f, uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&f->lock);
	while (len) {
		unsigned calls = f->readable;
		size_t n = chardev_read(f->c, bytes, len > 7 ? 7 : len);

		bytes += n;
		len -= n;
		while (!n && f->readable == calls)
			pthread_cond_wait(&f->changed, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
}

void wait_for_loss(struct chardev_rig *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->losses)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void expect_bytes(int fd, const char *text)
{
	char got[256];
	size_t done = 0, len = strlen(text);

	while (done < len) {
		ssize_t n = read(fd, got + done, len - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	assert_memory_equal(got, text, len);
}

uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13);
}

uint8_t *make_pattern(size_t len)
{
	uint8_t *bytes = malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(i);
	return bytes;
}

static void make_raw(int tty)
{
	struct termios t;

	assert_int_equal(tcgetattr(tty, &t), 0);
	cfmakeraw(&t);
	assert_int_equal(tcsetattr(tty, TCSANOW, &t), 0);
}

void open_pty(int fds[2])
{
	fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(fds[0] >= 0);
	assert_int_equal(grantpt(fds[0]), 0);
	assert_int_equal(unlockpt(fds[0]), 0);
	fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY);
	assert_true(fds[1] >= 0);
	make_raw(fds[1]);
}

void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
