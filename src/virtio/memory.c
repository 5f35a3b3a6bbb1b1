/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/memory.h"

#include <assert.h>

#include "base/checked.h"
#include "base/time.h"

#define QUEUE_SIZE 128u

/* A driver that knows of it never touches blocks that are not there; to others they read as where
 * there is no memory at all. */
#define F_UNPLUGGED_INACCESSIBLE BIT(1)

/* 5.15.4. */
enum {
	CONFIG_BLOCK = 0,
	CONFIG_START = 16,
	CONFIG_SIZE = 24,
	CONFIG_USABLE = 32,
	CONFIG_PLUGGED = 40,
	CONFIG_REQUESTED = 48,
};

/* 5.15.6: a request, and its response. */
#define REQUEST_SIZE   24u
#define REQUEST_ADDR   8
#define REQUEST_BLOCKS 16
#define RESPONSE_SIZE  10u
#define RESPONSE_STATE 8

enum request { REQUEST_PLUG, REQUEST_UNPLUG, REQUEST_UNPLUG_ALL, REQUEST_STATE };
enum response { RESPONSE_ACK, RESPONSE_NACK, RESPONSE_BUSY, RESPONSE_ERROR };
enum state { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };

static struct virtio_memory *memory_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_memory, device);
}

static void set_plugged(struct virtio_memory *m, uint64_t plugged)
{
	m->plugged = plugged;
	store_le(m->config + CONFIG_PLUGGED, 8, plugged);
}

uint64_t virtio_memory_requested(const struct virtio_memory *m)
{
	return load_le(m->config + CONFIG_REQUESTED, 8);
}

/* Whole blocks of the region, and at least one. */
static bool is_good(const struct virtio_memory *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = m->region;

	return len && gpa >= r->gpa && !((gpa - r->gpa) % r->block) &&
	       range_within(gpa - r->gpa, len, r->size);
}

/* These two release the lock: see above. No other thread changes blocks. */
static enum response plug(struct virtio_memory *m, uint64_t gpa, uint64_t len)
{
	bool done;

	if (!is_good(m, gpa, len) || !mem_all_plugged(m->region, gpa, len, false))
		return RESPONSE_ERROR;
	if (len > virtio_memory_requested(m) - MIN(m->plugged, virtio_memory_requested(m)))
		return RESPONSE_NACK;
	pthread_mutex_unlock(&m->device.lock);
	done = m->kind.plug(m->kind.opaque, gpa, len);
	pthread_mutex_lock(&m->device.lock);
	if (!done)
		return RESPONSE_NACK;
	set_plugged(m, m->plugged + len);
	return RESPONSE_ACK;
}

static enum response unplug(struct virtio_memory *m, uint64_t gpa, uint64_t len)
{
	if (!is_good(m, gpa, len) || !mem_all_plugged(m->region, gpa, len, true))
		return RESPONSE_ERROR;
	pthread_mutex_unlock(&m->device.lock);
	m->kind.unplug(m->kind.opaque, gpa, len);
	pthread_mutex_lock(&m->device.lock);
	set_plugged(m, m->plugged - len);
	return RESPONSE_ACK;
}

static enum response unplug_all(struct virtio_memory *m)
{
	pthread_mutex_unlock(&m->device.lock);
	m->kind.unplug(m->kind.opaque, m->region->gpa, m->region->size);
	pthread_mutex_lock(&m->device.lock);
	set_plugged(m, 0);
	return RESPONSE_ACK;
}

static enum response tell_state(const struct virtio_memory *m, uint64_t gpa, uint64_t len,
				enum state *state)
{
	if (!is_good(m, gpa, len))
		return RESPONSE_ERROR;
	*state = mem_all_plugged(m->region, gpa, len, true)    ? STATE_PLUGGED
		 : mem_all_plugged(m->region, gpa, len, false) ? STATE_UNPLUGGED
							       : STATE_MIXED;
	return RESPONSE_ACK;
}

static enum response serve(struct virtio_memory *m, const uint8_t *request, enum state *state)
{
	uint64_t gpa = load_le(request + REQUEST_ADDR, 8);
	uint64_t len = load_le(request + REQUEST_BLOCKS, 2) * m->region->block;

	switch (load_le(request, 2)) {
	case REQUEST_PLUG:
		return plug(m, gpa, len);
	case REQUEST_UNPLUG:
		return unplug(m, gpa, len);
	case REQUEST_UNPLUG_ALL:
		return unplug_all(m);
	case REQUEST_STATE:
		return tell_state(m, gpa, len, state);
	}
	return RESPONSE_ERROR;
}

static enum response serve_counted(struct virtio_memory *m, const uint8_t *request,
				   enum state *state)
{
	struct virtio_memory_counts *c = &m->counts;
	const struct {
		uint64_t *count, *refused, *bytes;
		struct virtio_time *time;
	} all[] = {
		[REQUEST_PLUG] = {&c->plugs, &c->plugs_refused, &c->plugged_bytes, &c->plug},
		[REQUEST_UNPLUG] = {&c->unplugs, &c->unplugs_refused, &c->unplugged_bytes,
				    &c->unplug},
		[REQUEST_UNPLUG_ALL] = {&c->unplug_alls, &c->unplug_alls_refused,
					&c->unplugged_bytes, &c->unplug_all},
		[REQUEST_STATE] = {&c->states, &c->states_refused, NULL, &c->state},
	};
	uint64_t type = load_le(request, 2), began = time_monotonic_ns(), before = m->plugged;
	enum response response = serve(m, request, state);

	if (type >= ARRAY_LEN(all) || !all[type].count)
		return response;
	++*all[type].count;
	if (response != RESPONSE_ACK)
		++*all[type].refused;
	else if (all[type].bytes)
		*all[type].bytes += MAX(before, m->plugged) - MIN(before, m->plugged);
	virtio_time_add(all[type].time, time_monotonic_ns() - began);
	return response;
}

void virtio_memory_serve(struct virtio_memory *m)
{
	struct virtio_device *d = &m->device;

	pthread_mutex_lock(&d->lock);
	virtio_begin_turn(d);
	while (virtio_take(d, 0, &d->chain)) {
		uint8_t request[REQUEST_SIZE], response[RESPONSE_SIZE] = {0};
		enum state state = STATE_PLUGGED;

		if (virtq_chain_read(&d->chain, 0, request, sizeof(request)) != sizeof(request) ||
		    d->chain.writable_len < sizeof(response)) {
			virtio_need_reset(d);
			break;
		}
		store_le(response, 2, serve_counted(m, request, &state));
		store_le(response + RESPONSE_STATE, 2, state);
		/* Nothing, where the driver has reset the device meanwhile. */
		virtq_chain_write(&d->queues[0].ring, &d->chain, 0, response, sizeof(response));
		virtio_put(d, 0, &d->chain, sizeof(response));
	}
	virtio_finish(d, 0);
	pthread_mutex_unlock(&d->lock);
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_memory *m = memory_of(d);

	(void)queue;
	m->kind.wake(m->kind.opaque);
}

#define STAT(name, member) VIRTIO_STAT(struct virtio_memory, name, counts.member)
#define TIME(name, member) VIRTIO_STAT_TIME(struct virtio_memory, name, counts.member)

static const struct virtio_stat stats[] = {
	STAT("plugs", plugs),
	STAT("plugs_refused", plugs_refused),
	STAT("plugged_bytes", plugged_bytes),
	TIME("plug", plug),
	STAT("unplugs", unplugs),
	STAT("unplugs_refused", unplugs_refused),
	STAT("unplugged_bytes", unplugged_bytes),
	TIME("unplug", unplug),
	STAT("unplug_alls", unplug_alls),
	STAT("unplug_alls_refused", unplug_alls_refused),
	TIME("unplug_all", unplug_all),
	STAT("states", states),
	STAT("states_refused", states_refused),
	TIME("state", state),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-mem",
	.id = VIRTIO_ID_MEM,
	.notified = notified,
	.stats = stats,
};

void virtio_memory_init(struct virtio_memory *m, struct mem *mem,
			const struct virtio_memory_config *config)
{
	const struct virtio_kind kind = {
		.ops = &ops,
		.features = F_UNPLUGGED_INACCESSIBLE,
		.config = m->config,
		.config_len = sizeof(m->config),
		.queue_count = 1,
		.queue_size = QUEUE_SIZE,
	};
	const struct mem_region *r = mem_find(mem, config->start);

	assert(r && r->kind == MEM_BLOCKS);
	*m = (struct virtio_memory){.kind = *config, .region = r};
	store_le(m->config + CONFIG_BLOCK, 8, r->block);
	store_le(m->config + CONFIG_START, 8, r->gpa);
	store_le(m->config + CONFIG_SIZE, 8, r->size);
	store_le(m->config + CONFIG_USABLE, 8, r->size);
	store_le(m->config + CONFIG_REQUESTED, 8, config->requested);
	virtio_device_init(&m->device, mem, &kind);
}

void virtio_memory_release(struct virtio_memory *m)
{
	virtio_device_release(&m->device);
}

void virtio_memory_clear(struct virtio_memory *m)
{
	pthread_mutex_lock(&m->device.lock);
	unplug_all(m);
	pthread_mutex_unlock(&m->device.lock);
}

bool virtio_memory_request(struct virtio_memory *m, uint64_t size)
{
	if (size % m->region->block || size > m->region->size)
		return false;
	store_le(m->config + CONFIG_REQUESTED, 8, size);
	virtio_config_changed(&m->device);
	return true;
}
