/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request:
 *
 *	serve()      takes chains and has them checked (blk_request.c); what the rate
 *	             limiter does not let pass is held, and nothing more taken of that
 *	             queue until limiter_ready()
 *	begin()      hands it to a worker, quick ones in batches; what the host has in
 *	             its page cache is read right there, and a single small write done
 *	run()        on a worker's thread, without lock: the host's calls
 *	complete()   status, used, interrupt; on that same thread, with the lock
 *
 * Each request has its memory to itself from a pool as large as all queues; it is
 * touched only as far as the driver has ever had requests under way.
 *
 * Another disk takes the place of the first (virtio_blk_swap) when none is under way
 * either; what the limiter holds is checked again, by the new disk's size.
 *
 * A reset waits until no request is under way, since the host's kernel may be writing
 * to guest memory for it; the lock is free meanwhile.
 *
 * The cache: with VIRTIO_BLK_F_CONFIG_WCE the driver says whether a write that is done
 * may still be lost until the next flush ("writeback"); without it, it may be if the
 * driver has VIRTIO_BLK_F_FLUSH. Where it may not, each write is flushed (5.2.6.2).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "virtio/blk_int.h"

/* Places in struct virtio_blk_config. */
#define CONFIG_CAPACITY           0
#define CONFIG_SEG_MAX            12
#define CONFIG_BLK_SIZE           20
#define CONFIG_PHYSICAL_BLOCK_EXP 24
#define CONFIG_WRITEBACK          32
#define CONFIG_NUM_QUEUES         34
#define CONFIG_DISCARD_SECTORS    36
#define CONFIG_DISCARD_SEG        40
#define CONFIG_DISCARD_ALIGNMENT  44
#define CONFIG_ZEROES_SECTORS     48
#define CONFIG_ZEROES_SEG         52
#define CONFIG_ZEROES_MAY_UNMAP   56

/* Quick requests that one worker gets together: more of them would keep the first waiting. */
#define BATCH_MAX     16u
#define BATCH_LEN_MAX (128u << 10)

/* A write that took longer has waited for the host's disk. */
#define WAITED_NS   (500 * NS_PER_US)
#define AWAY_FACTOR 100u

#define PHYSICAL_BLOCK 4096u /* what suits the host best */

static struct virtio_blk *blk_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_blk, device);
}

bool blk_is_through(const struct virtio_blk *b)
{
	if (virtio_has(&b->device, BLK_F_CONFIG_WCE))
		return !b->config[CONFIG_WRITEBACK];
	return !virtio_has(&b->device, BLK_F_FLUSH);
}

static void tell_failure(struct virtio_blk *b, const char *what, int error)
{
	if (b->told)
		return;
	b->told = true;
	if (b->failed)
		b->failed(b->opaque, what, error);
}

static struct blk_request *get_request(struct virtio_blk *b)
{
	struct blk_request *r = b->free_requests;

	if (r) {
		b->free_requests = r->next;
		return r;
	}
	if (b->fresh == b->device.queue_count * BLK_QUEUE_SIZE)
		return NULL;
	return &b->requests[b->fresh++];
}

static void put_request(struct virtio_blk *b, struct blk_request *r)
{
	r->next = b->free_requests;
	b->free_requests = r;
}

static void count(const struct blk_request *r, uint8_t status, uint64_t now)
{
	struct blk_counts *c = &r->blk->counts;

	c->errors += r->error != 0;
	c->refused += status != BLK_OK && !r->error;
	if (status != BLK_OK)
		return;
	switch (r->type) {
	case BLK_IN:
		c->reads++;
		c->read_bytes += r->len;
		virtio_time_add(&c->read_time, now - r->taken);
		break;
	case BLK_OUT:
		c->writes++;
		c->write_bytes += r->len;
		virtio_time_add(&c->write_time, now - r->taken);
		break;
	case BLK_FLUSH:
		c->flushes++;
		break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		c->discards++;
		break;
	}
}

/* The end of a request, at that time, whose data was written to the guest if it has any and status
 * is OK. */
static void complete(struct blk_request *r, uint8_t status, uint64_t now)
{
	struct virtio_blk *b = r->blk;
	struct virtq *ring = &b->device.queues[r->queue].ring;
	uint64_t at = r->chain.writable_len - BLK_STATUS_SIZE;
	uint64_t written = status == BLK_OK || !at ? r->chain.writable_len : 0;

	if (r->error)
		tell_failure(b, blk_request_name(r), -r->error);
	count(r, status, now);
	virtq_chain_write(ring, &r->chain, at, &status, BLK_STATUS_SIZE);
	virtio_put(&b->device, r->queue, &r->chain, MIN(written, UINT32_MAX));
	put_request(b, r);
}

/* A worker's thread: a batch, which begins with this request. */
static void run(struct work *w)
{
	struct blk_request *first = container_of(w, struct blk_request, work), *r, *next;
	struct virtio_blk *b = first->blk;
	unsigned queue = first->queue;
	bool more = false;
	uint64_t now;

	for (r = first; r; r = r->next) {
		r->error = blk_request_run(r, more);
		more = r->type == BLK_OUT && !r->error;
	}
	now = time_monotonic_ns();
	pthread_mutex_lock(&b->device.lock);
	for (r = first; r; r = next) {
		next = r->next;
		complete(r, r->error ? BLK_IOERR : BLK_OK, now);
		b->queues[queue].running--;
	}
	virtio_finish(&b->device, queue);
	if (!b->queues[queue].running)
		pthread_cond_broadcast(&b->idle);
	pthread_mutex_unlock(&b->device.lock);
}

/* A single quick write, of a queue that has nothing else under way, right here: its way to a worker
 * and back would be longer than itself. Where it did wait for the host, others are spared that for
 * long enough that no more than one part in AWAY_FACTOR of the time is lost by it. */
static bool run_here(struct virtio_blk *b, struct blk_request *r)
{
	uint64_t begin, end;

	if (r->next || b->queues[r->queue].running != 1 || !blk_request_is_quick(r) ||
	    !disk_quick(b->disk))
		return false;
	begin = time_monotonic_ns();
	if (begin < b->away_until)
		return false;
	r->error = blk_request_run(r, false);
	end = time_monotonic_ns();
	b->away_until = end;
	if (end - begin > WAITED_NS)
		b->away_until += (end - begin) * AWAY_FACTOR;
	b->queues[r->queue].running--;
	complete(r, r->error ? BLK_IOERR : BLK_OK, end);
	return true;
}

static void begin_batch(struct virtio_blk *b)
{
	struct blk_request *first = b->batch.first;

	b->batch = (struct blk_batch){.first = NULL};
	if (!first || run_here(b, first))
		return;
	first->work.run = run;
	workers_do(b->workers, &first->work);
}

/* Slow requests are batches of their own, so that they wait for the disk together. */
static void add_to_batch(struct virtio_blk *b, struct blk_request *r)
{
	struct blk_batch *batch = &b->batch;
	bool quick = blk_request_is_quick(r);

	if (!quick || batch->count == BATCH_MAX || batch->len + r->len > BATCH_LEN_MAX)
		begin_batch(b);
	if (!batch->first)
		batch->last = &batch->first;
	*batch->last = r;
	batch->last = &r->next;
	r->next = NULL;
	batch->count++;
	batch->len += r->len;
	b->queues[r->queue].running++;
	if (!quick)
		begin_batch(b);
}

/* Begins a request, if it may: else it is the one that its queue holds. */
static bool begin(struct blk_request *r)
{
	struct virtio_blk *b = r->blk;

	if (!limiter_take(&b->limiter, r->len)) {
		b->queues[r->queue].held = r;
		return false;
	}
	b->queues[r->queue].held = NULL;
	if (blk_request_run_now(r)) {
		complete(r, BLK_OK, time_monotonic_ns());
		return true;
	}
	add_to_batch(b, r);
	return true;
}

/* The next request of the queue; NULL: there is none now. */
static struct blk_request *take(struct virtio_blk *b, unsigned queue)
{
	/* As many requests as buffers can be taken: but for those of before a reset. */
	struct blk_request *r = get_request(b);

	if (!r)
		return NULL;
	if (!virtio_take(&b->device, queue, &r->chain)) {
		put_request(b, r);
		return NULL;
	}
	if (r->chain.readable_len < BLK_HEADER_SIZE || r->chain.writable_len < BLK_STATUS_SIZE) {
		virtio_need_reset(&b->device);
		put_request(b, r);
		return NULL;
	}
	r->blk = b;
	r->taken = b->now;
	r->queue = queue;
	return r;
}

static void serve(struct virtio_device *d, unsigned queue)
{
	struct virtio_blk *b = blk_of(d);
	struct blk_request *r = b->queues[queue].held;
	enum blk_status status;

	if (b->swapping)
		return; /* virtio_blk_swap looks again */
	b->now = time_monotonic_ns();
	/* What comes now is seen without being told, or waits for the limiter. */
	virtq_want_kicks(&d->queues[queue].ring, false);
	if (r && !begin(r))
		return;
	while ((r = take(b, queue))) {
		if (!blk_request_prepare(r, &status))
			complete(r, status, r->taken);
		else if (!begin(r))
			break;
	}
	begin_batch(b);
	virtio_finish(d, queue);
}

/* The thread of the clock's timers. */
static void limiter_ready(void *opaque)
{
	struct virtio_blk *b = opaque;

	pthread_mutex_lock(&b->device.lock);
	for (unsigned i = 0; i < b->device.queue_count; i++) {
		unsigned queue = (b->first_queue + i) % b->device.queue_count;

		if (b->queues[queue].held)
			virtio_notify(&b->device, queue);
	}
	b->first_queue = (b->first_queue + 1) % b->device.queue_count;
	pthread_mutex_unlock(&b->device.lock);
}

static void run_flush(struct work *w)
{
	struct virtio_blk *b = container_of(w, struct virtio_blk, flush);
	int rc = disk_flush(b->disk);

	pthread_mutex_lock(&b->device.lock);
	if (rc)
		tell_failure(b, "flush", -rc);
	b->flushing = false;
	pthread_cond_broadcast(&b->idle);
	pthread_mutex_unlock(&b->device.lock);
}

/* The mode of the cache. What was written before it was changed is made durable as well. */
static void config_written(struct virtio_device *d, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio_blk *b = blk_of(d);

	if (offset != CONFIG_WRITEBACK || size != 1 || !virtio_has(d, BLK_F_CONFIG_WCE))
		return;
	b->cache_set = true;
	if (b->config[CONFIG_WRITEBACK] == (value & 1))
		return;
	b->config[CONFIG_WRITEBACK] = value & 1;
	if (value & 1 || b->flushing)
		return;
	b->flushing = true;
	b->flush.run = run_flush;
	workers_do(b->workers, &b->flush);
}

/* 5.2.5.2: who cannot flush begins with a cache that writes through. */
static void started(struct virtio_device *d)
{
	struct virtio_blk *b = blk_of(d);

	if (!b->cache_set && virtio_has(d, BLK_F_CONFIG_WCE) && !virtio_has(d, BLK_F_FLUSH))
		b->config[CONFIG_WRITEBACK] = 0;
	b->cache_set = true;
}

static void stop_queue(struct virtio_blk *b, unsigned queue)
{
	struct blk_queue *q = &b->queues[queue];

	if (q->held)
		put_request(b, q->held);
	q->held = NULL;
	while (q->running)
		pthread_cond_wait(&b->idle, &b->device.lock);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_blk *b = blk_of(d);

	if (queue != VIRTIO_QUEUES_MAX) {
		stop_queue(b, queue);
		return;
	}
	limiter_cancel(&b->limiter);
	for (unsigned i = 0; i < d->queue_count; i++)
		stop_queue(b, i);
	while (b->flushing)
		pthread_cond_wait(&b->idle, &d->lock);
	b->config[CONFIG_WRITEBACK] = 1;
	b->cache_set = false;
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_blk, "reads", counts.reads),
	VIRTIO_STAT(struct virtio_blk, "read_bytes", counts.read_bytes),
	VIRTIO_STAT_TIME(struct virtio_blk, "read", counts.read_time),
	VIRTIO_STAT(struct virtio_blk, "writes", counts.writes),
	VIRTIO_STAT(struct virtio_blk, "write_bytes", counts.write_bytes),
	VIRTIO_STAT_TIME(struct virtio_blk, "write", counts.write_time),
	VIRTIO_STAT(struct virtio_blk, "flushes", counts.flushes),
	VIRTIO_STAT(struct virtio_blk, "discards", counts.discards),
	VIRTIO_STAT(struct virtio_blk, "errors", counts.errors),
	VIRTIO_STAT(struct virtio_blk, "refused", counts.refused),
	VIRTIO_STAT(struct virtio_blk, "throttled", limiter.refused),
	VIRTIO_STAT(struct virtio_blk, "swaps", counts.swaps),
	VIRTIO_STAT(struct virtio_blk, "swap_errors", counts.swap_errors),
	{NULL, 0},
};

static const struct virtio_device_ops blk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.started = started,
	.notified = serve,
	.config_written = config_written,
	.stopped = stopped,
	.stats = stats,
};

static void fill_capacity(struct virtio_blk *b)
{
	uint64_t size = align_down(disk_size(b->disk), b->block_size);

	store_le(b->config + CONFIG_CAPACITY, 8, size / DISK_SECTOR);
}

static void fill_config(struct virtio_blk *b, unsigned queues)
{
	uint8_t *c = b->config;

	fill_capacity(b);
	store_le(c + CONFIG_SEG_MAX, 4, VIRTQ_CHAIN_MAX - 2); /* header and status */
	store_le(c + CONFIG_BLK_SIZE, 4, b->block_size);
	store_le(c + CONFIG_PHYSICAL_BLOCK_EXP, 1, b->block_size == PHYSICAL_BLOCK ? 0 : 3);
	store_le(c + CONFIG_WRITEBACK, 1, 1);
	store_le(c + CONFIG_NUM_QUEUES, 2, queues);
	store_le(c + CONFIG_DISCARD_SECTORS, 4, BLK_RANGE_SECTORS);
	store_le(c + CONFIG_DISCARD_SEG, 4, BLK_RANGES_MAX);
	store_le(c + CONFIG_DISCARD_ALIGNMENT, 4, PHYSICAL_BLOCK / DISK_SECTOR);
	store_le(c + CONFIG_ZEROES_SECTORS, 4, BLK_RANGE_SECTORS);
	store_le(c + CONFIG_ZEROES_SEG, 4, BLK_RANGES_MAX);
	store_le(c + CONFIG_ZEROES_MAY_UNMAP, 1, 1);
}

struct virtio_blk *virtio_blk_new(struct mem *mem, const struct virtio_blk_config *config,
				  struct err *e)
{
	size_t requests = (size_t)config->queues * BLK_QUEUE_SIZE;
	struct virtio_blk *b = calloc(1, sizeof(*b) + requests * sizeof(b->requests[0]));
	struct virtio_kind kind = {
		.ops = &blk_ops,
		.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_TOPOLOGY | BLK_F_FLUSH |
			    BLK_F_CONFIG_WCE | (config->queues > 1 ? BLK_F_MQ : 0),
		.config_len = BLK_CONFIG_SIZE,
		.queue_count = config->queues,
		.queue_size = BLK_QUEUE_SIZE,
	};

	if (!b) {
		err_errno(e, ENOMEM, "cannot make virtio-blk");
		return NULL;
	}
	kind.config = b->config;
	kind.features |= disk_readonly(config->disk) ? BLK_F_RO
						     : BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
	b->disk = config->disk;
	b->workers = config->workers;
	b->block_size = config->block_size;
	b->failed = config->failed;
	b->opaque = config->opaque;
	if (config->serial)
		memcpy(b->serial, config->serial, MIN(strlen(config->serial), sizeof(b->serial)));
	pthread_cond_init(&b->idle, NULL);
	limiter_init(&b->limiter, config->clock, limiter_ready, b);
	fill_config(b, config->queues);
	virtio_device_init(&b->device, mem, &kind);
	return b;
}

void virtio_blk_free(struct virtio_blk *b)
{
	virtio_device_release(&b->device);
	pthread_cond_destroy(&b->idle);
	free(b);
}

struct virtio_device *virtio_blk_device(struct virtio_blk *b)
{
	return &b->device;
}

void virtio_blk_limit(struct virtio_blk *b, const struct limiter_bucket *bandwidth,
		      const struct limiter_bucket *ops)
{
	pthread_mutex_lock(&b->device.lock);
	limiter_set(&b->limiter, bandwidth, ops);
	pthread_mutex_unlock(&b->device.lock);
}

/* With the lock held, which is free meanwhile. */
static void wait_for_all(struct virtio_blk *b)
{
	for (unsigned i = 0; i < b->device.queue_count; i++)
		while (b->queues[i].running)
			pthread_cond_wait(&b->idle, &b->device.lock);
	while (b->flushing)
		pthread_cond_wait(&b->idle, &b->device.lock);
}

/* Each queue's work goes on, on the disk that is there now. */
static void go_on(struct virtio_blk *b)
{
	b->swapping = false;
	for (unsigned i = 0; i < b->device.queue_count; i++) {
		struct blk_request *r = b->queues[i].held;
		enum blk_status status;

		if (r && !blk_request_prepare(r, &status)) {
			b->queues[i].held = NULL;
			complete(r, status, r->taken);
			virtio_finish(&b->device, i);
		}
		virtio_notify(&b->device, i);
	}
}

int virtio_blk_swap(struct virtio_blk *b, struct disk *disk)
{
	int rc;

	assert(disk_readonly(disk) == disk_readonly(b->disk));
	pthread_mutex_lock(&b->device.lock);
	b->swapping = true;
	wait_for_all(b);
	pthread_mutex_unlock(&b->device.lock);
	rc = disk_flush(b->disk);
	pthread_mutex_lock(&b->device.lock);
	wait_for_all(b); /* the driver may have asked for a flush of the cache by its mode */
	b->counts.swaps++;
	b->counts.swap_errors += rc != 0;
	if (!rc) {
		b->disk = disk;
		b->told = false;
		fill_capacity(b);
		virtio_config_changed(&b->device);
	}
	go_on(b);
	pthread_mutex_unlock(&b->device.lock);
	return rc;
}

void virtio_blk_resize(struct virtio_blk *b)
{
	pthread_mutex_lock(&b->device.lock);
	fill_capacity(b);
	virtio_config_changed(&b->device);
	pthread_mutex_unlock(&b->device.lock);
}
