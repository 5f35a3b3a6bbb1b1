/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of both forms of virtqueue against a driver (queue_driver.h).
 *
 * Each test runs for the split and for the packed form. All that the device writes has to be told
 * to memory's observer: a copy of RAM that follows only the observer must equal it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "queue_driver.h"
#include "virtio/queue.h"

#define RAM       0x200000u
#define AREA      0x10000u
#define DATA      0x180000u /* buffers */
#define HIGH      0x40000000u
#define HIGH_SIZE 0x2000u

static struct mem mem;
static struct virtq q;
static struct driver d;
static struct virtq_chain chain;
static struct virtq_chain chains[DRIVER_SIZE_MAX];
static struct virtq_features features;
static struct virtq_place place;

static bool is_packed(void **state)
{
	return **(bool **)state;
}

static void make_sized(void **state, unsigned size)
{
	struct err e = ERR_INIT;

	mem_release(&mem);
	assert_int_equal(mem_init(&mem, 0, &e), 0);
	assert_int_equal(mem_add_ram(&mem, 0, RAM, &e), 0);
	assert_int_equal(mem_add_ram(&mem, HIGH, HIGH_SIZE, &e), 0);
	features = (struct virtq_features){.packed = is_packed(state), .indirect = true};
	virtq_init(&q, &mem);
	driver_init(&d, &mem, features.packed, size, AREA);
	place = (struct virtq_place){size, d.desc, d.driver, d.device};
}

static void start(void)
{
	assert_null(virtq_start(&q, &place, &features));
	assert_true(virtq_started(&q));
}

static void make(void **state)
{
	make_sized(state, 8);
	start();
}

static uint32_t seed = 1;

static unsigned any(unsigned below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void a_buffer_goes_to_the_device_and_back(void **state)
{
	const struct driver_buffer buffers[] = {{DATA, 3, false},
						{DATA + 0x100, 2, false},
						{HIGH, 4, true},
						{DATA + 0x200, 8, true}};
	uint8_t bytes[16];
	uint32_t written;
	int id;

	make(state);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
	memcpy(mem_ptr_rw(&mem, DATA, 3), "abc", 3);
	memcpy(mem_ptr_rw(&mem, DATA + 0x100, 2), "de", 2);
	for (int indirect = 0; indirect < 2; indirect++) {
		id = driver_add(&d, buffers, 4, indirect);
		assert_int_equal(virtq_take(&q, &chain), VIRTQ_CHAIN);
		assert_int_equal(chain.id, id);
		assert_int_equal(chain.readable, 2);
		assert_int_equal(chain.writable, 2);
		assert_int_equal(chain.readable_len, 5);
		assert_int_equal(chain.writable_len, 12);
		assert_int_equal(virtq_take(&q, &chains[0]), VIRTQ_EMPTY);

		assert_int_equal(virtq_chain_read(&chain, 0, bytes, sizeof(bytes)), 5);
		assert_memory_equal(bytes, "abcde", 5);
		assert_int_equal(virtq_chain_read(&chain, 2, bytes, 2), 2);
		assert_memory_equal(bytes, "cd", 2);
		assert_int_equal(virtq_chain_read(&chain, 5, bytes, 1), 0);
		assert_int_equal(virtq_chain_read(&chain, UINT64_MAX, bytes, 1), 0);
		assert_int_equal(virtq_chain_write(&q, &chain, 2, "0123456789abcdef", 16), 10);
		assert_memory_equal(mem_ptr(&mem, HIGH + 2, 2), "01", 2);
		assert_memory_equal(mem_ptr(&mem, DATA + 0x200, 9), "23456789", 9);

		assert_int_equal(driver_get_used(&d, &written), -1);
		virtq_put(&q, &chain, 7);
		assert_int_equal(driver_get_used(&d, &written), id);
		assert_int_equal(written, 7);
		assert_int_equal(driver_get_used(&d, &written), -1);
	}
}

static uint8_t copy_low[RAM], copy_high[HIGH_SIZE];

static uint8_t *copy_of(uint64_t gpa)
{
	return gpa < HIGH ? copy_low + gpa : copy_high + (gpa - HIGH);
}

static void on_written(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	memcpy(copy_of(gpa), mem_ptr(&mem, gpa, len), len);
}

static void copy_all(void)
{
	memcpy(copy_low, mem_ptr(&mem, 0, RAM), RAM);
	memcpy(copy_high, mem_ptr(&mem, HIGH, HIGH_SIZE), HIGH_SIZE);
}

static void assert_all_told(void)
{
	assert_memory_equal(copy_low, mem_ptr(&mem, 0, RAM), RAM);
	assert_memory_equal(copy_high, mem_ptr(&mem, HIGH, HIGH_SIZE), HIGH_SIZE);
}

/* What a buffer of the traffic below must look like on the other side. */
struct expected {
	unsigned readable, writable;
	uint32_t written;
	uint8_t fill;
};

static struct expected expected[DRIVER_SIZE_MAX];

static bool offer_one(void)
{
	struct driver_buffer b[6];
	unsigned readable = any(4), writable = any(3) + !readable, n = readable + writable;
	bool indirect = any(3) == 0;
	struct expected e = {0};
	int id;

	for (unsigned i = 0; i < n; i++) {
		b[i] = (struct driver_buffer){DATA + any(0x40000), 1 + any(500), i >= readable};
		*(b[i].write ? &e.writable : &e.readable) += b[i].len;
	}
	id = driver_add(&d, b, n, indirect);
	if (id < 0)
		return false;
	expected[id] = e;
	return true;
}

/* Uses the taken chain k of *taken, writing some of it. */
static void serve_one(unsigned *taken, unsigned k)
{
	static uint8_t bytes[3000];
	struct expected *e = &expected[chains[k].id];

	assert_int_equal(chains[k].readable_len, e->readable);
	assert_int_equal(chains[k].writable_len, e->writable);
	e->written = any(e->writable + 1);
	memset(bytes, e->fill = any(256), sizeof(bytes));
	copy_all(); /* the driver's writes so far; from here on it is the device */
	assert_int_equal(virtq_chain_write(&q, &chains[k], 0, bytes, e->written), e->written);
	virtq_put(&q, &chains[k], e->written);
	assert_all_told();
	chains[k] = chains[--*taken];
}

static void traffic(void **state, unsigned size, bool event_idx)
{
	unsigned taken = 0, back = 0, offered = 0;
	uint32_t written;
	int id;

	make_sized(state, size);
	features.event_idx = event_idx;
	start();
	mem.observer.written = on_written;
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned n = any(4); n; n--)
			offered += offer_one();
		for (unsigned n = any(4); n; n--)
			if (virtq_take(&q, &chains[taken]) == VIRTQ_CHAIN)
				taken++;
		assert_null(q.broken);
		for (unsigned n = any(4); n && taken; n--)
			serve_one(&taken, any(taken));
		while (any(3) && (id = driver_get_used(&d, &written)) >= 0) {
			assert_int_equal(written, expected[id].written);
			back++;
		}
	}
	while (virtq_take(&q, &chains[taken]) == VIRTQ_CHAIN)
		taken++;
	while (taken)
		serve_one(&taken, taken - 1);
	while (driver_get_used(&d, &written) >= 0)
		back++;
	assert_int_equal(back, offered);
	assert_int_equal(d.free, size);
	assert_true(offered > 100);
}

/* Round the ring many times, chains of all lengths, used in any order. */
static void buffers_in_any_order_and_number(void **state)
{
	static const unsigned sizes[] = {8, 16, 64, 256}, odd[] = {5, 7, 13, 100, 255};

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		traffic(state, sizes[i], i & 1);
	for (unsigned i = 0; is_packed(state) && i < ARRAY_LEN(odd); i++)
		traffic(state, odd[i], i & 1);
}

static const struct driver_buffer one = {DATA, 16, true};

static void add_and_take(struct virtq_chain *c)
{
	assert_true(driver_add(&d, &one, 1, false) >= 0);
	assert_int_equal(virtq_take(&q, c), VIRTQ_CHAIN);
}

static void a_ring_of_one_descriptor_works(void **state)
{
	uint32_t written;

	make_sized(state, 1);
	start();
	for (unsigned i = 0; i < 5; i++) {
		add_and_take(&chain);
		assert_int_equal(driver_add(&d, &one, 1, false), -1);
		virtq_put(&q, &chain, i);
		assert_int_equal(driver_get_used(&d, &written), 0);
		assert_int_equal(written, i);
	}
}

static void buffers_are_used_in_order_where_that_was_negotiated(void **state)
{
	uint32_t written;

	make_sized(state, 4);
	features.in_order = true;
	start();
	for (unsigned round = 0; round < 300; round++) {
		int ids[4];

		for (unsigned i = 0; i < 4; i++) {
			ids[i] = driver_add(&d, &one, 1, false);
			assert_int_equal(virtq_take(&q, &chains[i]), VIRTQ_CHAIN);
		}
		virtq_put(&q, &chains[2], 2);
		virtq_put(&q, &chains[1], 1);
		assert_int_equal(driver_get_used(&d, &written), -1);
		assert_false(virtq_should_interrupt(&q));
		virtq_put(&q, &chains[0], 0);
		assert_true(virtq_should_interrupt(&q));
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(driver_get_used(&d, &written), ids[i]);
			assert_int_equal(written, i);
		}
		assert_int_equal(driver_get_used(&d, &written), -1);
		virtq_put(&q, &chains[3], 3);
		assert_int_equal(driver_get_used(&d, &written), ids[3]);
		assert_true(virtq_should_interrupt(&q));
	}
}

static void interrupts_are_sent_unless_they_are_not_wanted(void **state)
{
	make(state);
	assert_false(virtq_should_interrupt(&q)); /* nothing was used */
	add_and_take(&chain);
	virtq_put(&q, &chain, 0);
	assert_true(virtq_should_interrupt(&q));
	assert_false(virtq_should_interrupt(&q));
	driver_want_interrupts(&d, false);
	add_and_take(&chain);
	virtq_put(&q, &chain, 0);
	assert_false(virtq_should_interrupt(&q));
	driver_want_interrupts(&d, true);
	add_and_take(&chain);
	virtq_put(&q, &chain, 0);
	assert_true(virtq_should_interrupt(&q));
}

/* An interrupt comes with the buffer that was asked for, and with no other; from every place. */
static void an_interrupt_comes_at_the_event_index(void **state)
{
	uint32_t written;

	for (unsigned ahead = 0; ahead < 4; ahead++) {
		make_sized(state, 4);
		features.event_idx = d.event_idx = true;
		start();
		for (unsigned round = 0; round < 10; round++) {
			driver_want_interrupt_after(&d, ahead);
			for (unsigned i = 0; i < 4; i++) {
				add_and_take(&chain);
				virtq_put(&q, &chain, 0);
				assert_int_equal(virtq_should_interrupt(&q), i == ahead);
			}
			while (driver_get_used(&d, &written) >= 0)
				;
			/* the same in one batch, round an odd distance */
			driver_want_interrupt_after(&d, ahead);
			for (unsigned i = 0; i < 3; i++) {
				add_and_take(&chain);
				virtq_put(&q, &chain, 0);
			}
			assert_int_equal(virtq_should_interrupt(&q), ahead < 3);
			while (driver_get_used(&d, &written) >= 0)
				;
		}
	}
}

static void kicks_come_when_they_are_wanted(void **state)
{
	uint32_t written;

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		make_sized(state, 4);
		features.event_idx = d.event_idx = event_idx;
		start();
		for (unsigned round = 0; round < 50; round++) {
			virtq_want_kicks(&q, true);
			assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
			driver_add(&d, &one, 1, false);
			assert_true(driver_should_kick(&d));
			virtq_want_kicks(&q, false);
			driver_add(&d, &one, 1, false);
			assert_false(driver_should_kick(&d));
			driver_add(&d, &one, 1, false);
			assert_false(driver_should_kick(&d));
			while (virtq_take(&q, &chain) == VIRTQ_CHAIN)
				virtq_put(&q, &chain, 0);
			while (driver_get_used(&d, &written) >= 0)
				;
		}
	}
}

static void a_stopped_queue_does_nothing_more(void **state)
{
	make(state);
	add_and_take(&chain);
	driver_add(&d, &one, 1, false);
	virtq_stop(&q);
	assert_false(virtq_started(&q));
	copy_all();
	assert_int_equal(virtq_chain_write(&q, &chain, 0, "x", 1), 0);
	virtq_put(&q, &chain, 1);
	assert_false(virtq_should_interrupt(&q));
	virtq_want_kicks(&q, true);
	assert_int_equal(virtq_take(&q, &chains[0]), VIRTQ_EMPTY);
	assert_all_told();

	/* a chain from before is not the new queue's either */
	driver_init(&d, &mem, features.packed, 8, AREA);
	start();
	copy_all();
	assert_int_equal(virtq_chain_write(&q, &chain, 0, "x", 1), 0);
	virtq_put(&q, &chain, 1);
	assert_all_told();
	add_and_take(&chain);
	virtq_put(&q, &chain, 1);
	assert_true(virtq_should_interrupt(&q));
}

static void queues_in_bad_places_are_refused(void **state)
{
	const struct {
		struct virtq_place place;
		bool split, packed; /* whether the form refuses it */
	} bad[] = {
		{{0, AREA, AREA + 0x1000, AREA + 0x2000}, true, true},
		{{257, AREA, AREA + 0x2000, AREA + 0x4000}, true, true},
		{{512, AREA, AREA + 0x4000, AREA + 0x8000}, true, true},
		{{6, AREA, AREA + 0x1000, AREA + 0x2000}, true, false},
		{{8, AREA + 8, AREA + 0x1000, AREA + 0x2000}, true, true},
		{{8, AREA, AREA + 0x1001, AREA + 0x2000}, true, true},
		{{8, AREA, AREA + 0x1002, AREA + 0x2000}, false, true},
		{{8, AREA, AREA + 0x1000, AREA + 0x2002}, true, true},
		{{8, RAM, AREA, AREA + 0x1000}, true, true},
		{{8, RAM - 0x70, AREA, AREA + 0x1000}, true, true},
		{{8, RAM - 0x80, AREA, AREA + 0x1000}, false, false},
		{{8, UINT64_MAX - 15, AREA, AREA + 0x1000}, true, true},
		{{8, AREA, RAM - 2, AREA + 0x1000}, true, true},
		{{8, AREA, RAM - 4, AREA + 0x1000}, true, false},
		{{8, AREA, AREA + 0x1000, RAM}, true, true},
		{{8, AREA, AREA + 0x7c, AREA + 0x1000}, true, true},
		{{8, AREA, AREA + 0x1000, AREA + 0x1000}, true, true},
		{{8, AREA + 0x10, AREA + 0x1000, AREA}, true, false},
		{{8, AREA, AREA + 0x80, AREA + 0x98}, false, false},
		{{8, AREA, AREA + 0x80, AREA + 0x94}, true, false},
		{{8, AREA, HIGH, AREA + 0x80}, false, false},
	};

	make_sized(state, 8);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		bool refused = features.packed ? bad[i].packed : bad[i].split;
		const char *wrong = virtq_start(&q, &bad[i].place, &features);

		if (refused != (wrong != NULL))
			fail_msg("place %u: %s", i, wrong ? wrong : "not refused");
		assert_int_equal(virtq_started(&q), !refused);
		assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
	}
}

static void assert_breaks(const char *what)
{
	copy_all();
	if (virtq_take(&q, &chain) != VIRTQ_BROKEN)
		fail_msg("taken: %s", what);
	assert_non_null(q.broken);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_BROKEN);
	virtq_want_kicks(&q, true);
	assert_false(virtq_should_interrupt(&q));
	assert_all_told(); /* nothing was written */
}

/* Chains that a driver may not make: as elements. */
static void chains_against_the_rules_break_the_queue(void **state)
{
	static const struct {
		const char *what;
		struct driver_buffer b[3];
		unsigned n;
	} bad[] = {
		{"no length", {{DATA, 0, true}}, 1},
		{"no length at the end", {{DATA, 1, false}, {DATA, 0, true}}, 2},
		{"outside RAM", {{RAM, 1, true}}, 1},
		{"over the end of RAM", {{RAM - 1, 2, false}}, 1},
		{"in the hole", {{HIGH - 1, 1, false}}, 1},
		{"over the end of the other RAM", {{HIGH, HIGH_SIZE + 1, true}}, 1},
		{"round the end of addresses", {{UINT64_MAX, 2, true}}, 1},
		{"to the end of addresses", {{UINT64_MAX, 1, false}}, 1},
		{"all lengths", {{0, UINT32_MAX, true}}, 1},
		{"readable after writable", {{DATA, 1, true}, {DATA, 1, false}}, 2},
		{"readable between", {{DATA, 1, false}, {DATA, 1, true}, {DATA, 1, false}}, 3},
		{"writes the descriptors", {{AREA + 0x7f, 1, true}}, 1},
		{"writes up to the driver's area", {{AREA + 0xf00, 0x101, true}}, 1},
		{"writes the device's area", {{AREA + 0x2003, 1, true}}, 1},
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		for (int indirect = 0; indirect < 2; indirect++) {
			make(state);
			assert_true(driver_add(&d, bad[i].b, bad[i].n, indirect) >= 0);
			assert_breaks(bad[i].what);
			driver_init(&d, &mem, features.packed, 8, AREA);
			start(); /* and a reset mends it */
			add_and_take(&chain);
		}
	}
}

/* Memory that comes later begins where RAM ends: a driver's buffer knows no border there. */
static void a_buffer_may_lie_across_regions(void **state)
{
	const struct driver_buffer buffers[] = {{HIGH + HIGH_SIZE - 3, 8, false},
						{HIGH + HIGH_SIZE - 1, 2, true}};
	uint8_t bytes[8] = "1234567";
	struct err e = ERR_INIT;
	uint32_t written;

	make(state);
	assert_int_equal(mem_add_ram(&mem, HIGH + HIGH_SIZE, HIGH_SIZE, &e), 0);
	assert_true(mem_write(&mem, HIGH + HIGH_SIZE - 3, bytes, 3));
	assert_true(mem_write(&mem, HIGH + HIGH_SIZE, bytes + 3, 5));
	for (int indirect = 0; indirect < 2; indirect++) {
		int id = driver_add(&d, buffers, 2, indirect);

		assert_true(id >= 0);
		assert_int_equal(virtq_take(&q, &chain), VIRTQ_CHAIN);
		assert_int_equal(chain.readable, 2);
		assert_int_equal(chain.writable, 2);
		assert_int_equal(chain.readable_len, 8);
		assert_int_equal(chain.writable_len, 2);
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(virtq_chain_read(&chain, 0, bytes, 8), 8);
		assert_memory_equal(bytes, "1234567", 8);
		assert_int_equal(virtq_chain_write(&q, &chain, 0, "37", 2), 2);
		virtq_put(&q, &chain, 2);
		assert_int_equal(driver_get_used(&d, &written), id);
		assert_int_equal(written, 2);
		assert_int_equal(driver_peek(&d, HIGH + HIGH_SIZE - 1, 1), '3');
		assert_int_equal(driver_peek(&d, HIGH + HIGH_SIZE, 1), '7');
		driver_poke(&d, HIGH + HIGH_SIZE, 1, '4');
	}
	/* Not into what lies behind the last of them. */
	assert_true(driver_add(&d, &(struct driver_buffer){HIGH + HIGH_SIZE, HIGH_SIZE + 1, true},
			       1, false) >= 0);
	copy_all();
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_BROKEN);
}

static void what_the_queue_only_reads_may_be_the_queue_itself(void **state)
{
	const struct driver_buffer b = {AREA, 0x80, false};

	make(state);
	assert_true(driver_add(&d, &b, 1, false) >= 0);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_CHAIN);
}

static void put_table_desc(unsigned n, uint64_t addr, uint32_t len, uint64_t rest)
{
	driver_poke(&d, d.tables + n * 16, 8, addr);
	driver_poke(&d, d.tables + n * 16 + 8, 8, len | rest << 32);
}

/* Makes descriptor 0 of the ring available with these flags, pointing to d.tables. */
static void offer_table(uint32_t len, unsigned flags)
{
	driver_poke(&d, driver_desc(&d, 0), 8, d.tables);
	driver_poke(&d, driver_desc(&d, 0) + 8, 8, len);
	if (d.packed) {
		driver_poke(&d, driver_flags(&d, 0), 2, flags | DESC_F_AVAIL);
		return;
	}
	driver_poke(&d, driver_flags(&d, 0), 2, flags);
	driver_poke(&d, d.driver + 4, 2, 0);
	driver_poke(&d, d.driver + 2, 2, 1);
}

static void indirect_tables_against_the_rules_break_the_queue(void **state)
{
	static const uint32_t lengths[] = {0, 1, 15, 17, 31, RAM, UINT32_MAX, UINT32_MAX - 15};

	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
		make(state);
		put_table_desc(0, DATA, 1, 0);
		put_table_desc(1, DATA, 1, 0);
		offer_table(lengths[i], DESC_F_INDIRECT);
		assert_breaks("a table's length");
	}
	make(state);
	offer_table(16, DESC_F_INDIRECT | DESC_F_NEXT);
	put_table_desc(0, DATA, 1, 0);
	assert_breaks("INDIRECT and NEXT");
	make_sized(state, 8);
	features.indirect = false;
	start();
	put_table_desc(0, DATA, 1, 0);
	offer_table(16, DESC_F_INDIRECT);
	assert_breaks("not negotiated");
	make(state);
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX + 1; i++)
		put_table_desc(i, DATA, 1, features.packed ? 0 : DESC_F_NEXT | (i + 1) << 16);
	offer_table((VIRTQ_CHAIN_MAX + 1) * 16, DESC_F_INDIRECT);
	assert_breaks("longer than any chain may be");
}

static void an_indirect_table_may_be_longer_than_the_queue(void **state)
{
	make(state);
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX; i++)
		put_table_desc(i, DATA, 1,
			       features.packed || i + 1 == VIRTQ_CHAIN_MAX
				       ? 0
				       : DESC_F_NEXT | (i + 1) << 16);
	/* WRITE means nothing here, and must be ignored */
	offer_table(VIRTQ_CHAIN_MAX * 16, DESC_F_INDIRECT | DESC_F_WRITE);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_CHAIN);
	assert_int_equal(chain.readable, VIRTQ_CHAIN_MAX);
}

/* 2^32 bytes are allowed; RAM is smaller, so segments lie on top of each other. */
static void a_chain_has_no_more_than_4_gib(void **state)
{
	unsigned half = 128;

	for (int over = 0; over < 2; over++) {
		make_sized(state, 8);
		assert_int_equal(mem_add_ram(&mem, GIB(1) * 2, 1ull << 25, NULL), 0);
		start();
		for (unsigned i = 0; i < half + over; i++)
			put_table_desc(i, GIB(2), i < half ? 1u << 25 : 1,
				       features.packed || i + 1 == half + over
					       ? 0
					       : DESC_F_NEXT | (i + 1) << 16);
		offer_table((half + over) * 16, DESC_F_INDIRECT);
		assert_int_equal(virtq_take(&q, &chain), over ? VIRTQ_BROKEN : VIRTQ_CHAIN);
	}
}

static void descriptors_are_not_followed_in_circles(void **state)
{
	const struct driver_buffer b[] = {{DATA, 1, false}, {DATA, 1, false}, {DATA, 1, false}};

	make(state);
	driver_add(&d, b, 3, false);
	if (d.packed) {
		/* all eight descriptors, each with NEXT: the ring has no end */
		for (unsigned i = 3; i < 8; i += 1)
			driver_add(&d, b, 1, false);
		for (unsigned i = 2; i < 8; i++)
			driver_poke(&d, driver_flags(&d, i), 2, DESC_F_AVAIL | DESC_F_NEXT);
		assert_breaks("a chain round the ring");
		return;
	}
	driver_poke(&d, driver_flags(&d, 2), 4, DESC_F_NEXT | 1 << 16);
	assert_breaks("a loop");
	make(state);
	driver_add(&d, b, 1, false);
	driver_poke(&d, driver_flags(&d, 0), 4, DESC_F_NEXT | 0 << 16);
	assert_breaks("a loop of one");
	make(state);
	driver_add(&d, b, 2, false);
	driver_poke(&d, driver_flags(&d, 0) + 2, 2, 8);
	assert_breaks("a next beyond the table");
	make(state);
	put_table_desc(0, DATA, 1, DESC_F_NEXT | 1 << 16);
	put_table_desc(1, DATA, 1, DESC_F_NEXT | 0 << 16);
	offer_table(32, DESC_F_INDIRECT);
	assert_breaks("a loop in an indirect table");
	make(state);
	put_table_desc(0, d.tables, 16, DESC_F_INDIRECT);
	offer_table(16, DESC_F_INDIRECT);
	assert_breaks("a table in a table");
}

static void split_rings_against_the_rules_break_the_queue(void **state)
{
	const struct driver_buffer five[] = {{DATA, 1, false},
					     {DATA, 1, false},
					     {DATA, 1, false},
					     {DATA, 1, false},
					     {DATA, 1, false}};

	if (is_packed(state))
		return;
	make(state);
	driver_poke(&d, d.driver + 2, 2, 9);
	assert_breaks("more available than there are descriptors");
	make(state);
	add_and_take(&chain);
	driver_poke(&d, d.driver + 2, 2, 0);
	assert_breaks("an index that goes back");
	make(state);
	driver_add(&d, &one, 1, false);
	driver_poke(&d, d.driver + 4, 2, 8);
	assert_breaks("a head beyond the table");
	make(state);
	add_and_take(&chain);
	driver_poke(&d, d.driver + 4 + 2, 2, 0);
	driver_poke(&d, d.driver + 2, 2, 2);
	assert_breaks("a head that is in use");
	make(state);
	for (unsigned i = 0; i < 8; i++)
		add_and_take(&chains[i]);
	driver_poke(&d, d.driver + 2, 2, 9);
	assert_breaks("one more than the ring has while all are in use");
	/* Two chains of five, the second through the first one's end, in a ring of eight. */
	make(state);
	driver_add(&d, five, 5, false);
	assert_int_equal(virtq_take(&q, &chains[0]), VIRTQ_CHAIN);
	driver_add(&d, five, 3, false);
	driver_poke(&d, driver_flags(&d, 7), 4, DESC_F_NEXT | 3 << 16);
	assert_breaks("a chain into descriptors that are in use");
}

static void direct_descriptors_may_precede_an_indirect_one_in_a_split_ring(void **state)
{
	const struct driver_buffer b[] = {{DATA, 1, false}, {DATA, 1, false}};

	make(state);
	put_table_desc(0, DATA, 5, DESC_F_WRITE);
	driver_add(&d, b, 2, false);
	driver_poke(&d, driver_desc(&d, 1), 8, d.tables);
	driver_poke(&d, driver_desc(&d, 1) + 8, 4, 16);
	driver_poke(&d, driver_flags(&d, 1), 2, DESC_F_INDIRECT | (d.packed ? DESC_F_AVAIL : 0));
	if (d.packed) {
		assert_breaks("a packed list is of one kind");
		return;
	}
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_CHAIN);
	assert_int_equal(chain.readable_len, 1);
	assert_int_equal(chain.writable_len, 5);
}

static void packed_rings_against_the_rules_break_the_queue(void **state)
{
	const struct driver_buffer b[] = {{DATA, 1, false}, {DATA, 1, false}};

	if (!is_packed(state))
		return;
	make(state);
	driver_add(&d, b, 2, false);
	driver_poke(&d, driver_flags(&d, 1), 2, DESC_F_AVAIL | DESC_F_USED);
	assert_breaks("a chain's second descriptor is used");
	make(state);
	driver_add(&d, b, 2, false);
	driver_poke(&d, driver_flags(&d, 1), 2, 0);
	assert_breaks("a chain's second descriptor was never made available");
	make(state);
	for (unsigned i = 0; i < 7; i++)
		add_and_take(&chains[i]);
	driver_add(&d, &one, 1, false);
	driver_poke(&d, driver_flags(&d, 7), 2, DESC_F_AVAIL | DESC_F_NEXT);
	assert_breaks("a chain into descriptors that are in use");
}

/* Nobody polls a descriptor that the device has taken and not used, whatever it says by then. */
static void a_full_packed_ring_has_nothing_available(void **state)
{
	if (!is_packed(state))
		return;
	make(state);
	for (unsigned i = 0; i < 8; i++)
		add_and_take(&chains[i]);
	driver_poke(&d, driver_flags(&d, 0), 2, DESC_F_USED);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
	virtq_put(&q, &chains[0], 0);
	assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
}

static int teardown(void **state)
{
	(void)state;
	mem_release(&mem);
	return 0;
}

static bool forms[] = {false, true};

#define BOTH(f)                                              \
	{#f " (split)", f, NULL, teardown, &forms[0]},       \
	{                                                    \
#f " (packed)", f, NULL, teardown, &forms[1] \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_buffer_goes_to_the_device_and_back),
		BOTH(buffers_in_any_order_and_number),
		BOTH(a_ring_of_one_descriptor_works),
		BOTH(buffers_are_used_in_order_where_that_was_negotiated),
		BOTH(interrupts_are_sent_unless_they_are_not_wanted),
		BOTH(an_interrupt_comes_at_the_event_index),
		BOTH(kicks_come_when_they_are_wanted),
		BOTH(a_stopped_queue_does_nothing_more),
		BOTH(queues_in_bad_places_are_refused),
		BOTH(chains_against_the_rules_break_the_queue),
		BOTH(a_buffer_may_lie_across_regions),
		BOTH(what_the_queue_only_reads_may_be_the_queue_itself),
		BOTH(indirect_tables_against_the_rules_break_the_queue),
		BOTH(an_indirect_table_may_be_longer_than_the_queue),
		BOTH(a_chain_has_no_more_than_4_gib),
		BOTH(descriptors_are_not_followed_in_circles),
		BOTH(split_rings_against_the_rules_break_the_queue),
		BOTH(direct_descriptors_may_precede_an_indirect_one_in_a_split_ring),
		BOTH(packed_rings_against_the_rules_break_the_queue),
		BOTH(a_full_packed_ring_has_nothing_available),
	};

	mem.fd = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
