/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translated blocks and the ways that lead to them: a link in the page, a link to another page, the
 * jump table, the runtime. Whatever happens to a block's bytes or to its address, no way leads to
 * what it was before; and what did not change is not translated again.
 *
 * Guests are of ring 0, RAM is mapped one to one, and HLT ends a run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/runtime/blocks.h"
#include "../interp/integer_rig.h"

#define OTHER    0x3000 /* a function of the guest's, in a page of its own */
#define ANOTHER  0x5000 /* one that may come in its place */
#define PT       0x103000
#define COUNT    100u
#define NEXT_FEW 12 /* blocks, links or entries that one pass through a guest may take */

static struct integer_rig *rig;

static int setup(void **state)
{
	(void)state;
	rig = ir_new(IR_64);
	assert_int_equal(code_cache_init(rig->cpu), 0);
	assert_int_equal(msr_init(rig->cpu), 0);
	rig->cpu->msrs->canonical_bits = 48;
	ir_translate(rig, BLOCKS_CODE_MIN);
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

/* As a device writes. */
static void put(uint64_t gpa, const void *code, size_t len)
{
	memcpy(ir_ram(rig, gpa), code, len);
	pages_written(&rig->vm.pages, gpa, len);
}

#define PUT_ASM(gpa, name) put(gpa, name, (size_t)(name##_end - name))
#define ASM(name, text)                            \
	extern const uint8_t name[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection")

static enum interp_exit run_from(uint64_t rip)
{
	struct cpu *cpu = rig->cpu;

	cpu->rip = rip;
	cpu->halted = false;
	cpu->exception.pending = false;
	return interp_run(cpu, 0);
}

/* RAX at the end of a run. */
static uint64_t result(void)
{
	rig->cpu->gpr[GPR_RAX] = 0;
	rig->cpu->gpr[GPR_RSP] = IR_STACK + IR_SP;
	assert_int_equal(run_from(IR_CODE), INTERP_HALTED);
	return rig->cpu->gpr[GPR_RAX];
}

/* MOV EAX, value; RET */
static void put_function(uint64_t gpa, uint32_t value)
{
	uint8_t code[6] = {0xb8, 0, 0, 0, 0, 0xc3};

	store_le(code + 1, 4, value);
	put(gpa, code, sizeof(code));
}

/* Adds what the function returns, 100 times. */
ASM(calls, "xor %edx,%edx; mov $100,%ecx; 1: mov $0x3000,%ebx; call *%rbx; add %rax,%rdx; "
	   "dec %ecx; jnz 1b; mov %rdx,%rax; hlt");
/* The same by direct branches, to another page and back. */
ASM(jumps, "xor %edx,%edx; mov $100,%ecx; 1: call jumps + 0x2000; add %rax,%rdx; "
	   "dec %ecx; jnz 1b; mov %rdx,%rax; hlt");
/* And within the page: the function is at 0x1080. */
ASM(near, "xor %edx,%edx; mov $100,%ecx; 1: call near + 0x80; add %rax,%rdx; "
	  "dec %ecx; jnz 1b; mov %rdx,%rax; hlt");

static const struct way {
	const char *name;
	const uint8_t *code, *end;
	uint64_t function;
} ways[] = {
	{"by the jump table", calls, calls_end, OTHER},
	{"by links between pages", jumps, jumps_end, OTHER},
	{"by links in the page", near, near_end, IR_CODE + 0x80},
};

static void begin(const struct way *way)
{
	put(IR_CODE, way->code, (size_t)(way->end - way->code));
	put_function(way->function, 7);
}

/* What has been translated and linked is found again. */
static void a_way_is_made_once(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(ways); n++) {
		const struct cpu_stats *s = &rig->cpu->stats;
		struct cpu_stats before;

		begin(&ways[n]);
		before = *s;
		assert_int_equal(result(), 7 * COUNT);
		assert_in_range(s->blocks - before.blocks, 1, NEXT_FEW);
		assert_in_range(s->entries - before.entries, 1, 2 * NEXT_FEW);
		before = *s;
		assert_int_equal(result(), 7 * COUNT);
		assert_int_equal(s->blocks, before.blocks);
		assert_int_equal(s->links, before.links);
		assert_in_range(s->entries - before.entries, 1, 2);
	}
}

/* Between two runs. The other page's blocks stay as they are. */
static void what_was_written_is_not_reached(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(ways); n++) {
		begin(&ways[n]);
		for (uint32_t value = 8; value < 40; value++) {
			uint64_t blocks = rig->cpu->stats.blocks;

			result();
			put_function(ways[n].function, value);
			if (result() != value * COUNT)
				fail_msg("%s: %u is not seen", ways[n].name, value);
			if (ways[n].function == OTHER && value > 8)
				assert_in_range(rig->cpu->stats.blocks - blocks, 1, 2);
		}
	}
}

/* By the guest itself, in its loop. */
ASM(writes, "xor %edx,%edx; mov $100,%ecx; 1: mov $0x3000,%ebx; mov %ecx,1(%rbx); call *%rbx; "
	    "add %rax,%rdx; dec %ecx; jnz 1b; mov %rdx,%rax; hlt");

static void what_the_guest_writes_is_not_reached(void **state)
{
	(void)state;
	PUT_ASM(IR_CODE, writes);
	put_function(OTHER, 7);
	assert_int_equal(result(), COUNT * (COUNT + 1) / 2);
	assert_int_equal(result(), COUNT * (COUNT + 1) / 2);
}

/* Until the function does not return 7 any more. */
ASM(waits, "1: mov $0x3000,%ebx; call *%rbx; cmp $7,%eax; je 1b; hlt");
ASM(waits_near, "1: call waits_near + 0x80; cmp $7,%eax; je 1b; hlt");
ASM(waits_far, "1: call waits_far + 0x2000; cmp $7,%eax; je 1b; hlt");

/* On another thread. */
static void *write_later(void *arg)
{
	uint64_t function = *(uint64_t *)arg;

	for (unsigned n = 0; n < 3; n++)
		sched_yield();
	*(volatile uint8_t *)ir_ram(rig, function + 1) = 9;
	pages_written(&rig->vm.pages, function + 1, 1);
	return NULL;
}

static void what_others_write_is_not_reached(void **state)
{
	static const struct way waiting[] = {
		{"by the jump table", waits, waits_end, OTHER},
		{"by links between pages", waits_far, waits_far_end, OTHER},
		{"by links in the page", waits_near, waits_near_end, IR_CODE + 0x80},
	};

	(void)state;
	for (unsigned n = 0; n < 90; n++) {
		const struct way *way = &waiting[n % ARRAY_LEN(waiting)];
		uint64_t function = way->function;
		pthread_t thread;

		begin(way);
		assert_int_equal(pthread_create(&thread, NULL, write_later, &function), 0);
		assert_int_equal(result(), 9);
		pthread_join(thread, NULL);
	}
}

/* --- addresses ------------------------------------------------------------------------------- */

/* Exchanges two entries of the page table, by INVLPG or by MOV CR3, and calls the function. */
ASM(remaps, "xor %edx,%edx; mov $100,%ecx; 1: mov 0x103018,%rax; mov 0x103028,%rsi; "
	    "mov %rsi,0x103018; mov %rax,0x103028; invlpg 0x3000; "
	    "call remaps + 0x2000; add %rax,%rdx; dec %ecx; jnz 1b; mov %rdx,%rax; hlt");
ASM(switches, "xor %edx,%edx; mov $100,%ecx; 1: mov 0x103018,%rax; mov 0x103028,%rsi; "
	      "mov %rsi,0x103018; mov %rax,0x103028; mov %cr3,%rax; mov %rax,%cr3; "
	      "mov $0x3000,%ebx; call *%rbx; add %rax,%rdx; dec %ecx; jnz 1b; mov %rdx,%rax; hlt");

static void a_page_is_what_is_mapped_there_now(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		uint64_t blocks = rig->cpu->stats.blocks;

		if (n)
			PUT_ASM(IR_CODE, switches);
		else
			PUT_ASM(IR_CODE, remaps);
		put_function(OTHER, 1);
		put_function(ANOTHER, 1000);
		assert_int_equal(result(), 1001 * COUNT / 2);
		assert_int_equal(result(), 1001 * COUNT / 2);
		/* Both functions' blocks stay, whichever is there. */
		assert_in_range(rig->cpu->stats.blocks - blocks, 1, 2 * NEXT_FEW);
	}
}

#define UPPER 0xffffff8000000000

/* RAM in the upper half of the addresses, too, in global pages. */
static void map_upper(void)
{
	const uint64_t rights = PTE_P | PTE_RW;

	ir_put(rig, 0x100000 + 511 * 8, 8, 0x110000 | rights);
	ir_put(rig, 0x110000, 8, 0x111000 | rights);
	ir_put(rig, 0x111000, 8, 0x112000 | rights);
	for (unsigned n = 0; n < 512; n++)
		ir_put(rig, 0x112000 + n * 8, 8, n * 0x1000ULL | rights | PTE_G);
	rig->cpu->cr4 |= CR4_PGE;
	mmu_flush(rig->cpu, true);
}

/* A kernel that changes the process 100 times, and goes from page to page in between. */
ASM(kernel, "xor %edx,%edx; mov $100,%ecx; 1: mov %cr3,%rax; mov %rax,%cr3; "
	    "call kernel + 0x2000; add %rax,%rdx; dec %ecx; jnz 1b; mov %rdx,%rax; hlt");

static void a_process_switch_leaves_the_kernels_links(void **state)
{
	const struct cpu *cpu = rig->cpu;
	uint32_t lower, upper;
	uint64_t links;

	(void)state;
	map_upper();
	PUT_ASM(IR_CODE, kernel);
	put_function(OTHER, 7);
	for (unsigned n = 0; n < 3; n++) {
		lower = cpu->native.epoch[0];
		upper = cpu->native.epoch[1];
		links = cpu->stats.links;
		rig->cpu->gpr[GPR_RSP] = UPPER + IR_STACK + IR_SP;
		assert_int_equal(run_from(UPPER + IR_CODE), INTERP_HALTED);
		assert_int_equal(cpu->gpr[GPR_RAX], 7 * COUNT);
		assert_int_not_equal(cpu->native.epoch[0], lower);
		if (!n)
			continue; /* the flush above was about both halves */
		assert_int_equal(cpu->native.epoch[1], upper);
		assert_in_range(cpu->stats.links - links, 0, NEXT_FEW);
	}
}

/* --- forgetting ------------------------------------------------------------------------------ */

/* Counts in memory and in RAX until told to end; INC of memory cannot be done twice unnoticed. */
ASM(counts, "xor %eax,%eax; xor %ecx,%ecx; mov %rax,0x20000; 1: incq 0x20000; inc %rax; "
	    "call counts + 0x2000; cmpb $0,0x20010; je 1b; sub 0x20000,%rax; hlt");

static void *forget_often(void *arg)
{
	struct translator *t = rig->cpu->translator;
	const uint64_t *counted = (const uint64_t *)ir_ram(rig, 0x20000);

	(void)arg;
	for (unsigned n = 0; n < 500; n++) {
		uint64_t before = __atomic_load_n(counted, __ATOMIC_RELAXED);

		if (n % 3)
			blocks_written(t, n % 2 ? OTHER : IR_CODE); /* nothing is stale */
		else
			blocks_forget(t);
		while (__atomic_load_n(counted, __ATOMIC_RELAXED) == before)
			sched_yield();
	}
	*(volatile uint8_t *)ir_ram(rig, 0x20010) = 1;
	return NULL;
}

static void blocks_are_forgotten_while_they_run(void **state)
{
	const uint8_t function[] = {0x48, 0xff, 0xc1, 0xc3}; /* INC RCX; RET */
	const struct translator *t = rig->cpu->translator;
	pthread_t thread;

	(void)state;
	PUT_ASM(IR_CODE, counts);
	put(OTHER, function, sizeof(function));
	ir_put(rig, 0x20000, 8, 0);
	assert_int_equal(pthread_create(&thread, NULL, forget_often, NULL), 0);
	assert_int_equal(result(), 0);
	pthread_join(thread, NULL);
	assert_true(t->forgotten > 0);
	assert_int_equal(rig->cpu->gpr[GPR_RCX], ir_get(rig, 0x20000, 8));
}

#define FUNCTIONS 4000u
#define TABLE     0xc0000
#define MANY      0x60000 /* 64 bytes each */

/* Calls all functions of the table, five times. */
ASM(table, "xor %eax,%eax; mov $5,%edx; 2: mov $0xc0000,%ebx; 1: call *(%rbx); add $8,%rbx; "
	   "cmp $0xc0000+8*4000,%rbx; jb 1b; dec %edx; jnz 2b; hlt");

/* More functions than code memory has room for: the oldest make room, and come again. */
static void code_memory_is_filled_anew(void **state)
{
	/* ADD RAX, imm; JMP to the next of two lines; ADC RCX, RAX; RET */
	static const uint8_t form[] = {0x48, 5, 0, 0, 0, 0, 0xeb, 0x10};
	static const uint8_t rest[] = {0x48, 0x11, 0xc1, 0xc3};
	uint64_t want = 0, blocks;

	(void)state;
	PUT_ASM(IR_CODE, table);
	for (uint32_t n = 0; n < FUNCTIONS; n++) {
		uint32_t place = n * 1237 % FUNCTIONS;
		uint64_t at = MANY + place * 64;

		memcpy(ir_ram(rig, at), form, sizeof(form));
		memcpy(ir_ram(rig, at + 0x18), rest, sizeof(rest));
		ir_put(rig, at + 2, 4, n);
		ir_put(rig, TABLE + n * 8, 8, at);
		want += 5 * n;
	}
	assert_int_equal(result(), want);
	assert_true(rig->cpu->translator->forgotten > 0);
	blocks = rig->cpu->stats.blocks;
	assert_true(blocks > FUNCTIONS);
	assert_int_equal(result(), want);
}

/* --- attention ------------------------------------------------------------------------------- */

ASM(itself, "1: jmp 1b");
ASM(condition, "xor %eax,%eax; 1: jz 1b; hlt");
ASM(indirect, "mov $0x1005,%ebx; 1: jmp *%rbx");
ASM(call_back, "mov %rsp,%rbp; 1: mov %rbp,%rsp; call 1b");
ASM(returns, "lea 1f(%rip),%rbx; 1: push %rbx; ret");
ASM(two_pages, "1: jmp two_pages + 0x2000");
ASM(back_again, "jmp back_again - 0x2000");

static void *kick_later(void *arg)
{
	for (unsigned n = 0; n < *(unsigned *)arg % 4; n++)
		sched_yield();
	cpu_attention(rig->cpu, ATTENTION_KICK);
	return NULL;
}

/* Whoever is wanted elsewhere comes, wherever in a loop he is; and goes on where he was. */
static void is_interrupted(const uint8_t *code, size_t len)
{
	put(IR_CODE, code, len);
	rig->cpu->gpr[GPR_RSP] = IR_STACK + IR_SP;
	rig->cpu->rip = IR_CODE;
	for (unsigned n = 0; n < 8; n++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, kick_later, &n), 0);
		assert_int_equal(run_from(rig->cpu->rip), INTERP_KICKED);
		pthread_join(thread, NULL);
	}
}

static void loops_are_interrupted(void **state)
{
	(void)state;
	PUT_ASM(OTHER, back_again);
	is_interrupted(itself, (size_t)(itself_end - itself));
	is_interrupted(condition, (size_t)(condition_end - condition));
	is_interrupted(indirect, (size_t)(indirect_end - indirect));
	is_interrupted(call_back, (size_t)(call_back_end - call_back));
	is_interrupted(returns, (size_t)(returns_end - returns));
	is_interrupted(two_pages, (size_t)(two_pages_end - two_pages));
}

#define STRAIGHT 0x8000000000 /* linear */

/* One page of NOPs at all of the addresses from there on: code that goes straight on for days. */
static void straight_code_is_interrupted(void **state)
{
	const uint64_t rights = PTE_P | PTE_RW;

	(void)state;
	for (unsigned n = 0; n < 512; n++) {
		ir_put(rig, 0x121000 + n * 8, 8, 0x122000 | rights);
		ir_put(rig, 0x122000 + n * 8, 8, 0x123000 | rights);
		ir_put(rig, 0x123000 + n * 8, 8, 0x124000 | rights);
	}
	for (unsigned n = 1; n < 256; n++)
		ir_put(rig, 0x100000 + n * 8, 8, 0x121000 | rights);
	memset(ir_ram(rig, 0x124000), 0x90, 4096);
	mmu_flush(rig->cpu, true);
	rig->cpu->rip = STRAIGHT;
	for (unsigned n = 0; n < 8; n++) {
		uint64_t from = rig->cpu->rip;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, kick_later, &n), 0);
		assert_int_equal(run_from(from), INTERP_KICKED);
		pthread_join(thread, NULL);
		assert_true(rig->cpu->rip >= from);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_way_is_made_once),
		TEST(what_was_written_is_not_reached),
		TEST(what_the_guest_writes_is_not_reached),
		TEST(what_others_write_is_not_reached),
		TEST(a_page_is_what_is_mapped_there_now),
		TEST(a_process_switch_leaves_the_kernels_links),
		TEST(blocks_are_forgotten_while_they_run),
		TEST(code_memory_is_filled_anew),
		TEST(loops_are_interrupted),
		TEST(straight_code_is_interrupted),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
