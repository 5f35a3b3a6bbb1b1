/* SPDX-License-Identifier: Apache-2.0 */
/* Which accesses share a look-up (translate/access.h); that they do what they should,
 * translate_test shows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/translate/access.h"
#include "../interp/integer_rig.h"

/* Code, the group of each access in their order, a digit each, and of each group the bytes that are
 * looked up and whether they may be written. */
/* clang-format off */
#define CASES(X) \
	X(one, "mov (%rbx),%rax", "0", "8r") \
	X(near, "mov (%rbx),%rax; mov 8(%rbx),%ecx; mov -8(%rbx),%dl", "000", "20r") \
	X(too_far, "mov (%rbx),%rax; mov 0x100(%rbx),%rcx", "01", "8r 8r") \
	X(just_near, "mov (%rbx),%rax; mov 0xf8(%rbx),%rcx", "00", "256r") \
	X(a_write_counts_for_all, "mov (%rbx),%rax; mov %rax,8(%rbx)", "00", "16w") \
	X(but_not_before_a_branch, "mov (%rbx),%rax; jz . + 9; mov %rax,8(%rbx)", "01", "8r 8w") \
	X(written_before_the_branch, "mov %rax,(%rbx); jz . + 9; mov %rax,8(%rbx)", "00", "16w") \
	X(constants_added, "mov (%rbx),%rax; add $8,%rbx; mov (%rbx),%rcx; dec %rbx; " \
		"mov (%rbx),%dl; sub $-8,%rbx; mov (%rbx),%dl", "0000", "16r") \
	X(moved, "mov (%rbx),%rax; mov %rbx,%rsi; mov 8(%rsi),%rcx; lea 9(%rsi),%rdi; " \
		"mov %al,(%rdi)", "000", "16w") \
	X(written, "mov (%rbx),%rax; mov %rax,%rbx; mov (%rbx),%rcx", "01", "8r 8r") \
	X(written_in_part, "mov (%rbx),%rax; add $8,%ebx; mov (%rbx),%rcx", "01", "8r 8r") \
	X(written_unnamed, "mov (%rdx),%rcx; mul %rsi; mov (%rdx),%rcx", "01", "8r 8r") \
	X(exchanged, "mov (%rdx),%rcx; xchg %rdx,%rbx; mov (%rdx),%rcx", "01", "8r 8r") \
	X(indexed, "mov (%rbx,%rcx,8),%rax; mov %rax,8(%rbx,%rcx,8); inc %rcx; " \
		"mov (%rbx,%rcx,8),%rax; mov (%rbx,%rcx,4),%rax", "0001", "16w 8r") \
	X(pushed, "push %rbx; push %rcx; mov 8(%rsp),%rax; pop %rcx; ret", "00000", "16w") \
	X(frame, "push %rbp; mov %rsp,%rbp; sub $16,%rsp; mov %rax,-8(%rbp); call . + 99", \
		"000", "32w") \
	X(left, "mov -8(%rbp),%rax; leave; ret", "000", "24r") \
	X(other_segment, "mov 8(%rbx),%rax; mov %fs:8(%rbx),%rax; mov %fs:8,%rax; " \
		"mov %gs:8,%rax; mov %fs:16,%rax", "01232", "8r 8r 16r 8r") \
	X(short_addresses, "mov (%ebx),%rax; mov (%ebx),%rax", "01", "8r 8r") \
	X(interleaved, "mov (%rbx),%rax; mov (%rsi),%rcx; mov 8(%rbx),%rax; mov 8(%rsi),%rcx", \
		"0101", "16r 16r") \
	X(behind_a_handler, "mov (%rbx),%rax; cpuid; mov (%rsi),%rax; cld; mov (%rsi),%rax", \
		"012", "8r 8r 8r")
/* clang-format on */

#define CODE(name, text, numbers, ranges)                                           \
	extern const uint8_t code_##name[], code_##name##_end[];                    \
	__asm__(".pushsection .rodata\ncode_" #name ":\n" text "; hlt\ncode_" #name \
		"_end:\n.popsection");
CASES(CODE)

static void describe(const struct accesses *a, char *numbers, char *ranges)
{
	for (unsigned n = 0; n < a->count; n++)
		numbers[n] = (char)('0' + a->at[n].group);
	numbers[a->count] = 0;
	*ranges = 0;
	for (unsigned n = 0; n < a->groups; n++)
		ranges += sprintf(ranges, "%s%u%c", n ? " " : "", a->group[n].bytes,
				  a->group[n].write ? 'w' : 'r');
}

static void is(const char *name, const uint8_t *code, size_t len, const char *const want[2])
{
	struct integer_rig *r = ir_new(IR_64);
	char numbers[ACCESSES_MAX + 1], ranges[ACCESSES_MAX * 8];
	struct region region;
	struct accesses a;

	assert_int_equal(code_cache_init(r->cpu), 0);
	assert_int_equal(msr_init(r->cpu), 0);
	r->cpu->msrs->canonical_bits = 48;
	memcpy(ir_ram(r, IR_CODE), code, len);
	ir_translate(r, MIB(1));
	region_read(r->cpu, &region, IR_CODE, IR_CODE);
	region_analyse(r->cpu, &region);
	access_analyse(r->cpu, &region, false, &a);
	describe(&a, numbers, ranges);
	if (strcmp(numbers, want[0]) != 0 || strcmp(ranges, want[1]) != 0)
		fail_msg("%s: groups are %s: %s; not %s: %s", name, numbers, ranges, want[0],
			 want[1]);
	access_analyse(r->cpu, &region, true, &a);
	assert_int_equal(a.groups, a.count);
	msr_release(r->cpu);
	code_cache_release(r->cpu);
	ir_free(r);
}

#define IS(name, text, numbers, ranges)                                   \
	is(#name, code_##name, (size_t)(code_##name##_end - code_##name), \
	   (const char *const[]){numbers, ranges});

static void accesses_near_each_other_share(void **state)
{
	(void)state;
	CASES(IS)
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accesses_near_each_other_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
