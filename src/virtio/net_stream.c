/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/net_stream.h"

#include "base/time.h"

/* A gigabit a second. Nothing that waits for each answer gets there, and a window is short beside
 * what a person, or a timeout, takes notice of. */
#define WINDOW_NS (4 * NS_PER_MS)
#define ENOUGH    (512u << 10)

/* I/O thread: a stream was seen to begin, or a window of it has ended. */
static void fired(void *opaque)
{
	struct net_stream *s = opaque;
	bool flows, changes;

	pthread_mutex_lock(&s->lock);
	flows = !s->told || atomic_load(&s->bytes) >= ENOUGH;
	changes = flows != s->told;
	s->told = flows;
	s->since = clock_now(s->clock);
	atomic_store(&s->bytes, 0);
	atomic_store(&s->flows, flows);
	if (flows)
		clock_timer_set(s->clock, &s->timer, s->since + WINDOW_NS);
	pthread_mutex_unlock(&s->lock);
	if (changes)
		s->changed(s->opaque, flows);
}

void net_stream_init(struct net_stream *s, struct clock *clock,
		     void (*changed)(void *opaque, bool flows), void *opaque)
{
	*s = (struct net_stream){
		.clock = clock,
		.timer = {.fired = fired, .opaque = s},
		.changed = changed,
		.opaque = opaque,
	};
	pthread_mutex_init(&s->lock, NULL);
}

void net_stream_release(struct net_stream *s)
{
	clock_timer_cancel(s->clock, &s->timer);
	pthread_mutex_destroy(&s->lock);
}

/* ENOUGH has passed: how long did it take? */
static void look(struct net_stream *s)
{
	uint64_t now;

	pthread_mutex_lock(&s->lock);
	if (!atomic_load(&s->flows) && atomic_load(&s->bytes) >= ENOUGH) {
		now = clock_now(s->clock);
		if (now - s->since <= WINDOW_NS) {
			atomic_store(&s->flows, true);
			clock_timer_set(s->clock, &s->timer, now);
		}
		s->since = now;
		atomic_store(&s->bytes, 0);
	}
	pthread_mutex_unlock(&s->lock);
}

void net_stream_count(struct net_stream *s, uint64_t bytes)
{
	uint64_t all = atomic_fetch_add_explicit(&s->bytes, bytes, memory_order_relaxed) + bytes;

	if (all >= ENOUGH && !atomic_load_explicit(&s->flows, memory_order_relaxed))
		look(s);
}
