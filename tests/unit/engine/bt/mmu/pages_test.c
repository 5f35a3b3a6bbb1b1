/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that hold code, and the dirty log: no write goes unnoticed, however it is made. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define RWU (PTE_P | PTE_RW | PTE_US)

#define CODE   0x00010000ULL /* linear */
#define OTHER  0x00011000ULL
#define GPA    0x00800000ULL
#define GPA2   0x00700000ULL
#define OFFSET 0x200 /* of the code in its page */

static struct mg *two_pages(void)
{
	struct mg *g = mg_new();

	mg_mode(g, MG_4LEVEL);
	mg_set(g, CODE, 1, GPA | RWU);
	mg_set(g, OTHER, 1, GPA2 | RWU);
	return g;
}

static uint32_t generation(struct mg *g, uint64_t gpa)
{
	return atomic_load(&pages_find(&g->vm.pages, gpa)->generation);
}

static bool writable(struct cpu *cpu, uint64_t linear)
{
	uint8_t *host;

	return mmu_span(cpu, linear, 1, true, &host);
}

static void pages_are_found(void **state)
{
	struct mg *g = mg_new();
	struct pages *p = &g->vm.pages;
	struct page *page;

	(void)state;
	assert_non_null(pages_find(p, 0));
	assert_ptr_equal(pages_find(p, 0xfff), pages_find(p, 0));
	assert_ptr_equal(pages_find(p, 0x1000), pages_find(p, 0) + 1);
	assert_null(pages_find(p, MG_RAM));
	assert_non_null(pages_find(p, MG_HIGH));
	assert_null(pages_find(p, MG_HIGH + MIB(4)));
	assert_null(pages_find(p, UINT64_MAX));
	assert_ptr_equal(pages_host(p, MG_HIGH + 0x1234, &page), mg_ram(g, MG_HIGH + 0x1234));
	assert_ptr_equal(page, pages_find(p, MG_HIGH + 0x1000));
	assert_null(pages_host(p, MG_RAM, &page));
	assert_null(page);
	mg_free(g);
}

enum { BY_WRITE, BY_BYTES, BY_RMW, BY_LOCKED, BY_SYSTEM, BY_DEVICE, WAYS };

static void write_by(struct mg *g, unsigned way, uint64_t offset, unsigned size)
{
	struct cpu *cpu = g->cpu;
	uint64_t zero = 0;

	switch (way) {
	case BY_WRITE:
		assert_true(mg_write(cpu, CODE + offset, size, 1));
		break;
	case BY_BYTES:
		assert_true(mg_write_bytes(cpu, CODE + offset, &zero, size));
		break;
	case BY_RMW:
	case BY_LOCKED:
		assert_true(mg_add(cpu, CODE + offset, size, way == BY_LOCKED, 1));
		break;
	case BY_SYSTEM:
		assert_false(MG_RAISES(cpu, mmu_system_write(cpu, CODE + offset, size, 1)));
		break;
	default: /* as the engine's mem_observer does */
		pages_written(&g->vm.pages, GPA + offset, size);
		break;
	}
}

static void writes_to_code_raise_the_generation(void **state)
{
	(void)state;
	for (unsigned way = 0; way < WAYS; way++) {
		for (unsigned warm = 0; warm < 2; warm++) {
			struct mg *g = two_pages();
			uint32_t before = generation(g, GPA);

			if (warm)
				write_by(g, way, OFFSET, 4);
			assert_int_equal(generation(g, GPA), before); /* no code yet */
			assert_int_equal(mmu_protect_code(g->cpu, GPA + OFFSET, 5), before);
			assert_int_equal(atomic_load(&pages_find(&g->vm.pages, GPA)->flags),
					 PAGE_CODE);
			assert_false(writable(g->cpu, CODE));
			write_by(g, way, OFFSET - 4, 4); /* another piece of 64 bytes */
			write_by(g, way, OFFSET + 64, 4);
			assert_int_equal(generation(g, GPA), before);
			assert_false(writable(g->cpu, CODE));
			write_by(g, way, OFFSET - 1, 2);
			assert_int_equal(generation(g, GPA), before + 1);
			/* Nothing decoded is current now: the page is as any other. */
			write_by(g, way, OFFSET, 1);
			assert_int_equal(generation(g, GPA), before + 1);
			if (way != BY_DEVICE && way != BY_SYSTEM)
				assert_true(writable(g->cpu, CODE));
			assert_int_equal(mmu_protect_code(g->cpu, GPA + OFFSET, 5), before + 1);
			assert_false(writable(g->cpu, CODE));
			write_by(g, way, OFFSET + 63, 1);
			assert_int_equal(generation(g, GPA), before + 2);
			mg_free(g);
		}
	}
}

static void a_write_over_two_pages_of_code(void **state)
{
	struct mg *g = two_pages();

	(void)state;
	mmu_protect_code(g->cpu, GPA + MG_PAGE - 4, 4);
	mmu_protect_code(g->cpu, GPA2, 4);
	assert_true(mg_write(g->cpu, OTHER - 1, 2, 0x1234));
	assert_int_equal(generation(g, GPA), 1);
	assert_int_equal(generation(g, GPA2), 1);
	mmu_protect_code(g->cpu, GPA + MG_PAGE - 4, 4);
	mmu_protect_code(g->cpu, GPA2, 4);
	assert_true(mg_add(g->cpu, OTHER - 1, 2, true, 1));
	assert_int_equal(generation(g, GPA), 2);
	assert_int_equal(generation(g, GPA2), 2);
	mg_free(g);
}

/* What another vCPU may write to must be taken from it as well. */
static void other_vcpus_lose_their_entries(void **state)
{
	struct mg *g = two_pages();
	struct cpu *other = mg_add_cpu(g);

	(void)state;
	assert_true(mg_write(other, CODE, 8, 1));
	other->cpl = 3;
	assert_true(mg_write(other, CODE, 8, 1));
	assert_true(mg_write(other, OTHER, 8, 1));
	assert_true(writable(other, CODE));
	mmu_protect_code(g->cpu, GPA + OFFSET, 5);
	assert_false(writable(other, CODE));
	assert_true(writable(other, OTHER)); /* no need to take that */
	other->cpl = 0;
	assert_false(writable(other, CODE));
	assert_true(mg_write(other, CODE + OFFSET, 8, 1));
	assert_int_equal(generation(g, GPA), 1);
	mg_free(g);
}

/* A page mapped twice is one page. */
static void aliases(void **state)
{
	struct mg *g = two_pages();

	(void)state;
	mg_set(g, OTHER, 1, GPA | RWU);
	assert_true(mg_write(g->cpu, OTHER, 8, 1));
	mmu_protect_code(g->cpu, GPA + OFFSET, 5);
	assert_true(mg_write(g->cpu, OTHER + OFFSET, 8, 1));
	assert_int_equal(generation(g, GPA), 1);
	mg_free(g);
}

/* The processor's own writes to page tables count, too. */
static void accessed_bits_in_code(void **state)
{
	struct mg *g = two_pages();
	uint64_t table = mg_get(g, CODE, 2) & MASK(40) & ~MASK(12), value;

	(void)state;
	mmu_protect_code(g->cpu, table + (CODE >> 12) % 512 * 8, 5);
	assert_true(mg_read(g->cpu, CODE, 1, &value));
	assert_int_equal(generation(g, table), 1);
	mg_free(g);
}

static bool dirty(struct mg *g, uint64_t gpa)
{
	uint64_t bitmap[MG_RAM / MG_PAGE / 64] = {0};

	/* As the engine: with all vCPUs out. */
	exclusive_begin(g->cpu);
	pages_dirty_take(&g->vm.pages, &g->mem.regions[0], bitmap);
	mmu_drop_writable_all(&g->vm);
	exclusive_end(g->cpu);
	return bitmap[gpa / MG_PAGE / 64] & BIT(gpa / MG_PAGE % 64);
}

static void dirty_start(struct mg *g)
{
	exclusive_begin(g->cpu);
	pages_dirty_start(&g->vm.pages);
	mmu_drop_writable_all(&g->vm);
	exclusive_end(g->cpu);
}

static void writes_are_logged(void **state)
{
	uint64_t value;

	(void)state;
	for (unsigned way = 0; way < WAYS; way++) {
		struct mg *g = two_pages();

		write_by(g, way, 0, 8);
		assert_false(dirty(g, GPA)); /* not logging */
		dirty_start(g);
		assert_true(mg_read(g->cpu, CODE, 8, &value));
		assert_false(dirty(g, GPA));
		for (unsigned round = 0; round < 3; round++) {
			write_by(g, way, 0, 8);
			write_by(g, way, 8, 8);
			assert_true(dirty(g, GPA));
			assert_false(dirty(g, GPA));
		}
		mmu_protect_code(g->cpu, GPA + OFFSET, 5);
		write_by(g, way, 0, 8);
		assert_true(dirty(g, GPA));
		assert_false(dirty(g, GPA2));
		pages_dirty_stop(&g->vm.pages);
		write_by(g, way, 0, 8);
		assert_false(dirty(g, GPA));
		mg_free(g);
	}
}

static void start_forgets_what_was_before(void **state)
{
	struct mg *g = two_pages();

	(void)state;
	dirty_start(g);
	assert_true(mg_write(g->cpu, CODE, 8, 1));
	dirty_start(g);
	assert_false(dirty(g, GPA));
	mg_free(g);
}

static void page_tables_are_logged(void **state)
{
	struct mg *g = two_pages();
	uint64_t table = mg_get(g, CODE, 2) & MASK(40) & ~MASK(12), value;

	(void)state;
	dirty_start(g);
	assert_true(mg_read(g->cpu, CODE, 1, &value));
	assert_true(dirty(g, table));
	assert_true(mg_read(g->cpu, CODE, 1, &value));
	assert_false(dirty(g, table));
	mg_free(g);
}

#define DECODED 300000 /* times, in a race, if that takes no longer than ... */
#define SECONDS 1
#define FEWEST  10 /* ... unless there were no more: each of the two needs to run now and then */

/*
 * One vCPU "decodes" a number and executes it as long as its generation is current, the other
 * changes it. What the first executes must never be older than what the second had completely
 * written before.
 */
struct race {
	struct mg *g;
	struct cpu *writer; /* NULL: a device writes */
	pthread_barrier_t start;
	_Atomic uint64_t published; /* what was written, and everybody may rely on */
	_Atomic uint64_t decoded;   /* times */
	_Atomic bool stop;
	bool failed;
};

static bool change(struct race *r, uint64_t value)
{
	bool good;

	if (!r->writer) {
		__atomic_store_n((uint64_t *)(void *)mg_ram(r->g, GPA + OFFSET), value,
				 __ATOMIC_RELAXED);
		pages_written(&r->g->vm.pages, GPA + OFFSET, 8);
		return true;
	}
	mg_between(r->writer);
	if (value % 3 == 0)
		good = mg_add(r->writer, CODE + OFFSET, 8, value & 1, 1);
	else
		good = mg_write(r->writer, CODE + OFFSET, 8, value);
	return good && mg_write(r->writer, CODE, 8, value); /* another piece */
}

static void *change_code(void *arg)
{
	struct race *r = arg;
	uint64_t decoded = 0;

	pthread_barrier_wait(&r->start);
	for (uint64_t value = 1; !atomic_load(&r->stop); value++) {
		r->failed |= !change(r, value);
		atomic_store(&r->published, value);
		if (value % 64)
			continue;
		if (atomic_load(&r->decoded) == decoded)
			sched_yield(); /* the other does not run */
		decoded = atomic_load(&r->decoded);
	}
	if (r->writer)
		exclusive_leave(r->writer);
	return NULL;
}

static void race(struct mg *g, struct cpu *writer)
{
	struct race r = {.g = g, .writer = writer};
	const uint64_t *code = (const void *)mg_ram(g, GPA + OFFSET);
	uint64_t cached = 0, late = 0;
	time_t end = time(NULL) + SECONDS;
	uint32_t current = generation(g, GPA) - 1;
	pthread_t thread;

	pthread_barrier_init(&r.start, NULL, 2);
	if (writer)
		exclusive_enter(writer);
	assert_int_equal(pthread_create(&thread, NULL, change_code, &r), 0);
	pthread_barrier_wait(&r.start);
	while (!atomic_load(&r.stop)) {
		uint64_t published = atomic_load(&r.published);

		mg_between(g->cpu);
		if (generation(g, GPA) != current) {
			current = mmu_protect_code(g->cpu, GPA + OFFSET, 8);
			cached = __atomic_load_n(code, __ATOMIC_RELAXED);
			if (atomic_fetch_add(&r.decoded, 1) == DECODED)
				atomic_store(&r.stop, true);
		}
		late += generation(g, GPA) == current && cached < published;
		if (time(NULL) > end && atomic_load(&r.decoded) > FEWEST)
			atomic_store(&r.stop, true);
	}
	exclusive_leave(g->cpu);
	pthread_join(thread, NULL);
	exclusive_enter(g->cpu);
	pthread_barrier_destroy(&r.start);
	assert_false(r.failed);
	assert_int_equal(late, 0);
	assert_int_equal(__atomic_load_n(code, __ATOMIC_RELAXED), atomic_load(&r.published));
}

static void executed_code_is_never_older_than_a_vcpu_wrote(void **state)
{
	struct mg *g = two_pages();

	(void)state;
	race(g, mg_add_cpu(g));
	mg_free(g);
}

static void executed_code_is_never_older_than_a_device_wrote(void **state)
{
	struct mg *g = two_pages();

	(void)state;
	race(g, NULL);
	mg_free(g);
}

struct leaving {
	struct pages pages;
	uint64_t gpa, len;
	atomic_bool stop;
};

static void *write_on(void *arg)
{
	struct leaving *l = arg;

	while (!atomic_load(&l->stop))
		pages_written(&l->pages, l->gpa, l->len);
	return NULL;
}

/* A disk's worker ends a read into memory that the guest gives back at this moment: no vCPU runs,
 * but that one does. */
static void a_device_writes_to_a_region_that_goes(void **state)
{
	const struct mem_region region = {.gpa = GIB(4), .size = MIB(64), .slot = 3};
	struct leaving l = {.gpa = GIB(4) - MG_PAGE, .len = MIB(64) + MG_PAGE};
	pthread_t thread;

	(void)state;
	assert_int_equal(pages_map(&l.pages, &region), 0);
	pages_dirty_start(&l.pages);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &l), 0);
	for (unsigned i = 0; i < 3000; i++) {
		pages_withdraw(&l.pages, &region);
		assert_null(pages_find(&l.pages, GIB(4)));
		if (i % 64 == 0)
			sched_yield();
		assert_int_equal(pages_map(&l.pages, &region), 0);
		assert_non_null(pages_find(&l.pages, GIB(4)));
		if (i % 64 == 0)
			sched_yield();
	}
	pages_withdraw(&l.pages, &region);
	atomic_store(&l.stop, true);
	pthread_join(thread, NULL);
	pages_release(&l.pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_found),
		cmocka_unit_test(writes_to_code_raise_the_generation),
		cmocka_unit_test(a_write_over_two_pages_of_code),
		cmocka_unit_test(other_vcpus_lose_their_entries),
		cmocka_unit_test(aliases),
		cmocka_unit_test(accessed_bits_in_code),
		cmocka_unit_test(writes_are_logged),
		cmocka_unit_test(start_forgets_what_was_before),
		cmocka_unit_test(page_tables_are_logged),
		cmocka_unit_test(a_device_writes_to_a_region_that_goes),
		cmocka_unit_test(executed_code_is_never_older_than_a_vcpu_wrote),
		cmocka_unit_test(executed_code_is_never_older_than_a_device_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
