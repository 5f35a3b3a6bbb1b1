/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue, the device's side: buffers that a driver made available are taken
 * from it in order, and given back used in any order.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, 2.6 "Virtqueues", 2.7 "Split
 * Virtqueues", 2.8 "Packed Virtqueues". Both forms, with indirect descriptors,
 * event index and in-order use, stand behind the same functions; a device does not
 * know which form it has.
 *
 * A buffer is a chain of descriptors. virtq_take() hands out a chain whole and
 * checked, as segments of guest RAM, or not at all: before the device moves a byte
 * it is known that the chain ends, fits, lies in RAM, and has its readable parts
 * before its writable ones. What is in guest RAM is read once; nothing there may
 * be trusted to be the same when it is read again.
 *
 * A driver that breaks the rules breaks its queue: virtq_take() then gives
 * VIRTQ_BROKEN, until the queue is started anew, and the device asks for a reset.
 * Nothing else happens: neither lodge nor another device is hurt by it.
 *
 * Threads: a queue has no lock; its device's guards it.
 */
#ifndef LODGE_VIRTIO_QUEUE_H
#define LODGE_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mem.h"

/* Descriptors that a queue may have; and segments that a chain may have, which by an indirect table
 * can be more than its queue's size: Linux makes such where a queue is small. */
#define VIRTQ_SIZE_MAX  256
#define VIRTQ_CHAIN_MAX 256

/* What was negotiated that concerns queues: features of the device (virtio/device.h). */
struct virtq_features {
	bool packed;
	bool indirect;
	bool event_idx;
	bool in_order;
};

/* Where the driver has put a queue. Guest numbers, checked by virtq_start. */
struct virtq_place {
	uint16_t size;   /* in descriptors */
	uint64_t desc;   /* descriptor table; or descriptor ring */
	uint64_t driver; /* available ring; or driver event suppression */
	uint64_t device; /* used ring; or device event suppression */
};

/* One of the three areas above, while the queue is started. */
struct virtq_part {
	uint64_t gpa;
	uint64_t len;
	uint8_t *host;
};

/* A piece of guest RAM, wholly in one region; never empty. */
struct virtq_segment {
	uint64_t gpa;
	uint8_t *host;
	uint32_t len;
};

/* A buffer that was taken: the device's until it puts it back. */
struct virtq_chain {
	uint16_t id;           /* the driver's name for it */
	uint16_t slots;        /* descriptors that it has in the ring itself */
	uint32_t epoch;        /* which start of the queue it belongs to */
	uint32_t turn;         /* it was the turn-th to be taken since then */
	unsigned readable;     /* segments that the device reads: the first */
	unsigned writable;     /* segments that it writes: those after them */
	uint64_t readable_len; /* bytes; both together up to 2^32 */
	uint64_t writable_len;
	struct virtq_segment segments[VIRTQ_CHAIN_MAX];
};

/* A buffer that was put back before its turn, where the driver wants them in order. */
struct virtq_done {
	bool done;
	uint16_t id;
	uint16_t slots;
	uint32_t written;
};

struct virtq_form; /* split or packed */

struct virtq {
	struct mem *mem;
	const struct virtq_form *form; /* NULL: not started */
	struct virtq_features features;
	unsigned size;
	struct virtq_part desc, driver, device;
	const char *broken; /* the rule that the driver broke; NULL: none */
	uint32_t epoch;     /* counts starts and stops */
	uint32_t taken;     /* buffers taken since the start */
	uint32_t used;      /* buffers used since the start */
	unsigned slots;     /* descriptors of the ring that are taken and not used */
	/* The ring's two ends: split, free-running indices; packed, places in the ring, each with
	 * its wrap counter. */
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap;
	bool holding; /* used buffers are written, and not yet shown to the driver */
	bool held;    /* packed: the first such, whose flags show them all */
	uint16_t held_at, held_flags;
	uint16_t unsignalled;                   /* used since the driver was last asked */
	uint64_t busy[VIRTQ_SIZE_MAX / 64];     /* split: heads that are taken and not used */
	struct virtq_done done[VIRTQ_SIZE_MAX]; /* in order: by turn modulo size */
};

enum virtq_taken { VIRTQ_EMPTY, VIRTQ_CHAIN, VIRTQ_BROKEN };

/* Makes a queue that is not started. Nothing to release. */
void virtq_init(struct virtq *q, struct mem *mem);

/* Starts the queue, empty, where the driver has put it. NULL; or, when that place breaks a rule,
 * which (a constant), and the queue is not started. */
const char *virtq_start(struct virtq *q, const struct virtq_place *place,
			const struct virtq_features *features);

/* Stops it at once, wherever it stands; chains taken from it are no more its own, and putting them
 * back does nothing. Idempotent. */
void virtq_stop(struct virtq *q);

static inline bool virtq_started(const struct virtq *q)
{
	return q->form != NULL;
}

/*
 * Takes the next available buffer into chain. VIRTQ_EMPTY: there is none now, or the queue is not
 * started. VIRTQ_BROKEN: the driver broke a rule, now or before: q->broken says which; nothing was
 * taken and nothing more will be.
 */
enum virtq_taken virtq_take(struct virtq *q, struct virtq_chain *chain);

/*
 * Gives a chain back used, written bytes of its writable part having been written from its
 * beginning on. Does nothing if the queue was stopped since the chain was taken. Each chain once.
 */
void virtq_put(struct virtq *q, const struct virtq_chain *chain, uint32_t written);

/* What it takes to give a chain back. */
struct virtq_ticket {
	uint16_t id;
	uint16_t slots;
	uint32_t epoch;
	uint32_t turn;
	uint32_t written; /* as in virtq_put */
};

static inline struct virtq_ticket virtq_ticket(const struct virtq_chain *chain, uint32_t written)
{
	return (struct virtq_ticket){chain->id, chain->slots, chain->epoch, chain->turn, written};
}

/* virtq_put of n chains at once: the driver finds all of them used, or none yet. */
void virtq_put_together(struct virtq *q, const struct virtq_ticket *tickets, unsigned n);

/* Whether the driver wants to be told of what was put back since this was last asked. To be asked
 * after a batch of puts. */
bool virtq_should_interrupt(struct virtq *q);

/*
 * Asks the driver to notify of new buffers, or (a hint) not to. After asking for it look once more
 * with virtq_take: what came in between is not notified of.
 */
void virtq_want_kicks(struct virtq *q, bool want);

/* Copies up to len bytes at offset of the chain's readable part to buf; how many there were. */
size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len);

/* Copies up to len bytes of buf to offset of the chain's writable part; how many had room. Does
 * nothing, and gives 0, if the queue was stopped since the chain was taken. */
size_t virtq_chain_write(struct virtq *q, const struct virtq_chain *chain, uint64_t offset,
			 const void *buf, size_t len);

#endif
