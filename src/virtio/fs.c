/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	queue 0  high priority: requests that must not wait behind others (FORGET)
 *	queue 1  requests
 *
 * The daemon has rings of its own (host/vhost_ring.h); what the driver makes available
 * goes there, segment by segment, and comes back:
 *
 *	driver's queue -> virtio_take -> vhost_ring_add -> the daemon
 *	driver's queue <- put <- mem_written <- vhost_ring_next <- the daemon
 *
 * The daemon could serve the driver's own rings, as daemons do for other monitors. But
 * then the driver can see that a buffer is used before lodge can: it need not wait for
 * an interrupt. And it may go on to execute what the daemon has read into that buffer
 * while translations of what was there before are still in use, for nobody has said
 * mem_written. There is no order of events in which that is safe without write
 * protection. This way there is: the daemon writes, then lodge says so, then the
 * driver sees the buffer used. It costs one wake-up of the I/O thread a batch of
 * buffers; and a driver's bad descriptors end here, not in the daemon.
 *
 * What the daemon may write of a slot is remembered when it is taken, and all of it
 * counts as written, whatever the daemon says: it also counts when the queue is
 * stopped with the slot under way.
 *
 * When the daemon is lost, every request, those under way included, is answered here
 * as FUSE does for a file system whose server is gone: ENOTCONN. So a guest's programs
 * get errors, and do not hang.
 */
#include "virtio/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/vhost_user.h"

#define QUEUE_SIZE VIRTQ_SIZE_MAX

/* Configuration space: tag, number of request queues. */
#define CONFIG_QUEUES VIRTIO_FS_TAG_MAX
#define CONFIG_LEN    40u

/* Heads of FUSE messages. */
#define IN_UNIQUE  8u /* a request's name, 8 bytes */
#define OUT_LEN    16u
#define OUT_ERROR  4u
#define OUT_UNIQUE 8u

/* A request that the daemon has. */
struct slot {
	struct virtq_ticket ticket;
	uint64_t unique;
	uint64_t writable_len;
	unsigned count;
	struct vhost_segment spans[VIRTQ_CHAIN_MAX]; /* that it may write */
};

struct virtio_fs {
	struct virtio_device device;
	struct virtio_fs_config config;
	uint8_t space[CONFIG_LEN];
	struct slot *slots[VIRTIO_FS_QUEUES]; /* QUEUE_SIZE each; touched only when in use */
	uint64_t busy[VIRTIO_FS_QUEUES][QUEUE_SIZE / 64];
	struct vhost_segment segments[VIRTQ_CHAIN_MAX]; /* of the buffer in hand */
};

_Static_assert(QUEUE_SIZE == VHOST_RING_SIZE, "a slot for every buffer");
_Static_assert(VIRTQ_CHAIN_MAX <= VHOST_RING_SEGMENTS_MAX, "a table for every buffer");

static struct virtio_fs *fs_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_fs, device);
}

static void make_answer(uint8_t *out, uint64_t unique)
{
	store_le(out, 4, OUT_LEN);
	store_le(out + OUT_ERROR, 4, (uint32_t)-ENOTCONN);
	store_le(out + OUT_UNIQUE, 8, unique);
}

static uint64_t unique_of(const struct virtq_chain *chain)
{
	uint8_t unique[8] = {0};

	virtq_chain_read(chain, IN_UNIQUE, unique, sizeof(unique));
	return load_le(unique, sizeof(unique));
}

/* Answers a request that the daemon does not get. */
static void refuse(struct virtio_fs *f, unsigned queue, const struct virtq_chain *chain)
{
	uint8_t out[OUT_LEN];
	size_t n = 0;

	make_answer(out, unique_of(chain));
	if (chain->writable_len >= OUT_LEN)
		n = virtq_chain_write(&f->device.queues[queue].ring, chain, 0, out, sizeof(out));
	virtio_put(&f->device, queue, chain, (uint32_t)n);
}

static void remember(struct slot *s, const struct virtq_chain *chain)
{
	const struct virtq_segment *from = chain->segments + chain->readable;

	s->ticket = virtq_ticket(chain, 0);
	s->unique = unique_of(chain);
	s->writable_len = chain->writable_len;
	s->count = chain->writable;
	for (unsigned i = 0; i < chain->writable; i++)
		s->spans[i] = (struct vhost_segment){from[i].gpa, from[i].len};
}

static void set_busy(struct virtio_fs *f, unsigned queue, unsigned slot, bool busy)
{
	uint64_t *word = &f->busy[queue][slot / 64];

	*word = busy ? *word | BIT(slot % 64) : *word & ~BIT(slot % 64);
}

static bool is_busy(const struct virtio_fs *f, unsigned queue, unsigned slot)
{
	return f->busy[queue][slot / 64] >> slot % 64 & 1;
}

/* Hands a buffer to the daemon; false: it cannot reach all of it. */
static bool hand_over(struct virtio_fs *f, unsigned queue, struct vhost_ring *ring,
		      const struct virtq_chain *chain)
{
	unsigned slot, n = chain->readable + chain->writable;

	for (unsigned i = 0; i < n; i++) {
		f->segments[i] = (struct vhost_segment){chain->segments[i].gpa,
							chain->segments[i].len};
		if (!vhost_user_reaches(f->config.daemon, f->segments[i].gpa, f->segments[i].len))
			return false;
	}
	slot = vhost_ring_free_slot(ring);
	remember(&f->slots[queue][slot], chain);
	set_busy(f, queue, slot, true);
	vhost_ring_add(ring, slot, f->segments, chain->readable, chain->writable);
	return true;
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_fs *f = fs_of(d);
	struct vhost_ring *ring = vhost_user_ring(f->config.daemon, queue);
	bool added = false;

	while (virtio_take(d, queue, &d->chain)) {
		if (ring && hand_over(f, queue, ring, &d->chain))
			added = true;
		else
			refuse(f, queue, &d->chain);
	}
	if (added)
		vhost_user_kick(f->config.daemon, queue);
	virtio_finish(d, queue);
}

/* All that the daemon may have written of a slot. */
static void report(struct virtio_fs *f, const struct slot *s)
{
	for (unsigned i = 0; i < s->count; i++)
		mem_written(f->device.mem, s->spans[i].gpa, s->spans[i].len);
}

static void on_used(void *opaque, unsigned queue)
{
	struct virtio_fs *f = opaque;
	struct vhost_ring *ring = vhost_user_ring(f->config.daemon, queue);
	unsigned slot;
	uint32_t written;
	int rc;

	if (!ring)
		return;
	while ((rc = vhost_ring_next(ring, &slot, &written)) > 0) {
		struct slot *s = &f->slots[queue][slot];

		report(f, s);
		set_busy(f, queue, slot, false);
		s->ticket.written = (uint32_t)MIN(written, s->writable_len);
		virtio_put_together(&f->device, queue, &s->ticket, 1);
	}
	virtio_finish(&f->device, queue);
	if (rc < 0)
		vhost_user_give_up(f->config.daemon, "it says what cannot be");
}

/* The answer to a request that the daemon had; its buffers may be smaller than that. */
static void abandon(struct virtio_fs *f, unsigned queue, struct slot *s)
{
	struct virtio_device *d = &f->device;
	uint8_t out[OUT_LEN];
	uint32_t done = 0;

	make_answer(out, s->unique);
	for (unsigned i = 0; s->writable_len >= OUT_LEN && i < s->count && done < OUT_LEN; i++) {
		uint32_t n = MIN(s->spans[i].len, OUT_LEN - done);

		mem_write(d->mem, s->spans[i].gpa, out + done, n);
		done += n;
	}
	s->ticket.written = done;
	virtio_put_together(d, queue, &s->ticket, 1);
}

/* The daemon will not serve what it has of a queue any more. */
static void clear(struct virtio_fs *f, unsigned queue, bool answer)
{
	for (unsigned slot = 0; slot < QUEUE_SIZE; slot++) {
		if (!is_busy(f, queue, slot))
			continue;
		report(f, &f->slots[queue][slot]);
		if (answer)
			abandon(f, queue, &f->slots[queue][slot]);
		set_busy(f, queue, slot, false);
	}
}

static void on_lost(void *opaque, const char *why)
{
	struct virtio_fs *f = opaque;

	for (unsigned i = 0; i < VIRTIO_FS_QUEUES; i++) {
		clear(f, i, virtq_started(&f->device.queues[i].ring));
		virtio_finish(&f->device, i);
	}
	if (f->config.lost)
		f->config.lost(f->config.opaque, why);
}

static void started(struct virtio_device *d)
{
	struct virtio_fs *f = fs_of(d);

	for (unsigned i = 0; i < VIRTIO_FS_QUEUES; i++)
		if (virtq_started(&d->queues[i].ring))
			vhost_user_start(f->config.daemon, i);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_fs *f = fs_of(d);

	for (unsigned i = 0; i < VIRTIO_FS_QUEUES; i++) {
		if (queue != i && queue != VIRTIO_QUEUES_MAX)
			continue;
		vhost_user_stop(f->config.daemon, i);
		clear(f, i, false);
	}
}

static const struct virtio_device_ops ops = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.started = started,
	.notified = notified,
	.stopped = stopped,
};

static bool make_slots(struct virtio_fs *f)
{
	struct slot *all = calloc(VIRTIO_FS_QUEUES * QUEUE_SIZE, sizeof(*all));

	for (unsigned i = 0; all && i < VIRTIO_FS_QUEUES; i++)
		f->slots[i] = all + i * QUEUE_SIZE;
	return all;
}

struct virtio_fs *virtio_fs_new(struct mem *mem, const struct virtio_fs_config *config,
				struct err *e)
{
	struct virtio_fs *f = calloc(1, sizeof(*f));
	const struct vhost_user_client client = {
		.used = on_used, .lost = on_lost, .opaque = f, .lock = f ? &f->device.lock : NULL};
	const struct virtio_kind kind = {
		.ops = &ops,
		.config = f ? f->space : NULL,
		.config_len = CONFIG_LEN,
		.queue_count = VIRTIO_FS_QUEUES,
		.queue_size = QUEUE_SIZE,
	};

	assert(*config->tag && strlen(config->tag) <= VIRTIO_FS_TAG_MAX);
	if (!f || !make_slots(f)) {
		err_errno(e, ENOMEM, "cannot make virtio-fs");
		free(f);
		return NULL;
	}
	f->config = *config;
	memcpy(f->space, config->tag, strlen(config->tag));
	store_le(f->space + CONFIG_QUEUES, 4, VIRTIO_FS_QUEUES - 1);
	virtio_device_init(&f->device, mem, &kind);
	vhost_user_connect(config->daemon, &client);
	return f;
}

void virtio_fs_free(struct virtio_fs *f)
{
	virtio_device_release(&f->device);
	free(f->slots[0]);
	free(f);
}

struct virtio_device *virtio_fs_device(struct virtio_fs *f)
{
	return &f->device;
}
