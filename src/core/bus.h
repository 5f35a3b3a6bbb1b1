/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of device registers: port I/O or memory-mapped I/O.
 *
 * A range of addresses belongs to a device by its struct bus_ops. An access
 * finds its range, takes the device's lock, and calls the device with the offset
 * from the range's start. Look-up takes no lock (a sequence counter guards the
 * sorted table), so vCPUs never wait for each other here.
 *
 * Accesses that do not fit a device are made to fit as a real bus bridge does:
 * one wider than the device's registers (ops->width) is split into several, low
 * address first, and one that crosses the end of a range is split into bytes.
 *
 * Unclaimed bytes read as all ones, and vanish when written; an access that has some
 * is counted once.
 */
#ifndef LODGE_CORE_BUS_H
#define LODGE_CORE_BUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BUS_RANGES_MAX 128

struct bus_ops {
	const char *name; /* of the device, for logs and lodge's inspection */
	unsigned width;   /* widest access the device takes, in bytes: 1, 2, 4 or 8 */
	/* offset is from the range's start, size is 1, 2, 4 or 8 and at most width; offset + size
	 * lies within the range, offset need not be a multiple of size. Called with the device's
	 * lock held, on the accessing vCPU's thread. Values are zero-extended. A NULL read gives
	 * all ones, a NULL write is ignored. */
	uint64_t (*read)(void *dev, uint64_t offset, unsigned size);
	void (*write)(void *dev, uint64_t offset, unsigned size, uint64_t value);
};

/*
 * A device's way to say that its guest writes a register in bursts and looks at no answer in
 * between, so that such writes may be posted (core/engine.h) for a moment. hint may be called as
 * often as the device likes, with its lock held; machine/posted.c decides.
 */
struct bus_posting {
	void (*hint)(void *opaque);
	void *opaque;
	const _Atomic bool *on; /* whether they are posted already, and a hint says nothing new */
};

static inline void bus_posting_hint(const struct bus_posting *p)
{
	if (p->hint && !atomic_load_explicit(p->on, memory_order_relaxed))
		p->hint(p->opaque);
}

struct bus_range {
	_Atomic uint64_t base;
	_Atomic uint64_t size;
	const struct bus_ops *_Atomic ops;
	void *_Atomic dev;
	pthread_mutex_t *_Atomic lock;
};

struct bus {
	const char *name;       /* "pio" or "mmio" */
	uint64_t limit;         /* size of the address space */
	pthread_mutex_t change; /* held by whoever changes the table */
	_Atomic unsigned seq;   /* odd while the table changes */
	_Atomic unsigned count;
	_Atomic unsigned last;                   /* index of the range found last; a guess */
	struct bus_range ranges[BUS_RANGES_MAX]; /* sorted by base */
	_Atomic uint64_t unclaimed_reads;
	_Atomic uint64_t unclaimed_writes;
};

/* Makes an empty address space of limit bytes (0x10000 for ports). */
void bus_init(struct bus *b, const char *name, uint64_t limit);
void bus_release(struct bus *b);

/*
 * Gives [base, base + size) to a device. lock is the device's, taken around each call, or NULL for
 * a device that locks by itself. dev, ops and lock must live until the bus is released, also when
 * the range is removed before: a vCPU may be in the middle of an access. Any thread that holds no
 * device lock taken in an access to this bus, or the device's own (a BAR that moves). 0, or
 * -EEXIST on overlap, -EINVAL outside the space, -ENOSPC, with e set (e may be NULL).
 */
int bus_add(struct bus *b, uint64_t base, uint64_t size, const struct bus_ops *ops, void *dev,
	    pthread_mutex_t *lock, struct err *e);

/* Takes the range that starts at base away; -ENOENT if there is none. Same threads as bus_add. */
int bus_remove(struct bus *b, uint64_t base);

/* One access by a vCPU: size is 1 to 8 bytes. Any thread, no device lock held. */
uint64_t bus_read(struct bus *b, uint64_t addr, unsigned size);
void bus_write(struct bus *b, uint64_t addr, unsigned size, uint64_t value);

#endif
