/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer is filled where its driver's notification arrives: random bytes take less
 * time than handing the buffer to another thread. A driver gets at most so many
 * bytes a buffer (5.4.6.1 lets the device use part of one), so that no guest keeps
 * the I/O thread for long.
 */
#include "virtio/rng.h"

#include <string.h>

#define QUEUE      0
#define QUEUE_SIZE 64
#define BYTES_MAX  4096u
#define PIECE      256u

static uint32_t fill(struct virtio_rng *r, const struct virtq_chain *chain)
{
	uint8_t bytes[PIECE];
	uint32_t done = 0;
	size_t n;

	do {
		r->random(bytes, sizeof(bytes));
		n = virtq_chain_write(&r->device.queues[QUEUE].ring, chain, done, bytes,
				      sizeof(bytes));
		done += n;
	} while (n == sizeof(bytes) && done < BYTES_MAX);
	explicit_bzero(bytes, sizeof(bytes));
	return done;
}

/* Fills the device's chain if the limiter lets it; else it is held. */
static bool pass(struct virtio_rng *r)
{
	struct virtio_device *d = &r->device;

	r->held = !limiter_take(&r->limiter, MIN(d->chain.writable_len, BYTES_MAX));
	if (!r->held) {
		uint32_t len = fill(r, &d->chain);

		virtio_put(d, QUEUE, &d->chain, len);
		r->requests++;
		r->bytes += len;
	}
	return !r->held;
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_rng *r = container_of(d, struct virtio_rng, device);

	if (limiter_limits(&r->limiter)) /* what comes now is seen, or waits, without being told */
		virtq_want_kicks(&d->queues[queue].ring, false);
	if (r->held && !pass(r))
		return;
	while (virtio_take(d, queue, &d->chain)) {
		/* 5.4.6: buffers are to be writable, and nothing else. */
		if (d->chain.readable || !d->chain.writable) {
			virtio_need_reset(d);
			break;
		}
		if (!pass(r))
			break;
	}
	virtio_finish(d, queue);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_rng *r = container_of(d, struct virtio_rng, device);

	(void)queue;
	limiter_cancel(&r->limiter);
	r->held = false;
}

/* The thread of the clock's timers. */
static void limiter_ready(void *opaque)
{
	struct virtio_rng *r = opaque;

	pthread_mutex_lock(&r->device.lock);
	if (r->held)
		virtio_notify(&r->device, QUEUE);
	pthread_mutex_unlock(&r->device.lock);
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_rng, "requests", requests),
	VIRTIO_STAT(struct virtio_rng, "bytes", bytes),
	VIRTIO_STAT(struct virtio_rng, "throttled", limiter.refused),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_ENTROPY,
	.notified = notified,
	.stopped = stopped,
	.stats = stats,
};

void virtio_rng_init(struct virtio_rng *r, struct mem *mem, void (*random)(void *buf, size_t len),
		     struct clock *clock)
{
	const struct virtio_kind kind = {
		.ops = &ops,
		.features = VIRTIO_F_IN_ORDER,
		.queue_count = 1,
		.queue_size = QUEUE_SIZE,
	};

	virtio_device_init(&r->device, mem, &kind);
	r->random = random;
	r->held = false;
	r->requests = r->bytes = 0;
	limiter_init(&r->limiter, clock, limiter_ready, r);
}

void virtio_rng_limit(struct virtio_rng *r, const struct limiter_config *limits)
{
	pthread_mutex_lock(&r->device.lock);
	limiter_set(&r->limiter, &limits->bandwidth, &limits->ops);
	pthread_mutex_unlock(&r->device.lock);
}

void virtio_rng_release(struct virtio_rng *r)
{
	virtio_device_release(&r->device);
}
