/* SPDX-License-Identifier: Apache-2.0 */
/* What core/engine.h promises, of the software engine in each of its ways: run, kick, interrupts,
 * memory, dirty log, statistics, life. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/bt.h"
#include "engine_box.h"

#define ROUNDS (engine == &bt_engine ? 10000u : 1000u)
#define TALLY  0x7000

static const struct engine_ops *engine; /* the one that is tested now */
static struct cpuid_table cpuid;

static void init(struct box *b, unsigned cpus)
{
	box_init(b, engine, &cpuid, cpus);
	b->wired = false;
}

static void load16(struct box *b, const char *code, const char *end)
{
	struct vcpu_state s;

	box_load(b, code, end);
	box_real_mode(b, &s);
	for (unsigned i = 0; i < b->cpus; i++)
		box_set(b, i, &s);
}

static uint32_t tally(struct box *b)
{
	uint32_t n;

	assert_true(mem_read(&b->mem, TALLY, &n, sizeof(n)));
	return n;
}

/* While the guest runs. */
static uint32_t now(struct box *b)
{
	return *(volatile uint32_t *)mem_ptr(&b->mem, TALLY, 4);
}

/* --- kicks ----------------------------------------------------------------------------------- */

GUEST_ASM(c_busy, 16, "1: incl 0x7000\njmp 1b\n");
GUEST_ASM(c_stop, 16, "1: incl 0x7000\nout %al, $0xf0\njmp 1b\n");

static void a_kick_before_run_ends_the_next_run_once(void **state)
{
	struct box b;

	(void)state;
	init(&b, 1);
	load16(&b, c_stop, c_stop_end);
	engine->kick(b.vcpus[0]);
	engine->kick(b.vcpus[0]);
	box_run(&b, 0, ENGINE_KICKED);
	assert_int_equal(tally(&b), 0); /* at once */
	box_run(&b, 0, ENGINE_KICKED);
	assert_int_equal(tally(&b), 1); /* by the guest's own write */
	assert_int_equal(b.stops, 1);
	box_release(&b);
}

struct runner {
	struct box *b;
	unsigned n;
	pthread_t thread;
	atomic_uint returns;
	atomic_bool quit;
	atomic_uint wakes; /* of a vCPU that halted */
};

/* As the machine's vCPU threads do: a halted one sleeps until somebody has something for it. */
static void *runner(void *arg)
{
	struct runner *r = arg;
	struct engine_detail detail;
	unsigned seen = 0;

	while (!atomic_load(&r->quit)) {
		enum engine_exit exit = engine->run(r->b->vcpus[r->n], &detail);

		if (exit == ENGINE_KICKED)
			atomic_fetch_add(&r->returns, 1);
		else if (exit != ENGINE_HALTED)
			return (void *)1;
		while (exit == ENGINE_HALTED && atomic_load(&r->wakes) == seen)
			sched_yield();
		seen = atomic_load(&r->wakes);
	}
	return NULL;
}

static void start(struct runner *r, struct box *b, unsigned n)
{
	memset(r, 0, sizeof(*r));
	r->b = b;
	r->n = n;
	assert_int_equal(pthread_create(&r->thread, NULL, runner, r), 0);
}

static void finish(struct runner *r)
{
	void *result;

	atomic_store(&r->quit, true);
	engine->kick(r->b->vcpus[r->n]);
	atomic_fetch_add(&r->wakes, 1);
	pthread_join(r->thread, &result);
	assert_null(result);
}

static void no_kick_is_lost(void **state)
{
	struct runner r;
	struct box b;

	(void)state;
	init(&b, 1);
	load16(&b, c_busy, c_busy_end);
	start(&r, &b, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned before = atomic_load(&r.returns);

		engine->kick(b.vcpus[0]);
		while (atomic_load(&r.returns) == before)
			sched_yield();
	}
	assert_int_equal(atomic_load(&r.returns), ROUNDS);
	finish(&r);
	assert_true(tally(&b) > 0);
	box_release(&b);
}

/* --- halted ---------------------------------------------------------------------------------- */

/* Vector 0x21 and the NMI count at TALLY and TALLY + 4. */
GUEST_ASM(c_halt, 16,
	  "sti\n1: hlt\njmp 1b\n"
	  ".globl c_halt_21, c_halt_2\n"
	  "c_halt_21: incl 0x7000\niretw\n"
	  "c_halt_2: incl 0x7004\niretw\n");
extern const char c_halt_21[], c_halt_2[];

static void load_halt(struct box *b)
{
	load16(b, c_halt, c_halt_end);
	box_vector16(b, 0x21, c_halt, c_halt_21);
	box_vector16(b, VECTOR_NMI, c_halt, c_halt_2);
	b->ack_vector = 0x21;
}

static void a_halted_processor_is_woken_by_what_is_for_it(void **state)
{
	struct vcpu_state s;
	struct box b;

	(void)state;
	init(&b, 1);
	load_halt(&b);
	box_run(&b, 0, ENGINE_HALTED);
	box_run(&b, 0, ENGINE_HALTED); /* nothing has come */
	box_get(&b, 0, &s);
	assert_int_equal(s.activity, VCPU_HALTED);
	engine->kick(b.vcpus[0]);
	box_run(&b, 0, ENGINE_KICKED);
	box_run(&b, 0, ENGINE_HALTED);
	engine->intr(b.vcpus[0], true);
	box_run(&b, 0, ENGINE_HALTED); /* again, after the handler */
	assert_int_equal(b.acks, 1);
	assert_int_equal(tally(&b), 1);
	engine->nmi(b.vcpus[0]);
	box_run(&b, 0, ENGINE_HALTED);
	assert_true(mem_read(&b.mem, TALLY + 4, &s.rip, 8));
	assert_int_equal((uint32_t)s.rip, 1);
	/* With interrupts disabled only the NMI wakes. */
	box_get(&b, 0, &s);
	s.rflags &= ~RFLAGS_IF;
	box_set(&b, 0, &s);
	engine->intr(b.vcpus[0], true);
	box_run(&b, 0, ENGINE_HALTED);
	assert_int_equal(tally(&b), 1);
	engine->nmi(b.vcpus[0]);
	box_run(&b, 0, ENGINE_HALTED);
	assert_true(mem_read(&b.mem, TALLY + 4, &s.rip, 8));
	assert_int_equal((uint32_t)s.rip, 2);
	assert_int_equal(b.acks, 1);
	box_release(&b);
}

static void no_interrupt_is_lost_between_look_and_sleep(void **state)
{
	struct runner r;
	struct box b;

	(void)state;
	init(&b, 1);
	load_halt(&b);
	start(&r, &b, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		engine->intr(b.vcpus[0], true);
		atomic_fetch_add(&r.wakes, 1);
		while (now(&b) != i + 1)
			sched_yield();
	}
	finish(&r);
	assert_int_equal(b.acks, ROUNDS);
	assert_int_equal(tally(&b), ROUNDS);
	box_release(&b);
}

static void who_waits_for_init_or_sipi_runs_nothing(void **state)
{
	static const enum vcpu_activity waits[] = {VCPU_WAIT_INIT, VCPU_WAIT_SIPI};
	struct vcpu_state s;
	struct box b;

	(void)state;
	init(&b, 2);
	load_halt(&b);
	for (unsigned i = 0; i < ARRAY_LEN(waits); i++) {
		box_get(&b, 1, &s);
		s.activity = waits[i];
		s.rflags |= RFLAGS_IF;
		box_set(&b, 1, &s);
		engine->intr(b.vcpus[1], true);
		box_run(&b, 1, ENGINE_HALTED);
		engine->kick(b.vcpus[1]);
		box_run(&b, 1, ENGINE_KICKED);
		box_run(&b, 1, ENGINE_HALTED);
		box_get(&b, 1, &s);
		assert_int_equal(s.activity, waits[i]);
		assert_int_equal(s.rip, GUEST_CODE);
	}
	/* The SIPI is a state that the machine sets. */
	engine->intr(b.vcpus[1], false);
	vcpu_state_init(&s);
	s.activity = VCPU_WAIT_SIPI;
	vcpu_state_start_up(&s, GUEST_CODE >> 12);
	box_set(&b, 1, &s);
	box_run(&b, 1, ENGINE_HALTED);
	box_get(&b, 1, &s);
	assert_int_equal(s.activity, VCPU_HALTED);
	assert_int_equal(b.acks, 0);
	box_release(&b);
}

/* --- interrupts ------------------------------------------------------------------------------ */

GUEST_ASM(c_intr, 16,
	  "cli\nout %al, $0x30\nnop\nout %al, $0x31\nsti\nnop\nnop\ncli\nout %al, $0xf0\n"
	  ".globl c_intr_21\n"
	  "c_intr_21: incl 0x7000\niretw\n");
extern const char c_intr_21[];

static void raise_and_hold(struct box *b, uint64_t port, uint64_t value)
{
	(void)value;
	if (port == 0x30)
		engine->intr(b->vcpus[0], true);
}

static void raise_and_lower(struct box *b, uint64_t port, uint64_t value)
{
	(void)value;
	engine->intr(b->vcpus[0], port == 0x30);
}

static void a_request_is_a_level(void **state)
{
	struct box b;

	(void)state;
	for (unsigned lowered = 0; lowered < 2; lowered++) {
		init(&b, 1);
		load16(&b, c_intr, c_intr_end);
		box_vector16(&b, 0x21, c_intr, c_intr_21);
		b.ack_vector = 0x21;
		b.wrote = lowered ? raise_and_lower : raise_and_hold;
		box_run(&b, 0, ENGINE_KICKED);
		assert_int_equal(b.acks, !lowered);
		assert_int_equal(tally(&b), !lowered);
		box_release(&b);
	}
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Reads an address from the device, adds to what is there, reads it, and stops. */
GUEST_ASM(c_touch, 32,
	  "1: movl 0xd0000000, %ebx\n"
	  "incl (%ebx)\n"
	  "movl (%ebx), %eax\nout %eax, $0xf8\n"
	  "out %al, $0xf0\n"
	  "jmp 1b\n");

static uint64_t address(struct box *b, uint64_t offset)
{
	(void)offset;
	return *(uint64_t *)b->test;
}

static void load_touch(struct box *b, uint64_t *where)
{
	struct vcpu_state s;

	box_load(b, c_touch, c_touch_end);
	box_protected_mode(b, &s);
	box_set(b, 0, &s);
	b->mmio_read = address;
	b->test = where;
}

/* The value that the guest has read there. */
static uint32_t touch(struct box *b, uint64_t *where, uint64_t gpa)
{
	*where = gpa;
	b->tells = 0;
	box_run(b, 0, ENGINE_KICKED);
	assert_int_equal(b->tells, 1);
	return b->tell[0];
}

static uint64_t count(struct box *b, const char *name)
{
	struct engine_stat stats[32];
	size_t n = engine->stats(b->vm, stats, ARRAY_LEN(stats));

	for (size_t i = 0; i < n; i++)
		if (!strcmp(stats[i].name, name))
			return stats[i].count;
	fail_msg("no counter %s", name);
	return 0;
}

static void assert_dirty(struct box *b, uint64_t gpa)
{
	uint64_t bitmap[BOX_RAM / GUEST_PAGE_SIZE / 64] = {0};

	assert_int_equal(engine->dirty_take(b->vm, &b->mem.regions[0], bitmap, NULL), 0);
	for (unsigned i = 0; i < BOX_RAM / GUEST_PAGE_SIZE; i++) {
		bool is = bitmap[i / 64] & BIT(i % 64);

		if (is != (gpa && gpa >> GUEST_PAGE_SHIFT == i))
			fail_msg("page 0x%x is %s", i, is ? "dirty" : "clean");
	}
}

static void the_dirty_log_has_every_page_once_a_take(void **state)
{
	struct box b;
	uint64_t where;

	(void)state;
	init(&b, 1);
	load_touch(&b, &where);
	touch(&b, &where, 0x30000); /* its entry is in the TLB from here on */
	assert_int_equal(engine->dirty_start(b.vm, NULL), 0);
	assert_dirty(&b, 0);
	touch(&b, &where, 0x30010);
	assert_dirty(&b, 0x30000);
	assert_dirty(&b, 0);
	touch(&b, &where, 0x30020);
	touch(&b, &where, 0x30030);
	assert_dirty(&b, 0x30000);
	touch(&b, &where, 0x41000);
	assert_dirty(&b, 0x41000);
	/* A device's write is in the log of mem, or here, and at least in one. */
	assert_true(mem_write(&b.mem, 0x52000, "x", 1));
	assert_dirty(&b, 0x52000);
	assert_int_equal(engine->dirty_stop(b.vm, NULL), 0);
	touch(&b, &where, 0x63000);
	assert_int_equal(engine->dirty_start(b.vm, NULL), 0);
	assert_dirty(&b, 0); /* from before it began */
	touch(&b, &where, 0x63000);
	assert_dirty(&b, 0x63000);
	box_release(&b);
}

/* A guest that always writes the same page is in every take, however it falls; and its statistics
 * go on. */
static void no_write_is_lost_between_takes(void **state)
{
	uint64_t last = 0;
	struct runner r;
	struct box b;

	(void)state;
	init(&b, 1);
	load16(&b, c_busy, c_busy_end);
	start(&r, &b, 0);
	assert_int_equal(engine->dirty_start(b.vm, NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t before = now(&b);
		uint64_t executed;

		while (now(&b) == before)
			sched_yield();
		assert_dirty(&b, TALLY);
		executed = count(&b, "instructions interpreted");
		assert_true(executed > last);
		last = executed;
	}
	finish(&r);
	box_release(&b);
}

static void what_is_unmapped_is_gone_from_all_caches(void **state)
{
	const uint64_t at = 0x400000;
	struct err e = ERR_INIT;
	struct box b;
	uint64_t where;

	(void)state;
	init(&b, 1);
	assert_int_equal(mem_add_ram(&b.mem, at, 0x10000, &e), 0);
	load_touch(&b, &where);
	assert_int_equal(touch(&b, &where, at), UINT32_MAX); /* not yet */
	assert_int_equal(engine->map(b.vm, &b.mem.regions[1], &e), 0);
	assert_int_equal(touch(&b, &where, at), 1);
	assert_int_equal(touch(&b, &where, at), 2);
	assert_int_equal(engine->unmap(b.vm, &b.mem.regions[1], &e), 0);
	assert_int_equal(touch(&b, &where, at), UINT32_MAX);
	assert_int_equal(engine->map(b.vm, &b.mem.regions[1], &e), 0);
	assert_int_equal(touch(&b, &where, at), 3);
	box_release(&b);
}

/* --- statistics ------------------------------------------------------------------------------ */

static void events_are_counted(void **state)
{
	struct engine_stat one = {NULL, 0}, beyond = {"untouched", 1};
	struct box b;

	(void)state;
	init(&b, 2);
	load_halt(&b);
	assert_true(engine->stats(b.vm, &one, 1) > 1);
	assert_non_null(one.name);
	assert_true(engine->stats(b.vm, &beyond, 0) > 1);
	assert_string_equal(beyond.name, "untouched");
	assert_int_equal(count(&b, "instructions interpreted"), 0);
	box_run(&b, 0, ENGINE_HALTED);
	assert_int_equal(count(&b, "instructions interpreted"), 2);
	assert_int_equal(count(&b, "halts"), 1);
	box_run(&b, 1, ENGINE_HALTED); /* all vCPUs together */
	assert_int_equal(count(&b, "instructions interpreted"), 4);
	engine->intr(b.vcpus[0], true);
	box_run(&b, 0, ENGINE_HALTED);
	assert_int_equal(count(&b, "interrupts"), 1);
	assert_int_equal(count(&b, "port accesses"), 0);
	box_release(&b);
}

/* --- many ------------------------------------------------------------------------------------ */

#define VMS 4

static void vms_know_nothing_of_each_other(void **state)
{
	struct runner r[VMS];
	static struct box b[VMS];

	(void)state;
	for (unsigned i = 0; i < VMS; i++) {
		init(&b[i], 1);
		load_halt(&b[i]);
		start(&r[i], &b[i], 0);
	}
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < VMS; i++) {
			uint32_t want = round * (i + 1);

			for (unsigned k = 0; k <= i; k++) {
				engine->intr(b[i].vcpus[0], true);
				atomic_fetch_add(&r[i].wakes, 1);
				while (now(&b[i]) != want + k + 1)
					sched_yield();
			}
		}
	}
	for (unsigned i = 0; i < VMS; i++) {
		finish(&r[i]);
		assert_int_equal(tally(&b[i]), 100 * (i + 1));
		box_release(&b[i]);
	}
}

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Memory that is not given back is for the address sanitizer to find. */
static void hundreds_of_vms_one_after_the_other(void **state)
{
	unsigned before = open_files();
	struct box b;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		init(&b, 2);
		if (i % 50 == 0) {
			load_halt(&b);
			box_run(&b, 0, ENGINE_HALTED);
		}
		box_release(&b);
	}
	assert_int_equal(open_files(), before);
}

int main(int argc, char **argv)
{
	static const struct engine_ops *const engines[] = {&bt_engine, &bt_engine_interp,
							   &bt_engine_check};
	int failed = 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kick_before_run_ends_the_next_run_once),
		cmocka_unit_test(no_kick_is_lost),
		cmocka_unit_test(a_halted_processor_is_woken_by_what_is_for_it),
		cmocka_unit_test(no_interrupt_is_lost_between_look_and_sleep),
		cmocka_unit_test(who_waits_for_init_or_sipi_runs_nothing),
		cmocka_unit_test(a_request_is_a_level),
		cmocka_unit_test(the_dirty_log_has_every_page_once_a_take),
		cmocka_unit_test(no_write_is_lost_between_takes),
		cmocka_unit_test(what_is_unmapped_is_gone_from_all_caches),
		cmocka_unit_test(events_are_counted),
		cmocka_unit_test(vms_know_nothing_of_each_other),
		cmocka_unit_test(hundreds_of_vms_one_after_the_other),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	box_cpuid(&cpuid, engines, ARRAY_LEN(engines));
	for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
		engine = engines[i];
		printf("engine %s\n", engine->name);
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
