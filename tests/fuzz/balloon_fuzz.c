/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver sends to a balloon with all of its queues, what it writes to its
 * configuration space and its rings, and what the host asks for meanwhile. Whatever it is, only
 * RAM is given back, none of it where the guest wants its pattern to stay, and a reset leaves
 * nothing.
 *
 *	steps x struct step
 */
#include <assert.h>
#include <stdlib.h>

#include "queue_guest.h"
#include "virtio/balloon.h"

#define RAM     0x100000u
#define QUEUES  5u
#define CONTENT 0x10000u /* what buffers of the first address have in them */
#define LENGTH  0x10000u
#define HIGH    0x200000u /* a second region, behind a hole */
#define FILE_AT 0x300000u
#define STEPS   256u

#define F_HINTS  BIT(3)
#define F_POISON BIT(4)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind {
	STEP_NUMBERS,
	STEP_STATS,
	STEP_COMMAND,
	STEP_FREE,
	STEP_HOST,
	STEP_TIME,
	STEP_CONFIG,
	STEP_START,
	STEP_RING,
	STEP_QUEUE,
	STEP_KINDS
};

struct step {
	uint8_t kind;  /* modulo STEP_KINDS */
	uint8_t queue; /* modulo QUEUES; STEP_START: bits of those that are not enabled */
	uint8_t shape; /* low bits: further buffers; the others: which of a chain's are written */
	uint8_t way;
	uint32_t n;
	uint32_t at;
	uint32_t value;
};

static struct mem mem;
static struct clock guest;
static struct virtio_balloon balloon;
static struct queue_guest queues[QUEUES];
static _Alignas(4096) uint8_t file[0x2000];

static void on_used(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

static void on_changed(void *opaque)
{
	(void)opaque;
}

static void make(void)
{
	static const struct virtio_link link = {on_used, on_changed, on_used, NULL};
	const struct virtio_balloon_config config = {.size = RAM,
						     .deflate_on_oom = true,
						     .reporting = true,
						     .hinting = true,
						     .stats_s = 1,
						     .clock = &guest};

	memset(file, 0x77, sizeof(file));
	clock_init_manual(&guest);
	if (mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL) ||
	    mem_add_ram(&mem, HIGH, RAM, NULL) ||
	    mem_add_file(&mem, FILE_AT, sizeof(file), file, NULL))
		abort();
	virtio_balloon_init(&balloon, &mem, &config);
	virtio_device_link(&balloon.device, &link);
}

static void check_stopped(void)
{
	assert(!balloon.holding && !guest.first && !balloon.stats.known);
	assert(!balloon.host_command && !balloon.guest_commanded);
	assert(!virtio_balloon_actual(&balloon));
}

static void start(uint64_t features, unsigned without)
{
	struct virtio_device *d = &balloon.device;

	queue_features(d, features);
	check_stopped();
	for (unsigned q = 0; q < QUEUES; q++) {
		uint64_t area = QUEUE_AREA + q * QUEUE_LEN;

		if (without >> q & 1)
			continue;
		queue_place(&queues[q], d, q, area, mem_ptr_rw(&mem, area, QUEUE_LEN));
		virtio_queue_enable(d, q);
	}
	virtio_set_status(d, VIRTIO_DRIVER_OK);
}

/* Sends the content, so many bytes of it, and further buffers that the step says. */
static void send(const struct step *s, uint32_t len, bool content)
{
	struct queue_buffer b[CHAIN_BUFFERS];
	unsigned more = s->shape % CHAIN_BUFFERS, count = 0;
	struct queue_guest *q = &queues[s->queue % QUEUES];

	if (content)
		b[count++] = (struct queue_buffer){CONTENT, len, s->shape & 4};
	for (; count < CHAIN_BUFFERS && (count < more || !count); count++)
		b[count] = (struct queue_buffer){s->at + (uint64_t)s->value * count, s->n,
						 s->shape >> (3 + count) & 1};
	if (!q->host)
		return;
	queue_offer(q, b, count);
	virtio_notify(&balloon.device, q->number);
}

/* Pages' numbers, which go up, down, or by leaps. */
static void send_numbers(const struct step *s)
{
	uint32_t count = s->n % (LENGTH / 4), number = s->at;
	uint8_t *p = mem_ptr_rw(&mem, CONTENT, LENGTH);

	for (uint32_t i = 0; i < count; i++, number += (uint32_t)(int8_t)s->way)
		store_le(p + 4 * i, 4, i % 16 == 15 ? s->value : number);
	send(s, count * 4 + (s->shape >> 7), true);
}

static void send_stats(const struct step *s)
{
	uint8_t *p = mem_ptr_rw(&mem, CONTENT, LENGTH);
	uint32_t len = s->n % 2000;

	for (uint32_t i = 0; i < 200; i++) {
		store_le(p + 10 * i, 2, (s->at + i * s->way) & 0xffff);
		store_le(p + 10 * i + 2, 8, s->value + i);
	}
	send(s, len, true);
}

static void send_command(const struct step *s)
{
	uint32_t command = s->way & 1 ? balloon.host_command : s->way >> 1;

	store_le(mem_ptr_rw(&mem, CONTENT, 4), 4, command);
	send(s, s->way & 0x80 ? s->n % 8 : 4, true);
}

static void ask(const struct step *s)
{
	uint32_t before = balloon.host_command;

	switch (s->way % 4) {
	case 0:
		virtio_balloon_resize(&balloon, s->value);
		assert(virtio_balloon_target(&balloon) == align_down(s->value, 4096));
		break;
	case 1:
		assert(virtio_balloon_poll(&balloon, 1 + s->value % 4) && !balloon.holding);
		break;
	case 2:
		virtio_balloon_hint(&balloon, s->value & 1);
		assert(balloon.host_command > 1 && balloon.host_command != before);
		break;
	default:
		virtio_balloon_stop_hints(&balloon);
	}
}

static void change_queue(const struct step *s)
{
	struct queue_guest *q = &queues[s->queue % QUEUES];

	if (!q->host)
		return;
	virtio_queue_reset(&balloon.device, q->number);
	if (!(s->way & 1))
		return;
	queue_place(q, q->device, q->number, q->gpa, q->host);
	virtio_queue_enable(q->device, q->number);
}

static void do_step(const struct step *s)
{
	struct virtio_device *d = &balloon.device;

	switch (s->kind % STEP_KINDS) {
	case STEP_NUMBERS:
		send_numbers(s);
		break;
	case STEP_STATS:
		send_stats(s);
		break;
	case STEP_COMMAND:
		send_command(s);
		break;
	case STEP_FREE:
		send(s, 0, false);
		break;
	case STEP_HOST:
		ask(s);
		break;
	case STEP_CONFIG:
		virtio_config_write(d, s->at % 20, 1u << s->way % 4, s->value);
		virtio_config_read(d, s->at % 20, 1u << s->way % 4);
		break;
	case STEP_START:
		start(s->value, s->queue);
		break;
	case STEP_RING:
		store_le(mem_ptr_rw(&mem, QUEUE_AREA + s->at % (QUEUES * QUEUE_LEN), 4), 4,
			 s->value);
		virtio_notify(d, s->queue);
		break;
	case STEP_QUEUE:
		change_queue(s);
		break;
	}
}

/* What is kept where it is if the guest looks for its pattern there. */
static bool keeps_pattern(const struct step *s)
{
	unsigned kind = s->kind % STEP_KINDS;

	return (kind == STEP_COMMAND || kind == STEP_FREE) && s->queue % QUEUES > 1 &&
	       virtio_has(&balloon.device, F_POISON) && load_le(balloon.config + 12, 4);
}

static void step_locked(const struct step *s)
{
	uint64_t returned = balloon.returned, target = virtio_balloon_target(&balloon);
	bool keeps = keeps_pattern(s);

	do_step(s);
	assert(!keeps || balloon.returned == returned);
	assert(s->kind % STEP_KINDS == STEP_HOST || virtio_balloon_target(&balloon) == target);
	assert(load_le(balloon.config + 8, 4) == balloon.host_command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;

	if (!mem.count)
		make();
	pthread_mutex_lock(&balloon.device.lock);
	start(~0ull, 0);
	for (size_t at = 0; at + sizeof(step) <= size && at < STEPS * sizeof(step);
	     at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		step_locked(&step);
		pthread_mutex_unlock(&balloon.device.lock);
		if (step.kind % STEP_KINDS == STEP_TIME)
			clock_advance(&guest, (uint64_t)step.n << 10);
		pthread_mutex_lock(&balloon.device.lock);
	}
	virtio_set_status(&balloon.device, 0);
	check_stopped();
	pthread_mutex_unlock(&balloon.device.lock);
	for (size_t i = 0; i < sizeof(file); i++)
		assert(file[i] == 0x77);
	return 0;
}
