/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is a chain: a header of 16 bytes, data, and one byte of status at the end
 * of what the device may write; how they are cut into descriptors says nothing
 * (2.7.4.1).
 *
 *	notified()   takes chains, checks them, and hands the rest to a worker; what
 *	             the host has in its page cache is read right there
 *	run()        on a worker's thread, without lock: the host's calls
 *	complete()   status, used, interrupt; on that same thread, with the lock
 *
 * A request has its memory to itself from a pool as large as the queue. The driver's
 * header and list of ranges are copied when the chain is taken, and checked there. A
 * request that asks for what cannot be (beyond the disk, half a sector) ends with
 * IOERR; a chain without room for header and status breaks the device.
 *
 * A reset waits until no request is under way, since the host's kernel may be writing
 * to guest memory for it; the lock is free meanwhile.
 *
 * Without VIRTIO_BLK_F_FLUSH the driver takes every write for durable when it is done,
 * so that it is flushed then (5.2.6.2).
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define QUEUE_SIZE 128u

/* Bytes that are read where the notification came, if the host has them at hand: more of them would
 * keep that thread too long. */
#define READ_NOW_MAX (256u << 10)

#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

/* struct virtio_blk_config, 5.2.4. */
#define CONFIG_CAPACITY           0
#define CONFIG_SEG_MAX            12
#define CONFIG_BLK_SIZE           20
#define CONFIG_PHYSICAL_BLOCK_EXP 24
#define CONFIG_DISCARD_SECTORS    36
#define CONFIG_DISCARD_SEG        40
#define CONFIG_DISCARD_ALIGNMENT  44
#define CONFIG_ZEROES_SECTORS     48
#define CONFIG_ZEROES_SEG         52
#define CONFIG_ZEROES_MAY_UNMAP   56
#define CONFIG_SIZE               60

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

#define HEADER_SIZE   16u
#define STATUS_SIZE   1u
#define RANGE_SIZE    16u
#define RANGES_MAX    16u
#define RANGE_SECTORS (1u << 21) /* 1 GiB */
#define RANGE_UNMAP   1u

#define PHYSICAL_EXP 3u /* blocks of 4 KiB suit the host best */

struct range {
	uint64_t offset, len;
	bool unmap;
};

struct request {
	struct work work;
	struct virtio_blk *blk;
	struct request *next_free;
	uint32_t type;
	bool through;    /* a write that is to be durable when it is done */
	uint64_t offset; /* on the disk */
	uint64_t len;    /* of the data */
	int error;       /* of the host; 0: none */
	unsigned count;  /* spans; or ranges */
	struct disk_span spans[VIRTQ_CHAIN_MAX];
	struct range ranges[RANGES_MAX];
	struct virtq_chain chain;
};

struct virtio_blk {
	struct virtio_device device;
	struct disk *disk;
	struct workers *workers;
	void (*failed)(void *opaque, const char *what, int error);
	void *opaque;
	bool told; /* of a failure */
	uint8_t config[CONFIG_SIZE];
	char serial[VIRTIO_BLK_SERIAL_MAX];
	unsigned running;    /* requests that a worker has */
	pthread_cond_t idle; /* that there are none */
	struct request *free_requests;
	struct request requests[QUEUE_SIZE];
};

static struct virtio_blk *blk_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_blk, device);
}

static const char *name_of(uint32_t type)
{
	switch (type) {
	case T_IN:
		return "read";
	case T_OUT:
		return "write";
	case T_FLUSH:
		return "flush";
	case T_DISCARD:
		return "discard";
	}
	return "write zeroes";
}

/* The end of a request, whose data was written to the guest if it has any and status is OK. */
static void complete(struct request *r, uint8_t status)
{
	struct virtio_blk *b = r->blk;
	struct virtq *ring = &b->device.queues[0].ring;
	uint64_t at = r->chain.writable_len - STATUS_SIZE;
	uint64_t written = status == S_OK || !at ? r->chain.writable_len : 0;

	if (r->error && !b->told) {
		b->told = true;
		if (b->failed)
			b->failed(b->opaque, name_of(r->type), -r->error);
	}
	virtq_chain_write(ring, &r->chain, at, &status, STATUS_SIZE);
	virtio_put(&b->device, 0, &r->chain, MIN(written, UINT32_MAX));
	r->next_free = b->free_requests;
	b->free_requests = r;
}

/* Tells memory's observers of the data that was read. */
static void data_written(struct request *r)
{
	const struct virtq_chain *c = &r->chain;
	uint64_t left = r->len;

	for (unsigned i = c->readable; left; i++) {
		uint64_t len = MIN(left, c->segments[i].len);

		mem_written(r->blk->device.mem, c->segments[i].gpa, len);
		left -= len;
	}
}

static int run_ranges(struct request *r)
{
	struct disk *disk = r->blk->disk;
	int rc = 0;

	for (unsigned i = 0; !rc && i < r->count; i++) {
		const struct range *range = &r->ranges[i];

		if (!range->len)
			continue;
		rc = r->type == T_DISCARD
			     ? disk_discard(disk, range->offset, range->len)
			     : disk_zero(disk, range->offset, range->len, range->unmap);
	}
	return rc;
}

static int run_call(struct request *r)
{
	struct disk *disk = r->blk->disk;
	int rc = 0;

	switch (r->type) {
	case T_IN:
		return disk_read(disk, r->spans, r->count, r->offset);
	case T_FLUSH:
		return disk_flush(disk);
	case T_OUT:
		rc = disk_write(disk, r->spans, r->count, r->offset);
		break;
	default:
		rc = run_ranges(r);
	}
	return rc || !r->through ? rc : disk_flush(disk);
}

/* A worker's thread. */
static void run(struct work *w)
{
	struct request *r = container_of(w, struct request, work);
	struct virtio_blk *b = r->blk;

	r->error = run_call(r);
	if (r->type == T_IN)
		data_written(r); /* also what a failed read has left there */
	pthread_mutex_lock(&b->device.lock);
	complete(r, r->error ? S_IOERR : S_OK);
	virtio_finish(&b->device, 0);
	if (!--b->running)
		pthread_cond_broadcast(&b->idle);
	pthread_mutex_unlock(&b->device.lock);
}

/* The spans of len bytes at offset of count segments. */
static unsigned slice(struct disk_span *spans, const struct virtq_segment *s, uint64_t offset,
		      uint64_t len)
{
	unsigned n = 0;

	for (; len; s++) {
		uint64_t part;

		if (offset >= s->len) {
			offset -= s->len;
			continue;
		}
		part = MIN(len, s->len - offset);
		spans[n++] = (struct disk_span){s->host + offset, part};
		offset = 0;
		len -= part;
	}
	return n;
}

static bool on_disk(const struct virtio_blk *b, uint64_t sector, uint64_t len)
{
	uint64_t offset;

	return checked_mul(sector, DISK_SECTOR, &offset) &&
	       range_within(offset, len, disk_size(b->disk));
}

/* Reads and writes: 0 if there is something to do, else the status. */
static int prepare_transfer(struct request *r, uint64_t sector)
{
	const struct virtq_chain *c = &r->chain;
	bool write = r->type == T_OUT;

	r->len = write ? c->readable_len - HEADER_SIZE : c->writable_len - STATUS_SIZE;
	if (r->len % DISK_SECTOR || !on_disk(r->blk, sector, r->len))
		return S_IOERR;
	r->offset = sector * DISK_SECTOR;
	r->count = write ? slice(r->spans, c->segments, HEADER_SIZE, r->len)
			 : slice(r->spans, c->segments + c->readable, 0, r->len);
	return 0;
}

static int prepare_ranges(struct request *r)
{
	uint64_t len = r->chain.readable_len - HEADER_SIZE;
	uint8_t bytes[RANGE_SIZE];

	if (!len || len % RANGE_SIZE || len > RANGES_MAX * RANGE_SIZE)
		return S_IOERR;
	r->count = len / RANGE_SIZE;
	for (unsigned i = 0; i < r->count; i++) {
		struct range *range = &r->ranges[i];
		uint32_t flags;
		uint64_t sector;

		virtq_chain_read(&r->chain, HEADER_SIZE + i * RANGE_SIZE, bytes, RANGE_SIZE);
		sector = load_le(bytes, 8);
		range->len = load_le(bytes + 8, 4) * DISK_SECTOR;
		flags = load_le(bytes + 12, 4);
		/* 5.2.6.2: flags that are unknown, or unmap with a discard, are not supported. */
		if (flags & (r->type == T_DISCARD ? ~0u : ~RANGE_UNMAP))
			return S_UNSUPP;
		if (range->len > (uint64_t)RANGE_SECTORS * DISK_SECTOR ||
		    !on_disk(r->blk, sector, range->len))
			return S_IOERR;
		range->offset = sector * DISK_SECTOR;
		range->unmap = flags & RANGE_UNMAP;
	}
	return 0;
}

/* The serial number is answered at once. */
static int answer_id(struct request *r)
{
	struct virtio_blk *b = r->blk;
	uint64_t room = r->chain.writable_len - STATUS_SIZE;

	virtq_chain_write(&b->device.queues[0].ring, &r->chain, 0, b->serial,
			  MIN(room, sizeof(b->serial)));
	return S_OK;
}

/* What there is to be done for the request: true; or its status: false. */
static bool prepare(struct request *r, int *status)
{
	const struct virtio_blk *b = r->blk;
	uint8_t header[HEADER_SIZE];
	bool changes;

	virtq_chain_read(&r->chain, 0, header, sizeof(header));
	r->type = load_le(header, 4);
	r->error = 0;
	r->len = 0;
	r->count = 0;
	r->through = !virtio_has(&b->device, F_FLUSH);
	changes = r->type == T_OUT || r->type == T_DISCARD || r->type == T_WRITE_ZEROES;
	if (changes && disk_readonly(b->disk)) {
		*status = S_IOERR;
		return false;
	}
	switch (r->type) {
	case T_IN:
	case T_OUT:
		*status = prepare_transfer(r, load_le(header + 8, 8));
		return !*status && r->len;
	case T_FLUSH:
		*status = 0;
		return true;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		*status = prepare_ranges(r);
		return !*status;
	case T_GET_ID:
		*status = answer_id(r);
		return false;
	}
	*status = S_UNSUPP;
	return false;
}

static void begin(struct request *r)
{
	struct virtio_blk *b = r->blk;
	int status;

	if (!prepare(r, &status)) {
		complete(r, status);
		return;
	}
	if (r->type == T_IN && r->len <= READ_NOW_MAX &&
	    !disk_read_now(b->disk, r->spans, r->count, r->offset)) {
		data_written(r);
		complete(r, S_OK);
		return;
	}
	b->running++;
	workers_do(b->workers, &r->work);
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_blk *b = blk_of(d);
	struct request *r;

	/* As many requests as buffers can be taken: but for those of before a reset. */
	while ((r = b->free_requests) && virtio_take(d, queue, &r->chain)) {
		if (r->chain.readable_len < HEADER_SIZE || r->chain.writable_len < STATUS_SIZE) {
			virtio_need_reset(d);
			break;
		}
		b->free_requests = r->next_free;
		begin(r);
	}
	virtio_finish(d, queue);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_blk *b = blk_of(d);

	(void)queue;
	while (b->running)
		pthread_cond_wait(&b->idle, &d->lock);
}

static const struct virtio_device_ops ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.notified = notified,
	.stopped = stopped,
};

static void fill_config(struct virtio_blk *b)
{
	uint8_t *c = b->config;

	store_le(c + CONFIG_CAPACITY, 8, disk_size(b->disk) / DISK_SECTOR);
	store_le(c + CONFIG_SEG_MAX, 4, VIRTQ_CHAIN_MAX - 2); /* header and status */
	store_le(c + CONFIG_BLK_SIZE, 4, DISK_SECTOR);
	store_le(c + CONFIG_PHYSICAL_BLOCK_EXP, 1, PHYSICAL_EXP);
	store_le(c + CONFIG_DISCARD_SECTORS, 4, RANGE_SECTORS);
	store_le(c + CONFIG_DISCARD_SEG, 4, RANGES_MAX);
	store_le(c + CONFIG_DISCARD_ALIGNMENT, 4, 1u << PHYSICAL_EXP);
	store_le(c + CONFIG_ZEROES_SECTORS, 4, RANGE_SECTORS);
	store_le(c + CONFIG_ZEROES_SEG, 4, RANGES_MAX);
	store_le(c + CONFIG_ZEROES_MAY_UNMAP, 1, 1);
}

struct virtio_blk *virtio_blk_new(struct mem *mem, const struct virtio_blk_config *config,
				  struct err *e)
{
	struct virtio_blk *b = calloc(1, sizeof(*b));
	struct virtio_kind kind = {
		.ops = &ops,
		.features = F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_FLUSH,
		.config_len = CONFIG_SIZE,
		.queue_count = 1,
		.queue_size = QUEUE_SIZE,
	};

	if (!b) {
		err_errno(e, ENOMEM, "cannot make virtio-blk");
		return NULL;
	}
	kind.config = b->config;
	kind.features |= disk_readonly(config->disk) ? F_RO : F_DISCARD | F_WRITE_ZEROES;
	b->disk = config->disk;
	b->workers = config->workers;
	b->failed = config->failed;
	b->opaque = config->opaque;
	if (config->serial)
		memcpy(b->serial, config->serial, MIN(strlen(config->serial), sizeof(b->serial)));
	pthread_cond_init(&b->idle, NULL);
	fill_config(b);
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		struct request *r = &b->requests[QUEUE_SIZE - 1 - i];

		r->blk = b;
		r->work.run = run;
		r->next_free = b->free_requests;
		b->free_requests = r;
	}
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
