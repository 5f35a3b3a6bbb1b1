/* SPDX-License-Identifier: Apache-2.0 */
/* 32-bit guest code in the interpreter and translated: protected mode without paging,
 * compatibility mode in rings 0 and 3. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "both.h"
#include "core/x86/segment.h"
#include "engine/bt/interp/code_cache.h"

#define GDT_AT 0x60000

/* Selectors of the GDT, in assembler. */
#define BASED     "0x18" /* data, base 0x20100, limit 0xfff */
#define READ_ONLY "0x20"
#define WRAPPED   "0x28" /* data, base 0xffff0000, limit 4 GiB */
#define SMALL     "0x30" /* data, 16-bit stack */
#define CODE16    "0x38"
#define CODE64    "0x40" /* of compatibility mode; else it is 16-bit code */

/* 9: is where the code begins; it is executed at AT. */
#define AT "-9b+0x1000"

/* clang-format off */
#define CASES(X) \
	X(alu_registers, "add %ebx,%eax; adc %esi,%ecx; sbb %edx,%edi; and %ebp,%edx; " \
		"xor %ah,%bl; or %ch,%dh; cmp %esi,%edi; neg %ecx; not %edx; adc $-3,%al") \
	X(increments, "stc; inc %eax; dec %ecx; inc %dx; dec %bx; inc %si; dec %edi; inc %bp; " \
		"inc %ah; lahf; .byte 0x66,0x41; .byte 0x3e,0x4a; adc $0,%edx") \
	X(alias_of_80, ".byte 0x82,0xc3,0x7f; .byte 0x82,0x5b,0x10,0x81; .byte 0x82,0xd9,1") \
	X(alu_memory, "add %eax,(%ebx); adc %ecx,8(%ebx); sbb 16(%ebx),%edx; xor %di,24(%ebx); " \
		"or %dl,32(%ebx); addl $0x12345678,40(%ebx); subb $3,(%ebx); cmp (%esi),%cx; " \
		"incl 4(%ebx); decw 2(%ebx); incb (%ebx)") \
	X(high_bytes, "add %ah,(%ebx); mov (%ebx),%ch; xor %bh,%dl; mov $0x17,%dh; " \
		"xchg %ah,(%ebx)") \
	X(moffs, "mov 0x20010,%eax; mov %eax,0x20021; mov 0x20001,%al; mov %ax,0x20031; " \
		"mov %al,0x20040; mov %fs:8,%eax; mov %eax,%fs:9; mov 0x20002,%ax; " \
		"mov %eax,0x20ffe") \
	X(absolute, "mov 0x20010,%ecx; add %edx,0x20014; lea 0x20018,%edi; mov (%edi),%esi; " \
		"movzwl 0x2001c,%ebp; mov 0x20000(,%esi,1),%ebx; lea 5(,%esi,4),%eax") \
	X(addresses_wrap, "mov $0xfffffff0,%eax; mov 0x20010(%eax),%ecx; mov %ecx,0x20030(%eax); " \
		"lea 0x20(%eax),%edx; mov 0x20000(%eax,%eax,8),%edi; mov $0x80000000,%edx; " \
		"mov 0x20000(%edx,%edx),%esi; lea (%edx,%edx,2),%ebp; push 0x20014(%eax)") \
	X(lea, "lea (%eax,%ebx,8),%ecx; lea -4(%edi),%esi; lea 0x7fffffff(,%eax,8),%edx; " \
		"lea (%esp),%ebp; lea 3(%ebp,%ebx,2),%di; lea 0x1234(%bx,%si),%eax") \
	X(segments, "mov %fs:8,%eax; mov %fs:(%esp),%ecx; mov %ecx,%gs:16; addl $5,%gs:20; " \
		"mov $0x10010,%edi; mov %fs:-0x10000(%edi),%edx; mov %cs:(%ebx),%esi; " \
		"mov %es:4(%ebx),%ebp; add %eax,%ss:8(%ebx); push %fs:8; call *%fs:0x30; nop") \
	X(fs_beyond_the_top, "mov %fs:-4,%eax; mov %fs:-1,%cl; mov %fs:-2,%edx") \
	X(fs_beyond_the_top_by_register, "mov $-3,%edi; mov %fs:(%edi),%cx; mov %fs:(%edi),%edx") \
	X(gs_beyond_its_limit, "mov %gs:0xfff0,%eax; mov %gs:0xfffd,%eax") \
	X(cs_is_not_written, "mov %eax,%cs:(%ebx)") \
	X(cs_is_not_incremented, "incl %cs:(%ebx)") \
	X(addresses_of_16_bits, "mov $0x1000,%ebx; mov (%bx),%eax; lea (%bx,%si),%ecx; " \
		"addr16 mov 0x1004,%edx; add %eax,%fs:(%bx)") \
	X(stack, "push %eax; push %esp; pop %edi; pop %ecx; push $-5; push (%ebx); popl %edx; " \
		"pushl 8(%esp); push $0x12345678; pushw $7; pushw %ax; popw %cx; popw 4(%ebx); " \
		"popl (%ebx); mov %ebp,%edi; leave") \
	X(stack_of_others, "pusha; add $7,%esp; sub $7,%esp; popa; pusha; popaw; push %ds; " \
		"push %cs; pop %eax; pop %ds; enter $8,$2; .byte 0x66,0xc9; " \
		"mov $0x41100,%ebp; leave") \
	X(stack_upper_halves, "mov $0x41000,%esp; push %eax; pop %eax; sub $16,%esp; push %ebx; " \
		"mov %esp,%ebp; leave") \
	X(pop_esp, "push %ebp; pop %esp; push %eax; mov %esp,%ecx; add $16,%esp") \
	X(flags_pushed, "add %ebx,%eax; pushf; pop %ecx; stc; pushfw; popw %dx; push $0x8d7; " \
		"popf; " \
		"jc 1f; inc %esi; 1: pushf; pop %edi") \
	X(calls, "call 1f; call 1f; jmp 2f; 1: inc %eax; ret; 2: call 3f; nop; 3: pop %edi") \
	X(call_register, "mov $1f" AT ",%edi; call *%edi; call *%edi; jmp 2f; " \
		"1: add $7,%esi; ret; " \
		"2:") \
	X(call_memory, "movl $1f" AT ",(%ebx); call *(%ebx); call *(%ebx); jmp 2f; " \
		"1: adc $7,%esi; ret; 2:") \
	X(call_its_own_slot, "movl $1f" AT ",-4(%esp); call *-4(%esp); jmp 2f; 1: ret; 2:") \
	X(ret_pops, "push %eax; push %ebx; call 1f; jmp 2f; 1: ret $8; 2: mov %esp,%edi") \
	X(branches_of_16_bits, ".byte 0x66,0xe9,1,0; nop; xor %eax,%eax; .byte 0x66,0x75,1; nop; " \
		"push $0x12341000+1f" AT "-0x1000; .byte 0x66,0xc3; ud2; 1: inc %eax") \
	X(jump_memory, "movl $1f" AT ",(%ebx); jmp *(%ebx); ud2; 1: mov $2f" AT ",%eax; " \
		"jmp *%eax; " \
		"ud2; 2:") \
	X(branches, "mov $9,%ecx; 1: add %ecx,%eax; adc $0,%edi; dec %ecx; jnz 1b; jc 2f; js 2f; " \
		"stc; jmp 3f; 2: clc; 3: rcl $1,%esi; jbe 4f; inc %edx; 4: setc %al; " \
		"cmovl %edi,%ebp; mov $3,%ecx; 5: inc %edx; loop 5b; jecxz 6f; ud2; 6:") \
	X(branch_below_0, "jmp 1f-0x2000; 1:") \
	X(branch_below_0_if, "stc; jc 1f-0x2000; 1:") \
	X(flags_across_blocks, "cmp %ebx,%eax; jmp 1f; nop; 1: jmp 2f; nop; 2: mov (%ebx),%ecx; " \
		"jmp 3f; nop; 3: lahf; seto %bl; pushf; pop %edi") \
	X(shifts, "mov $0,%cl; add %ebx,%eax; shl %cl,%edi; setc %dl; mov $33,%cl; rol %cl,%esi; " \
		"rcr $1,%di; shrd $3,%eax,%edi; shld %cl,%edx,(%ebx); sar $31,%ebp") \
	X(locked, "lock add %eax,(%ebx); lock xadd %ecx,8(%ebx); lock cmpxchg %edx,16(%ebx); " \
		"lock cmpxchg8b (%ebx); lock btsl $3,(%ebx); xchg %edi,(%ebx); " \
		"lock incl 0x7d(%ebx); xchg %si,0xbf(%ebx)") \
	X(page_crossing, "mov 0xffe(%ebx),%eax; mov %ecx,0xffd(%ebx); add %dx,0xfff(%ebx); " \
		"push 0xffd(%ebx); mov $0x41002,%esp; push %eax; call 1f; 1: pop %edi; pop %ecx") \
	X(bits, "bt $3,%edi; bts %edx,%esi; btc %ecx,(%ebx); mov $-77,%eax; bts %eax,0x40(%ebx); " \
		"mov $1000,%edx; btr %dx,(%ebx); bt %edx,%fs:4; lock btc %edx,(%ebx); " \
		"mov $0x80000000,%eax; btc %eax,0x10020000(%edi)") \
	X(multiply_and_divide, "mul %edi; imul (%ebx),%esi; imul $77,(%ebx),%edx; mov $7,%ecx; " \
		"xor %edx,%edx; div %ecx; cdq; idivl (%ebx); mov $3,%bh; mov $500,%ax; div %bh; " \
		"cwtd; idiv %cx") \
	X(divide_by_0, "xor %ecx,%ecx; div %ecx") \
	X(decimal, "mov $0x3579,%eax; add %ah,%al; daa; das; aaa; aas; aam; aad; .byte 0xd6") \
	X(extend, "movzbl (%ebx),%edi; movsbl %dl,%ecx; movswl (%ebx),%esi; cwtl; cltd; " \
		"bswap %edx; xchg %eax,%edx; xchg %ax,%bp") \
	X(conditional_move_clears, "mov %eax,%ecx; stc; cmovnc %edx,%ebp; cmovc (%ebx),%edi") \
	X(bmi, "andn %ebx,%eax,%ecx; mulx (%ebx),%esi,%edi; rorx $3,(%ebx),%ebp; " \
		"shlx %eax,(%ebx),%edx; blsr %ebx,%ebx") \
	X(bmi_ignored_bits, ".byte 0xc4,0xe2,0xf8,0xf2,0xcb; .byte 0xc4,0xc2,0x78,0xf2,0xd3; " \
		".byte 0xc4,0xe2,0x38,0xf2,0xf3") \
	X(data_with_a_base, "mov $" BASED ",%eax; mov %eax,%ds; mov 0x20,%ecx; " \
		"add %ecx,%ss:(%ebx); mov %ecx,%cs:(%ebx)") \
	X(data_with_a_limit, "mov $" BASED ",%eax; mov %eax,%es; mov %es:0xffc,%ecx; " \
		"mov %es:0xffd,%edx") \
	X(data_and_back, "push %ds; mov $" BASED ",%eax; mov %eax,%ds; mov 0x20,%ecx; pop %ds; " \
		"add %ecx,(%ebx); 1: mov (%ebx),%edx; mov %ds,%esi; mov %eax,%ds; mov 0x24,%edi; " \
		"mov %esi,%ds; dec %bp; js 1b") \
	X(data_read_only, "mov $" READ_ONLY ",%eax; mov %eax,%ds; mov (%ebx),%ecx; " \
		"mov %ecx,(%ebx)") \
	X(data_null, "xor %eax,%eax; mov %eax,%es; mov (%ebx),%ecx; mov %es:(%ebx),%edx") \
	X(fs_with_a_limit, "mov $" BASED ",%eax; mov %eax,%fs; mov %fs:8,%ecx; " \
		"mov %ecx,%fs:0xff0; " \
		"mov %fs:0xffd,%ecx") \
	X(fs_read_only, "mov $" READ_ONLY ",%eax; mov %eax,%fs; mov %fs:(%ebx),%ecx; " \
		"mov %ecx,%fs:(%ebx)") \
	X(fs_null, "xor %eax,%eax; mov %eax,%fs; mov %fs:(%ebx),%edx") \
	X(fs_wraps, "mov $" WRAPPED ",%eax; mov %eax,%fs; mov %fs:0x30010,%ecx; " \
		"mov $0x30000,%edi; add %ecx,%fs:8(%edi); mov %edi,%fs:(%edi)") \
	X(stack_of_16_bits, "mov $" SMALL ",%eax; mov %eax,%ss; mov $0x12340800,%esp; push %ebx; " \
		"push %esp; pop %ecx; call 1f; 1: pop %edx; mov $0x43210900,%ebp; leave") \
	X(code_of_16_bits, "ljmp $" CODE16 ",$1f" AT "; .code16; 1: inc %eax; mov %ax,(%bx); " \
		"push %eax; .code32") \
	X(code_of_64_bits, "ljmp $" CODE64 ",$1f" AT "; 1: .byte 0x48,0xff,0xc0,0x48,0x89,0x03") \
	X(store_faults, "mov $0x900000,%eax; add %ebx,%ecx; mov %ecx,(%eax)") \
	X(writes_itself, "movb $0x42,1f+1" AT "; nop; 1: mov $1,%al; mov %al,%cl") \
	X(writes_itself_in_a_loop, "mov $5,%ecx; 1: incb 2f+2" AT "; 2: lea 1(%eax),%eax; " \
		"dec %ecx; jnz 1b") \
	X(writes_what_it_called, "mov $4,%ecx; 1: call 2f; incl 3f+1" AT "; dec %ecx; jnz 1b; " \
		"jmp 4f; .balign 64; 2: add %ecx,%edi; 3: add $0x100,%eax; ret; 4:")
/* clang-format on */

#define CODE(name, text)                                                                 \
	extern const uint8_t narrow_##name[], narrow_##name##_end[];                     \
	__asm__(".pushsection .rodata\n.balign 64\nnarrow_" #name ":\n9: .code32; " text \
		"; hlt\nnarrow_" #name "_end:\n.code64\n.popsection");
CASES(CODE)

static const uint32_t present = SEG_ATTR_S | SEG_ATTR_P | 3u << SEG_ATTR_DPL_SHIFT;

/* Types: read-only, written and executed, all accessed already. */
static const struct segment segments[] = {
	[1] = {.limit = UINT32_MAX, .attr = 0xb | SEG_ATTR_DB | SEG_ATTR_G},
	[2] = {.limit = UINT32_MAX, .attr = 3 | SEG_ATTR_DB | SEG_ATTR_G},
	[3] = {.base = IR_DATA + 0x100, .limit = 0xfff, .attr = 3 | SEG_ATTR_DB},
	[4] = {.limit = UINT32_MAX, .attr = 1 | SEG_ATTR_DB | SEG_ATTR_G},
	[5] = {.base = 0xffff0000, .limit = UINT32_MAX, .attr = 3 | SEG_ATTR_DB | SEG_ATTR_G},
	[6] = {.limit = 0xffff, .attr = 3},
	[7] = {.limit = 0xffff, .attr = 0xb},
	[8] = {.limit = UINT32_MAX, .attr = 0xb | SEG_ATTR_L | SEG_ATTR_G},
};

static struct segment segment(unsigned n, unsigned cpl)
{
	struct segment s = segments[n];

	s.attr = (s.attr | present) & ~(cpl ? 0 : 3u << SEG_ATTR_DPL_SHIFT);
	s.selector = (uint16_t)(n * 8 | cpl);
	return s;
}

static void set_up(struct integer_rig *r, unsigned cpl)
{
	struct cpu *cpu = r->cpu;

	for (unsigned n = 1; n < ARRAY_LEN(segments); n++) {
		struct segment s = segment(n, cpl);

		ir_put(r, GDT_AT + n * 8, 8, segment_to_descriptor(&s));
	}
	cpu->gdt = (struct descriptor_table){.base = GDT_AT, .limit = sizeof(uint64_t) * 9 - 1};
	cpu->seg[SEG_CS] = segment(1, cpl);
	cpu->seg[SEG_SS] = cpu->seg[SEG_DS] = cpu->seg[SEG_ES] = segment(2, cpl);
	cpu->seg[SEG_FS] = segment(2, cpl);
	cpu->seg[SEG_FS].base = IR_DATA;
	cpu->seg[SEG_GS] = segment(2, cpl);
	cpu->seg[SEG_GS].base = IR_EXTRA;
	cpu->seg[SEG_GS].limit = 0xffff;
	cpu->rflags |= cpl ? RFLAGS_IOPL : 0;
}

static void prepare_0(struct integer_rig *r)
{
	set_up(r, 0);
}

static void prepare_3(struct integer_rig *r)
{
	set_up(r, 3);
}

#define SIZE(name) ((size_t)(narrow_##name##_end - narrow_##name))

#define PROTECTED(name, text) \
	both(&(struct both){#name, IR_32, 0, prepare_0}, narrow_##name, SIZE(name));
#define COMPAT_0(name, text)                                                                   \
	both(&(struct both){#name " (compatibility)", IR_COMPAT, 0, prepare_0}, narrow_##name, \
	     SIZE(name));
#define COMPAT_3(name, text) \
	both(&(struct both){#name " (ring 3)", IR_COMPAT, 3, prepare_3}, narrow_##name, SIZE(name));

static void in_protected_mode(void **state)
{
	(void)state;
	CASES(PROTECTED)
}

static void in_compatibility_mode(void **state)
{
	(void)state;
	CASES(COMPAT_0)
}

static void in_ring_3(void **state)
{
	(void)state;
	CASES(COMPAT_3)
}

/* Sets CS to segment n of the GDT, and runs the code at IR_CODE. */
static void run_as(struct integer_rig *r, unsigned n, uint64_t rax)
{
	struct cpu *cpu = r->cpu;

	cpu->seg[SEG_CS] = segment(n, 0);
	cpu_update_mode(cpu);
	cpu->rip = IR_CODE;
	cpu->gpr[GPR_RAX] = rax;
	cpu->halted = false;
	atomic_store(&cpu->attention, 0);
	assert_int_equal(interp_run(cpu, 0), INTERP_HALTED);
}

/* DEC EAX, INC EAX of two or one and INC RAX: the same bytes at the same address. */
static void bytes_are_another_translation_in_another_mode(void **state)
{
	static const uint8_t code[] = {0x48, 0xff, 0xc0, 0xeb, 0, 0x48, 0x48, 0xff, 0xc0, 0xf4};
	struct integer_rig *r = ir_new(IR_COMPAT);

	(void)state;
	memcpy(ir_ram(r, IR_CODE), code, sizeof(code));
	set_up(r, 0);
	assert_int_equal(code_cache_init(r->cpu), 0);
	ir_translate(r, MIB(1));
	for (unsigned n = 0; n < 3; n++) {
		run_as(r, 1, UINT32_MAX);
		assert_int_equal(r->cpu->gpr[GPR_RAX], UINT32_MAX - 1);
		run_as(r, 8, UINT32_MAX);
		assert_int_equal(r->cpu->gpr[GPR_RAX], BIT(32) + 1);
	}
	assert_true(r->cpu->stats.blocks >= 4);
	code_cache_release(r->cpu);
	ir_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_protected_mode),
		cmocka_unit_test(in_compatibility_mode),
		cmocka_unit_test(in_ring_3),
		cmocka_unit_test(bytes_are_another_translation_in_another_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
