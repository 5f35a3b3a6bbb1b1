/* SPDX-License-Identifier: Apache-2.0 */
/* Read-modify-write operands: in place or as a copy, alone or not, and that nothing is lost when
 * two vCPUs do them at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define RWU (PTE_P | PTE_RW | PTE_US)

#define FIRST  0x00010000ULL
#define SECOND 0x00011000ULL
#define GPA1   0x00800000ULL
#define GPA2   0x00700000ULL

static struct mg *two_pages(void)
{
	struct mg *g = mg_new();

	mg_mode(g, MG_4LEVEL);
	mg_set(g, FIRST, 1, GPA1 | RWU);
	mg_set(g, SECOND, 1, GPA2 | RWU);
	return g;
}

static void begin(struct mg *g, struct mmu_rmw *rmw, uint64_t linear, unsigned size, bool locked)
{
	assert_false(MG_RAISES(g->cpu, mmu_rmw_begin(g->cpu, rmw, linear, size, locked)));
}

static void ram_is_changed_in_place(void **state)
{
	struct mg *g = two_pages();
	struct mmu_rmw rmw;

	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		for (unsigned size = 1; size <= 16; size *= 2) {
			begin(g, &rmw, FIRST + 0x50, size, true);
			assert_ptr_equal(rmw.ptr, mg_ram(g, GPA1 + 0x50));
			assert_true(rmw.direct && !rmw.exclusive);
			assert_int_equal(rmw.size, size);
			mmu_rmw_end(g->cpu, &rmw);
		}
		begin(g, &rmw, FIRST + 61, 4, false); /* two lines of the cache, not locked */
		assert_ptr_equal(rmw.ptr, mg_ram(g, GPA1 + 61));
		mmu_rmw_end(g->cpu, &rmw);
	}
	assert_int_equal(mg_get(g, FIRST, 1) & PTE_D, PTE_D);
	mg_free(g);
}

static void what_cannot_be_is_a_copy(void **state)
{
	struct mg *g = two_pages();
	struct mmu_rmw rmw;

	(void)state;
	store_le(mg_ram(g, GPA1 + 61), 4, 0x11223344);
	begin(g, &rmw, FIRST + 61, 4, true);
	assert_true(!rmw.direct && rmw.exclusive);
	assert_int_equal(load_le(rmw.ptr, 4), 0x11223344);
	store_le(rmw.ptr, 4, 0x55667788);
	mmu_rmw_end(g->cpu, &rmw);
	assert_int_equal(load_le(mg_ram(g, GPA1 + 61), 4), 0x55667788);
	begin(g, &rmw, SECOND - 3, 8, false);
	assert_true(!rmw.direct && !rmw.exclusive);
	store_le(rmw.ptr, 8, 0x8877665544332211);
	mmu_rmw_end(g->cpu, &rmw);
	assert_int_equal(load_le(mg_ram(g, GPA1 + MG_PAGE - 3), 3), 0x332211);
	assert_int_equal(load_le(mg_ram(g, GPA2), 5), 0x8877665544);
	mg_free(g);
}

static void devices(void **state)
{
	struct mg *g = two_pages();
	struct mmu_rmw rmw;

	(void)state;
	mg_set(g, SECOND, 1, MG_MMIO | RWU);
	for (unsigned locked = 0; locked < 2; locked++) {
		g->device_accesses = 0;
		store_le(g->device + 16, 4, 100);
		assert_true(mg_add(g->cpu, SECOND + 16, 4, locked, 11));
		assert_int_equal(load_le(g->device + 16, 4), 111);
		assert_int_equal(g->device_accesses, 2); /* one read, one write */
		assert_int_equal(g->device_size, 4);
		store_le(mg_ram(g, GPA1 + MG_PAGE - 2), 2, 0xffff);
		store_le(g->device, 2, 5);
		assert_true(mg_add(g->cpu, SECOND - 2, 4, locked, 1));
		assert_int_equal(load_le(mg_ram(g, GPA1 + MG_PAGE - 2), 2), 0);
		assert_int_equal(load_le(g->device, 2), 6);
	}
	begin(g, &rmw, SECOND + 32, 16, true); /* CMPXCHG16B needs an aligned operand */
	assert_int_equal((uintptr_t)rmw.ptr % 16, 0);
	memcpy(rmw.ptr, "0123456789abcdef", 16);
	mmu_rmw_end(g->cpu, &rmw);
	assert_memory_equal(g->device + 32, "0123456789abcdef", 16);
	mg_free(g);
}

static void every_size_at_every_place(void **state)
{
	struct mg *g = two_pages();
	uint64_t value;

	(void)state;
	for (unsigned i = 0; i < 8 * 80; i++) {
		unsigned size = 1 << (i & 3);
		bool locked = i & 4;
		uint64_t linear = SECOND - 70 + i / 8, wide = 0xfedcba9876543210 & MASK(size * 8);

		assert_true(mg_write(g->cpu, linear, size, wide));
		assert_true(mg_add(g->cpu, linear, size, locked, 0x1111111111111111));
		assert_true(mg_read(g->cpu, linear, size, &value));
		assert_int_equal(value, (wide + 0x1111111111111111) & MASK(size * 8));
	}
	mg_free(g);
}

#define ROUNDS 20000

struct adder {
	struct cpu *cpu;
	pthread_barrier_t *start;
	bool failed;
};

/* Where two vCPUs add: within a line, across lines, across pages, in a device. */
static const uint64_t places[] = {FIRST + 8, FIRST + 0x7d, SECOND - 3, SECOND + 0x1000 + 8};

static void *add_up(void *arg)
{
	struct adder *a = arg;

	pthread_barrier_wait(a->start);
	for (unsigned i = 0; i < ROUNDS; i++) {
		mg_between(a->cpu);
		/* The expensive places less often. */
		a->failed |= !mg_add(a->cpu, places[0], 8, true, 1);
		if (i % 16 == 0)
			a->failed |= !mg_add(a->cpu, places[i / 16 % 4], 8, true, 1);
	}
	exclusive_leave(a->cpu);
	return NULL;
}

static void locked_additions_are_not_lost(void **state)
{
	struct mg *g = two_pages();
	pthread_barrier_t start;
	struct adder a = {g->cpu, &start, false}, b = {mg_add_cpu(g), &start, false};
	uint64_t value;
	pthread_t thread;

	(void)state;
	mg_set(g, SECOND + 0x1000, 1, MG_MMIO | RWU);
	pthread_barrier_init(&start, NULL, 2);
	exclusive_enter(b.cpu);
	assert_int_equal(pthread_create(&thread, NULL, add_up, &b), 0);
	add_up(&a);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	exclusive_enter(g->cpu);
	assert_false(a.failed || b.failed);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(mg_read(g->cpu, places[i], 8, &value));
		assert_int_equal(value,
				 2 * (i == 0 ? ROUNDS : 0) + 2 * (ROUNDS / 16 / 4 + (i < 2)));
	}
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_is_changed_in_place),
		cmocka_unit_test(what_cannot_be_is_a_copy),
		cmocka_unit_test(devices),
		cmocka_unit_test(every_size_at_every_place),
		cmocka_unit_test(locked_additions_are_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
