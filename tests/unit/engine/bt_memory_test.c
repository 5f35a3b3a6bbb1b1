/* SPDX-License-Identifier: Apache-2.0 */
/* The software engine's caches and its list of vCPUs, while RAM and vCPUs come and go. The address
 * and thread sanitizers see what the assertions here do not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/bt/bt.h"
#include "engine_box.h"

#define EXTRA      0x400000 /* a region beyond the box's RAM */
#define EXTRA_SIZE 0x10000

static struct cpuid_table cpuid;

/* Goes where the device says, and tells what comes back. */
GUEST_ASM(c_call, 64,
	  "1: mov $0xd0000000, %ebx\n"
	  "mov (%rbx), %rbx\n"
	  "call *%rbx\n"
	  "out %eax, $0xf8\n"
	  "out %al, $0xf0\n"
	  "jmp 1b\n");
GUEST_ASM(c_one, 64, "mov $1, %eax\nret\n");
GUEST_ASM(c_two, 64, "mov $2, %eax\nret\n");

static uint64_t address(struct box *b, uint64_t offset)
{
	(void)b;
	(void)offset;
	return EXTRA;
}

static void load_call(struct box *b)
{
	struct vcpu_state s;

	box_load(b, c_call, c_call_end);
	box_long_mode(b, &s);
	for (unsigned i = 0; i < b->cpus; i++)
		box_set(b, i, &s);
	b->mmio_read = address;
}

static uint32_t call(struct box *b, unsigned n)
{
	b->tells = 0;
	box_run(b, n, ENGINE_KICKED);
	assert_int_equal(b->tells, 1);
	return b->tell[0];
}

/* The region comes back with other code, and new records of its pages. */
static void code_of_unmapped_memory_is_forgotten(void **state)
{
	const struct mem_region *region;
	struct err e = ERR_INIT;
	struct box b;

	(void)state;
	box_init(&b, &bt_engine, &cpuid, 1);
	assert_int_equal(mem_add_ram(&b.mem, EXTRA, EXTRA_SIZE, &e), 0);
	region = &b.mem.regions[1];
	load_call(&b);
	memcpy(region->host, c_one, (size_t)(c_one_end - c_one));
	assert_int_equal(bt_engine.map(b.vm, region, &e), 0);
	assert_int_equal(call(&b, 0), 1);
	assert_int_equal(call(&b, 0), 1);
	assert_int_equal(bt_engine.unmap(b.vm, region, &e), 0);
	memcpy(region->host, c_two, (size_t)(c_two_end - c_two));
	assert_int_equal(bt_engine.map(b.vm, region, &e), 0);
	assert_int_equal(call(&b, 0), 2);
	box_release(&b);
}

/* Decodes without end, and changes what it decoded: each round marks pages as code, and begins
 * locked accesses that need the others to stand still. */
GUEST_ASM(c_churn, 64,
	  "1: mov $0x20000, %ebx\n"
	  "2: movb $0xc3, (%rbx)\n" /* RET */
	  "call *%rbx\n"
	  "lock incl 0x3e(%rbx)\n" /* across two cache lines */
	  "add $0x1000, %ebx\n"
	  "cmp $0x40000, %ebx\n"
	  "jb 2b\n"
	  "jmp 1b\n");

struct runner {
	struct box *b;
	unsigned n;
	pthread_t thread;
	atomic_bool quit;
};

static void *runner(void *arg)
{
	struct runner *r = arg;
	struct engine_detail detail;

	while (!atomic_load(&r->quit))
		if (bt_engine.run(r->b->vcpus[r->n], &detail) != ENGINE_KICKED)
			return (void *)1;
	return NULL;
}

static void start(struct runner *r, struct box *b, unsigned n)
{
	*r = (struct runner){.b = b, .n = n};
	assert_int_equal(pthread_create(&r->thread, NULL, runner, r), 0);
}

static void finish(struct runner *r)
{
	void *result;

	atomic_store(&r->quit, true);
	bt_engine.kick(r->b->vcpus[r->n]);
	pthread_join(r->thread, &result);
	assert_null(result);
}

static void load_churn(struct box *b)
{
	struct vcpu_state s;

	box_load(b, c_churn, c_churn_end);
	box_long_mode(b, &s);
	for (unsigned i = 0; i < 2; i++) {
		s.gpr[GPR_RSP] = BOX_STACK - 0x100 * i;
		box_set(b, i, &s);
	}
}

static void memory_comes_and_goes_while_others_run(void **state)
{
	struct err e = ERR_INIT;
	struct runner r[2];
	struct box b;

	(void)state;
	box_init(&b, &bt_engine, &cpuid, 2);
	assert_int_equal(mem_add_ram(&b.mem, EXTRA, EXTRA_SIZE, &e), 0);
	load_churn(&b);
	for (unsigned i = 0; i < 2; i++)
		start(&r[i], &b, i);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(bt_engine.map(b.vm, &b.mem.regions[1], &e), 0);
		assert_int_equal(bt_engine.unmap(b.vm, &b.mem.regions[1], &e), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		finish(&r[i]);
	box_release(&b);
}

static void vcpus_come_and_go_while_others_run(void **state)
{
	struct engine_vcpu_config config = {.id = 2, .cpuid = &cpuid};
	struct engine_stat stats[16];
	struct err e = ERR_INIT;
	struct runner r[2];
	struct box b;

	(void)state;
	box_init(&b, &bt_engine, &cpuid, 2);
	load_churn(&b);
	for (unsigned i = 0; i < 2; i++)
		start(&r[i], &b, i);
	for (unsigned i = 0; i < 100; i++) {
		struct engine_vcpu *vcpu;

		assert_int_equal(bt_engine.vcpu_create(b.vm, &config, &vcpu, &e), 0);
		assert_true(bt_engine.stats(b.vm, stats, ARRAY_LEN(stats)) > 0);
		bt_engine.vcpu_destroy(vcpu);
	}
	for (unsigned i = 0; i < 2; i++)
		finish(&r[i]);
	box_release(&b);
}

/* As by INIT and SIPI: its caches are emptied, which others empty, too. */
static void a_vcpu_is_started_while_others_run(void **state)
{
	struct vcpu_state s;
	struct runner r;
	struct box b;

	(void)state;
	box_init(&b, &bt_engine, &cpuid, 2);
	load_churn(&b);
	box_get(&b, 1, &s);
	start(&r, &b, 0);
	for (unsigned i = 0; i < 300; i++) {
		bt_engine.kick(b.vcpus[1]);
		box_run(&b, 1, ENGINE_KICKED);
		box_set(&b, 1, &s);
	}
	finish(&r);
	box_release(&b);
}

static int group_setup(void **state)
{
	const struct engine_ops *engines[] = {&bt_engine};

	(void)state;
	box_cpuid(&cpuid, engines, 1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_of_unmapped_memory_is_forgotten),
		cmocka_unit_test(memory_comes_and_goes_while_others_run),
		cmocka_unit_test(vcpus_come_and_go_while_others_run),
		cmocka_unit_test(a_vcpu_is_started_while_others_run),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
