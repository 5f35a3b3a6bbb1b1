/* SPDX-License-Identifier: Apache-2.0 */
/* Segmentation in 32-bit protected mode: limits, types, expand-down, privilege, call gates, far
 * transfers, LAR, LSL, VERR, VERW, ARPL, the LDT. SDM vol. 3A chapters 3 and 5. */
#include "guest.h"

#define T(n) (SEL_FREE + (n)*8) /* a slot for a test */

/* A descriptor: limit in bytes or pages by g. */
static u64 descriptor(u32 base, u32 limit, u32 access, u32 flags)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
	       (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static void set(unsigned n, u64 value)
{
	((volatile u64 *)gdt)[T(n) / 8] = value;
}

static u32 word = 0x11223344;

static void load_es(uptr selector)
{
	__asm__ volatile("mov %0, %%es" : : "r"(selector) : "memory");
}

/* What these load into ES first: an exception leaves it flat. */
static uptr es;

static void es_read(uptr at)
{
	load_es(es);
	__asm__ volatile("movl %%es:(%0), %%eax" : : "r"(at) : "eax", "memory");
}

static void es_read_byte(uptr at)
{
	load_es(es);
	__asm__ volatile("movb %%es:(%0), %%al" : : "r"(at) : "eax", "memory");
}

static void es_write(uptr at)
{
	load_es(es);
	__asm__ volatile("movl %%eax, %%es:(%0)" : : "r"(at), "a"(word) : "memory");
}

static void limits(void)
{
	u32 got;

	set(0, descriptor((uptr)&word, 3, 0x93, 4));
	es = T(0);
	load_es(es);
	__asm__ volatile("movl %%es:0, %0" : "=r"(got));
	check("base is added", got, word);
	check_none("the last byte", guest_try(es_read_byte, 3));
	check_fault("beyond the limit", guest_try(es_read_byte, 4), 13, 0);
	check_fault("across the limit", guest_try(es_read, 1), 13, 0);
	check_fault("wrapped", guest_try(es_read, 0xfffffffe), 13, 0);
	set(0, descriptor((uptr)&word, 0, 0x93, 0xc));
	check_none("one page by granularity", guest_try(es_read, 0xffc));
	check_fault("beyond it", guest_try(es_read, 0xffd), 13, 0);
	/* Expand-down: valid above the limit. */
	set(0, descriptor((uptr)&word - 0x1000, 0xfff, 0x97, 4));
	check_none("expand-down, above", guest_try(es_read, 0x1000));
	check_fault("expand-down, at the limit", guest_try(es_read, 0xfff), 13, 0);
	check_fault("expand-down, below", guest_try(es_read, 0), 13, 0);
	set(0, descriptor((uptr)&word - 0x1000, 0xfff, 0x97, 0));
	check_fault("expand-down 16 bits, at 64 KiB", guest_try(es_read, 0xfffe), 13, 0);
	load_es(SEL_DATA);
}

static void types(void)
{
	set(0, descriptor(0, 0xfffff, 0x91, 0xc));
	check_none("read-only, read", guest_try(es_read, (uptr)&word));
	check_fault("read-only, write", guest_try(es_write, (uptr)&word), 13, 0);
	set(0, descriptor(0, 0xfffff, 0x9b, 0xc));
	check_none("readable code, read", guest_try(es_read, (uptr)&word));
	check_fault("readable code, write", guest_try(es_write, (uptr)&word), 13, 0);
	set(0, descriptor(0, 0xfffff, 0x99, 0xc));
	check_fault("execute-only code", guest_try(load_es, T(0)), 13, T(0));
	set(0, descriptor(0, 0xfffff, 0x13, 0xc));
	check_fault("not present", guest_try(load_es, T(0)), 11, T(0));
	es = 0;
	check_fault("null, used", guest_try(es_read, (uptr)&word), 13, 0);
	load_es(SEL_DATA);
	set(0, descriptor(0, 0xfffff, 0x92, 0xc));
	load_es(T(0));
	check("accessed", ((volatile u64 *)gdt)[T(0) / 8] >> 40 & 1, 1);
	load_es(SEL_DATA);
	check_fault("ring 0 data in ring 3", guest_try_user(load_es, SEL_DATA), 13, SEL_DATA);
	check_fault("  with RPL 3", guest_try_user(load_es, SEL_DATA | 3), 13, SEL_DATA);
}

u32 far_cs;

static void far_call(uptr selector)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) to;
	extern u8 far_target[];

	to.offset = (uptr)far_target;
	to.selector = (u16)selector;
	__asm__ volatile("lcall *%0" : : "m"(to) : "memory", "eax");
}

__asm__(".text\n"
	".globl far_target\n"
	"far_target:\n"
	"	mov %cs, %eax\n"
	"	mov %eax, far_cs\n"
	"	lret\n"
	".globl gate_target\n"
	"gate_target:\n"
	"	mov 8(%esp), %eax\n" /* the parameter */
	"	mov %eax, gate_parameter\n"
	"	mov %cs, %eax\n"
	"	mov %eax, far_cs\n"
	"	mov %esp, gate_sp\n"
	"	lret $4\n");
u32 gate_parameter, gate_sp;
extern u8 gate_target[];

static void user_gate(uptr selector)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) to = {0, (u16)selector};

	__asm__ volatile("push $0x777; lcall *(%0); int $0x80" : : "r"(&to) : "memory", "eax");
}

static void far(void)
{
	struct fault f;

	set(1, descriptor(0, 0xfffff, 0x9b, 0xc));
	check_none("far call", guest_try(far_call, T(1)));
	check("  CS", far_cs, T(1));
	set(1, descriptor(0, 0xfffff, 0x9f, 0xc));
	check_none("far call, conforming", guest_try(far_call, T(1)));
	set(1, descriptor(0, 0xfffff, 0xfb, 0xc));
	check_fault("far call to ring 3", guest_try(far_call, T(1) | 3), 13, T(1));
	set(1, descriptor(0, 0xfffff, 0x1b, 0xc));
	check_fault("far call, not present", guest_try(far_call, T(1)), 11, T(1));
	check_fault("far call to data", guest_try(far_call, SEL_DATA), 13, SEL_DATA);
	check_fault("far call to null", guest_try(far_call, 0), 13, 0);
	check_fault("far call from ring 3 to ring 0", guest_try_user(far_call, SEL_CODE), 13,
		    SEL_CODE);
	/* A call gate of ring 3 with one parameter. */
	set(2, ((uptr)gate_target & 0xffff) | (u64)SEL_CODE << 16 | 1ull << 32 | 0xecull << 40 |
		       (u64)((uptr)gate_target >> 16) << 48);
	f = guest_try_user(user_gate, T(2));
	check_fault("call gate to ring 0 and back", f, VEC_EXIT, 0);
	check("  parameter", gate_parameter, 0x777);
	check("  CS in the gate", far_cs, SEL_CODE);
	check("  the stack was RSP0's", (uptr)handler_stack_top - gate_sp, 20);
	check("  CS after", f.cs, SEL_UCODE);
	set(2, ((volatile u64 *)gdt)[T(2) / 8] & ~(0x80ull << 40));
	check_fault("call gate not present", guest_try_user(user_gate, T(2)), 11, T(2));
	set(2, (((volatile u64 *)gdt)[T(2) / 8] | 0x80ull << 40) & ~(0x60ull << 40));
	check_fault("call gate of ring 0 from ring 3", guest_try_user(user_gate, T(2)), 13, T(2));
}

static bool zero(void)
{
	return read_flags() & 0x40;
}

static void queries(void)
{
	u32 got = 0;
	bool ok;

	__asm__ volatile("lar %2, %0; setz %1" : "+r"(got), "=qm"(ok) : "r"(SEL_DATA) : "cc");
	check("LAR", got & ~0xf0000u, 0x00c09300); /* the rest is undefined */
	__asm__ volatile("lsl %2, %0; setz %1" : "+r"(got), "=qm"(ok) : "r"(SEL_DATA) : "cc");
	check("LSL", got, 0xffffffff);
	got = 5;
	__asm__ volatile("lsl %2, %0; setz %1" : "+r"(got), "=qm"(ok) : "r"(0x300) : "cc");
	check("LSL of nothing", ok, 0);
	check("  leaves its destination", got, 5);
	__asm__ volatile("verr %w0" : : "r"(SEL_DATA) : "cc");
	check("VERR of data", zero(), 1);
	__asm__ volatile("verw %w1; setz %0" : "=qm"(ok) : "r"(SEL_CODE) : "cc");
	check("VERW of code", ok, 0);
	__asm__ volatile("verw %w1; setz %0" : "=qm"(ok) : "r"(SEL_DATA) : "cc");
	check("VERW of data", ok, 1);
	got = 0x10;
	__asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(got), "=qm"(ok) : "r"(3) : "cc");
	check("ARPL raises", got, 0x13);
	check("  and says so", ok, 1);
	__asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(got), "=qm"(ok) : "r"(1) : "cc");
	check("ARPL leaves", ok, 0);
}

static void ldt(void)
{
	static u64 table[2];
	u16 got;

	table[1] = descriptor((uptr)&word, 3, 0x93, 4);
	set(3, descriptor((uptr)table, sizeof(table) - 1, 0x82, 0));
	__asm__ volatile("lldt %w0" : : "r"(T(3)) : "memory");
	__asm__ volatile("sldt %0" : "=m"(got));
	check("SLDT", got, T(3));
	check_none("a selector of the LDT", guest_try(load_es, 0x0c));
	es = 0x0c;
	check_none("  is used", guest_try(es_read, 0));
	check_fault("beyond the LDT", guest_try(load_es, 0x14), 13, 0x14);
	load_es(SEL_DATA);
	__asm__ volatile("lldt %w0" : : "r"(0));
	check_fault("no LDT", guest_try(load_es, 0x0c), 13, 0x0c);
}

/* MOV SS holds the debugger off for one instruction. */
static void stack(void)
{
	u32 sp;

	set(0, descriptor(0, 0xffff, 0x93, 0));
	__asm__ volatile("mov %%esp, %%edx\n"
			 "mov %1, %%ss\n"
			 "mov $0x12340010, %%esp\n"
			 "push %%eax\n"
			 "mov %%esp, %0\n"
			 "mov %2, %%ss\n"
			 "mov %%edx, %%esp\n"
			 : "=&r"(sp)
			 : "r"(T(0)), "r"(SEL_DATA)
			 : "edx", "memory");
	check("a 16-bit stack keeps ESP's upper half", sp, 0x1234000c);
}

static void load_ss(uptr selector)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(selector) : "memory");
}

static void stack_faults(void)
{
	set(0, descriptor(0, 0xfffff, 0x13, 0xc));
	check_fault("SS not present", guest_try(load_ss, T(0)), 12, T(0));
	check_fault("SS null", guest_try(load_ss, 0), 13, 0);
	check_fault("SS of ring 3", guest_try(load_ss, SEL_UDATA), 13, SEL_UDATA & ~3u);
}

void main(void)
{
	limits();
	types();
	far();
	queries();
	ldt();
	stack();
	stack_faults();
}
