/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a device, as its driver sees it (virtio 1.2, 3.1.1):
 *
 *	0 -> ACKNOWLEDGE -> DRIVER -> (features) FEATURES_OK -> (queues) DRIVER_OK
 *	any of them -> NEEDS_RESET or FAILED -> 0
 *
 * Features that do not fit together leave FEATURES_OK clear when the driver reads it
 * back: 2.2.2. Queues are started by DRIVER_OK, since only then may the device look
 * at them; one whose place is impossible then breaks the device. A queue that is
 * enabled later, after its own reset, starts at once.
 */
#include "virtio/device.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"

#define FRAME_FEATURES                                                                             \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | \
	 VIRTIO_F_RING_RESET)

/* What a driver can set. */
#define STATUS_WRITABLE \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

void virtio_device_init(struct virtio_device *d, struct mem *mem, const struct virtio_kind *kind)
{
	assert(kind->queue_count <= VIRTIO_QUEUES_MAX && kind->queue_size <= VIRTQ_SIZE_MAX);
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
	d->mem = mem;
	d->ops = kind->ops;
	d->offered = FRAME_FEATURES | kind->features;
	d->config = kind->config;
	d->config_len = kind->config_len;
	d->queue_count = kind->queue_count;
	d->queue_size = kind->queue_size;
	d->prompt = kind->prompt;
	for (unsigned i = 0; i < d->queue_count; i++) {
		virtq_init(&d->queues[i].ring, mem);
		d->queues[i].place.size = d->queue_size;
	}
}

void virtio_device_release(struct virtio_device *d)
{
	pthread_mutex_destroy(&d->lock);
}

void virtio_device_link(struct virtio_device *d, const struct virtio_link *link)
{
	d->link = *link;
}

static void queue_to_power_on(struct virtio_device *d, struct virtio_queue *q)
{
	virtq_stop(&q->ring);
	q->enabled = false;
	q->place = (struct virtq_place){.size = d->queue_size};
}

void virtio_reset(struct virtio_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++)
		queue_to_power_on(d, &d->queues[i]);
	d->status = 0;
	d->accepted = 0;
	if (d->ops->stopped)
		d->ops->stopped(d, VIRTIO_QUEUES_MAX);
}

uint32_t virtio_offered(const struct virtio_device *d, uint32_t select)
{
	return select < 2 ? d->offered >> (select * 32) : 0;
}

uint32_t virtio_accepted(const struct virtio_device *d, uint32_t select)
{
	return select < 2 ? d->accepted >> (select * 32) : 0;
}

void virtio_accept(struct virtio_device *d, uint32_t select, uint32_t features)
{
	if (select > 1 || d->status & VIRTIO_FEATURES_OK)
		return;
	d->accepted &= ~(MASK(32) << (select * 32));
	d->accepted |= (uint64_t)features << (select * 32);
}

static bool features_fit(const struct virtio_device *d)
{
	return !(d->accepted & ~d->offered) && virtio_has(d, VIRTIO_F_VERSION_1);
}

static bool is_working(const struct virtio_device *d)
{
	return d->status & VIRTIO_DRIVER_OK && !(d->status & VIRTIO_NEEDS_RESET);
}

void virtio_need_reset(struct virtio_device *d)
{
	if (d->status & VIRTIO_NEEDS_RESET)
		return;
	d->status |= VIRTIO_NEEDS_RESET;
	d->resets_needed++;
	if (d->status & VIRTIO_DRIVER_OK)
		d->link.config_changed(d->link.opaque);
}

static void start_queue(struct virtio_device *d, struct virtio_queue *q)
{
	const struct virtq_features features = {
		.packed = virtio_has(d, VIRTIO_F_RING_PACKED),
		.indirect = virtio_has(d, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_has(d, VIRTIO_F_EVENT_IDX),
		.in_order = virtio_has(d, VIRTIO_F_IN_ORDER),
	};

	if (q->place.size > d->queue_size || virtq_start(&q->ring, &q->place, &features))
		virtio_need_reset(d);
}

static void driver_ok(struct virtio_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++)
		if (d->queues[i].enabled)
			start_queue(d, &d->queues[i]);
	if (is_working(d) && d->ops->started)
		d->ops->started(d);
}

void virtio_set_status(struct virtio_device *d, uint8_t status)
{
	uint8_t added = status & STATUS_WRITABLE & ~d->status;

	if (!status) {
		virtio_reset(d);
		return;
	}
	if (added & VIRTIO_FEATURES_OK && !features_fit(d))
		added &= ~VIRTIO_FEATURES_OK;
	if (added & VIRTIO_DRIVER_OK && !((d->status | added) & VIRTIO_FEATURES_OK))
		added &= ~VIRTIO_DRIVER_OK;
	d->status |= added;
	if (added & VIRTIO_DRIVER_OK)
		driver_ok(d);
}

struct virtio_queue *virtio_queue(struct virtio_device *d, unsigned queue)
{
	return queue < d->queue_count ? &d->queues[queue] : NULL;
}

void virtio_queue_enable(struct virtio_device *d, unsigned queue)
{
	struct virtio_queue *q = virtio_queue(d, queue);

	if (!q || q->enabled)
		return;
	q->enabled = true;
	if (!is_working(d))
		return;
	start_queue(d, q);
	if (is_working(d) && d->ops->started)
		d->ops->started(d);
}

void virtio_queue_reset(struct virtio_device *d, unsigned queue)
{
	struct virtio_queue *q = virtio_queue(d, queue);

	if (!q)
		return;
	queue_to_power_on(d, q);
	if (d->ops->stopped)
		d->ops->stopped(d, queue);
}

void virtio_notify(struct virtio_device *d, unsigned queue)
{
	struct virtio_queue *q = virtio_queue(d, queue);

	if (!q || !is_working(d) || !virtq_started(&q->ring))
		return;
	virtio_begin_turn(d);
	d->notifications++;
	d->ops->notified(d, queue);
}

void virtio_begin_turn(struct virtio_device *d)
{
	d->budget = d->queue_size;
}

uint64_t virtio_config_read(const struct virtio_device *d, uint64_t offset, unsigned size)
{
	return range_within(offset, size, d->config_len) ? load_le(d->config + offset, size) : 0;
}

void virtio_config_write(struct virtio_device *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (d->ops->config_written && range_within(offset, size, d->config_len))
		d->ops->config_written(d, offset, size, value);
}

void virtio_config_changed(struct virtio_device *d)
{
	d->generation++;
	if (d->status & VIRTIO_DRIVER_OK)
		d->link.config_changed(d->link.opaque);
}

bool virtio_take(struct virtio_device *d, unsigned queue, struct virtq_chain *chain)
{
	struct virtq *ring = &d->queues[queue].ring;
	enum virtq_taken taken;

	if (!is_working(d))
		return false;
	if (!d->budget) {
		d->link.again(d->link.opaque, queue);
		return false;
	}
	taken = virtq_take(ring, chain);
	if (taken == VIRTQ_EMPTY) {
		/* Only what comes after this is notified of, so look once more. */
		virtq_want_kicks(ring, true);
		taken = virtq_take(ring, chain);
	}
	if (taken == VIRTQ_BROKEN)
		virtio_need_reset(d);
	d->budget--;
	return taken == VIRTQ_CHAIN;
}

void virtio_put(struct virtio_device *d, unsigned queue, const struct virtq_chain *chain,
		uint32_t written)
{
	virtq_put(&d->queues[queue].ring, chain, written);
}

void virtio_put_together(struct virtio_device *d, unsigned queue,
			 const struct virtq_ticket *tickets, unsigned n)
{
	virtq_put_together(&d->queues[queue].ring, tickets, n);
}

void virtio_finish(struct virtio_device *d, unsigned queue)
{
	if (is_working(d) && virtq_should_interrupt(&d->queues[queue].ring))
		d->link.queue_used(d->link.opaque, queue);
}
