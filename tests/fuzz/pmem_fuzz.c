/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver sends to persistent memory's queue while flushes are under way, fail,
 * and are kept back by limits. Whatever it is, an answer is one of the two that there are, nothing
 * is answered twice or after a reset, and a reset waits for the flush that is under way.
 *
 *	steps x struct step
 *
 * Flushes run on another thread, as on a real machine, but end only while the gate is open.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "queue_guest.h"
#include "virtio/pmem.h"

#define RAM     0x40000u
#define CONTENT 0x10000u
#define STATUS  0x20000u
#define STEPS   256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step_kind {
	STEP_FLUSH,
	STEP_CHAIN,
	STEP_GATE,
	STEP_WAIT,
	STEP_LIMIT,
	STEP_TIME,
	STEP_START,
	STEP_RING,
	STEP_QUEUE,
	STEP_KINDS
};

struct step {
	uint8_t kind;  /* modulo STEP_KINDS */
	uint8_t shape; /* low bits: descriptors; the others: which of them are written */
	uint16_t n;
	uint32_t at;
	uint32_t value;
};

static struct mem mem;
static struct clock guest;
static struct virtio_pmem pmem;
static struct queue_guest queue;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static bool shut;                /* this thread has the gate */
static _Atomic int result;       /* of flushes */
static _Atomic unsigned running; /* flushes: never two */
static bool tampered;            /* with the rings: counting is over */

static int flush(void *opaque)
{
	int rc;

	(void)opaque;
	assert(running++ == 0);
	pthread_mutex_lock(&gate);
	rc = result;
	pthread_mutex_unlock(&gate);
	assert(--running == 0);
	return rc;
}

static void failed(void *opaque, int error)
{
	(void)opaque;
	assert(error == EIO);
}

static void on_used(void *opaque, unsigned number)
{
	(void)opaque;
	(void)number;
}

static void on_changed(void *opaque)
{
	(void)opaque;
}

static void make(void)
{
	static const struct virtio_link link = {on_used, on_changed, on_used, NULL};
	struct virtio_pmem_config config = {.start = GIB(4),
					    .size = MIB(2),
					    .length = MIB(1),
					    .clock = &guest,
					    .flush = flush,
					    .failed = failed};

	clock_init_manual(&guest);
	config.workers = workers_new("fuzz", 2, NULL);
	if (!config.workers || mem_init(&mem, 0, NULL) || mem_add_ram(&mem, 0, RAM, NULL))
		abort();
	virtio_pmem_init(&pmem, &mem, &config);
	virtio_device_link(&pmem.device, &link);
}

static void set_gate(bool to)
{
	if (to == shut)
		return;
	if (to)
		pthread_mutex_lock(&gate);
	else
		pthread_mutex_unlock(&gate);
	shut = to;
}

static void check_stopped(void)
{
	assert(!pmem.flushing && !pmem.waiting.count && !pmem.running.count && !guest.first);
	assert(!running);
}

/* The lock is held, and the gate is open: the reset waits. */
static void start(uint64_t features)
{
	struct virtio_device *d = &pmem.device;

	set_gate(false);
	queue_features(d, features);
	check_stopped();
	queue_place(&queue, d, 0, QUEUE_AREA, mem_ptr_rw(&mem, QUEUE_AREA, QUEUE_LEN));
	/* What a chain that meant harm had written there. */
	memset(mem_ptr_rw(&mem, STATUS, QUEUE_CHAINS * 16), 0, QUEUE_CHAINS * 16);
	virtio_queue_enable(d, 0);
	virtio_set_status(d, VIRTIO_DRIVER_OK);
	tampered = false;
}

static void offer(const struct queue_buffer *b, unsigned count)
{
	queue_offer(&queue, b, count);
	virtio_notify(&pmem.device, 0);
}

/* Many at once: more than wait for one flush. */
static void ask(const struct step *s)
{
	for (unsigned i = 0; i <= s->n % 40; i++) {
		uint32_t place = STATUS + (queue.avail % QUEUE_CHAINS) * 16;
		const struct queue_buffer b[] = {{CONTENT, 4, false}, {place, 4, true}};

		/* A driver does not ask for more than the ring holds. */
		if (!tampered && (uint16_t)(queue.avail - queue_used(&queue)) >= QUEUE_CHAINS)
			break;
		store_le(mem_ptr_rw(&mem, CONTENT, 4), 4, s->value);
		offer(b, 2);
	}
}

static void send_chain(const struct step *s)
{
	struct queue_buffer b[CHAIN_BUFFERS];
	unsigned count = 1 + s->shape % CHAIN_BUFFERS;

	store_le(mem_ptr_rw(&mem, CONTENT, 4), 4, s->value);
	for (unsigned i = 0; i < count; i++)
		b[i] = (struct queue_buffer){i ? s->at : CONTENT, i ? s->n : s->n % 8,
					     s->shape >> (2 + i) & 1};
	/* What is written over, and where, is the device's affair only as far as RAM goes. */
	tampered = true;
	offer(b, count);
}

static void limit(const struct step *s)
{
	const struct limiter_bucket b = {s->value & 0xffffff, s->at % 1000, s->n & 0xff};

	virtio_pmem_limit(&pmem, s->shape & 1 ? &b : NULL, s->shape & 2 ? &b : NULL);
}

static void wait_for_flush(void)
{
	set_gate(false);
	while (pmem.flushing)
		pthread_cond_wait(&pmem.idle, &pmem.device.lock);
}

static void do_step(const struct step *s)
{
	struct virtio_device *d = &pmem.device;

	switch (s->kind % STEP_KINDS) {
	case STEP_FLUSH:
		ask(s);
		break;
	case STEP_CHAIN:
		send_chain(s);
		break;
	case STEP_GATE:
		result = s->value & 1 ? -EIO : 0;
		set_gate(true);
		break;
	case STEP_WAIT:
		wait_for_flush();
		break;
	case STEP_START:
		start(s->value);
		break;
	case STEP_RING:
		tampered = true;
		store_le(mem_ptr_rw(&mem, QUEUE_AREA + s->at % QUEUE_LEN, 4), 4, s->value);
		virtio_notify(d, s->shape);
		break;
	case STEP_QUEUE:
		set_gate(false);
		virtio_queue_reset(d, 0);
		check_stopped();
		queue_place(&queue, d, 0, queue.gpa, queue.host);
		virtio_queue_enable(d, 0);
		break;
	}
}

/* An honest driver's statuses, and how many were answered. */
static void check_answers(void)
{
	if (tampered)
		return;
	assert((uint16_t)(queue.avail - queue_used(&queue)) <= QUEUE_CHAINS);
	for (unsigned i = 0; i < QUEUE_CHAINS; i++)
		assert(load_le(mem_ptr(&mem, STATUS + i * 16, 4), 4) <= 1);
	assert(pmem.waiting.count + pmem.running.count <= QUEUE_CHAINS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct limiter_bucket none;
	struct step step;

	if (!mem.count)
		make();
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	pmem.told = false;
	result = 0;
	virtio_pmem_limit(&pmem, &none, &none);
	pthread_mutex_lock(&pmem.device.lock);
	start(0);
	for (size_t at = 0; at + sizeof(step) <= size && at < STEPS * sizeof(step);
	     at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		do_step(&step);
		check_answers();
		pthread_mutex_unlock(&pmem.device.lock);
		if (step.kind % STEP_KINDS == STEP_TIME)
			clock_advance(&guest, (uint64_t)step.value << 8);
		else if (step.kind % STEP_KINDS == STEP_LIMIT)
			limit(&step);
		pthread_mutex_lock(&pmem.device.lock);
	}
	set_gate(false);
	virtio_set_status(&pmem.device, 0);
	check_stopped();
	pthread_mutex_unlock(&pmem.device.lock);
	return 0;
}
