/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/bus.h"

/* A device of bytes that writes down how it was asked. */
struct dev {
	uint8_t bytes[64];
	pthread_mutex_t lock;
	bool locked; /* it expects its lock to be held */
	unsigned calls;
	struct {
		uint64_t offset;
		unsigned size;
	} call[16];
};

static void log_call(struct dev *d, uint64_t offset, unsigned size)
{
	assert_true(size == 1 || size == 2 || size == 4 || size == 8);
	assert_true(offset + size <= sizeof(d->bytes));
	if (d->locked)
		assert_int_equal(pthread_mutex_trylock(&d->lock), EBUSY);
	assert_true(d->calls < ARRAY_LEN(d->call));
	d->call[d->calls].offset = offset;
	d->call[d->calls++].size = size;
}

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned size)
{
	struct dev *d = opaque;

	log_call(d, offset, size);
	/* Bits above the size are a device's carelessness, which the bus hides. */
	return load_le(d->bytes + offset, size) | ~MASK(size * 8);
}

static void dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct dev *d = opaque;

	log_call(d, offset, size);
	assert_int_equal(value & ~MASK(size * 8), 0);
	store_le(d->bytes + offset, size, value);
}

static const struct bus_ops ops1 = {"bytes", 1, dev_read, dev_write};
static const struct bus_ops ops2 = {"words", 2, dev_read, dev_write};
static const struct bus_ops ops4 = {"dwords", 4, dev_read, dev_write};
static const struct bus_ops ops8 = {"qwords", 8, dev_read, dev_write};
static const struct bus_ops mute = {"mute", 4, NULL, NULL};

static void dev_init(struct dev *d)
{
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
	for (unsigned i = 0; i < sizeof(d->bytes); i++)
		d->bytes[i] = (uint8_t)(0x80 + i);
}

static void assert_calls(struct dev *d, unsigned n, ...)
{
	va_list ap;

	va_start(ap, n);
	assert_int_equal(d->calls, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(d->call[i].offset, va_arg(ap, int));
		assert_int_equal(d->call[i].size, va_arg(ap, int));
	}
	va_end(ap);
	d->calls = 0;
}

static void accesses_reach_the_device_by_offset(void **state)
{
	struct bus b;
	struct dev d;

	(void)state;
	dev_init(&d);
	d.locked = true;
	bus_init(&b, "mmio", GIB(8));
	assert_int_equal(bus_add(&b, 0x1000, 64, &ops8, &d, &d.lock, NULL), 0);
	assert_int_equal(bus_read(&b, 0x1000, 1), 0x80);
	assert_int_equal(bus_read(&b, 0x1003, 2), 0x8483); /* not aligned: the device's affair */
	assert_int_equal(bus_read(&b, 0x103c, 4), 0xbfbebdbc);
	assert_true(bus_read(&b, 0x1008, 8) == 0x8f8e8d8c8b8a8988ULL);
	assert_calls(&d, 4, 0, 1, 3, 2, 60, 4, 8, 8);
	bus_write(&b, 0x1010, 4, 0xffffffff11223344ULL);
	assert_calls(&d, 1, 16, 4);
	assert_int_equal(load_le(d.bytes + 16, 4), 0x11223344);
	assert_int_equal(d.bytes[20], 0x94);
	bus_release(&b);
}

static void wide_accesses_are_split_low_address_first(void **state)
{
	struct bus b;
	struct dev d;

	(void)state;
	dev_init(&d);
	bus_init(&b, "pio", 0x10000);
	assert_int_equal(bus_add(&b, 0x40, 32, &ops1, &d, NULL, NULL), 0);
	assert_int_equal(bus_read(&b, 0x41, 4), 0x84838281);
	assert_calls(&d, 4, 1, 1, 2, 1, 3, 1, 4, 1);
	bus_write(&b, 0x40, 2, 0xbbaa);
	assert_calls(&d, 2, 0, 1, 1, 1);
	assert_int_equal(d.bytes[0], 0xaa);
	assert_int_equal(d.bytes[1], 0xbb);
	assert_int_equal(bus_remove(&b, 0x40), 0);
	assert_int_equal(bus_add(&b, 0x40, 32, &ops2, &d, NULL, NULL), 0);
	assert_true(bus_read(&b, 0x48, 8) == 0x8f8e8d8c8b8a8988ULL);
	assert_calls(&d, 4, 8, 2, 10, 2, 12, 2, 14, 2);
	/* Sizes that no instruction has, but a caller may. */
	assert_int_equal(bus_read(&b, 0x48, 3), 0x8a8988);
	assert_calls(&d, 2, 8, 2, 10, 1);
	assert_int_equal(bus_remove(&b, 0x40), 0);
	assert_int_equal(bus_add(&b, 0x40, 32, &ops8, &d, NULL, NULL), 0);
	assert_true(bus_read(&b, 0x48, 7) == 0x8e8d8c8b8a8988ULL);
	assert_calls(&d, 3, 8, 4, 12, 2, 14, 1);
	bus_release(&b);
}

static void accesses_across_a_range_s_end_are_split_into_bytes(void **state)
{
	struct bus b;
	struct dev d, e;

	(void)state;
	dev_init(&d);
	dev_init(&e);
	bus_init(&b, "pio", 0x10000);
	assert_int_equal(bus_add(&b, 0x100, 8, &ops4, &d, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 0x108, 8, &ops4, &e, NULL, NULL), 0);
	/* Into the neighbour. */
	assert_int_equal(bus_read(&b, 0x106, 4), 0x81808786);
	assert_calls(&d, 2, 6, 1, 7, 1);
	assert_calls(&e, 2, 0, 1, 1, 1);
	/* Over the end into nothing, and from nothing into a range. */
	assert_int_equal(bus_read(&b, 0x10e, 4), 0xffff8786);
	assert_calls(&e, 2, 6, 1, 7, 1);
	assert_int_equal(bus_read(&b, 0xfe, 4), 0x8180ffff);
	assert_calls(&d, 2, 0, 1, 1, 1);
	bus_write(&b, 0xff, 2, 0x5511);
	assert_calls(&d, 1, 0, 1);
	assert_int_equal(d.bytes[0], 0x55);
	/* Over the end of the space. */
	assert_int_equal(bus_remove(&b, 0x108), 0);
	assert_int_equal(bus_add(&b, 0xfff8, 8, &ops4, &e, NULL, NULL), 0);
	assert_int_equal(bus_read(&b, 0xfffe, 4), 0xffff8786);
	bus_release(&b);
}

static void nobody_at_home_reads_all_ones_and_is_counted_once(void **state)
{
	struct bus b;

	(void)state;
	bus_init(&b, "mmio", GIB(8));
	assert_int_equal(bus_read(&b, 0, 1), 0xff);
	assert_int_equal(bus_read(&b, 0x1234, 4), 0xffffffff);
	assert_true(bus_read(&b, UINT64_MAX - 3, 8) == UINT64_MAX);
	bus_write(&b, 0x1234, 8, 0);
	assert_int_equal(atomic_load(&b.unclaimed_reads), 3);
	assert_int_equal(atomic_load(&b.unclaimed_writes), 1);
	/* A device without one direction is there all the same. */
	assert_int_equal(bus_add(&b, 0x2000, 16, &mute, NULL, NULL, NULL), 0);
	assert_int_equal(bus_read(&b, 0x2000, 2), 0xffff);
	bus_write(&b, 0x2000, 2, 0);
	assert_int_equal(atomic_load(&b.unclaimed_reads), 3);
	assert_int_equal(atomic_load(&b.unclaimed_writes), 1);
	bus_release(&b);
}

static void ranges_may_not_overlap_nor_leave_the_bus(void **state)
{
	struct bus b;
	struct dev d;
	struct err e = ERR_INIT;

	(void)state;
	dev_init(&d);
	bus_init(&b, "pio", 0x10000);
	assert_int_equal(bus_add(&b, 0x100, 16, &ops1, &d, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 0x10f, 1, &ops1, &d, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.text, "bytes"));
	assert_int_equal(bus_add(&b, 0xf8, 9, &ops1, &d, NULL, NULL), -EEXIST);
	assert_int_equal(bus_add(&b, 0xf8, 64, &ops1, &d, NULL, NULL), -EEXIST);
	assert_int_equal(bus_add(&b, 0x100, 16, &ops1, &d, NULL, NULL), -EEXIST);
	assert_int_equal(bus_add(&b, 0xf8, 8, &ops1, &d, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 0x110, 8, &ops1, &d, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 0x200, 0, &ops1, &d, NULL, NULL), -EINVAL);
	assert_int_equal(bus_add(&b, 0xffff, 2, &ops1, &d, NULL, NULL), -EINVAL);
	assert_int_equal(bus_add(&b, 0x10000, 1, &ops1, &d, NULL, NULL), -EINVAL);
	assert_int_equal(bus_add(&b, UINT64_MAX, 2, &ops1, &d, NULL, NULL), -EINVAL);
	assert_int_equal(bus_add(&b, 2, UINT64_MAX, &ops1, &d, NULL, NULL), -EINVAL);
	assert_int_equal(bus_remove(&b, 0x101), -ENOENT);
	assert_int_equal(bus_remove(&b, 0), -ENOENT);
	assert_int_equal(bus_remove(&b, 0x100), 0);
	assert_int_equal(bus_remove(&b, 0x100), -ENOENT);
	assert_int_equal(bus_read(&b, 0x100, 1), 0xff);
	assert_int_equal(bus_read(&b, 0xf8, 1), 0x80);
	assert_int_equal(bus_read(&b, 0x110, 1), 0x80);
	bus_release(&b);
}

static void the_table_fills_up_and_stays_sorted(void **state)
{
	static struct dev d;
	struct bus b;
	uint16_t base[BUS_RANGES_MAX];

	(void)state;
	dev_init(&d);
	bus_init(&b, "pio", 0x10000);
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++)
		base[i] = (uint16_t)((i * 37 % BUS_RANGES_MAX) * 64);
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_add(&b, base[i], 64, &ops1, &d, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 0xf000, 1, &ops1, &d, NULL, NULL), -ENOSPC);
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++) {
		d.calls = 0;
		assert_int_equal(bus_read(&b, i * 64u + i % 64, 1), 0x80 + i % 64);
	}
	for (unsigned i = 0; i < BUS_RANGES_MAX; i += 2)
		assert_int_equal(bus_remove(&b, i * 64), 0);
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++) {
		d.calls = 0;
		assert_int_equal(bus_read(&b, i * 64u, 1), i % 2 ? 0x80 : 0xff);
	}
	bus_release(&b);
}

/* Readers run over ranges that come, go and move; each answer is a whole one. */
struct fixed {
	uint64_t value;
};

static uint64_t fixed_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return ((struct fixed *)opaque)->value;
}

static const struct bus_ops fixed_ops = {"fixed", 8, fixed_read, NULL};

struct race {
	struct bus b;
	struct fixed stays, moves, comes;
	atomic_bool done;
	atomic_uint wrong;
};

static void *reader(void *opaque)
{
	struct race *r = opaque;

	while (!atomic_load(&r->done)) {
		uint64_t v = bus_read(&r->b, 0x5000, 8);

		if (v != r->stays.value)
			atomic_fetch_add(&r->wrong, 1);
		v = bus_read(&r->b, 0x3000, 8);
		if (v != r->moves.value && v != UINT64_MAX)
			atomic_fetch_add(&r->wrong, 1);
		v = bus_read(&r->b, 0x4000, 8);
		if (v != r->comes.value && v != r->moves.value && v != UINT64_MAX)
			atomic_fetch_add(&r->wrong, 1);
	}
	return NULL;
}

static void *other_changer(void *opaque)
{
	struct race *r = opaque;

	for (unsigned i = 0; i < 2000; i++) {
		if (bus_add(&r->b, 0x1000, 16, &fixed_ops, &r->comes, NULL, NULL) ||
		    bus_remove(&r->b, 0x1000))
			atomic_fetch_add(&r->wrong, 1);
	}
	return NULL;
}

static void readers_never_see_a_half_made_change(void **state)
{
	static struct race r;
	pthread_t threads[3];

	(void)state;
	bus_init(&r.b, "mmio", GIB(8));
	r.stays.value = 0x1111111111111111;
	r.moves.value = 0x2222222222222222;
	r.comes.value = 0x3333333333333333;
	assert_int_equal(bus_add(&r.b, 0x5000, 64, &fixed_ops, &r.stays, NULL, NULL), 0);
	/* Many ranges between, so that a change takes its time. */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(
			bus_add(&r.b, 0x4100 + i * 16, 16, &fixed_ops, &r.stays, NULL, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &r), 0);
	assert_int_equal(pthread_create(&threads[2], NULL, other_changer, &r), 0);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(bus_add(&r.b, 0x3000, 64, &fixed_ops, &r.moves, NULL, NULL), 0);
		assert_int_equal(bus_add(&r.b, 0x4000, 64, &fixed_ops, &r.comes, NULL, NULL), 0);
		assert_int_equal(bus_remove(&r.b, 0x3000), 0);
		assert_int_equal(bus_remove(&r.b, 0x4000), 0);
		assert_int_equal(bus_add(&r.b, 0x4000, 64, &fixed_ops, &r.moves, NULL, NULL), 0);
		assert_int_equal(bus_remove(&r.b, 0x4000), 0);
	}
	pthread_join(threads[2], NULL);
	atomic_store(&r.done, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&r.wrong), 0);
	bus_release(&r.b);
}

/* A device that moves its own range in the middle of a write to it: a BAR. */
struct mover {
	struct bus *b;
	pthread_mutex_t lock;
	uint64_t base;
};

static void mover_write(void *opaque, uint64_t offset, unsigned size, uint64_t value);
static const struct bus_ops mover_ops = {"mover", 4, NULL, mover_write};

static void mover_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct mover *m = opaque;

	(void)offset;
	(void)size;
	assert_int_equal(bus_remove(m->b, m->base), 0);
	m->base = value;
	assert_int_equal(bus_add(m->b, m->base, 16, &mover_ops, m, &m->lock, NULL), 0);
}

static void a_device_may_move_itself_while_it_is_written(void **state)
{
	struct bus b;
	struct mover m = {&b, PTHREAD_MUTEX_INITIALIZER, 0x1000};

	(void)state;
	bus_init(&b, "mmio", GIB(8));
	assert_int_equal(bus_add(&b, 0x1000, 16, &mover_ops, &m, &m.lock, NULL), 0);
	bus_write(&b, 0x1000, 4, 0x8000);
	bus_write(&b, 0x8004, 4, 0x4000);
	assert_int_equal(m.base, 0x4000);
	assert_int_equal(bus_remove(&b, 0x4000), 0);
	bus_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accesses_reach_the_device_by_offset),
		cmocka_unit_test(wide_accesses_are_split_low_address_first),
		cmocka_unit_test(accesses_across_a_range_s_end_are_split_into_bytes),
		cmocka_unit_test(nobody_at_home_reads_all_ones_and_is_counted_once),
		cmocka_unit_test(ranges_may_not_overlap_nor_leave_the_bus),
		cmocka_unit_test(the_table_fills_up_and_stays_sorted),
		cmocka_unit_test(readers_never_see_a_half_made_change),
		cmocka_unit_test(a_device_may_move_itself_while_it_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
