/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output
 *
 *   vCPU --> ring, 64 KiB --> write(2) by the vCPU's thread: a line is whole, or the ring half full
 *                         \-> write(2) by the loop's thread: the timer, or the reader was slow
 *
 * The ring has one producer (the user's lock) and one consumer (out_lock). A producer appends
 * without any lock; to flush it only tries out_lock, so it never waits for the loop's thread.
 *
 * Bytes in the ring are never forgotten, because at least one of these holds:
 *   timer_set   the timer will fire on the loop's thread and flush. It is set when a byte finds it
 *               not set, and is not taken back when a flush came earlier: a busy stream costs one
 *               timer a few milliseconds, not one a line.
 *   waiting     the descriptor took no more; the loop's thread waits until it does, and flushes.
 * Each flag is cleared by the loop's thread before it looks at the ring, and read by a producer
 * after it changed the ring, all in sequentially consistent order: either the consumer sees the
 * byte or the producer sees the flag cleared. `short_count` is the same game the other way round:
 * a producer that found no room sets it and looks at the room again, the loop's thread makes room
 * and then takes it and calls writable.
 *
 * Input
 *
 *   read(2) by the loop's thread --> 4 KiB buffer --> chardev_read by any thread
 *
 * The buffer is filled only when it is empty, and the descriptor is not watched until then. The
 * user is told once a filling, takes what it has room for, and comes back for the rest by itself.
 */
#include "host/chardev.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"
#include "host/fdio.h"

#define OUT_HALF    (CHARDEV_OUT_SIZE / 2)
#define OUT_MASK    (CHARDEV_OUT_SIZE - 1)
#define FLUSH_DELAY (5 * NS_PER_MS)
#define IN_SIZE     4096u

struct chardev {
	struct event_loop *loop;
	struct chardev_user user; /* set before the loop runs */
	struct event_wake wake;   /* the loop's thread is to look at its flags */

	/* Output. head: producer's, tail: consumer's; both count bytes since ever, modulo 2^32. */
	_Atomic uint32_t head;
	_Atomic uint32_t tail;
	_Atomic bool timer_set;
	_Atomic bool waiting;
	_Atomic bool short_count;
	_Atomic uint64_t lost;
	_Atomic int loss_error; /* errno of the first loss; 0: none */
	struct event_timer timer;
	pthread_mutex_t out_lock; /* guards out_gone and the consumer's role */
	bool out_gone;            /* nobody will ever read it: what comes is lost */
	struct fdio out;
	struct event_source out_src; /* loop's thread; wanted while waiting */

	/* Input. */
	pthread_mutex_t in_lock;   /* guards in_at, in_paused and in_bytes */
	_Atomic uint32_t in_count; /* bytes left; changed under in_lock */
	uint32_t in_at;
	bool in_paused;
	struct fdio in; /* loop's thread */
	struct event_source in_src;

	/* Loop's thread. */
	void (*on_loss)(void *opaque, int error);
	void *on_loss_opaque;
	bool loss_told;
	void (*on_empty)(void *opaque); /* NULL: nobody waits for it */
	void *on_empty_opaque;
	void (*hung_up)(void *opaque); /* NULL: nobody wants to know */
	void *hung_up_opaque;

	uint8_t in_bytes[IN_SIZE];
	uint8_t out_bytes[CHARDEV_OUT_SIZE];
};

static uint32_t out_used(struct chardev *c)
{
	uint32_t tail = atomic_load(&c->tail);

	return atomic_load(&c->head) - tail;
}

static void lose(struct chardev *c, uint32_t count, int error)
{
	int none = 0;

	atomic_fetch_add(&c->lost, count);
	atomic_compare_exchange_strong(&c->loss_error, &none, error);
}

/* A full disk may have room again later; anything else is the end of this output. */
static bool may_recover(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* Writes out the ring until it is empty or the descriptor takes no more, which it returns true
 * for. Holds out_lock. */
static bool flush_blocks(struct chardev *c)
{
	uint32_t tail = atomic_load(&c->tail);
	uint32_t used;

	while ((used = atomic_load(&c->head) - tail)) {
		uint32_t at = tail & OUT_MASK;
		uint32_t run = MIN(used, CHARDEV_OUT_SIZE - at);
		ssize_t n = run;

		if (c->out_gone)
			n = -EPIPE;
		else if (c->out.fd >= 0)
			n = fdio_write(&c->out, c->out_bytes + at, run);
		if (n == -EAGAIN)
			return true;
		if (n <= 0) {
			int error = n ? (int)-n : EIO;

			lose(c, run, error);
			c->out_gone = !may_recover(error);
			n = run;
		}
		tail += (uint32_t)n;
		atomic_store(&c->tail, tail);
	}
	return false;
}

static void arm_timer(struct chardev *c)
{
	if (!atomic_load(&c->timer_set) && !atomic_exchange(&c->timer_set, true))
		event_timer_set(&c->timer, time_monotonic_ns() + FLUSH_DELAY);
}

/* The producer's flush: writes now if that cannot block, and leaves it to the loop's thread
 * otherwise. */
static void flush_now(struct chardev *c)
{
	if (atomic_load(&c->waiting))
		return;
	if (pthread_mutex_trylock(&c->out_lock)) {
		arm_timer(c);
		return;
	}
	if (!fdio_never_blocks(&c->out)) {
		if (out_used(c) >= OUT_HALF)
			event_wake_signal(&c->wake);
		else
			arm_timer(c);
	} else if (flush_blocks(c)) {
		atomic_store(&c->waiting, true);
		event_wake_signal(&c->wake);
	} else if (atomic_load(&c->loss_error) && !atomic_load(&c->timer_set)) {
		arm_timer(c); /* for the loss to be told on the loop's thread */
	}
	pthread_mutex_unlock(&c->out_lock);
}

/* Copies what fits into the ring. */
static size_t append(struct chardev *c, const uint8_t *bytes, size_t len)
{
	uint32_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
	uint32_t room = CHARDEV_OUT_SIZE - (head - atomic_load(&c->tail));
	uint32_t n = (uint32_t)MIN(len, room);
	uint32_t at = head & OUT_MASK;
	uint32_t first = MIN(n, CHARDEV_OUT_SIZE - at);

	memcpy(c->out_bytes + at, bytes, first);
	memcpy(c->out_bytes, bytes + first, n - first);
	atomic_store(&c->head, head + n);
	return n;
}

/* Tries to make room in a full ring; false if the user must wait for writable. */
static bool make_room(struct chardev *c)
{
	flush_now(c);
	if (out_used(c) < CHARDEV_OUT_SIZE)
		return true;
	atomic_store(&c->short_count, true);
	return out_used(c) < CHARDEV_OUT_SIZE && atomic_exchange(&c->short_count, false);
}

size_t chardev_write(struct chardev *c, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	size_t done = append(c, from, len);

	while (done < len && make_room(c))
		done += append(c, from + done, len - done);
	if (!done)
		return 0;
	if (out_used(c) >= OUT_HALF || memchr(from, '\n', done))
		flush_now(c);
	else
		arm_timer(c);
	return done;
}

static __attribute__((noinline)) bool put_slowly(struct chardev *c, uint8_t byte)
{
	return chardev_write(c, &byte, 1);
}

bool chardev_put(struct chardev *c, uint8_t byte)
{
	uint32_t head = atomic_load_explicit(&c->head, memory_order_relaxed);

	if (byte == '\n' || head - atomic_load(&c->tail) >= OUT_HALF)
		return put_slowly(c, byte);
	c->out_bytes[head & OUT_MASK] = byte;
	atomic_store(&c->head, head + 1);
	if (!atomic_load(&c->timer_set))
		arm_timer(c);
	return true;
}

void chardev_flush(struct chardev *c)
{
	if (out_used(c))
		flush_now(c);
}

uint64_t chardev_lost(const struct chardev *c)
{
	return atomic_load(&c->lost);
}

/* Loop's thread: watches for room in the descriptor, or stops watching. */
static void watch_out(struct chardev *c, bool on)
{
	if (on && !c->out_src.added) {
		c->out_src.fd = c->out.fd;
		if (event_add(c->loop, &c->out_src, EVENT_WRITE))
			arm_timer(c); /* no memory: try again later */
	} else if (c->out_src.added && on != (c->out_src.wanted != 0)) {
		event_want(c->loop, &c->out_src, on ? EVENT_WRITE : 0);
	}
}

static void tell_loss(struct chardev *c)
{
	int error = atomic_load(&c->loss_error);

	if (!error || c->loss_told)
		return;
	c->loss_told = true;
	if (c->on_loss)
		c->on_loss(c->on_loss_opaque, error);
}

/* A user that was cut short still has something to write. */
static void tell_empty(struct chardev *c)
{
	void (*empty)(void *opaque) = c->on_empty;

	if (!empty || out_used(c) || atomic_load(&c->short_count))
		return;
	c->on_empty = NULL;
	empty(c->on_empty_opaque);
}

/* Loop's thread: writes out what there is, waits for the descriptor if need be, and tells the
 * user of the room that came of it. */
static void drain(struct chardev *c)
{
	bool blocked;

	pthread_mutex_lock(&c->out_lock);
	do {
		blocked = flush_blocks(c);
		atomic_store(&c->waiting, blocked);
	} while (!blocked && out_used(c));
	watch_out(c, blocked);
	pthread_mutex_unlock(&c->out_lock);
	tell_loss(c);
	if (out_used(c) < CHARDEV_OUT_SIZE && atomic_exchange(&c->short_count, false) &&
	    c->user.writable)
		c->user.writable(c->user.opaque);
	tell_empty(c);
}

static void out_ready(void *opaque, unsigned events)
{
	(void)events;
	drain(opaque);
}

static void timer_fired(void *opaque)
{
	struct chardev *c = opaque;

	atomic_store(&c->timer_set, false);
	drain(c);
}

/* Loop's thread: no more input will come. */
static void end_input(struct chardev *c)
{
	event_remove(c->loop, &c->in_src);
	fdio_close(&c->in);
}

/* Loop's thread: pauses the descriptor while the user has not taken all. */
static void watch_in(struct chardev *c)
{
	bool paused;

	if (!c->in_src.added)
		return;
	pthread_mutex_lock(&c->in_lock);
	paused = c->in_paused = atomic_load(&c->in_count) != 0;
	pthread_mutex_unlock(&c->in_lock);
	if (paused != (c->in_src.wanted == 0))
		event_want(c->loop, &c->in_src, paused ? 0 : EVENT_READ);
}

/* What is buffered for the other end goes out first, as far as it takes it. */
static void hang_up(struct chardev *c)
{
	if (!c->hung_up) {
		end_input(c);
		return;
	}
	drain(c);
	chardev_detach(c);
	c->hung_up(c->hung_up_opaque);
}

static void in_ready(void *opaque, unsigned events)
{
	struct chardev *c = opaque;
	uint8_t bytes[IN_SIZE];
	ssize_t n;

	(void)events;
	if (atomic_load(&c->in_count)) {
		watch_in(c);
		return;
	}
	/* Only this thread fills, and only an empty buffer: no lock is held while reading. */
	n = fdio_read(&c->in, bytes, sizeof(bytes));
	if (n == -EAGAIN)
		return;
	if (n <= 0) { /* the end, or a terminal that hung up */
		hang_up(c);
		return;
	}
	pthread_mutex_lock(&c->in_lock);
	memcpy(c->in_bytes, bytes, (size_t)n);
	c->in_at = 0;
	atomic_store(&c->in_count, (uint32_t)n);
	pthread_mutex_unlock(&c->in_lock);
	if (c->user.readable)
		c->user.readable(c->user.opaque);
	watch_in(c);
}

bool chardev_has_input(const struct chardev *c)
{
	return atomic_load(&c->in_count) != 0;
}

size_t chardev_read(struct chardev *c, void *bytes, size_t len)
{
	bool resume = false;
	uint32_t left;

	if (!atomic_load_explicit(&c->in_count, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&c->in_lock);
	left = atomic_load(&c->in_count);
	len = MIN(len, left);
	memcpy(bytes, c->in_bytes + c->in_at, len);
	c->in_at += (uint32_t)len;
	atomic_store(&c->in_count, left - (uint32_t)len);
	if (left == len && c->in_paused) {
		c->in_paused = false;
		resume = true;
	}
	pthread_mutex_unlock(&c->in_lock);
	if (resume)
		event_wake_signal(&c->wake);
	return len;
}

static void woken(void *opaque)
{
	struct chardev *c = opaque;

	drain(c);
	watch_in(c);
}

static int open_ends(struct chardev *c, int in, int out, struct err *e)
{
	int rc = 0;

	if (in >= 0)
		rc = fdio_open(&c->in, in, false, e);
	if (!rc && out >= 0)
		rc = fdio_open(&c->out, out, true, e);
	if (rc)
		return rc;
	rc = event_wake_init(&c->wake, c->loop, woken, c);
	if (!rc)
		rc = event_timer_init(&c->timer, c->loop, timer_fired, c);
	return rc ? err_errno(e, rc, "cannot make a character device") : 0;
}

struct chardev *chardev_new(struct event_loop *loop, int in, int out, struct err *e)
{
	struct chardev *c = calloc(1, sizeof(*c));

	if (!c) {
		err_errno(e, ENOMEM, "cannot make a character device");
		return NULL;
	}
	c->loop = loop;
	pthread_mutex_init(&c->out_lock, NULL);
	pthread_mutex_init(&c->in_lock, NULL);
	c->in.fd = -1;
	c->out.fd = -1;
	c->in_src = (struct event_source){.ready = in_ready, .opaque = c, .fd = -1};
	c->out_src = (struct event_source){.ready = out_ready, .opaque = c, .fd = -1};
	if (open_ends(c, in, out, e)) {
		chardev_free(c, 0);
		return NULL;
	}
	return c;
}

void chardev_connect(struct chardev *c, const struct chardev_user *user)
{
	c->user = *user;
	if (c->in.fd < 0 || c->in_src.added)
		return;
	c->in_src.fd = c->in.fd;
	event_add(c->loop, &c->in_src, EVENT_READ);
}

void chardev_on_hangup(struct chardev *c, void (*hung_up)(void *opaque), void *opaque)
{
	c->hung_up = hung_up;
	c->hung_up_opaque = opaque;
}

int chardev_attach(struct chardev *c, int in, int out, struct err *e)
{
	struct fdio to;
	int rc = fdio_open(&c->in, in, false, e);

	if (!rc)
		rc = fdio_open(&to, out, true, e);
	if (!rc) {
		c->in_src.fd = c->in.fd;
		rc = event_add(c->loop, &c->in_src, EVENT_READ);
		if (rc)
			fdio_close(&to);
	}
	if (rc) {
		fdio_close(&c->in);
		return rc;
	}
	drain(c); /* what was for nobody */
	pthread_mutex_lock(&c->out_lock);
	c->out = to;
	c->out_gone = false;
	pthread_mutex_unlock(&c->out_lock);
	return 0;
}

void chardev_detach(struct chardev *c)
{
	chardev_close(c);
	pthread_mutex_lock(&c->out_lock);
	c->out_gone = false;
	pthread_mutex_unlock(&c->out_lock);
	drain(c); /* to nowhere */
}

void chardev_on_loss(struct chardev *c, void (*lost)(void *opaque, int error), void *opaque)
{
	c->on_loss = lost;
	c->on_loss_opaque = opaque;
}

void chardev_when_empty(struct chardev *c, void (*empty)(void *opaque), void *opaque)
{
	c->on_empty = empty;
	c->on_empty_opaque = opaque;
	drain(c);
}

void chardev_close(struct chardev *c)
{
	end_input(c);
	pthread_mutex_lock(&c->out_lock);
	event_remove(c->loop, &c->out_src);
	fdio_close(&c->out);
	pthread_mutex_unlock(&c->out_lock);
}

void chardev_free(struct chardev *c, int timeout_ms)
{
	uint64_t end = time_monotonic_ns() + (uint64_t)MAX(timeout_ms, 0) * NS_PER_MS;
	uint64_t now;

	if (!c)
		return;
	while (flush_blocks(c) && (now = time_monotonic_ns()) < end)
		fdio_wait_writable(&c->out, (int)((end - now + NS_PER_MS - 1) / NS_PER_MS));
	if (out_used(c))
		lose(c, out_used(c), ETIMEDOUT);
	tell_loss(c);
	event_remove(c->loop, &c->in_src);
	event_remove(c->loop, &c->out_src);
	event_timer_release(&c->timer, c->loop);
	event_wake_release(&c->wake, c->loop);
	fdio_close(&c->in);
	fdio_close(&c->out);
	pthread_mutex_destroy(&c->out_lock);
	pthread_mutex_destroy(&c->in_lock);
	free(c);
}
