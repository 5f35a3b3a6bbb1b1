/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is a fixed array sorted by base address. A reader copies the entry
 * it found and then asks the sequence counter whether a change came between; if
 * so it looks again. All fields are atomic, so that a reader that loses the race
 * reads stale numbers, never torn ones. Changes are rare (a BAR that moves).
 *
 * Why the order holds: the counter becomes odd before any field is stored with
 * release, and fields are loaded with acquire before the counter is loaded again.
 * A reader that saw one new field therefore sees the odd counter, or a later one.
 */
#include "core/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bits.h"
#include "base/checked.h"

struct found {
	uint64_t base;
	uint64_t size;
	const struct bus_ops *ops;
	void *dev;
	pthread_mutex_t *lock;
};

void bus_init(struct bus *b, const char *name, uint64_t limit)
{
	*b = (struct bus){.name = name, .limit = limit};
	pthread_mutex_init(&b->change, NULL);
}

void bus_release(struct bus *b)
{
	pthread_mutex_destroy(&b->change);
}

static inline void range_load(struct bus_range *r, struct found *f)
{
	f->base = atomic_load_explicit(&r->base, memory_order_acquire);
	f->size = atomic_load_explicit(&r->size, memory_order_acquire);
	f->ops = atomic_load_explicit(&r->ops, memory_order_acquire);
	f->dev = atomic_load_explicit(&r->dev, memory_order_acquire);
	f->lock = atomic_load_explicit(&r->lock, memory_order_acquire);
}

static void range_store(struct bus_range *r, const struct found *f)
{
	atomic_store_explicit(&r->base, f->base, memory_order_release);
	atomic_store_explicit(&r->size, f->size, memory_order_release);
	atomic_store_explicit(&r->ops, f->ops, memory_order_release);
	atomic_store_explicit(&r->dev, f->dev, memory_order_release);
	atomic_store_explicit(&r->lock, f->lock, memory_order_release);
}

/* Index of the first range whose base is above addr. */
static unsigned upper_bound(struct bus *b, uint64_t addr)
{
	unsigned lo = 0, hi = atomic_load_explicit(&b->count, memory_order_acquire);

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (atomic_load_explicit(&b->ranges[mid].base, memory_order_acquire) <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

enum hit {
	HIT_NONE,  /* no byte of the access is claimed */
	HIT_WHOLE, /* one range holds all of it */
	HIT_PART,  /* some bytes are claimed, or several ranges meet in it */
};

/* Whether a range begins in the bytes behind addr; at is upper_bound's. */
static bool begins_within(struct bus *b, unsigned at, uint64_t addr, unsigned size)
{
	return at < atomic_load_explicit(&b->count, memory_order_acquire) &&
	       atomic_load_explicit(&b->ranges[at].base, memory_order_acquire) - addr < size;
}

/* Tries the range of the access before, for an access that its device takes in one piece: a guest
 * mostly touches one device many times in a row. A slot that is not in use has size 0 and holds
 * nothing. */
static inline bool find_last(struct bus *b, uint64_t addr, unsigned size, struct found *f)
{
	unsigned seq = atomic_load_explicit(&b->seq, memory_order_acquire);

	range_load(&b->ranges[atomic_load_explicit(&b->last, memory_order_relaxed)], f);
	if (!range_within(addr - f->base, size, f->size) || (seq & 1) ||
	    atomic_load_explicit(&b->seq, memory_order_relaxed) != seq)
		return false;
	return size <= f->ops->width && !(size & (size - 1));
}

/* Finds the range that holds the access, as the table stood at one moment: an access that races
 * with a change meets the old table or the new one, not some bytes of each. */
static enum hit find(struct bus *b, uint64_t addr, unsigned size, struct found *f)
{
	unsigned seq, at;
	enum hit hit;

	do {
		seq = atomic_load_explicit(&b->seq, memory_order_acquire) & ~1u;
		at = upper_bound(b, addr);
		hit = begins_within(b, at, addr, size) ? HIT_PART : HIT_NONE;
		if (at > 0) {
			range_load(&b->ranges[at - 1], f);
			if (range_within(addr - f->base, size, f->size)) {
				hit = HIT_WHOLE;
				atomic_store_explicit(&b->last, at - 1, memory_order_relaxed);
			} else if (addr - f->base < f->size)
				hit = HIT_PART;
		}
	} while (atomic_load_explicit(&b->seq, memory_order_relaxed) != seq);
	return hit;
}

static void change_begin(struct bus *b)
{
	atomic_fetch_add_explicit(&b->seq, 1, memory_order_relaxed);
}

static void change_end(struct bus *b)
{
	atomic_fetch_add_explicit(&b->seq, 1, memory_order_release);
}

static bool overlaps(struct bus *b, unsigned at, uint64_t base, uint64_t size)
{
	unsigned count = atomic_load(&b->count);
	struct found f;

	if (at > 0) {
		range_load(&b->ranges[at - 1], &f);
		if (base - f.base < f.size)
			return true;
	}
	if (at < count) {
		range_load(&b->ranges[at], &f);
		return f.base - base < size;
	}
	return false;
}

static int insert_locked(struct bus *b, const struct found *f, struct err *e)
{
	unsigned count = atomic_load(&b->count);
	unsigned at = upper_bound(b, f->base);
	struct found moved;

	if (overlaps(b, at, f->base, f->size))
		return err_set(e, EEXIST, "%s range 0x%llx+0x%llx of %s is taken", b->name,
			       (unsigned long long)f->base, (unsigned long long)f->size,
			       f->ops->name);
	if (count == BUS_RANGES_MAX)
		return err_set(e, ENOSPC, "%s bus is full", b->name);
	change_begin(b);
	for (unsigned i = count; i > at; i--) {
		range_load(&b->ranges[i - 1], &moved);
		range_store(&b->ranges[i], &moved);
	}
	range_store(&b->ranges[at], f);
	atomic_store_explicit(&b->count, count + 1, memory_order_release);
	change_end(b);
	return 0;
}

int bus_add(struct bus *b, uint64_t base, uint64_t size, const struct bus_ops *ops, void *dev,
	    pthread_mutex_t *lock, struct err *e)
{
	struct found f = {base, size, ops, dev, lock};
	int rc;

	assert(ops->width && ops->width <= 8 && !(ops->width & (ops->width - 1)));
	if (!size || !range_within(base, size, b->limit))
		return err_set(e, EINVAL, "%s range 0x%llx+0x%llx of %s is outside the bus",
			       b->name, (unsigned long long)base, (unsigned long long)size,
			       ops->name);
	pthread_mutex_lock(&b->change);
	rc = insert_locked(b, &f, e);
	pthread_mutex_unlock(&b->change);
	return rc;
}

static int remove_locked(struct bus *b, uint64_t base)
{
	unsigned count = atomic_load(&b->count);
	unsigned at = upper_bound(b, base);
	const struct found none = {.size = 0};
	struct found moved;

	if (!at || atomic_load(&b->ranges[at - 1].base) != base)
		return -ENOENT;
	change_begin(b);
	for (unsigned i = at; i < count; i++) {
		range_load(&b->ranges[i], &moved);
		range_store(&b->ranges[i - 1], &moved);
	}
	range_store(&b->ranges[count - 1], &none);
	atomic_store_explicit(&b->count, count - 1, memory_order_release);
	change_end(b);
	return 0;
}

int bus_remove(struct bus *b, uint64_t base)
{
	int rc;

	pthread_mutex_lock(&b->change);
	rc = remove_locked(b, base);
	pthread_mutex_unlock(&b->change);
	return rc;
}

static inline uint64_t call_read(const struct found *f, uint64_t offset, unsigned size)
{
	uint64_t value;

	if (!f->ops->read)
		return MASK(size * 8);
	if (f->lock)
		pthread_mutex_lock(f->lock);
	value = f->ops->read(f->dev, offset, size);
	if (f->lock)
		pthread_mutex_unlock(f->lock);
	return value & UINT64_MAX >> (64 - size * 8);
}

static inline void call_write(const struct found *f, uint64_t offset, unsigned size, uint64_t value)
{
	if (!f->ops->write)
		return;
	if (f->lock)
		pthread_mutex_lock(f->lock);
	f->ops->write(f->dev, offset, size, value & MASK(size * 8));
	if (f->lock)
		pthread_mutex_unlock(f->lock);
}

/* How many bytes of the len that are left go to the device at once. */
static unsigned piece(const struct found *f, unsigned len)
{
	unsigned part = f->ops->width;

	while (part > len)
		part /= 2;
	return part;
}

static uint64_t read_bytes(struct bus *b, uint64_t addr, unsigned size)
{
	uint64_t value = 0;
	bool lost = false;

	for (unsigned done = 0; done < size; done++) {
		struct found f;
		uint64_t got = 0xff;

		if (find(b, addr + done, 1, &f))
			got = call_read(&f, addr + done - f.base, 1);
		else
			lost = true;
		value |= got << (done * 8);
	}
	if (lost)
		atomic_fetch_add_explicit(&b->unclaimed_reads, 1, memory_order_relaxed);
	return value;
}

static __attribute__((noinline)) uint64_t search_and_read(struct bus *b, uint64_t addr,
							  unsigned size)
{
	uint64_t value = 0;
	struct found f;
	unsigned part;

	switch (find(b, addr, size, &f)) {
	case HIT_NONE:
		atomic_fetch_add_explicit(&b->unclaimed_reads, 1, memory_order_relaxed);
		return MASK(size * 8);
	case HIT_PART:
		return read_bytes(b, addr, size);
	case HIT_WHOLE:
		break;
	}
	for (unsigned done = 0; done < size; done += part) {
		part = piece(&f, size - done);
		value |= call_read(&f, addr + done - f.base, part) << (done * 8);
	}
	return value;
}

uint64_t bus_read(struct bus *b, uint64_t addr, unsigned size)
{
	struct found f;

	if (find_last(b, addr, size, &f))
		return call_read(&f, addr - f.base, size);
	return search_and_read(b, addr, size);
}

static void write_bytes(struct bus *b, uint64_t addr, unsigned size, uint64_t value)
{
	bool lost = false;

	for (unsigned done = 0; done < size; done++) {
		struct found f;

		if (find(b, addr + done, 1, &f))
			call_write(&f, addr + done - f.base, 1, value >> (done * 8));
		else
			lost = true;
	}
	if (lost)
		atomic_fetch_add_explicit(&b->unclaimed_writes, 1, memory_order_relaxed);
}

static __attribute__((noinline)) void search_and_write(struct bus *b, uint64_t addr, unsigned size,
						       uint64_t value)
{
	struct found f;
	unsigned part;

	switch (find(b, addr, size, &f)) {
	case HIT_NONE:
		atomic_fetch_add_explicit(&b->unclaimed_writes, 1, memory_order_relaxed);
		return;
	case HIT_PART:
		write_bytes(b, addr, size, value);
		return;
	case HIT_WHOLE:
		break;
	}
	for (unsigned done = 0; done < size; done += part) {
		part = piece(&f, size - done);
		call_write(&f, addr + done - f.base, part, value >> (done * 8));
	}
}

void bus_write(struct bus *b, uint64_t addr, unsigned size, uint64_t value)
{
	struct found f;

	if (find_last(b, addr, size, &f))
		call_write(&f, addr - f.base, size, value);
	else
		search_and_write(b, addr, size, value);
}
