/* SPDX-License-Identifier: Apache-2.0 */
/* Hot loops, of which a block has several turns: that they do what the interpreter does, however
 * often they turn and wherever they are left; and which loops there are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "both.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/translate/region.h"

/* Nine to one turns of what stands between, with RDI and RSI at data and R9 the turns left. */
#define TURNS(body)                                                                         \
	"mov $9,%r8d; 1: mov %r8,%r9; lea (%rbx),%rdi; lea 0x200(%rbx),%rsi; clc; 2: " body \
	"; pushf; pop %rcx; add %rcx,%rdx; add %rax,%r12; dec %r8d; jnz 1b"

/* clang-format off */
#define CASES(X) \
	X(reads, TURNS("add (%rdi),%rax; add $8,%rdi; dec %r9d; jnz 2b")) \
	X(reads_and_writes, TURNS("mov (%rdi),%rax; add %rax,8(%rdi); add $16,%rdi; " \
		"dec %r9d; jnz 2b")) \
	X(copies, TURNS("mov (%rsi),%al; mov %al,(%rdi); inc %rsi; inc %rdi; dec %r9d; " \
		"jnz 2b")) \
	X(carry_goes_around, TURNS("mov (%rsi),%rax; adc %rax,(%rdi); lea 8(%rsi),%rsi; " \
		"lea 8(%rdi),%rdi; dec %r9d; jnz 2b")) \
	X(carry_goes_around_alone, "mov %rbx,%rdi; lea 0x200(%rbx),%rsi; mov $11,%ecx; clc; " \
		"2: mov (%rsi),%rax; adc %rax,(%rdi); lea 8(%rsi),%rsi; lea 8(%rdi),%rdi; " \
		"dec %ecx; jnz 2b; xor %eax,%eax") \
	X(flags_go_around, TURNS("lea 8(%rdi),%rdi; setc (%rdi); rcl $1,%rax; " \
		"lea -1(%r9),%r9; bt $62,%r9; jnc 2b")) \
	X(found_on_the_way, TURNS("mov (%rdi),%al; cmp %al,37(%rsi); je 3f; add $1,%al; " \
		"inc %rsi; dec %r9d; jnz 2b; 3: setbe %cl; sbb %r10,%r11")) \
	X(two_ways_out, TURNS("movzbl (%rdi),%eax; cmp $0x9f,%al; ja 3f; inc %rdi; " \
		"test $0x13,%al; jz 3f; dec %r9d; jnz 2b; 3: setz %cl; adc %r10,%r11")) \
	X(stolen_registers, TURNS("mov (%rdi,%r9,8),%r10; add %r10,%r11; mov %r11,(%rsi); " \
		"lea 8(%rsi,%r11),%r10; sub %r11,%r10; mov %r10,%rsi; dec %r9; jnz 2b")) \
	X(sums, TURNS("lea (%rdi,%r9),%rax; mov 8(%rax),%cl; add %cl,(%rdi,%r9); " \
		"lea 3(%rax,%r9,2),%rcx; sub %r9,%rcx; inc %rdi; mov (%rcx),%r11; " \
		"lea (%r9),%rcx; add %rdi,%rcx; add %r11b,8(%rcx); dec %r9; jnz 2b")) \
	X(into_the_next_page, "lea 0xfc1(%rbx),%rdi; " \
		"mov $50,%ecx; 2: mov (%rdi),%eax; add %eax,4(%rdi); add $3,%rdi; " \
		"dec %ecx; jnz 2b") \
	X(by_many_bytes, "lea (%rbx),%rdi; mov $21,%ecx; 2: mov (%rdi),%rax; " \
		"mov %rax,0x50(%rdi); add $0x58,%rdi; dec %ecx; jnz 2b") \
	X(fault_of_a_read, "mov $0x1fffce,%edi; 2: add (%rdi),%rax; add $8,%rdi; " \
		"inc %rcx; jnz 2b") \
	X(fault_of_a_write, "mov $0x1fffd0,%edi; 2: mov -8(%rdi),%rax; mov %rcx,(%rdi); " \
		"add $8,%rdi; inc %rcx; jnz 2b") \
	X(page_not_writable, "mov $0x900000,%esi; mov $0x20ff0,%edi; 2: mov (%rdi),%rax; " \
		"add $8,%rdi; cmp $0x21000,%rdi; ja 3f; mov %rax,-8(%rdi); inc %rcx; jnz 2b; " \
		"3: mov (%rsi),%al") \
	X(left_where_no_look_up_was, "lea (%rbx),%rdi; mov $6,%r9d; 2: cmp $3,%r9; " \
		"mov (%rdi),%rax; lea -1(%r9),%r9; lea 8(%rdi),%rdi; jne 2b; setbe %cl; " \
		"adc %r10,%r11") \
	X(other_sums, TURNS("lea (%rdi,%r9),%rax; mov (%rax),%cl; lea (%rdi,%r8),%rax; " \
		"add (%rax),%cl; lea (%rdi,%r9,2),%rax; add (%rax),%cl; mov %r9,%rax; " \
		"add %rdi,%rax; add (%rax),%cl; add %rcx,%r11; inc %rdi; dec %r9; jnz 2b")) \
	X(ranges_of_two_sizes, "mov $57,%r8d; mov %rbx,%rsi; 1: mov %rsi,%rdi; mov $80,%ecx; " \
		"2: mov (%rdi),%rax; .rept 9; lea 1(%rax),%rax; .endr; mov %rax,0x50(%rdi); " \
		"add $0x98,%rdi; dec %ecx; jnz 2b; add $8,%rsi; dec %r8d; jnz 1b") \
	X(one_register, "mov %rbx,%rax; mov $6,%ecx; 2: mov (%rax),%r10; add %r10d,(%rax); " \
		"lea 8(%rax),%rax; sub $1,%rcx; jnc 2b") \
	X(writes_its_code, "mov $30,%ecx; lea 3f(%rip),%rdi; 2: incb 1(%rdi); 3: mov $1,%al; " \
		"add %rax,%rdx; dec %ecx; jnz 2b")
/* clang-format on */

#define CODE(name, text)                                                            \
	extern const uint8_t code_##name[], code_##name##_end[];                    \
	__asm__(".pushsection .rodata\ncode_" #name ":\n" text "; hlt\ncode_" #name \
		"_end:\n.popsection");
CASES(CODE)

/* What goes on beyond a page at the host's addresses is another page. */
static void swap_pages(struct integer_rig *r)
{
	ir_map(r, IR_DATA + 0x1000, (IR_DATA + 0x2000) | PTE_P | PTE_RW | PTE_US);
	ir_map(r, IR_DATA + 0x2000, (IR_DATA + 0x1000) | PTE_P | PTE_RW | PTE_US);
}

#define BOTH(name, text)                                               \
	both(&(struct both){#name, IR_64, 0, swap_pages}, code_##name, \
	     (size_t)(code_##name##_end - code_##name));

static void loops_do_what_the_interpreter_does(void **state)
{
	(void)state;
	CASES(BOTH)
}

/* clang-format off */
#define LOOPS(X) \
	X(short_one, "add (%rdi),%rax; dec %ecx; jnz 9b", 3, 4) \
	X(long_one, ".rept 14; inc %eax; .endr; dec %ecx; jnz 9b", 16, 3) \
	X(too_long, ".rept 24; inc %eax; .endr; jnz 9b", 0, 1) \
	X(left, "cmp %eax,(%rdi); je . + 0x40; inc %eax; jnz 9b", 4, 4) \
	X(with_a_branch_in_it, "test %eax,%eax; je 1f; inc %eax; 1: dec %ecx; jnz 9b", 0, 1) \
	X(for_ever, "add (%rdi),%rax; jmp 9b", 0, 1) \
	X(pushes, "push %rax; dec %ecx; jnz 9b", 0, 1) \
	X(by_a_handler, "cpuid; dec %ecx; jnz 9b", 0, 1) \
	X(to_its_middle, "inc %eax; dec %ecx; jnz 9b + 2", 0, 1)
/* clang-format on */

#define LOOP(name, text, turn, turns)                                                  \
	extern const uint8_t loop_##name[], loop_##name##_end[];                       \
	__asm__(".pushsection .rodata\nloop_" #name ":\n9: " text "; hlt\nloop_" #name \
		"_end:\n.popsection");
LOOPS(LOOP)

static struct integer_rig *rig;

static void has_turns(const char *name, const uint8_t *code, size_t len, unsigned turn,
		      unsigned turns)
{
	struct region r;
	unsigned count;

	memset(ir_ram(rig, IR_CODE), 0xf4, GUEST_PAGE_SIZE); /* HLT */
	memcpy(ir_ram(rig, IR_CODE), code, len);
	region_read(rig->cpu, &r, IR_CODE, IR_CODE);
	count = r.count;
	region_unroll(&r);
	if (r.turn != turn || r.count != count * turns)
		fail_msg("%s: %u turns of %u instructions", name, r.count / count, r.turn);
	for (unsigned n = 0; n < r.count; n++)
		assert_true(r.insn[n].linear == r.insn[n % count].linear);
	region_analyse(rig->cpu, &r);
}

#define HAS(name, text, turn, turns) \
	has_turns(#name, loop_##name, (size_t)(loop_##name##_end - loop_##name), turn, turns);

static void loops_that_are_taken(void **state)
{
	(void)state;
	rig = ir_new(IR_64);
	assert_int_equal(code_cache_init(rig->cpu), 0);
	assert_int_equal(msr_init(rig->cpu), 0);
	rig->cpu->msrs->canonical_bits = 48;
	ir_translate(rig, BLOCKS_CODE_MIN);
	LOOPS(HAS)
	msr_release(rig->cpu);
	code_cache_release(rig->cpu);
	ir_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_do_what_the_interpreter_does),
		cmocka_unit_test(loops_that_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
