/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches: by far JMP and CALL, by a task gate in the IDT, back by IRET; busy bits,
 * back links, NT, the debug trap. SDM vol. 3A chapter 7. */
#include "guest.h"

#define FLAG_NT   (1u << 14)
#define SEL_A     (SEL_FREE)
#define SEL_B     (SEL_FREE + 8)
#define SEL_C     (SEL_FREE + 16)
#define TYPE(sel) (((volatile u64 *)gdt)[(sel) / 8] >> 40 & 0xf)

struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
} __attribute__((packed));

static volatile struct tss first, second;
static u8 second_stack[4096];

/* What the second task found. */
volatile u32 task_ran, task_flags, task_eax, task_tr, task_link, task_first_type, task_error;

static void describe(unsigned sel, volatile struct tss *tss)
{
	uptr base = (uptr)tss;

	((volatile u64 *)gdt)[sel / 8] = (sizeof(*tss) - 1) | (u64)(base & 0xffffff) << 16 |
					 0x89ull << 40 | (u64)(base >> 24) << 56;
}

static void prepare(void (*entry)(void))
{
	second = (struct tss){
		.eip = (uptr)entry,
		.eflags = 2,
		.eax = 0x12345678,
		.esp = (uptr)second_stack + sizeof(second_stack),
		.es = SEL_DATA,
		.cs = SEL_CODE,
		.ss = SEL_DATA,
		.ds = SEL_DATA,
		.iomap = sizeof(second),
	};
	describe(SEL_B, &second);
	task_ran = 0;
}

void note_task(u32 eax)
{
	u16 tr;

	task_ran++;
	task_eax = eax;
	task_flags = read_flags();
	__asm__ volatile("str %0" : "=r"(tr));
	task_tr = tr;
	task_link = second.link;
	task_first_type = (u32)TYPE(SEL_A);
}

__asm__(".text\n"
	/* Entered by CALL or by the IDT: back by IRET, and from its next instruction on again. */
	".globl nested_task\n"
	"nested_task:\n"
	"	push %eax\n"
	"	call note_task\n"
	"	pop %eax\n"
	"	iret\n"
	"	jmp nested_task\n"
	/* Entered by the IDT with an error code. */
	".globl error_task\n"
	"error_task:\n"
	"	pop task_error\n"
	"	movb $0x93, gdt+0x60+5\n"
	"	push %eax\n"
	"	call note_task\n"
	"	pop %eax\n"
	"	iret\n"
	"	jmp error_task\n"
	/* Entered by JMP: back by JMP. */
	".globl jumped_task\n"
	"jumped_task:\n"
	"	push %eax\n"
	"	call note_task\n"
	"	pop %eax\n"
	"	ljmp $0x50, $0\n"
	"	jmp jumped_task\n");
void nested_task(void);
void jumped_task(void);
void error_task(void);

static void call_task(uptr selector)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) to = {0, (u16)selector};

	__asm__ volatile("lcall *(%0)" : : "r"(&to) : "memory", "cc");
}

static void jump_task(uptr selector)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) to = {0, (u16)selector};

	__asm__ volatile("ljmp *(%0)" : : "r"(&to) : "memory", "cc");
}

static void load_es(uptr selector)
{
	__asm__ volatile("mov %0, %%es" : : "r"(selector) : "memory");
}

static void by_call(void)
{
	prepare(nested_task);
	check_none("CALL to a TSS and IRET", guest_try(call_task, SEL_B));
	check("  the task ran", task_ran, 1);
	check("  its registers come from its TSS", task_eax, 0x12345678);
	check("  NT is set", task_flags & FLAG_NT, FLAG_NT);
	check("  TR", task_tr, SEL_B);
	check("  the back link", task_link & 0xffff, SEL_A);
	check("  the first stayed busy", task_first_type, 0xb);
	check("  after IRET it is busy, the second is not", TYPE(SEL_A) << 4 | TYPE(SEL_B), 0xb9);
	check("  NT is clear again", read_flags() & FLAG_NT, 0);
	check("  CR0.TS", read_cr0() & 8, 8);
	__asm__ volatile("clts");
	check_none("again: it goes on behind its IRET", guest_try(call_task, SEL_B));
	check("  the task ran", task_ran, 2);
	check_fault("CALL to the busy TSS", guest_try(call_task, SEL_A), 13, SEL_A);
	((volatile u64 *)gdt)[SEL_B / 8] &= ~(0x80ull << 40);
	check_fault("CALL to a TSS that is not present", guest_try(call_task, SEL_B), 11, SEL_B);
}

static void by_jump(void)
{
	prepare(jumped_task);
	check_none("JMP to a TSS and back", guest_try(jump_task, SEL_B));
	check("  the task ran", task_ran, 1);
	check("  NT is clear", task_flags & FLAG_NT, 0);
	check("  the first was not busy meanwhile", task_first_type, 0x9);
}

static void by_gate(void)
{
	guest_gate(0x31, 0, 5, 0, 0);
	guest_gate_selector(0x31, SEL_B);
	prepare(nested_task);
	__asm__ volatile("int $0x31" : : : "memory", "cc");
	check("INT through a task gate", task_ran, 1);
	check("  NT is set", task_flags & FLAG_NT, FLAG_NT);
	guest_gate_default(0x31);
	/* An exception with an error code: it lies on the new task's stack. The task mends what
	 * was wrong, and its IRET tries again. */
	guest_gate(11, 0, 5, 0, 0);
	guest_gate_selector(11, SEL_B);
	prepare(error_task);
	((volatile u64 *)gdt)[SEL_C / 8] = 0x00cf13000000ffffull;
	check_none("#NP through a task gate", guest_try(load_es, SEL_C));
	check("  the task ran", task_ran, 1);
	check("  the error code", task_error, SEL_C);
	guest_gate_default(11);
}

static void bad(void)
{
	prepare(nested_task);
	second.ds = SEL_TSS;
	check_fault("a data segment that is none: #TS in the new task", guest_try(call_task, SEL_B),
		    10, SEL_TSS);
}

void main(void)
{
	describe(SEL_A, &first);
	first.esp0 = (uptr)handler_stack_top;
	first.ss0 = SEL_DATA;
	__asm__ volatile("ltr %w0" : : "r"(SEL_A));
	check("LTR makes it busy", TYPE(SEL_A), 0xb);
	by_call();
	by_jump();
	by_gate();
	bad();
}
