/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot code: what makes a block hot, which of its look-ups have sites, and that these are never
 * used for a page that is not mapped, or not writable, as it was.
 *
 * Guests are of ring 0, RAM is mapped one to one, and HLT ends a run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/hot.h"
#include "../interp/integer_rig.h"

#define DATA     0x20000u
#define OTHER    0x30000u
#define FUNCTION 0x3000u
#define RW       (PTE_P | PTE_RW)
#define LONG_AGO 40000000u /* cycles: a look is due */

static struct integer_rig *rig;
static struct translator *t;

static int setup(void **state)
{
	(void)state;
	rig = ir_new(IR_64);
	assert_int_equal(code_cache_init(rig->cpu), 0);
	assert_int_equal(msr_init(rig->cpu), 0);
	rig->cpu->msrs->canonical_bits = 48;
	ir_translate(rig, BLOCKS_CODE_MIN);
	t = rig->cpu->translator;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	msr_release(rig->cpu);
	code_cache_release(rig->cpu);
	ir_free(rig);
	return 0;
}

static void put(uint64_t gpa, const void *code, size_t len)
{
	memcpy(ir_ram(rig, gpa), code, len);
	pages_written(&rig->vm.pages, gpa, len);
}

#define PUT_ASM(gpa, name) put(gpa, name, (size_t)(name##_end - name))
#define ASM(name, text)                            \
	extern const uint8_t name[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection")

/* RAX at the end of a run from rip. */
static uint64_t run(uint64_t rip)
{
	struct cpu *cpu = rig->cpu;

	cpu->gpr[GPR_RAX] = 0;
	cpu->gpr[GPR_RSP] = IR_STACK + IR_SP;
	cpu->rip = rip;
	cpu->halted = false;
	cpu->exception.pending = false;
	assert_int_equal(interp_run(cpu, 0), INTERP_HALTED);
	return cpu->gpr[GPR_RAX];
}

/* Sites in use that are filled, and the times that they have been. */
static unsigned filled(uint32_t *misses)
{
	const struct tlb_site *site = rig->cpu->tlb->sites->site;
	unsigned count = 0;

	*misses = 0;
	for (unsigned n = 0; n < t->hot.sites; n++) {
		count += site[n].limit != 0;
		*misses += (uint32_t)(SITE_MISSES - site[n].left);
	}
	return count;
}

/* Adds up 1000 times what is at DATA. The loop begins 7 bytes behind the first instruction. */
ASM(reads, "xor %eax,%eax; mov $1000,%ecx; 1: mov $0x20000,%ebx; add (%rbx),%rax; dec %ecx; "
	   "jnz 1b; hlt");
#define READS_LOOP (IR_CODE + 7)

static void a_site_finds_its_page(void **state)
{
	uint32_t misses;

	(void)state;
	t->hot.first = HOT_ALL;
	PUT_ASM(IR_CODE, reads);
	ir_put(rig, DATA, 8, 5);
	assert_int_equal(run(IR_CODE), 5000);
	/* The block up to the loop's end, and the loop, have one each. */
	assert_int_equal(t->hot.sites, 2);
	assert_int_equal(filled(&misses), 2);
	assert_int_equal(misses, 2);
	assert_int_equal(run(IR_CODE), 5000);
	filled(&misses);
	assert_int_equal(misses, 2);
}

static void remap(uint64_t to)
{
	ir_map(rig, DATA, to | RW);
	mmu_invlpg(rig->cpu, DATA);
}

static void a_page_mapped_elsewhere_is_seen(void **state)
{
	(void)state;
	t->hot.first = HOT_ALL;
	PUT_ASM(IR_CODE, reads);
	ir_put(rig, DATA, 8, 5);
	ir_put(rig, OTHER, 8, 6);
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(run(IR_CODE), 5000);
		remap(OTHER);
		assert_int_equal(run(IR_CODE), 6000);
		remap(DATA);
	}
}

/* By the guest itself, in the loop, behind the first access of each turn: the page table is at
 * 0x103000. */
ASM(remaps, "xor %eax,%eax; mov $100,%ecx; mov $0x20000,%ebx; mov $0x103100,%edi; "
	    "1: add (%rbx),%rax; xorl $0x10000,(%rdi); invlpg (%rbx); dec %ecx; jnz 1b; hlt");

static void a_page_that_the_loop_maps_is_seen(void **state)
{
	(void)state;
	t->hot.first = HOT_ALL;
	ir_map(rig, DATA, DATA | RW);
	assert_int_equal(ir_get(rig, 0x103100, 8), DATA | RW); /* the rig's tables */
	PUT_ASM(IR_CODE, remaps);
	ir_put(rig, DATA, 8, 5);
	ir_put(rig, OTHER, 8, 7);
	assert_int_equal(DATA ^ OTHER, 0x10000);
	assert_int_equal(run(IR_CODE), 50 * 5 + 50 * 7);
}

/* MOV [FUNCTION + 1], ECX in a loop, up to ECX = 1; behind it the function is called. */
ASM(writes, "mov $50,%ecx; mov $0x3000,%ebx; 1: mov %ecx,1(%rbx); dec %ecx; jnz 1b; "
	    "mov $0x3000,%ebx; call *%rbx; hlt");
/* The same, with the function called in each turn: it returns what was written. */
ASM(patches, "mov $50,%ecx; xor %edx,%edx; 1: mov $0x3000,%ebx; mov %ecx,1(%rbx); call *%rbx; "
	     "add %rax,%rdx; dec %ecx; jnz 1b; mov %rdx,%rax; hlt");

static void a_page_that_becomes_code_is_written_as_such(void **state)
{
	static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* MOV EAX, imm; RET */

	(void)state;
	t->hot.first = HOT_ALL;
	put(FUNCTION, function, sizeof(function));
	PUT_ASM(IR_CODE, writes);
	assert_int_equal(run(IR_CODE), 1);
	assert_int_equal(run(IR_CODE), 1);
	PUT_ASM(IR_CODE, patches);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(run(IR_CODE), 50 * 51 / 2);
}

/* As the timer does it. */
static void sample(uint64_t linear)
{
	t->hot.looked = __builtin_ia32_rdtsc() - LONG_AGO;
	hot_sample(t, linear, BLOCK_SUPERVISOR_ANY);
}

static void a_loop_met_twice_is_hot(void **state)
{
	(void)state;
	PUT_ASM(IR_CODE, reads);
	ir_put(rig, DATA, 8, 5);
	assert_int_equal(run(IR_CODE), 5000);
	sample(READS_LOOP);
	assert_int_equal(run(IR_CODE), 5000);
	assert_int_equal(t->hot.sites, 0);
	hot_sample(t, READS_LOOP, BLOCK_SUPERVISOR_ANY); /* too soon */
	assert_int_equal(run(IR_CODE), 5000);
	assert_int_equal(t->hot.sites, 0);
	sample(READS_LOOP + 3); /* within it */
	assert_int_equal(run(IR_CODE), 5000);
	assert_true(t->hot.sites > 0);
}

/* Where a process is switched to all the time, nothing is; and afterwards it may be again. */
static void a_loop_between_switches_is_not_hot(void **state)
{
	(void)state;
	PUT_ASM(IR_CODE, reads);
	ir_put(rig, DATA, 8, 5);
	assert_int_equal(run(IR_CODE), 5000);
	for (unsigned n = 0; n < 4; n++) {
		for (unsigned i = 0; i < LONG_AGO / 20000; i++)
			mmu_flush(rig->cpu, false);
		sample(READS_LOOP);
		assert_int_equal(run(IR_CODE), 5000);
		assert_int_equal(t->hot.sites, 0);
	}
	sample(READS_LOOP);
	sample(READS_LOOP);
	assert_int_equal(run(IR_CODE), 5000);
	assert_true(t->hot.sites > 0);
}

/* Another page at each turn. */
ASM(wanders, "xor %eax,%eax; mov $100000,%ecx; mov $0x20000,%ebx; "
	     "1: add (%rbx),%rax; xor $0x10000,%ebx; dec %ecx; jnz 1b; hlt");

static void a_site_that_wanders_is_given_up(void **state)
{
	uint32_t misses = UINT32_MAX;

	(void)state;
	t->hot.first = HOT_ALL;
	PUT_ASM(IR_CODE, wanders);
	ir_put(rig, DATA, 8, 5);
	ir_put(rig, OTHER, 8, 7);
	/* The loop is left when its site has nothing left; on a busy host, perhaps, too late. */
	for (unsigned n = 0; misses > 2 && n < 100; n++) {
		t->hot.looked = __builtin_ia32_rdtsc();
		assert_int_equal(run(IR_CODE), 600000);
		sample(0);
		assert_int_equal(run(IR_CODE), 600000);
		filled(&misses);
	}
	assert_true(misses <= 2);
	assert_int_equal(rig->cpu->tlb->sites->wandering, 0);
}

/* One that goes through memory is not. */
ASM(walks, "xor %eax,%eax; mov $1000,%edx; 1: mov $0x20000,%ebx; "
	   "2: add (%rbx),%rax; add $8,%ebx; cmp $0x28000,%ebx; jb 2b; dec %edx; jnz 1b; hlt");

static void a_site_that_walks_is_not(void **state)
{
	unsigned sites;
	uint32_t misses;

	(void)state;
	t->hot.first = HOT_ALL;
	t->hot.looked = __builtin_ia32_rdtsc();
	PUT_ASM(IR_CODE, walks);
	run(IR_CODE);
	sample(0);
	sites = t->hot.sites;
	run(IR_CODE);
	assert_int_equal(t->hot.sites, sites);
	filled(&misses);
	assert_in_range(misses, 7900, 8100); /* pages, by two or three sites */
}

static void sites_are_given_out_again(void **state)
{
	(void)state;
	t->hot.first = HOT_ALL;
	PUT_ASM(IR_CODE, reads);
	ir_put(rig, DATA, 8, 5);
	assert_int_equal(run(IR_CODE), 5000);
	t->hot.sites = TLB_SITES;
	sample(0);
	assert_int_equal(t->hot.sites, TLB_SITES);
	t->hot.looks = UINT32_MAX - 1;
	sample(0);
	assert_int_equal(t->hot.sites, 0);
	assert_int_equal(run(IR_CODE), 5000);
	assert_int_equal(t->hot.sites, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_site_finds_its_page),
		TEST(a_page_mapped_elsewhere_is_seen),
		TEST(a_page_that_the_loop_maps_is_seen),
		TEST(a_page_that_becomes_code_is_written_as_such),
		TEST(a_loop_met_twice_is_hot),
		TEST(a_loop_between_switches_is_not_hot),
		TEST(a_site_that_wanders_is_given_up),
		TEST(a_site_that_walks_is_not),
		TEST(sites_are_given_out_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
