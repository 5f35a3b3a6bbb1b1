/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limiter: two token buckets, one for bytes and one for operations, that a
 * device asks before it begins a request.
 *
 *	notified():  hold a buffer;  if (!limiter_take(l, bytes)) keep it, and return
 *	ready():     lock;  begin what was kept;  take more;  unlock
 *
 * A bucket is full at first. A request takes its tokens out of the one-time burst
 * first, which is never filled again, then out of the bucket, which fills at the rate
 * of size tokens in refill_ms. A request for more than the size of the bucket takes
 * what there is at once, and all others wait until the rest has been paid for. A
 * request waits for both buckets and takes from both, or from none.
 *
 * It counts the guest's time (core/clock): exact to the nanosecond, standing still
 * while the VM is paused. There is no timer but while a request waits, and none at
 * all without limits.
 *
 * Threads: every function is called with the device's lock held, which guards the
 * limiter. ready() is called on the thread that runs the clock's timers, without any
 * lock. It can come late, after limiter_cancel or a change: it looks at what waits.
 */
#ifndef LODGE_VIRTIO_LIMITER_H
#define LODGE_VIRTIO_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"

/* size or refill_ms 0: no limit. */
struct limiter_bucket {
	uint64_t size;      /* tokens, bytes or operations; up to LIMITER_SIZE_MAX */
	uint64_t refill_ms; /* in which an empty one is full again; up to LIMITER_REFILL_MAX */
	uint64_t burst;     /* tokens more, once; up to LIMITER_SIZE_MAX */
};

#define LIMITER_SIZE_MAX   (1ull << 60)
#define LIMITER_REFILL_MAX (1ull << 32)

struct limiter_config {
	struct limiter_bucket bandwidth; /* bytes */
	struct limiter_bucket ops;
};

struct limiter_level {
	uint64_t size, refill_ns; /* 0, 0: no limit */
	uint64_t burst;           /* what is left */
	/* Tokens, each counted as refill_ns, so that a nanosecond adds size and nothing is ever
	 * rounded; negative: what is still to be paid for. */
	__int128 level;
};

struct limiter {
	struct clock *clock;
	struct clock_timer timer;
	void (*ready)(void *opaque);
	void *opaque;
	uint64_t filled; /* when the levels were right, guest ns */
	struct limiter_level bandwidth, ops;
	bool waiting;     /* take has said no, and ready has not been called since */
	uint64_t until;   /* what waits can go on; guest ns */
	uint64_t refused; /* how many requests had to wait */
};

/* Makes a limiter without limits. Its memory must live until no thread runs the clock's timers any
 * more. ready and opaque: see above. clock NULL: it never gets limits. Before vCPUs run; no lock.
 */
void limiter_init(struct limiter *l, struct clock *clock, void (*ready)(void *opaque),
		  void *opaque);

/* Sets one bucket, or both; the other stays as it is (NULL). A bucket that is set is full, and its
 * burst whole. What waits is called ready, to ask again. */
void limiter_set(struct limiter *l, const struct limiter_bucket *bandwidth,
		 const struct limiter_bucket *ops);

/* Whether there is a limit at all. */
static inline bool limiter_limits(const struct limiter *l)
{
	return l->bandwidth.size || l->ops.size;
}

/*
 * Takes one operation of so many bytes: true, go on. False: nothing was taken, and ready() is
 * called once when that many can be taken; until then every call gives false, also for less, so
 * that nothing overtakes what waits.
 */
bool limiter_take(struct limiter *l, uint64_t bytes);

/* Nothing waits any more (a reset). */
void limiter_cancel(struct limiter *l);

#endif
