/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual-8086 mode: in by IRET, out by exceptions; IOPL-sensitive instructions, the I/O permission
 * bitmap, CR4.VME's interrupt redirection and virtual interrupt flag. SDM vol. 3A chapter 20. */
#include "guest.h"

#define FLAG_IF  (1u << 9)
#define FLAG_VM  (1u << 17)
#define FLAG_VIF (1u << 19)
#define FLAG_VIP (1u << 20)
#define IOPL3    (3u << 12)
#define CODE     0x8000u /* where the 16-bit code lies */
#define STACK    0x7000u

struct tss {
	u32 link, esp0, ss0, unused[21];
	u32 ldt;
	u16 trap, iomap;
	u8 redirection[32];
	u8 ports[8193];
} __attribute__((packed));
static struct tss tss;

/* The frame that entering ring 0 from virtual-8086 mode leaves. */
static struct {
	u32 ip, cs, flags, sp, ss, es, ds, fs, gs;
} seen;

static bool note(struct frame *frame)
{
	const u32 *f = (const u32 *)&frame->ip;

	if (frame->flags & FLAG_VM)
		copy(&seen, f, sizeof(seen));
	return false;
}

/* Runs the code at CODE with these flags; how it ends. */
static void enter(uptr flags)
{
	__asm__ volatile("push $0x4444\n" /* GS */
			 "push $0x3333\n"
			 "push $0x2222\n" /* DS */
			 "push $0x1111\n" /* ES */
			 "push $0\n"      /* SS */
			 "push %1\n"
			 "push %0\n"
			 "push $0x800\n"
			 "push $0\n"
			 "iret\n"
			 :
			 : "r"(flags | FLAG_VM | 2), "r"(STACK)
			 : "memory");
}

static struct fault run(const void *code, uptr len, u32 flags)
{
	copy((void *)CODE, code, len);
	return guest_try(enter, flags);
}

#define RUN(flags, ...) \
	run((const u8[]){__VA_ARGS__, 0xf4}, sizeof((const u8[]){__VA_ARGS__, 0xf4}), flags)

static void basics(void)
{
	struct fault f = RUN(IOPL3, 0x90);

	check_fault("HLT in virtual-8086 mode", f, 13, 0);
	check("  CS:IP", seen.cs << 16 | seen.ip, 0x08000001);
	check("  SS:SP", seen.ss << 16 | seen.sp, STACK);
	check("  VM in the pushed flags", seen.flags & FLAG_VM, FLAG_VM);
	check("  ES", seen.es, 0x1111);
	check("  DS", seen.ds, 0x2222);
	check("  FS", seen.fs, 0x3333);
	check("  GS", seen.gs, 0x4444);
	/* mov ax, 0x900; mov ds, ax; mov word [0x10], 0xbeef */
	RUN(IOPL3, 0xb8, 0x00, 0x09, 0x8e, 0xd8, 0xc7, 0x06, 0x10, 0x00, 0xef, 0xbe);
	check("addresses are segment * 16 + offset", *(volatile u16 *)0x9010, 0xbeef);
	check_fault("MOV CR0", RUN(IOPL3, 0x0f, 0x20, 0xc0), 13, 0);
	check("  is not executed", seen.ip, 0);
	check_fault("LGDT", RUN(IOPL3, 0x0f, 0x01, 0x16, 0x00, 0x00), 13, 0);
	check_fault("LLDT is invalid", RUN(IOPL3, 0x0f, 0x00, 0xd0), 6, 0);
	check_fault("ARPL is invalid", RUN(IOPL3, 0x63, 0xc0), 6, 0);
}

static void sensitive(void)
{
	check_fault("CLI with IOPL 0", RUN(0, 0xfa), 13, 0);
	check("  is not executed", seen.ip, 0);
	check_fault("PUSHF with IOPL 0", RUN(0, 0x9c), 13, 0);
	check("  is not executed", seen.ip, 0);
	RUN(IOPL3 | FLAG_IF, 0xfa);
	check("CLI with IOPL 3", seen.flags & FLAG_IF, 0);
	check("  is executed", seen.ip, 1);
	check_fault("INT n with IOPL 0", RUN(0, 0xcd, 0x31), 13, 0);
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 3, 0);
	check_fault("INT n with IOPL 3: the IDT", RUN(IOPL3, 0xcd, 0x31), 0x31, 0);
	check("  IP is behind it", seen.ip, 2);
	check_fault("INT3", RUN(0, 0xcc), 3, 0);
	guest_gate_default(0x31);
}

static void ports(void)
{
	fill(tss.ports, 0, sizeof(tss.ports));
	tss.ports[8192] = 0xff;
	RUN(0, 0xe4, 0x80); /* in al, 0x80 */
	check("IN that the bitmap permits, with IOPL 0", seen.ip, 2);
	tss.ports[0x80 / 8] = 1;
	check_fault("IN that it does not", RUN(IOPL3, 0xe4, 0x80), 13, 0);
	check("  is not executed", seen.ip, 0);
	tss.ports[0x80 / 8] = 2;
	check_fault("a word of which it forbids half", RUN(IOPL3, 0xe5, 0x80), 13, 0);
	check("  is not executed", seen.ip, 0);
}

/* CR4.VME. */
static void extensions(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	if (!(r[3] & 2))
		return;
	write_cr4(read_cr4() | 1);
	fill(tss.redirection, 0, sizeof(tss.redirection));
	((volatile u16 *)0)[2 * 0x31] = 0x100;
	((volatile u16 *)0)[2 * 0x31 + 1] = 0x800;
	*(volatile u8 *)(CODE + 0x100) = 0xf4;
	RUN(0, 0xcd, 0x31);
	check("INT n redirected to the task's own table", seen.ip, 0x100);
	check("  CS", seen.cs, 0x800);
	check("  its frame", *(volatile u16 *)(STACK - 6), 2);
	check("  SP", seen.sp, STACK - 6);
	tss.redirection[0x31 / 8] = 1 << (0x31 % 8);
	check_fault("  not redirected, IOPL 0", RUN(0, 0xcd, 0x31), 13, 0);
	RUN(FLAG_VIF, 0xfa);
	check("CLI clears VIF", seen.flags & (FLAG_VIF | FLAG_IF), 0);
	check("  and is executed", seen.ip, 1);
	RUN(FLAG_IF, 0xfb);
	check("STI sets VIF", seen.flags & FLAG_VIF, FLAG_VIF);
	check_fault("STI with VIP", RUN(FLAG_VIP, 0xfb), 13, 0);
	check("  is not executed", seen.ip, 0);
	RUN(FLAG_VIF, 0x9c);
	check("PUSHF shows VIF as IF, IOPL 3", *(volatile u16 *)(STACK - 2) & 0x3200, 0x3200);
	write_cr4(read_cr4() & ~1u);
}

void main(void)
{
	uptr base = (uptr)&tss;

	tss.esp0 = (uptr)handler_stack_top;
	tss.ss0 = SEL_DATA;
	tss.iomap = (u16)((uptr)tss.ports - base);
	gdt[SEL_FREE / 8] = (sizeof(tss) - 1) | (u64)(base & 0xffffff) << 16 | 0x89ull << 40 |
			    (u64)(base >> 24) << 56;
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE) : "memory");
	guest_hook = note;
	basics();
	sensitive();
	ports();
	extensions();
}
