/* SPDX-License-Identifier: Apache-2.0 */
/* The block device's two halves: blk.c is the device, blk_request.c what one request asks for. */
#ifndef LODGE_VIRTIO_BLK_INT_H
#define LODGE_VIRTIO_BLK_INT_H

#include "host/disk.h"
#include "host/workers.h"
#include "virtio/blk.h"
#include "virtio/device.h"
#include "virtio/limiter.h"

#define BLK_QUEUE_SIZE 128u

#define BLK_F_SEG_MAX      BIT(2)
#define BLK_F_RO           BIT(5)
#define BLK_F_BLK_SIZE     BIT(6)
#define BLK_F_FLUSH        BIT(9)
#define BLK_F_TOPOLOGY     BIT(10)
#define BLK_F_CONFIG_WCE   BIT(11)
#define BLK_F_MQ           BIT(12)
#define BLK_F_DISCARD      BIT(13)
#define BLK_F_WRITE_ZEROES BIT(14)

#define BLK_RANGES_MAX    16u
#define BLK_RANGE_SECTORS (1u << 21) /* 1 GiB */

/* struct virtio_blk_config, 5.2.4. */
#define BLK_CONFIG_SIZE 60

enum blk_type {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13
};
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };

#define BLK_HEADER_SIZE 16u
#define BLK_STATUS_SIZE 1u

struct blk_range {
	uint64_t offset, len;
	bool unmap;
};

struct blk_request {
	struct work work;
	struct virtio_blk *blk;
	unsigned queue;
	struct blk_request *next; /* that is free, or of the same batch */
	uint32_t type;
	bool through;    /* a write that is to be durable when it is done */
	uint64_t offset; /* on the disk */
	uint64_t len;    /* of the data */
	uint64_t taken;  /* when, by the monotonic clock, ns */
	int error;       /* of the host; 0: none */
	unsigned count;  /* spans; or ranges */
	struct disk_span spans[VIRTQ_CHAIN_MAX];
	struct blk_range ranges[BLK_RANGES_MAX];
	struct virtq_chain chain;
};

/* Requests of one queue that a worker runs one after the other, and ends together. */
struct blk_batch {
	struct blk_request *first, **last;
	unsigned count;
	uint64_t len;
};

struct blk_queue {
	unsigned running;         /* requests of it that a worker has */
	struct blk_request *held; /* what the limiter did not let pass; the next to begin */
};

/* What ended, as its driver asked; and what did not. */
struct blk_counts {
	uint64_t reads, read_bytes, writes, write_bytes, flushes, discards;
	struct virtio_time read_time, write_time; /* from being taken to their ends */
	uint64_t errors;                          /* of the host */
	uint64_t refused;                         /* that asked for what cannot be */
	uint64_t swaps, swap_errors;
};

struct virtio_blk {
	struct virtio_device device;
	struct blk_counts counts;
	struct disk *disk;
	struct workers *workers;
	struct limiter limiter;
	void (*failed)(void *opaque, const char *what, int error);
	void *opaque;
	unsigned block_size;
	bool told;      /* of a failure */
	bool cache_set; /* the driver has chosen the cache's mode, or it was chosen for it */
	bool flushing;  /* flush is under way */
	bool swapping;  /* another disk takes the place of this one: nothing is begun */
	struct work flush;
	uint8_t config[BLK_CONFIG_SIZE];
	char serial[VIRTIO_BLK_SERIAL_MAX];
	unsigned first_queue; /* whose turn it is after a wait for the limiter */
	pthread_cond_t idle;  /* that a queue, or all, have nothing running */
	struct blk_queue queues[VIRTIO_QUEUES_MAX];
	uint64_t now;           /* when serve() was called: the monotonic clock's ns */
	uint64_t away_until;    /* writes are a worker's until then: the monotonic clock's ns */
	struct blk_batch batch; /* that is being gathered; empty but within serve() */
	struct blk_request *free_requests;
	unsigned fresh; /* requests that were never used, and whose memory is not there yet */
	struct blk_request requests[]; /* BLK_QUEUE_SIZE a queue */
};

/* Reads what the chain asks for, and checks it. True: there is something to be done; false: the
 * request has ended with *status. Lock held. */
bool blk_request_prepare(struct blk_request *r, enum blk_status *status);

/* Does it: the host's calls, which may block. more: it is a write right behind one that was good.
 * No lock needed. 0 or a negative errno. */
int blk_request_run(struct blk_request *r, bool more);

/* Does it if that needs no waiting, else false. Lock held. */
bool blk_request_run_now(struct blk_request *r);

/* Whether it is likely to be so quick that handing it to a thread of its own would cost more. */
bool blk_request_is_quick(const struct blk_request *r);

/* "read", "write", ... */
const char *blk_request_name(const struct blk_request *r);

/* Whether writes are to be durable when they are done. */
bool blk_is_through(const struct virtio_blk *b);

#endif
