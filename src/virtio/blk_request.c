/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: a header of 16 bytes, data, and one byte of status at the end of what
 * the device may write (5.2.6). The driver's header and list of ranges are copied
 * when the chain is taken, and checked there. A request that asks for what cannot be
 * (beyond the disk, half a sector) ends with IOERR.
 */
#include "virtio/blk_int.h"

#include "base/checked.h"

/* Bytes that are read where the notification came, if the host has them at hand: more of them would
 * keep that thread too long. */
#define READ_NOW_MAX (256u << 10)

/* A write to the page cache of no more than this is no longer than the way to another thread. */
#define QUICK_MAX (32u << 10)

#define RANGE_SIZE  16u
#define RANGE_UNMAP 1u

const char *blk_request_name(const struct blk_request *r)
{
	switch (r->type) {
	case BLK_IN:
		return "read";
	case BLK_OUT:
		return "write";
	case BLK_FLUSH:
		return "flush";
	case BLK_DISCARD:
		return "discard";
	}
	return "write zeroes";
}

/* Tells memory's observers of the data that was read. */
static void data_written(struct blk_request *r)
{
	const struct virtq_chain *c = &r->chain;
	uint64_t left = mem_heard(r->blk->device.mem) ? r->len : 0;

	for (unsigned i = c->readable; left; i++) {
		uint64_t len = MIN(left, c->segments[i].len);

		mem_written(r->blk->device.mem, c->segments[i].gpa, len);
		left -= len;
	}
}

static int run_ranges(struct blk_request *r)
{
	struct disk *disk = r->blk->disk;
	int rc = 0;

	for (unsigned i = 0; !rc && i < r->count; i++) {
		const struct blk_range *range = &r->ranges[i];

		if (!range->len)
			continue;
		rc = r->type == BLK_DISCARD
			     ? disk_discard(disk, range->offset, range->len)
			     : disk_zero(disk, range->offset, range->len, range->unmap);
	}
	return rc;
}

int blk_request_run(struct blk_request *r, bool more)
{
	struct disk *disk = r->blk->disk;
	int rc = 0;

	switch (r->type) {
	case BLK_IN:
		rc = disk_read(disk, r->spans, r->count, r->offset);
		data_written(r); /* also what a failed read has left there */
		return rc;
	case BLK_FLUSH:
		return disk_flush(disk);
	case BLK_OUT:
		rc = more ? disk_write_more(disk, r->spans, r->count, r->offset)
			  : disk_write(disk, r->spans, r->count, r->offset);
		break;
	default:
		rc = run_ranges(r);
	}
	return rc || !r->through ? rc : disk_flush(disk);
}

bool blk_request_run_now(struct blk_request *r)
{
	if (r->type != BLK_IN || r->len > READ_NOW_MAX ||
	    disk_read_now(r->blk->disk, r->spans, r->count, r->offset))
		return false;
	data_written(r);
	return true;
}

bool blk_request_is_quick(const struct blk_request *r)
{
	return r->type == BLK_OUT && r->len <= QUICK_MAX && !r->through &&
	       !disk_direct(r->blk->disk);
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

static enum blk_status prepare_transfer(struct blk_request *r, uint64_t sector)
{
	const struct virtq_chain *c = &r->chain;
	bool write = r->type == BLK_OUT;

	r->len = write ? c->readable_len - BLK_HEADER_SIZE : c->writable_len - BLK_STATUS_SIZE;
	if (r->len % DISK_SECTOR || !on_disk(r->blk, sector, r->len))
		return BLK_IOERR;
	r->offset = sector * DISK_SECTOR;
	r->count = write ? slice(r->spans, c->segments, BLK_HEADER_SIZE, r->len)
			 : slice(r->spans, c->segments + c->readable, 0, r->len);
	return BLK_OK;
}

static enum blk_status prepare_ranges(struct blk_request *r)
{
	uint64_t len = r->chain.readable_len - BLK_HEADER_SIZE;
	uint8_t bytes[RANGE_SIZE];

	if (!len || len % RANGE_SIZE || len > BLK_RANGES_MAX * RANGE_SIZE)
		return BLK_IOERR;
	r->count = len / RANGE_SIZE;
	for (unsigned i = 0; i < r->count; i++) {
		struct blk_range *range = &r->ranges[i];
		uint32_t flags;
		uint64_t sector;

		virtq_chain_read(&r->chain, BLK_HEADER_SIZE + i * RANGE_SIZE, bytes, RANGE_SIZE);
		sector = load_le(bytes, 8);
		range->len = load_le(bytes + 8, 4) * DISK_SECTOR;
		flags = load_le(bytes + 12, 4);
		/* 5.2.6.2: flags that are unknown, or unmap with a discard, are not supported. */
		if (flags & (r->type == BLK_DISCARD ? ~0u : ~RANGE_UNMAP))
			return BLK_UNSUPP;
		if (range->len > (uint64_t)BLK_RANGE_SECTORS * DISK_SECTOR ||
		    !on_disk(r->blk, sector, range->len))
			return BLK_IOERR;
		range->offset = sector * DISK_SECTOR;
		range->unmap = flags & RANGE_UNMAP;
	}
	return BLK_OK;
}

/* The serial number is answered at once. */
static enum blk_status answer_id(struct blk_request *r)
{
	struct virtio_blk *b = r->blk;
	uint64_t room = r->chain.writable_len - BLK_STATUS_SIZE;

	virtq_chain_write(&b->device.queues[r->queue].ring, &r->chain, 0, b->serial,
			  MIN(room, sizeof(b->serial)));
	return BLK_OK;
}

bool blk_request_prepare(struct blk_request *r, enum blk_status *status)
{
	const struct virtio_blk *b = r->blk;
	uint8_t header[BLK_HEADER_SIZE];
	bool changes;

	virtq_chain_read(&r->chain, 0, header, sizeof(header));
	r->type = load_le(header, 4);
	r->error = 0;
	r->len = 0;
	r->count = 0;
	r->through = blk_is_through(b);
	changes = r->type == BLK_OUT || r->type == BLK_DISCARD || r->type == BLK_WRITE_ZEROES;
	*status = BLK_IOERR;
	if (changes && disk_readonly(b->disk))
		return false;
	switch (r->type) {
	case BLK_IN:
	case BLK_OUT:
		*status = prepare_transfer(r, load_le(header + 8, 8));
		return *status == BLK_OK && r->len;
	case BLK_FLUSH:
		return true;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		*status = prepare_ranges(r);
		return *status == BLK_OK;
	case BLK_GET_ID:
		*status = answer_id(r);
		return false;
	}
	*status = BLK_UNSUPP;
	return false;
}
