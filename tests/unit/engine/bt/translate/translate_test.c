/* SPDX-License-Identifier: Apache-2.0 */
/* Guest code in the interpreter and translated, twice (the second time by what the first has
 * linked): registers, flags and memory are the same in the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "both.h"

/* Code, as the assembler makes it; HLT follows. */
/* clang-format off */
#define CASES(X) \
	X(alu_registers, "add %rbx,%rax; adc %r10,%rcx; sbb %rdx,%r11; and %r10d,%r11d; " \
		"xor %ah,%bl; or %r10b,%r11b; cmp %r11,%r10; neg %r10; not %r11; " \
		"inc %r10w; dec %r11b") \
	X(alu_to_memory, "add %rax,(%rbx); adc %r10,8(%rbx); sbb %r11d,16(%rbx); " \
		"xor %r10w,24(%rbx); or %r11b,32(%rbx); and $-2,%r10; " \
		"addl $0x12345678,40(%rbx); subb $3,(%rbx)") \
	X(alu_from_memory, "add (%rbx),%rax; adc 8(%rbx),%r10; sub 4(%rbx),%r11d; " \
		"cmp (%rsi),%r10w") \
	X(high_bytes, "add %ah,(%rbx); mov (%rbx),%ch; xor %bh,%dl; mov $0x17,%dh; " \
		"xchg %ah,(%rbx)") \
	X(base_r10, "mov (%r10),%rax; mov %r10,8(%r10); add %r10,(%r10); mov (%r10),%r10") \
	X(index_r11, "mov (%rbx,%r11,8),%rax; mov %r11,(%rbx,%r11,2); " \
		"add (%rbx,%r11,1),%r11") \
	X(base_and_index, "mov (%r10,%r11,4),%rax; mov (%r10,%r11),%r10; mov %r11,%rcx") \
	X(two_stolen, "mov %r11,(%r10); xchg %r10,%r11; mov %rbx,%r10; xchg %r11,(%r10)") \
	X(moffs, "movabs 0x20010,%rax; movabs %eax,0x20020; movabs 0x20001,%al") \
	X(rip_relative, "mov 1f(%rip),%r10; lea 1f(%rip),%r11; jmp 2f; " \
		"1: .quad 0x1234567890; 2:") \
	X(segments, "mov %fs:8,%rax; mov %fs:(%r11),%rcx; mov %r11,%gs:(%r11); " \
		"addl $5,%gs:16") \
	X(addr32, "mov %ebx,%ebx; mov (%ebx),%rax; mov 4(%r10d,%r11d,2),%ecx; " \
		"lea -1(%ebx),%rdx") \
	X(lea, "lea (%rax,%rbx,8),%rcx; lea -4(%r10),%r11; lea 3(%r11,%r10,2),%r10d; " \
		"lea 0x7fffffff(,%r11,8),%rdx; lea (%rsp),%r11; lea 8(%rbp,%r10,4),%esi") \
	X(stack, "push %rax; push %r10; push %rsp; pop %r11; pop %rcx; push $-5; " \
		"push (%rbx); popq %r10; push %r11; pop %rdx; pushq 8(%rsp); " \
		"push $0x12345678; mov %rbp,%rdi; leave") \
	X(pop_rsp, "push %rbp; pop %rsp; push %r10; mov %rsp,%rax; add $16,%rsp; " \
		"mov %rsp,%r10") \
	X(calls, "call 1f; call 1f; jmp 2f; 1: inc %rax; ret; 2: call 3f; nop; 3: pop %r10") \
	X(call_register, "lea 1f(%rip),%r10; call *%r10; call *%r10; jmp 2f; " \
		"1: add $7,%r11; ret; 2:") \
	X(call_memory, "lea 1f(%rip),%rax; mov %rax,(%rbx); call *(%rbx); call *(%rbx); " \
		"jmp 2f; 1: adc $7,%r11; ret; 2:") \
	X(call_its_own_slot, "lea 1f(%rip),%rax; mov %rax,-8(%rsp); call *-8(%rsp); " \
		"jmp 2f; 1: adc $7,%r11; ret; 2:") \
	X(ret_pops, "push %rax; push %rbx; call 1f; jmp 2f; 1: ret $16; 2: mov %rsp,%r10") \
	X(jump_memory, "lea 1f(%rip),%r11; mov %r11,(%rbx); jmp *(%rbx); ud2; " \
		"1: lea 2f(%rip),%rax; jmp *%rax; ud2; 2:") \
	X(branches, "mov $9,%ecx; 1: add %rcx,%rax; adc $0,%r10; dec %ecx; jnz 1b; jc 2f; " \
		"js 2f; stc; jmp 3f; 2: clc; 3: rcl $1,%r11; jbe 4f; inc %rdx; " \
		"4: setc %al; cmovl %r10,%r11") \
	X(flags_across_blocks, "cmp %rbx,%rax; jmp 1f; nop; 1: jmp 2f; nop; " \
		"2: mov (%rbx),%rcx; jmp 3f; nop; 3: lahf; seto %bl; pushf; pop %r11") \
	X(shifts, "mov $0,%cl; add %rbx,%rax; shl %cl,%r10; setc %dl; mov $65,%cl; " \
		"rol %cl,%r11; rcr $1,%r10w; shrd $3,%rax,%r10; shld %cl,%r11,(%rbx); " \
		"sar $63,%r11") \
	X(shifts_of_bytes_by_nothing, "cmp %rbx,%rax; .byte 0x48, 0xc0, 0x23, 0x60; pushf; " \
		"pop %rcx; cmp %rax,%rbx; .byte 0x48, 0xc0, 0xeb, 0x20; pushf; pop %rdx") \
	X(locked, "lock add %rax,(%rbx); lock xadd %r10,8(%rbx); " \
		"lock cmpxchg %r11,16(%rbx); lock cmpxchg16b (%rbx); lock btsl $3,(%rbx); " \
		"xchg %r10,(%rbx)") \
	X(locked_at_line_ends, "lock add %rax,0x38(%rbx); lock add %r10,0x39(%rbx); " \
		"lock incl 0x7d(%rbx); xchg %r11w,0xbf(%rbx)") \
	X(page_crossing, "mov 0xffc(%rbx),%rax; mov %r10,0xffd(%rbx); " \
		"add %r11d,0xfff(%rbx); lock add %rax,0xff9(%rbx); pushq 0xffb(%rbx)") \
	X(stack_across_pages, "mov $0x41004,%esp; push %rax; push %r10; call 1f; " \
		"1: pop %r11; pop %rcx") \
	X(bits, "bt $3,%r10; bts %r11,%r10; btc %rcx,(%rbx); btrl $9,(%rbx); " \
		"bsf %r10,%r11; bsr (%rbx),%rcx") \
	X(multiply, "mul %r10; imulq (%rbx); imul $-9,%r11,%r10; imul (%rbx),%r11; " \
		"imul $77,(%rbx),%r10d") \
	X(divide, "mov $7,%edx; mov $9,%r10d; div %r10; mov %edx,%edx; mov $77,%r11d; " \
		"div %r11d; xor %edx,%edx; divl (%rbx); mov $3,%ax; movb $5,1(%rbx); " \
		"divb 1(%rbx); mov $0x305,%ax; mov $7,%ch; div %ch; mov $9,%r10b; div %r10b; " \
		"mov $8,%dx; mov $9,%cx; div %cx; mov $9,%r11w; div %r11w; movw $9,2(%rbx); " \
		"mov $3,%dx; divw 2(%rbx); mov $4,%edx; mov $5,%ecx; div %rcx") \
	X(divide_signed, "mov $-7,%rax; cqo; mov $-3,%r10; idiv %r10; mov $-9,%eax; cdq; " \
		"mov $-1,%r11d; idiv %r11d; mov $-100,%eax; mov $-1,%edx; mov $7,%ecx; " \
		"idiv %ecx; cwtl; cwd; movw $-5,(%rbx); idivw (%rbx); mov $-120,%al; cbw; " \
		"mov $-7,%ch; idiv %ch; mov $0xff85,%ax; mov $-7,%r11b; idiv %r11b; " \
		"mov $1000,%ax; mov $100,%cl; idiv %cl; mov $1,%edx; mov $0x7fffffff,%ecx; " \
		"idiv %ecx; mov $-9,%rax; cqo; mov %rax,%rcx; lea 4(%rbx),%r10; " \
		"mov %rcx,(%r10); idivq (%r10); mov $-5,%rcx; mov $3,%rdx; idiv %rcx; hlt") \
	X(divide_keeps_flags, "cmp %rbx,%rax; mov $0,%edx; mov $5,%ecx; div %rcx; pushf; " \
		"pop %rax; stc; mov $5,%r10d; mov $0,%edx; div %r10; pushf; pop %rcx") \
	X(divide_overflows, "mov %rcx,%rdx; div %rcx; nop") \
	X(divide_by_zero, "xor %ecx,%ecx; mov $1,%eax; cdq; idiv %ecx; nop") \
	X(divide_most_negative, "mov $0x8000000000000000,%rax; cqo; mov $-1,%r10; " \
		"idiv %r10; nop") \
	X(bits_far, "mov $1000,%rax; bts %rax,(%rbx); bt %rax,(%rbx); setc %cl; " \
		"mov $-77,%r10; btc %r10,0x100(%rbx); mov $-3,%r11d; btr %r11d,0x200(%rbx); " \
		"sbb %rdx,%rdx; lock bts %ax,(%rbx); setc %dh; lock btr %rax,(%rbx); " \
		"adc %r8,%r8; lea 0x300(%rbx),%r10; mov $99,%r11d; lock btc %r11,(%r10); " \
		"bts %r10w,(%r10); " \
		"mov $0x1ff,%eax; lock bts %eax,2(%rbx); lock bts %rax,-3(%rbx)") \
	X(bits_far_keep_flags, "cmp %rbx,%rax; mov $3,%ecx; bt %rcx,0x500(%rbx); " \
		"pushf; pop %rax; add %rax,%rax; mov $-9,%r10; lock bts %r10,(%rbx); " \
		"pushf; pop %rax") \
	X(bits_far_fault, "mov $0x8000000000,%rax; bts %rax,(%rbx); nop") \
	X(copy, "lea (%rbx),%rsi; lea 0x100(%rbx),%rdi; mov $33,%ecx; rep movsb; " \
		"mov $5,%ecx; rep movsw; mov $7,%ecx; rep movsl; mov $9,%ecx; rep movsq; " \
		"mov %rcx,%r10; mov $11,%ecx; repne movsb; xor %ecx,%ecx; mov $-1,%rsi; " \
		"rep movsb") \
	X(copy_overlapping, "lea (%rbx),%rsi; lea 1(%rbx),%rdi; mov $100,%ecx; rep movsb; " \
		"lea 0x200(%rbx),%rsi; lea 0x203(%rbx),%rdi; mov $20,%ecx; rep movsq; " \
		"lea 0x303(%rbx),%rsi; lea 0x300(%rbx),%rdi; mov $20,%ecx; rep movsl") \
	X(copy_across_pages, "lea 0xff0(%rbx),%rsi; lea 0x100(%rbx),%rdi; mov $16,%ecx; " \
		"rep movsb; mov $17,%ecx; rep movsb; lea 0xff5(%rbx),%rdi; mov $3,%ecx; " \
		"rep movsl; lea 0x100(%rbx),%rsi; lea 0xffd(%rbx),%rdi; mov $8,%ecx; " \
		"rep movsq; lea 1(%rbx),%rsi; lea 0x1000(%rbx),%rdi; mov $0x1800,%ecx; " \
		"rep movsb") \
	X(copy_downwards, "std; lea 0x80(%rbx),%rsi; lea 0x85(%rbx),%rdi; mov $20,%ecx; " \
		"rep movsb; rep movsb; mov $3,%ecx; rep stosl; cld") \
	X(copy_keeps_flags, "cmp %rbx,%rax; lea (%rbx),%rsi; lea 64(%rbx),%rdi; mov $9,%ecx; " \
		"rep movsb; pushf; pop %rax; lea 0xffe(%rbx),%rdi; stc; mov $9,%ecx; " \
		"rep stosb; adc $0,%rdx; pushf; pop %rdx; rep stosb; setc %bh") \
	X(copy_faults, "lea (%rbx),%rsi; mov $0x900000,%edi; mov $3,%ecx; rep movsb; nop") \
	X(copy_by_segments, "mov $5,%ecx; lea (%rbx),%rdi; mov $16,%esi; rep movsb %fs:(%rsi), " \
		"%es:(%rdi); mov $5,%ecx; rep movsb (%esi), %es:(%edi)") \
	X(fill, "lea 3(%rbx),%rdi; mov $33,%ecx; rep stosb; mov $5,%ecx; rep stosw; " \
		"mov $7,%ecx; rep stosl; mov $9,%ecx; rep stosq; lea 0x1000(%rbx),%rdi; " \
		"mov $512,%ecx; rep stosq; mov $513,%ecx; lea 0x1000(%rbx),%rdi; rep stosq; " \
		"lea 0x1ffe(%rbx),%rdi; mov $1,%ecx; rep stosl; mov $1,%rcx; shl $63,%rcx; " \
		"mov $4,%edi; xor %ecx,%ecx; rep stosb") \
	X(strings_once, "lea (%rbx),%rsi; lea 64(%rbx),%rdi; movsb; movsq; stosw; lodsl; " \
		"lea (%rbx),%rsi; lea 64(%rbx),%rdi; mov $9,%ecx; repe cmpsb; setc %dl; " \
		"mov $40,%ecx; repne scasb; setz %dh; cmpsl; scasq") \
	X(extend, "movzbl (%rbx),%r10d; movsbq %r11b,%r10; movslq (%rbx),%r11; cqo; cdqe; " \
		"bswap %r10") \
	X(cmpxchg_fails, "cmpxchg %r10,(%rbx); cmpxchg %rcx,%r11; cmpxchg8b (%rbx); " \
		"setz %r11b") \
	X(handlers, "std; lea 3(%rbx),%cx; mov %rbx,%rdi; stosq; cld; lea 5(%r11),%r10w; " \
		"push %ax; pushw $7; pop %r11w; pop %cx; movsl; xlat; enter $24,$1; leave") \
	X(handlers_keep_flags, "add %rax,%rcx; cld; adc $0,%rdx; cmp %rbx,%r11; std; cld; " \
		"setbe %al; sub %r10,%r11; pushfw; popw %cx; rcl %r10") \
	X(handler_writes_behind_it, "lea 1f+1(%rip),%rdi; mov $0x42,%al; stosb; 1: mov $1,%dl; " \
		"mov %dl,%r10b") \
	X(handler_faults, "mov $0x900000,%edi; add %rbx,%rcx; stosb; inc %rdx") \
	X(loops, "mov $5,%ecx; 1: add %rcx,%r10; loop 1b; jrcxz 2f; ud2; 2: inc %rcx; " \
		"jrcxz 3f; add $3,%r11; 3:") \
	X(repeats, "mov %rbx,%rdi; mov $300,%ecx; rep stosq; mov $40,%ecx; mov %rbx,%rdi; " \
		"mov $0x77,%eax; repne scasb; setz %dl; xor %ecx,%ecx; cmp %rsi,%rbx; " \
		"repe cmpsb; setb %r10b") \
	X(flags_popped, "add %rax,%rcx; push $0xad5; popf; setc %al; pushf; pop %r10; " \
		"push $2; popf; seto %dl") \
	X(bases_swapped, "mov %gs:(%r11),%rax; add %rbx,%rcx; swapgs; adc %gs:8,%rdx; " \
		"rdgsbase %r10; swapgs; mov %gs:8,%r11") \
	X(direction, "add %rbx,%rax; std; setc %cl; pushf; pop %r10; lodsb; cld; lodsb") \
	X(smap, "mov %cr4,%rax; bts $21,%rax; stac; mov %rax,%cr4; mov (%rbx),%rcx; " \
		"stac; add %rcx,%rcx; clac; adc $3,%rdx; cmp %rdx,%rcx; stac; setc %r10b; " \
		"add (%rbx),%r11; clac; nop; clac; stac; pushf; pop %r10; btr $21,%rax; " \
		"mov %rax,%cr4; clac; add (%rbx),%r11; stac; pushf; pop %rcx") \
	X(smap_faults, "mov %cr4,%rax; bts $21,%rax; stac; mov %rax,%cr4; mov (%rbx),%rcx; " \
		"clac; inc %rdx; mov (%rbx),%rcx; inc %rdx") \
	X(smap_in_a_loop, "mov %cr4,%rax; bts $21,%rax; stac; mov %rax,%cr4; mov $5,%ecx; " \
		"1: clac; lea 1(%rdx),%rdx; stac; add (%rbx),%r11; dec %ecx; jnz 1b") \
	X(call_not_canonical, "mov $0x800000000000,%rax; call *%rax") \
	X(call_memory_not_canonical, "mov $0x800000000000,%r10; mov %r10,(%rbx); " \
		"call *(%rbx)") \
	X(offset_not_canonical, "mov $0x800000000000,%rax; mov $0xffff800000020000,%rcx; " \
		"wrgsbase %rcx; mov %gs:(%rax),%rcx") \
	X(store_faults, "mov $0x900000,%eax; add %rbx,%rcx; mov %rcx,(%rax)") \
	X(shared, "mov (%rbx),%rax; mov 8(%rbx),%rcx; add %rax,16(%rbx); add $8,%rbx; " \
		"mov (%rbx),%rdx; mov %rdx,-8(%rbx); lea 24(%rbx),%rsi; mov %rax,(%rsi); " \
		"mov -16(%rsi),%r10; inc %rsi; movb $3,(%rsi); dec %rsi; mov %rsi,%rdi; " \
		"xor %r11,(%rdi); sub $-64,%rdi; mov -64(%rdi),%r11; mov %edi,%edi; " \
		"mov -64(%rdi),%rbp") \
	X(shared_by_many, "mov (%rbx),%rax; mov (%rsi),%rcx; mov (%r10),%rdx; mov (%rsp),%rdi; " \
		"mov (%rbp),%r8; mov 0x20200,%r9d; mov 0x100(%rbx,%r11),%r12; " \
		"mov 0x300(%rbx,%r11,2),%r13; add 8(%rbx),%rax; add 8(%rsi),%rcx; " \
		"add 8(%r10),%rdx; add 8(%rsp),%rdi; add 8(%rbp),%r8; add 0x20208,%r9d; " \
		"add %r12,0x108(%rbx,%r11); add 0x308(%rbx,%r11,2),%r13; mov %rax,16(%rbx)") \
	X(shared_in_two_pages, "lea 0xff0(%rbx),%rdi; mov (%rdi),%rax; mov 8(%rdi),%rcx; " \
		"add %rcx,24(%rdi); mov 16(%rdi),%r10; mov %r10,(%rdi); add $0x1004,%rdi; " \
		"add $5,%rcx; adc %rax,(%rdi); mov -8(%rdi),%r11; sbb %r11,8(%rdi)") \
	X(shared_stack_in_two_pages, "mov $0x41008,%esp; mov %esp,%ebp; push %rax; push %r10; " \
		"push (%rbx); mov -8(%rbp),%rcx; call 1f; 1: pop %r11; pop %rdx; pop %rdi; " \
		"leave; push %rsi") \
	X(shared_behind_branches, "mov (%rbx),%rax; test %eax,%eax; jz 1f; add 8(%rbx),%rax; " \
		"jo 1f; mov %rax,16(%rbx); mov 24(%rbx),%rcx; 1: cmp %rax,(%rbx); jne 2f; " \
		"ud2; 2: adc $0,%rcx; jc 3f; jnc 4f; nop; 3: inc %r10; 4: mov %rcx,(%r10)") \
	X(shared_frame, "push %rbp; mov %rsp,%rbp; sub $64,%rsp; mov %rax,-8(%rbp); " \
		"mov %r10,-16(%rbp); mov 48(%rsp),%rcx; mov %r11,16(%rsp); mov -48(%rbp),%rdx; " \
		"call 1f; mov -24(%rbp),%rdi; leave; jmp 2f; 1: mov %rbx,48(%rsp); ret; 2:") \
	X(shared_values_change, "mov (%rbx),%rax; mul %rbx; mov (%rbx),%rcx; mov %rbx,%rax; " \
		"mov (%rax),%rdx; mov %r11,%rax; cmpxchg %rcx,(%rbx); mov (%rbx),%rdi; " \
		"lea (%rbx,%r11),%rsi; mov (%rsi),%r8; xchg %rbx,%rsi; mov (%rbx),%r9; " \
		"mov (%rsi),%r12; cmovz %rsi,%rbx; mov (%rbx),%r13; xadd %rbx,%rsi; " \
		"mov (%rsi),%al; mov (%rbx),%ah; mov %r10,%rbx; mov (%rbx),%r10; add $1,%bx; " \
		"mov (%rbx),%r14") \
	X(shared_with_fault, "mov $0x1ffff8,%ebx; mov (%rbx),%rax; mov %rax,-8(%rbx); " \
		"add $3,%rax; mov 8(%rbx),%rcx; inc %rdx") \
	X(shared_write_not_reached, "mov (%rbx),%rax; mov $0x900000,%ecx; mov (%rcx),%rdx; " \
		"mov %rax,8(%rbx)") \
	X(shared_segment, "mov $0x20000,%eax; wrgsbase %rax; mov %gs:8,%rcx; mov %gs:16,%rdx; " \
		"add %rdx,%gs:24; mov %gs:(%r11),%rdi; mov 8(%rbx),%rsi") \
	X(writes_itself, "movb $0x42,1f+1(%rip); nop; 1: mov $1,%al; mov %al,%r10b") \
	X(writes_itself_in_a_loop, "mov $5,%ecx; 1: incb 2f+2(%rip); 2: lea 1(%rax),%rax; " \
		"dec %ecx; jnz 1b")
/* clang-format on */

#define CODE(name, text)                                                            \
	extern const uint8_t code_##name[], code_##name##_end[];                    \
	__asm__(".pushsection .rodata\ncode_" #name ":\n" text "; hlt\ncode_" #name \
		"_end:\n.popsection");
CASES(CODE)

#define BOTH(name, text)                                         \
	both(&(struct both){#name, IR_64, 0, NULL}, code_##name, \
	     (size_t)(code_##name##_end - code_##name));

static void translated_code_does_what_the_interpreter_does(void **state)
{
	(void)state;
	CASES(BOTH)
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translated_code_does_what_the_interpreter_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
