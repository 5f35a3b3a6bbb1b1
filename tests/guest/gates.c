/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions and interrupts in 64-bit mode: error codes, gates, IST, stack switch and alignment,
 * double faults, IRET, flags. SDM vol. 3A chapter 6. */
#include "guest.h"

#define FLAG_TF (1u << 8)
#define FLAG_IF (1u << 9)
#define FLAG_NT (1u << 14)
#define FLAG_RF (1u << 16)

extern struct {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
} __attribute__((packed)) guest_tss;

static u8 ist_stack[4096] __attribute__((aligned(16)));
static struct frame seen;

static void divide(uptr by)
{
	__asm__ volatile("divl %0" : : "r"((u32)by), "a"(1), "d"(5) : "cc");
}

static void undefined(uptr unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void breakpoint(uptr unused)
{
	(void)unused;
	__asm__ volatile("int3");
}

static void software(uptr unused)
{
	(void)unused;
	__asm__ volatile("int $0x31");
}

static void load_ds(uptr selector)
{
	__asm__ volatile("mov %0, %%ds" : : "r"(selector) : "memory");
}

static void load_ss(uptr selector)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(selector) : "memory");
}

static void privileged(uptr unused)
{
	(void)unused;
	__asm__ volatile("hlt");
}

static void user_int(uptr unused)
{
	(void)unused;
	__asm__ volatile("int $0x31");
}

static void simple(void)
{
	struct fault f = guest_try(divide, 0);

	check_fault("#DE", f, 0, 0);
	check("  RF is pushed set", f.flags & FLAG_RF, FLAG_RF);
	check("  rip is the instruction", *(u8 *)f.ip, 0xf7);
	check_fault("#DE by a quotient too large", guest_try(divide, 1), 0, 0);
	f = guest_try(undefined, 0);
	check_fault("#UD", f, 6, 0);
	check("  rip", *(u16 *)f.ip, 0x0b0f);
	f = guest_try(breakpoint, 0);
	check_fault("#BP", f, 3, 0);
	check("  rip is after", ((u8 *)f.ip)[-1], 0xcc);
	check("  RF is clear", f.flags & FLAG_RF, 0);
	check_fault("int n", guest_try(software, 0), 0x31, 0);
	check_fault("hlt in ring 3", guest_try_user(privileged, 0), 13, 0);
	check_fault("int n in ring 3 through a DPL 0 gate", guest_try_user(user_int, 0), 13,
		    0x31 * 8 + 2);
	f = guest_try_user(breakpoint, 0);
	check_fault("#BP in ring 3", f, 3, 0);
	check("  cs", f.cs, SEL_UCODE);
	check("  ss", f.ss, SEL_UDATA);
}

static void selectors(void)
{
	gdt[SEL_FREE / 8] = 0x00cf13000000ffffull;     /* data, not present */
	gdt[SEL_FREE / 8 + 1] = 0x00cf91000000ffffull; /* data, read-only */
	gdt[SEL_FREE / 8 + 2] = 0x00af99000000ffffull; /* code, execute-only */
	gdt[SEL_FREE / 8 + 3] = 0x0000890000000067ull; /* a TSS */
	check_fault("DS beyond the GDT", guest_try(load_ds, 0x208), 13, 0x208);
	check_fault("DS not present", guest_try(load_ds, SEL_FREE), 11, SEL_FREE);
	check_fault("SS not present", guest_try(load_ss, SEL_FREE), 12, SEL_FREE);
	check_none("DS read-only", guest_try(load_ds, SEL_FREE + 8));
	check_fault("SS read-only", guest_try(load_ss, SEL_FREE + 8), 13, SEL_FREE + 8);
	check_fault("DS execute-only", guest_try(load_ds, SEL_FREE + 16), 13, SEL_FREE + 16);
	check_fault("DS a TSS", guest_try(load_ds, SEL_FREE + 24), 13, SEL_FREE + 24);
	check_fault("SS with RPL 3 in ring 0", guest_try(load_ss, SEL_DATA | 3), 13, SEL_DATA);
	check_none("SS null in ring 0 of 64-bit mode", guest_try(load_ss, 0));
	check_fault("SS null in ring 3", guest_try_user(load_ss, 3), 13, 0);
	check_none("DS null", guest_try(load_ds, 0));
	check_fault("DS of the LDT, which is null", guest_try(load_ds, 0x0c), 13, 0x0c);
	load_ds(SEL_DATA);
	gdt[SEL_FREE / 8] = 0x00cf92000000ffffull;
	load_ds(SEL_FREE);
	check("the accessed bit is set", gdt[SEL_FREE / 8] >> 40 & 1, 1);
	load_ds(SEL_DATA);
}

static uptr frame_at; /* where the handler found its frame */

static bool note_frame(struct frame *frame)
{
	if (frame->vector != 0x31)
		return false;
	frame_at = (uptr)frame + sizeof(*frame);
	seen = *frame;
	return true;
}

static void int_from(uptr by)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "sub %0, %%rsp\n\t"
			 "int $0x31\n\t"
			 "mov %%rbx, %%rsp"
			 :
			 : "r"(by)
			 : "rbx", "memory");
}

static void user_int_from(uptr by)
{
	int_from(by);
	__asm__ volatile("int $0x80" : : : "memory");
}

static void stacks(void)
{
	uptr ist = (uptr)ist_stack + sizeof(ist_stack) - 8; /* not aligned to 16 */

	guest_hook = note_frame;
	for (uptr by = 256; by < 272; by += 5) {
		guest_try(int_from, by);
		check("the frame ends at a multiple of 16", frame_at & 15, 0);
		check("  and begins below the stack that was", seen.sp - frame_at < 16, 1);
	}
	guest_tss.ist[0] = ist;
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 0, 1);
	guest_try(int_from, 256);
	check("IST gives the stack", frame_at, ist & ~15ull);
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 3, 0);
	guest_try_user(user_int_from, 256);
	guest_hook = NULL;
	check("from ring 3 the stack is RSP0", frame_at, (uptr)handler_stack_top);
	check("  ss of ring 3 is pushed", seen.ss, SEL_UDATA);
	guest_gate_default(0x31);
}

static bool note_flags(struct frame *frame)
{
	seen = *frame;
	seen.bx = read_flags();
	return frame->vector == 0x31;
}

static void int_flags(uptr flags)
{
	__asm__ volatile("push %0; popf; int $0x31; cli" : : "r"(flags) : "memory", "cc");
}

static void gate_types(void)
{
	guest_hook = note_flags;
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 0, 0);
	guest_try(int_flags, FLAG_IF | 2);
	check("an interrupt gate clears IF", seen.bx & FLAG_IF, 0);
	check("  pushes it set", seen.flags & FLAG_IF, FLAG_IF);
	guest_gate(0x31, vectors + 16 * 0x31, 0xf, 0, 0);
	guest_try(int_flags, FLAG_IF | FLAG_NT | 2);
	check("a trap gate leaves IF", seen.bx & FLAG_IF, FLAG_IF);
	check("  clears NT", seen.bx & FLAG_NT, 0);
	guest_hook = NULL;
	guest_gate(0x31, vectors + 16 * 0x31, 0xc, 0, 0);
	check_fault("a gate of the wrong type", guest_try(software, 0), 13, 0x31 * 8 + 2);
	guest_gate_default(0x31);
}

static void not_present_gate(void)
{
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 0, 0);
	guest_gate_present(0x31, false);
	check_fault("a gate not present", guest_try(software, 0), 11, 0x31 * 8 + 2);
	guest_gate(6, vectors + 16 * 6, 0xe, 0, 0);
	guest_gate_present(6, false);
	check_fault("an exception's gate not present", guest_try(undefined, 0), 11, 6 * 8 + 3);
	guest_gate_default(6);
	guest_gate_default(0x31);
}

/* A contributory exception while one is delivered. */
static void double_fault(void)
{
	guest_gate_present(13, false);
	check_fault("#GP, then #NP: double fault", guest_try_user(privileged, 0), 8, 0);
	guest_gate_default(13);
	guest_gate_present(14, false);
	check_fault("#PF, then #NP: double fault",
		    guest_try((void (*)(uptr))0x0000777700000000ull, 0), 8, 0);
	guest_gate_default(14);
	guest_gate_present(6, false);
	check_fault("#UD, then #NP: one after the other", guest_try(undefined, 0), 11, 6 * 8 + 3);
	guest_gate_default(6);
}

/* IRET to what is on the stack. */
struct iret {
	u64 ip, cs, flags, sp, ss;
};

static void iret_to(uptr at)
{
	__asm__ volatile("mov %0, %%rsp; iretq" : : "r"(at) : "memory");
}

static void landing(void)
{
	__asm__ volatile("int $0x80" : : : "memory");
}

static void iret(void)
{
	struct iret good = {(uptr)landing, SEL_CODE, 2, (uptr)stack_top - 4096, SEL_DATA};
	struct iret to = good;
	struct fault f;

	check_fault("IRET to ring 0", guest_try(iret_to, (uptr)&to), VEC_EXIT, 0);
	to = good;
	to.flags = 0x246ed7 | 0x10000;
	to.flags &= ~(u64)FLAG_TF & ~(u64)FLAG_IF;
	f = guest_try(iret_to, (uptr)&to);
	check("  flags are loaded", f.flags & ~(u64)FLAG_RF, to.flags & ~(u64)FLAG_RF);
	to = good;
	to.cs = SEL_UCODE;
	to.ss = SEL_UDATA;
	to.sp = (uptr)user_stack_top - 64;
	f = guest_try(iret_to, (uptr)&to);
	check_fault("IRET to ring 3", f, VEC_EXIT, 0);
	check("  its stack", f.sp, to.sp);
	to.ss = SEL_DATA;
	check_fault("IRET to ring 3 with a ring 0 stack", guest_try(iret_to, (uptr)&to), 13,
		    SEL_DATA);
	to.ss = SEL_UDATA;
	to.cs = SEL_DATA;
	check_fault("IRET to a data segment", guest_try(iret_to, (uptr)&to), 13, SEL_DATA);
	to.cs = 0;
	check_fault("IRET to null", guest_try(iret_to, (uptr)&to), 13, 0);
	to = good;
	to.ip = 0x8000000000000000ull;
	check_fault("IRET to an address not canonical", guest_try(iret_to, (uptr)&to), 13, 0);
	write_flags(read_flags() | FLAG_NT);
	to = good;
	f = guest_try(iret_to, (uptr)&to);
	write_flags(read_flags() & ~(uptr)FLAG_NT);
	check_fault("IRET with NT in 64-bit mode", f, 13, 0);
	to = good;
	to.cs = SEL_CODE32;
	f = guest_try(iret_to, (uptr)&to);
	check("IRET to compatibility mode", f.cs, SEL_CODE32);
}

void main(void)
{
	simple();
	selectors();
	stacks();
	gate_types();
	not_present_gate();
	double_fault();
	iret();
}
