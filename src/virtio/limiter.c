/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/limiter.h"

#include <assert.h>

#include "base/bits.h"
#include "base/time.h"

#define WAIT_MAX (1ull << 62) /* ns */

/* I/O thread. */
static void fired(void *opaque)
{
	struct limiter *l = opaque;

	l->ready(l->opaque);
}

void limiter_init(struct limiter *l, struct clock *clock, void (*ready)(void *opaque), void *opaque)
{
	*l = (struct limiter){
		.clock = clock,
		.timer = {.fired = fired, .opaque = l},
		.ready = ready,
		.opaque = opaque,
	};
}

static __int128 tokens(const struct limiter_level *b, uint64_t n)
{
	return (__int128)n * b->refill_ns;
}

static void fill(struct limiter_level *b, uint64_t ns)
{
	__int128 full = tokens(b, b->size);

	b->level += (__int128)ns * b->size;
	b->level = MIN(b->level, full);
}

static uint64_t fill_both(struct limiter *l)
{
	uint64_t now = clock_now(l->clock);
	uint64_t since = now > l->filled ? now - l->filled : 0; /* a snapshot may set time back */

	fill(&l->bandwidth, since);
	fill(&l->ops, since);
	l->filled = now;
	return now;
}

/* What the bucket must hold besides its burst before n can be taken out; a request that is larger
 * than the bucket only waits for what others have left unpaid. */
static __int128 needed(const struct limiter_level *b, uint64_t n)
{
	if (n > b->size)
		return 0;
	return n > b->burst ? tokens(b, n - b->burst) : 0;
}

/* How long until n can be taken; 0: now. */
static uint64_t wait_for(const struct limiter_level *b, uint64_t n)
{
	__int128 missing = b->size && n ? needed(b, n) - b->level : 0;

	if (missing <= 0)
		return 0;
	missing = (missing + b->size - 1) / b->size;
	return (uint64_t)MIN(missing, (__int128)WAIT_MAX);
}

static void pay(struct limiter_level *b, uint64_t n)
{
	uint64_t once = MIN(n, b->burst);

	if (!b->size)
		return;
	b->burst -= once;
	b->level -= tokens(b, n - once);
}

bool limiter_take(struct limiter *l, uint64_t bytes)
{
	uint64_t now, wait, wait_ops;

	if (!limiter_limits(l))
		return true;
	now = fill_both(l);
	if (l->waiting && now < l->until)
		return false;
	l->waiting = false;
	wait = wait_for(&l->bandwidth, bytes);
	wait_ops = wait_for(&l->ops, 1);
	wait = MAX(wait, wait_ops);
	if (wait) {
		l->waiting = true;
		l->until = now + wait;
		l->refused++;
		clock_timer_set(l->clock, &l->timer, l->until);
		return false;
	}
	pay(&l->bandwidth, bytes);
	pay(&l->ops, 1);
	return true;
}

static void set_level(struct limiter_level *b, const struct limiter_bucket *config)
{
	assert(config->size <= LIMITER_SIZE_MAX && config->burst <= LIMITER_SIZE_MAX &&
	       config->refill_ms <= LIMITER_REFILL_MAX);
	*b = (struct limiter_level){.level = 0};
	if (!config->size || !config->refill_ms)
		return;
	b->size = config->size;
	b->refill_ns = config->refill_ms * NS_PER_MS;
	b->burst = config->burst;
	b->level = tokens(b, b->size);
}

void limiter_set(struct limiter *l, const struct limiter_bucket *bandwidth,
		 const struct limiter_bucket *ops)
{
	if (!l->clock)
		return;
	fill_both(l);
	if (bandwidth)
		set_level(&l->bandwidth, bandwidth);
	if (ops)
		set_level(&l->ops, ops);
	if (l->waiting) {
		l->until = l->filled;
		clock_timer_set(l->clock, &l->timer, l->until);
	}
}

void limiter_cancel(struct limiter *l)
{
	/* Also where nothing waits: someone may have asked when its time had come, before ready. */
	if (l->clock)
		clock_timer_cancel(l->clock, &l->timer);
	l->waiting = false;
}
