/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pmem.h"

#include <errno.h>

#define REQUEST_SIZE 4u
#define STATUS_SIZE  4u

#define TYPE_FLUSH 0u

/* 5.19.6: what a flush ended with. */
enum { STATUS_OK, STATUS_FAILED };

static void store_status(struct virtio_pmem *p, const struct virtio_pmem_request *r,
			 uint32_t status)
{
	store_le(r->status, STATUS_SIZE, status);
	mem_written(p->device.mem, r->status_gpa, STATUS_SIZE);
}

/* The requests of a flush are answered. */
static void answer(struct virtio_pmem *p, const struct virtio_pmem_list *list, uint32_t status)
{
	for (unsigned i = 0; i < list->count; i++) {
		store_status(p, &list->requests[i], status);
		virtio_put_together(&p->device, 0, &list->requests[i].ticket, 1);
	}
	virtio_finish(&p->device, 0);
}

static void begin(struct virtio_pmem *p);

static void run(struct work *w)
{
	struct virtio_pmem *p = container_of(w, struct virtio_pmem, work);
	int rc = p->kind.flush(p->kind.opaque);
	bool tell;

	pthread_mutex_lock(&p->device.lock);
	p->flushing = false;
	p->flushes++;
	p->errors += rc != 0;
	answer(p, &p->running, rc ? STATUS_FAILED : STATUS_OK);
	p->running.count = 0;
	tell = rc && !p->told;
	p->told |= tell;
	begin(p);
	pthread_cond_broadcast(&p->idle);
	pthread_mutex_unlock(&p->device.lock);
	if (tell && p->kind.failed)
		p->kind.failed(p->kind.opaque, -rc);
}

/* A flush for all that wait, unless one is under way (what was written since it began it may miss),
 * or the limits say later. */
static void begin(struct virtio_pmem *p)
{
	if (p->flushing || !p->waiting.count || !limiter_take(&p->limiter, p->kind.length))
		return;
	p->running = p->waiting;
	p->waiting.count = 0;
	p->flushing = true;
	p->work.run = run;
	workers_do(p->kind.workers, &p->work);
}

/* The thread of the clock's timers. */
static void limiter_ready(void *opaque)
{
	struct virtio_pmem *p = opaque;

	pthread_mutex_lock(&p->device.lock);
	begin(p);
	pthread_mutex_unlock(&p->device.lock);
}

/* False: it is none. */
static bool take_request(struct virtio_pmem *p, const struct virtq_chain *chain)
{
	const struct virtq_segment *s = &chain->segments[chain->readable];
	struct virtio_pmem_request r = {.ticket = virtq_ticket(chain, STATUS_SIZE)};
	uint8_t type[REQUEST_SIZE];

	if (virtq_chain_read(chain, 0, type, sizeof(type)) != sizeof(type) || !chain->writable ||
	    s->len < STATUS_SIZE)
		return false;
	r.status = s->host;
	r.status_gpa = s->gpa;
	if (load_le(type, sizeof(type)) != TYPE_FLUSH) {
		store_status(p, &r, STATUS_FAILED);
		virtio_put(&p->device, 0, chain, STATUS_SIZE);
		return true;
	}
	/* The queue has no more descriptors than there is room. */
	p->waiting.requests[p->waiting.count++] = r;
	return true;
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_pmem *p = container_of(d, struct virtio_pmem, device);

	while (p->waiting.count < VIRTIO_PMEM_QUEUE && virtio_take(d, queue, &d->chain)) {
		if (take_request(p, &d->chain))
			continue;
		virtio_need_reset(d);
		break;
	}
	begin(p);
	virtio_finish(d, queue);
}

/* A flush under way ends first: its answers go nowhere then, but it touches guest memory. */
static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_pmem *p = container_of(d, struct virtio_pmem, device);

	(void)queue;
	p->waiting.count = 0;
	limiter_cancel(&p->limiter);
	p->running.count = 0;
	while (p->flushing)
		pthread_cond_wait(&p->idle, &d->lock);
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_pmem, "flushes", flushes),
	VIRTIO_STAT(struct virtio_pmem, "errors", errors),
	VIRTIO_STAT(struct virtio_pmem, "throttled", limiter.refused),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-pmem",
	.id = VIRTIO_ID_PMEM,
	.notified = notified,
	.stopped = stopped,
	.stats = stats,
};

void virtio_pmem_init(struct virtio_pmem *p, struct mem *mem,
		      const struct virtio_pmem_config *config)
{
	const struct virtio_kind kind = {
		.ops = &ops,
		.config = p->config,
		.config_len = sizeof(p->config),
		.queue_count = 1,
		.queue_size = VIRTIO_PMEM_QUEUE,
	};

	*p = (struct virtio_pmem){.kind = *config};
	store_le(p->config, 8, config->start);
	store_le(p->config + 8, 8, config->size);
	pthread_cond_init(&p->idle, NULL);
	virtio_device_init(&p->device, mem, &kind);
	limiter_init(&p->limiter, config->clock, limiter_ready, p);
}

void virtio_pmem_release(struct virtio_pmem *p)
{
	virtio_device_release(&p->device);
	pthread_cond_destroy(&p->idle);
}

void virtio_pmem_limit(struct virtio_pmem *p, const struct limiter_bucket *bandwidth,
		       const struct limiter_bucket *ops_bucket)
{
	pthread_mutex_lock(&p->device.lock);
	limiter_set(&p->limiter, bandwidth, ops_bucket);
	pthread_mutex_unlock(&p->device.lock);
}
