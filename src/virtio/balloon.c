/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	queue 0  inflate     page numbers: these are the host's now
 *	queue 1  deflate     page numbers: the guest uses these again
 *	queue 2  reporting   buffers: these are free, until the guest writes to them
 *
 * A page that is given back keeps its place in this process: whoever has its address,
 * the engines' caches of translations among them, reads zeroes there, and a write gets
 * a new page. So deflating has nothing to do, and a guest that uses pages which it has
 * given away hurts only itself.
 *
 * Without a statistics queue and one for hints, the reporting queue is the third:
 * drivers number the queues that there are (Linux, in its virtio_find_vqs).
 */
#include "virtio/balloon.h"

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORTING };

#define QUEUE_SIZE 128u

#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING      BIT(5)

#define CONFIG_TARGET 0
#define CONFIG_ACTUAL 4

/* Page numbers are of 4 KiB, four bytes each; a chain has 256 of them in Linux. */
#define NUMBER_SIZE 4u
#define NUMBERS     256u
#define CHAIN_MAX   (64u << 10)

/* Pages that follow each other are given back together. */
static void give_back(struct virtio_balloon *b, uint64_t first, uint64_t pages)
{
	uint64_t gpa = first << GUEST_PAGE_SHIFT, len = pages << GUEST_PAGE_SHIFT;

	if (!pages)
		return;
	if (mem_give_back(b->device.mem, gpa, len))
		b->returned += len;
	else if (pages == 1)
		b->ignored++;
	else
		for (uint64_t i = 0; i < pages; i++)
			give_back(b, first + i, 1);
}

static void inflate(struct virtio_balloon *b, const struct virtq_chain *chain)
{
	uint8_t numbers[NUMBERS * NUMBER_SIZE];
	uint64_t first = 0, pages = 0, at = 0;
	size_t n;

	do {
		n = virtq_chain_read(chain, at, numbers, sizeof(numbers));
		for (size_t i = 0; i + NUMBER_SIZE <= n; i += NUMBER_SIZE) {
			uint64_t page = load_le(numbers + i, NUMBER_SIZE);

			if (pages && page == first + pages) {
				pages++;
				continue;
			}
			if (pages && page + 1 == first) {
				first--;
				pages++;
				continue;
			}
			give_back(b, first, pages);
			first = page;
			pages = 1;
		}
		at += n;
	} while (n == sizeof(numbers));
	give_back(b, first, pages);
}

/* Whole pages of the buffers; parts of pages stay. */
static void report(struct virtio_balloon *b, const struct virtq_chain *chain)
{
	for (unsigned i = 0; i < chain->writable; i++) {
		const struct virtq_segment *s = &chain->segments[chain->readable + i];
		uint64_t first = align_up(s->gpa, GUEST_PAGE_SIZE);
		uint64_t end = align_down(s->gpa + s->len, GUEST_PAGE_SIZE);

		if (first < end && mem_give_back(b->device.mem, first, end - first))
			b->returned += end - first;
	}
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);
	bool reporting = queue == QUEUE_REPORTING;

	while (virtio_take(d, queue, &d->chain)) {
		/* 5.5.6: numbers to be read; 5.5.6.7: buffers to be written, which nothing is
		 * written to. */
		if (reporting ? d->chain.readable
			      : d->chain.writable || d->chain.readable_len > CHAIN_MAX) {
			virtio_need_reset(d);
			break;
		}
		if (reporting)
			report(b, &d->chain);
		else if (queue == QUEUE_INFLATE)
			inflate(b, &d->chain);
		virtio_put(d, queue, &d->chain, 0);
	}
	virtio_finish(d, queue);
}

static void config_written(struct virtio_device *d, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);

	if (offset >= CONFIG_ACTUAL)
		store_le(b->config + offset, size, value);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);

	if (queue == VIRTIO_QUEUES_MAX)
		store_le(b->config + CONFIG_ACTUAL, 4, 0);
}

static const struct virtio_device_ops ops = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.notified = notified,
	.config_written = config_written,
	.stopped = stopped,
};

static void set_target(struct virtio_balloon *b, uint64_t size)
{
	store_le(b->config + CONFIG_TARGET, 4, MIN(size >> GUEST_PAGE_SHIFT, UINT32_MAX));
}

void virtio_balloon_init(struct virtio_balloon *b, struct mem *mem,
			 const struct virtio_balloon_config *config)
{
	const struct virtio_kind kind = {
		.ops = &ops,
		.features = (config->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) |
			    (config->reporting ? F_REPORTING : 0),
		.config = b->config,
		.config_len = sizeof(b->config),
		.queue_count = config->reporting ? 3 : 2,
		.queue_size = QUEUE_SIZE,
	};

	*b = (struct virtio_balloon){.returned = 0};
	virtio_device_init(&b->device, mem, &kind);
	set_target(b, config->size);
}

void virtio_balloon_release(struct virtio_balloon *b)
{
	virtio_device_release(&b->device);
}

void virtio_balloon_resize(struct virtio_balloon *b, uint64_t size)
{
	set_target(b, size);
	virtio_config_changed(&b->device);
}

uint64_t virtio_balloon_actual(const struct virtio_balloon *b)
{
	return load_le(b->config + CONFIG_ACTUAL, 4) << GUEST_PAGE_SHIFT;
}
