/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver sends to the device of memory that comes and goes, how much the host
 * asks for, and what happens while blocks are on their way: the host cannot, the driver resets the
 * device, or one of its queue's areas is itself in a block that goes. Whatever it is, only whole
 * blocks of the region come and go, the device counts them rightly, and gives no more than it was
 * told to.
 *
 *	steps x struct step
 */
#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"
#include "queue_guest.h"
#include "virtio/memory.h"

#define RAM      0x40000u
#define REQUEST  0x10000u
#define RESPONSE 0x11000u
#define START    GIB(4)
#define BLOCK    MIB(2)
#define BLOCKS   24u
#define STEPS    128u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind {
	STEP_REQUEST,
	STEP_CHAIN,
	STEP_HOST,
	STEP_MEANWHILE,
	STEP_SERVE,
	STEP_CLEAR,
	STEP_START,
	STEP_RING,
	STEP_TOUCH,
	STEP_KINDS
};

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t type; /* of a request; in others as it is said there */
	uint16_t blocks;
	uint32_t at;
	uint32_t value;
};

/* What happens while the device's lock is free. */
enum meanwhile { NOTHING, CANNOT, RESET, NEW_START, QUEUE_RESET, LESS, MEANWHILES };

static struct mem mem;
static struct virtio_memory memory;
static struct queue_guest queue;
static enum meanwhile meanwhile;

static void start(uint64_t features, bool in_block);

static unsigned count_blocks(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BLOCKS; i++)
		n += mem_all_plugged(memory.region, START + i * BLOCK, BLOCK, true);
	return n;
}

/* The lock is free here: others have their turn. */
static void let_others(void)
{
	enum meanwhile what = meanwhile;

	meanwhile = NOTHING;
	pthread_mutex_lock(&memory.device.lock);
	if (what == RESET)
		virtio_set_status(&memory.device, 0);
	else if (what == NEW_START)
		start(~0ull, false);
	else if (what == QUEUE_RESET)
		virtio_queue_reset(&memory.device, 0);
	else if (what == LESS)
		virtio_memory_request(&memory, 0);
	pthread_mutex_unlock(&memory.device.lock);
}

static void check_range(uint64_t gpa, uint64_t len)
{
	assert(len && gpa >= START && !((gpa | len) % BLOCK));
	assert(range_within(gpa - START, len, BLOCKS * BLOCK));
}

static bool plug(void *opaque, uint64_t gpa, uint64_t len)
{
	bool can = meanwhile != CANNOT;

	(void)opaque;
	check_range(gpa, len);
	assert(mem_all_plugged(memory.region, gpa, len, false));
	assert(memory.plugged + len <= virtio_memory_requested(&memory));
	if (can)
		mem_plug(&mem, gpa, len);
	let_others();
	return can;
}

static void unplug(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	check_range(gpa, len);
	mem_unplug(&mem, gpa, len);
	let_others();
}

/* Serving is a step of its own. */
static void on_event(void *opaque)
{
	(void)opaque;
}

static void on_queue(void *opaque, unsigned number)
{
	(void)opaque;
	(void)number;
}

static void make(void)
{
	static const struct virtio_link link = {on_queue, on_event, on_queue, NULL};
	const struct virtio_memory_config config = {
		.start = START, .wake = on_event, .plug = plug, .unplug = unplug};

	if (mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL) ||
	    mem_add_blocks(&mem, START, BLOCKS * BLOCK, BLOCK, NULL))
		abort();
	virtio_memory_init(&memory, &mem, &config);
	virtio_device_link(&memory.device, &link);
}

/* The queue's areas in RAM, or in a block that is there. The lock is held. */
static void start(uint64_t features, bool in_block)
{
	struct virtio_device *d = &memory.device;
	uint64_t area = in_block ? START + QUEUE_AREA : QUEUE_AREA;
	uint8_t *host = mem_ptr_rw(&mem, area, QUEUE_LEN);

	queue_features(d, features);
	if (!host) {
		area = QUEUE_AREA;
		host = mem_ptr_rw(&mem, area, QUEUE_LEN);
	}
	queue_place(&queue, d, 0, area, host);
	virtio_queue_enable(d, 0);
	virtio_set_status(d, VIRTIO_DRIVER_OK);
}

static void offer(const struct queue_buffer *b, unsigned count)
{
	pthread_mutex_lock(&memory.device.lock);
	queue_offer(&queue, b, count);
	virtio_notify(&memory.device, 0);
	pthread_mutex_unlock(&memory.device.lock);
}

/* Most are of one of the blocks. */
static void ask(const struct step *s)
{
	const struct queue_buffer b[] = {{REQUEST, 24, false}, {RESPONSE, 10, true}};
	uint8_t *p = mem_ptr_rw(&mem, REQUEST, 24);
	bool odd = s->type & 0x80;

	store_le(p, 2, odd ? s->type : s->type % 4);
	store_le(p + 8, 8, odd ? (uint64_t)s->at << 12 | s->value : START + s->at % 32 * BLOCK);
	store_le(p + 16, 2, odd ? s->blocks : s->blocks % 32);
	offer(b, 2);
	if (!(s->type & 0x40))
		virtio_memory_serve(&memory);
}

static void send_chain(const struct step *s)
{
	struct queue_buffer b[CHAIN_BUFFERS];
	unsigned count = 1 + s->type % CHAIN_BUFFERS;

	for (unsigned i = 0; i < count; i++)
		b[i] = (struct queue_buffer){i & 1            ? RESPONSE + s->at
					     : s->type & 0x40 ? START + s->at
							      : REQUEST,
					     s->blocks >> 4 * i & 31, s->type >> (2 + i) & 1};
	offer(b, count);
	virtio_memory_serve(&memory);
}

static void do_locked_step(const struct step *s)
{
	switch (s->kind % STEP_KINDS) {
	case STEP_HOST:
		virtio_memory_request(&memory, s->type & 0x80 ? s->value : s->at % 28 * BLOCK);
		break;
	case STEP_START:
		start(s->value, s->type & 1);
		break;
	case STEP_RING:
		store_le(queue.host + s->at % (QUEUE_LEN - 3), 4, s->value);
		virtio_notify(&memory.device, s->type);
		break;
	case STEP_TOUCH:
		virtio_config_write(&memory.device, s->at % 64, 1u << s->type % 4, s->value);
		virtio_config_read(&memory.device, s->at % 64, 1u << s->type % 4);
		break;
	}
}

static void do_step(const struct step *s)
{
	switch (s->kind % STEP_KINDS) {
	case STEP_REQUEST:
		ask(s);
		return;
	case STEP_CHAIN:
		send_chain(s);
		return;
	case STEP_MEANWHILE:
		meanwhile = s->type % MEANWHILES;
		return;
	case STEP_SERVE:
		virtio_memory_serve(&memory);
		return;
	case STEP_CLEAR:
		virtio_memory_clear(&memory);
		return;
	}
	pthread_mutex_lock(&memory.device.lock);
	do_locked_step(s);
	pthread_mutex_unlock(&memory.device.lock);
}

/* Where the memory is, how much of it is there and in what blocks is nobody's to write. */
static void check_counts(void)
{
	uint64_t there = count_blocks() * BLOCK;

	assert(memory.plugged == there && load_le(memory.config + 40, 8) == there);
	assert(load_le(memory.config, 8) == BLOCK && load_le(memory.config + 16, 8) == START);
	assert(load_le(memory.config + 24, 8) == BLOCKS * BLOCK);
	assert(virtio_memory_requested(&memory) <= BLOCKS * BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;

	if (!mem.count)
		make();
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	meanwhile = NOTHING;
	virtio_memory_clear(&memory);
	pthread_mutex_lock(&memory.device.lock);
	virtio_memory_request(&memory, BLOCKS / 2 * BLOCK);
	start(~0ull, false);
	pthread_mutex_unlock(&memory.device.lock);
	for (size_t at = 0; at + sizeof(step) <= size && at < STEPS * sizeof(step);
	     at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		do_step(&step);
		check_counts();
	}
	return 0;
}
