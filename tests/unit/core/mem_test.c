/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/mem.h"

#define PAGE GUEST_PAGE_SIZE

/* 16 pages at 0 and 8 pages at 4 GiB, with a hole between. */
static void make_with(struct mem *m, unsigned flags)
{
	struct err e = ERR_INIT;

	assert_int_equal(mem_init(m, flags, &e), 0);
	assert_int_equal(mem_add_ram(m, 0, 16 * PAGE, &e), 0);
	assert_int_equal(mem_add_ram(m, GIB(4), 8 * PAGE, &e), 0);
}

static void make(struct mem *m)
{
	make_with(m, 0);
}

/* Whether the host holds the page of RAM at gpa. */
static bool resident(const struct mem *m, uint64_t gpa)
{
	unsigned char vec;

	assert_int_equal(mincore((void *)(uintptr_t)mem_ptr(m, gpa, PAGE), PAGE, &vec), 0);
	return vec & 1;
}

static void regions_are_found_by_address(void **state)
{
	struct mem m;

	(void)state;
	make(&m);
	assert_int_equal(m.size, 24 * PAGE);
	assert_ptr_equal(mem_find(&m, 0), &m.regions[0]);
	assert_ptr_equal(mem_find(&m, 16 * PAGE - 1), &m.regions[0]);
	assert_null(mem_find(&m, 16 * PAGE));
	assert_null(mem_find(&m, GIB(4) - 1));
	assert_ptr_equal(mem_find(&m, GIB(4)), &m.regions[1]);
	assert_null(mem_find(&m, GIB(4) + 8 * PAGE));
	assert_null(mem_find(&m, UINT64_MAX));
	assert_int_equal(m.regions[1].slot, 1);
	assert_int_equal(m.regions[1].fd_offset, 16 * PAGE);
	mem_release(&m);
	assert_int_equal(m.fd, -1);
}

static void ram_that_does_not_fit_is_refused(void **state)
{
	struct mem m;
	struct err e = ERR_INIT;

	(void)state;
	make(&m);
	assert_int_equal(mem_add_ram(&m, 0x100000, 0, &e), -EINVAL);
	assert_true(e.text[0]);
	assert_int_equal(mem_add_ram(&m, 0x100001, PAGE, NULL), -EINVAL);
	assert_int_equal(mem_add_ram(&m, 0x100000, PAGE + 1, NULL), -EINVAL);
	assert_int_equal(mem_add_ram(&m, 15 * PAGE, PAGE, NULL), -EINVAL); /* taken */
	assert_int_equal(mem_add_ram(&m, 8 * PAGE, PAGE, NULL), -EINVAL);
	assert_int_equal(mem_add_ram(&m, GIB(4) - PAGE, 2 * PAGE, NULL), -EINVAL);
	assert_int_equal(mem_add_ram(&m, UINT64_MAX - PAGE + 1, PAGE, NULL), -EINVAL);
	assert_int_equal(mem_add_ram(&m, PAGE * 32, UINT64_MAX - PAGE + 1, NULL), -EINVAL);
	assert_int_equal(m.count, 2);
	assert_int_equal(m.size, 24 * PAGE);
	for (unsigned i = 2; i < MEM_REGIONS_MAX; i++)
		assert_int_equal(mem_add_ram(&m, GIB(4 + i), PAGE, NULL), 0);
	assert_int_equal(mem_add_ram(&m, GIB(100), PAGE, NULL), -EINVAL);
	mem_release(&m);
}

static void accesses_stay_inside_one_region(void **state)
{
	struct mem m;
	uint8_t buf[16] = {0};

	(void)state;
	make(&m);
	assert_non_null(mem_ptr(&m, 0, 16 * PAGE));
	assert_null(mem_ptr(&m, 0, 16 * PAGE + 1));
	assert_null(mem_ptr(&m, 1, 16 * PAGE));
	assert_null(mem_ptr(&m, 0, UINT64_MAX));
	assert_null(mem_ptr(&m, 16 * PAGE - 1, UINT64_MAX)); /* the end would wrap */
	assert_null(mem_ptr_rw(&m, UINT64_MAX, 2));
	assert_null(mem_ptr(&m, 16 * PAGE, 0));
	assert_non_null(mem_ptr(&m, 16 * PAGE - 1, 1));
	assert_false(mem_read(&m, 16 * PAGE - 8, buf, 16));
	assert_false(mem_write(&m, GIB(4) - 8, buf, 16));
	mem_release(&m);
}

static void a_refused_copy_touches_nothing(void **state)
{
	struct mem m;
	uint8_t buf[16], was[16];

	(void)state;
	make(&m);
	memset(buf, 0x77, sizeof(buf));
	memset(was, 0x77, sizeof(was));
	assert_false(mem_read(&m, 16 * PAGE - 8, buf, 16));
	assert_memory_equal(buf, was, 16);
	assert_false(mem_write(&m, 16 * PAGE - 8, buf, 16));
	assert_true(mem_read(&m, 16 * PAGE - 8, buf, 8));
	memset(was, 0, 8);
	assert_memory_equal(buf, was, 8);
	mem_release(&m);
}

static void writes_are_read_back_here_and_through_the_descriptor(void **state)
{
	struct mem m;
	struct stat st;
	char buf[6];
	uint8_t *twin;

	(void)state;
	make_with(&m, MEM_SHARED);
	assert_true(mem_write(&m, GIB(4) + PAGE - 3, "hello", 6)); /* over a page's end */
	assert_true(mem_read(&m, GIB(4) + PAGE - 3, buf, 6));
	assert_string_equal(buf, "hello");
	/* Another process maps the same bytes. */
	assert_int_equal(fstat(m.fd, &st), 0);
	assert_int_equal(st.st_size, 24 * PAGE);
	twin = mmap(NULL, m.size, PROT_READ, MAP_SHARED, m.fd, 0);
	assert_true(twin != MAP_FAILED);
	assert_string_equal(twin + m.regions[1].fd_offset + PAGE - 3, "hello");
	munmap(twin, m.size);
	mem_release(&m);
}

static void device_writes_mark_their_pages(void **state)
{
	struct mem m;
	uint64_t bitmap[1] = {0};

	(void)state;
	make(&m);
	mem_written(&m, 0, 1); /* before the start: nowhere to mark */
	assert_int_equal(mem_dirty_start(&m), 0);
	mem_dirty_take(&m, 0, bitmap);
	assert_int_equal(bitmap[0], 0);
	assert_true(mem_write(&m, 2 * PAGE, "x", 1));
	assert_true(mem_write(&m, 5 * PAGE - 1, "xx", 2));
	assert_true(mem_write(&m, 7 * PAGE, "", 0)); /* nothing written */
	mem_written(&m, 16 * PAGE - 1, 1);
	bitmap[0] = BIT(12); /* what is there stays */
	mem_dirty_take(&m, 0, bitmap);
	assert_int_equal(bitmap[0], BIT(2) | BIT(4) | BIT(5) | BIT(12) | BIT(15));
	bitmap[0] = 0;
	mem_dirty_take(&m, 0, bitmap);
	assert_int_equal(bitmap[0], 0);
	mem_dirty_take(&m, 1, bitmap);
	assert_int_equal(bitmap[0], 0);
	mem_written(&m, GIB(4), 8 * PAGE);
	assert_int_equal(mem_dirty_start(&m), 0); /* again: what is recorded is kept */
	mem_dirty_take(&m, 1, bitmap);
	assert_int_equal(bitmap[0], 0xff);
	mem_release(&m);
}

struct seen {
	uint64_t gpa[4], len[4];
	unsigned count;
};

static void note(void *opaque, uint64_t gpa, uint64_t len)
{
	struct seen *s = opaque;

	assert_true(s->count < 4);
	s->gpa[s->count] = gpa;
	s->len[s->count++] = len;
}

static void the_observer_hears_of_each_write(void **state)
{
	struct mem m;
	struct seen s = {.count = 0};

	(void)state;
	make(&m);
	m.observer.written = note;
	m.observer.opaque = &s;
	assert_true(mem_write(&m, 100, "abc", 3));
	assert_false(mem_write(&m, 16 * PAGE, "abc", 3));
	assert_int_equal(s.count, 1);
	assert_int_equal(s.gpa[0], 100);
	assert_int_equal(s.len[0], 3);
	mem_release(&m);
}

static void a_reset_zeroes_all_and_is_a_write_to_all(void **state)
{
	struct mem m;
	struct seen s = {.count = 0};
	uint64_t bitmap[1] = {0};
	char buf[6];

	(void)state;
	make(&m);
	assert_true(mem_write(&m, 8, "hello", 6));
	assert_true(mem_write(&m, GIB(4) + 8, "hello", 6));
	assert_int_equal(mem_dirty_start(&m), 0);
	m.observer.written = note;
	m.observer.opaque = &s;
	assert_int_equal(mem_reset(&m, NULL), 0);
	assert_true(mem_read(&m, 8, buf, 6));
	assert_memory_equal(buf, "\0\0\0\0\0", 6);
	assert_true(mem_read(&m, GIB(4) + 8, buf, 6));
	assert_memory_equal(buf, "\0\0\0\0\0", 6);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.len[0] + s.len[1], 24 * PAGE);
	mem_dirty_take(&m, 0, bitmap);
	assert_int_equal(bitmap[0], 0xffff);
	bitmap[0] = 0;
	mem_dirty_take(&m, 1, bitmap);
	assert_int_equal(bitmap[0], 0xff);
	mem_release(&m);
}

static void a_reset_gives_the_host_its_pages_back(void **state)
{
	struct mem m;
	struct stat st;

	(void)state;
	make(&m);
	assert_true(mem_write(&m, 8, "x", 1));
	assert_true(resident(&m, 0));
	assert_int_equal(mem_reset(&m, NULL), 0);
	assert_false(resident(&m, 0));
	mem_release(&m);
	make_with(&m, MEM_SHARED);
	assert_true(mem_write(&m, 8, "x", 1));
	assert_int_equal(mem_reset(&m, NULL), 0);
	assert_int_equal(*(const uint8_t *)mem_ptr(&m, 8, 1), 0);
	assert_int_equal(mem_reset(&m, NULL), 0);
	assert_int_equal(fstat(m.fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	mem_release(&m);
}

static void fill_three(struct mem *m, uint64_t gpa, uint64_t step)
{
	for (unsigned i = 0; i < 3; i++)
		assert_true(mem_write(m, gpa + i * step, "xyz", 3));
}

static void only_the_middle_is_zero(struct mem *m, uint64_t gpa, uint64_t step)
{
	assert_memory_equal(mem_ptr(m, gpa, 3), "xyz", 3);
	assert_memory_equal(mem_ptr(m, gpa + step, 3), "\0\0\0", 3);
	assert_memory_equal(mem_ptr(m, gpa + 2 * step, 3), "xyz", 3);
}

static void a_discard_zeroes_its_bytes_and_no_others(void **state)
{
	static const unsigned kinds[] = {0, MEM_HUGE, MEM_SHARED, MEM_SHARED | MEM_HUGE};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		struct seen s = {.count = 0};
		struct mem m;

		make_with(&m, kinds[i]);
		m.observer.written = note;
		m.observer.opaque = &s;
		fill_three(&m, GIB(4) + 8, PAGE);
		s.count = 0;
		mem_discard(&m, GIB(4) + PAGE, PAGE);
		assert_int_equal(s.count, 1);
		assert_int_equal(s.gpa[0], GIB(4) + PAGE);
		assert_int_equal(s.len[0], PAGE);
		only_the_middle_is_zero(&m, GIB(4) + 8, PAGE);
		/* Any bytes will do. */
		s.count = 0;
		fill_three(&m, 100, 3);
		s.count = 0;
		mem_discard(&m, 103, 3);
		only_the_middle_is_zero(&m, 100, 3);
		s.count = 0;
		fill_three(&m, PAGE - 3, 2 * PAGE);
		s.count = 0;
		mem_discard(&m, PAGE, 3 * PAGE);
		only_the_middle_is_zero(&m, PAGE - 3, 2 * PAGE);
		mem_discard(&m, PAGE, 0);
		assert_int_equal(s.count, 1);
		mem_release(&m);
	}
}

static void what_a_discard_covers_goes_back_to_the_host(void **state)
{
	struct mem m;
	struct stat st;

	(void)state;
	/* By huge pages where they may be: they are not split. */
	assert_int_equal(mem_init(&m, 0, NULL), 0);
	assert_int_equal(mem_add_ram(&m, 3 * PAGE, 3 * MEM_HUGE_SIZE, NULL), 0);
	assert_true(mem_write(&m, MEM_HUGE_SIZE, "x", 1));
	mem_discard(&m, MEM_HUGE_SIZE - PAGE, MEM_HUGE_SIZE + 2 * PAGE);
	assert_false(resident(&m, MEM_HUGE_SIZE));
	mem_release(&m);
	make_with(&m, MEM_SHARED);
	assert_true(mem_write(&m, PAGE, "x", 1));
	mem_discard(&m, PAGE, PAGE);
	assert_int_equal(fstat(m.fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	mem_release(&m);
}

/* ... so that a huge page here can be one in the guest's page tables. */
static void host_addresses_are_the_guests_modulo_huge_pages(void **state)
{
	static const uint64_t at[] = {0, 5 * MEM_HUGE_SIZE + 7 * PAGE, GIB(4) + PAGE};

	(void)state;
	for (unsigned flags = 0; flags < 4; flags++) {
		struct mem m;

		assert_int_equal(mem_init(&m, flags, NULL), 0);
		for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
			assert_int_equal(mem_add_ram(&m, at[i], 33 * PAGE, NULL), 0);
			assert_int_equal((uintptr_t)m.regions[i].host % MEM_HUGE_SIZE,
					 at[i] % MEM_HUGE_SIZE);
			assert_true(mem_write(&m, at[i], "x", 1));
			assert_true(mem_write(&m, at[i] + 33 * PAGE - 1, "x", 1));
		}
		assert_int_equal(m.fd >= 0, !!(flags & MEM_SHARED));
		mem_release(&m);
	}
}

static void memory_without_ram_can_be_reset(void **state)
{
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, MEM_HUGE, NULL), 0);
	assert_int_equal(mem_reset(&m, NULL), 0);
	assert_null(mem_ptr(&m, 0, 0));
	mem_release(&m);
}

struct writer {
	struct mem *m;
	unsigned first;
};

/* Every fourth page from first. */
static void *write_pages(void *opaque)
{
	struct writer *w = opaque;

	for (unsigned round = 0; round < 200; round++)
		for (unsigned page = w->first; page < 16; page += 4)
			mem_write(w->m, page * PAGE, &round, sizeof(round));
	return NULL;
}

/* Recording begins and is taken while devices write; no mark is lost. */
static void marks_of_concurrent_writers_are_not_lost(void **state)
{
	struct mem m;
	struct writer w[4];
	pthread_t threads[4];
	uint64_t bitmap[1] = {0};

	(void)state;
	make(&m);
	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct writer){&m, i};
		assert_int_equal(pthread_create(&threads[i], NULL, write_pages, &w[i]), 0);
	}
	assert_int_equal(mem_dirty_start(&m), 0);
	for (unsigned i = 0; i < 100; i++)
		mem_dirty_take(&m, 0, bitmap);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 4; i++)
		write_pages(&w[i]);
	mem_dirty_take(&m, 0, bitmap);
	assert_int_equal(bitmap[0], 0xffff);
	mem_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_are_found_by_address),
		cmocka_unit_test(ram_that_does_not_fit_is_refused),
		cmocka_unit_test(accesses_stay_inside_one_region),
		cmocka_unit_test(a_refused_copy_touches_nothing),
		cmocka_unit_test(writes_are_read_back_here_and_through_the_descriptor),
		cmocka_unit_test(device_writes_mark_their_pages),
		cmocka_unit_test(the_observer_hears_of_each_write),
		cmocka_unit_test(a_reset_zeroes_all_and_is_a_write_to_all),
		cmocka_unit_test(a_reset_gives_the_host_its_pages_back),
		cmocka_unit_test(a_discard_zeroes_its_bytes_and_no_others),
		cmocka_unit_test(what_a_discard_covers_goes_back_to_the_host),
		cmocka_unit_test(host_addresses_are_the_guests_modulo_huge_pages),
		cmocka_unit_test(memory_without_ram_can_be_reset),
		cmocka_unit_test(marks_of_concurrent_writers_are_not_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
