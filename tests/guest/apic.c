/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC from its processor: registers, IPIs to self, priorities, timer modes, errors,
 * x2APIC; the I/O APIC and the PIT through it. SDM vol. 3A chapter 11. */
#include "guest.h"

#define BASE     0xfee00000ull
#define ID       0x20
#define VERSION  0x30
#define TPR      0x80
#define PPR      0xa0
#define EOI      0xb0
#define SVR      0xf0
#define ISR      0x100
#define TMR      0x180
#define IRR      0x200
#define ESR      0x280
#define ICR      0x300
#define ICR_HIGH 0x310
#define TIMER    0x320
#define LINT0    0x350
#define INITIAL  0x380
#define CURRENT  0x390
#define DIVIDE   0x3e0
#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define SELF     0x40000u
#define IOAPIC   0xfec00000ull

static volatile u32 count[256];
static unsigned order[16], ordered;
static bool leave_eoi, in_x2apic;

static u32 rd(unsigned reg)
{
	return *(volatile u32 *)(uptr)(BASE + reg);
}

static void wr(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(BASE + reg) = value;
}

static u32 bit(unsigned reg, unsigned vector)
{
	return rd(reg + vector / 32 * 16) >> (vector % 32) & 1;
}

static bool took(struct frame *frame)
{
	if (frame->vector < 32 || frame->vector == VEC_EXIT)
		return false;
	count[frame->vector]++;
	if (ordered < ARRAY_LEN(order))
		order[ordered++] = (unsigned)frame->vector;
	if (in_x2apic)
		wrmsr(0x80b, 0);
	else if (!leave_eoi)
		wr(EOI, 0);
	return true;
}

static void open_window(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void self_ipi(u32 vector)
{
	wr(ICR, SELF | vector);
}

static void interrupts(void)
{
	self_ipi(0x50);
	check("an IPI to self is pending", bit(IRR, 0x50), 1);
	check("  and not taken with IF clear", count[0x50], 0);
	open_window();
	check("taken with IF set", count[0x50], 1);
	check("  no longer pending", bit(IRR, 0x50), 0);
	check("  no longer in service", bit(ISR, 0x50), 0);
	ordered = 0;
	self_ipi(0x51);
	self_ipi(0x91);
	self_ipi(0x71);
	open_window();
	check("the highest first", order[0], 0x91);
	check("  then", order[1], 0x71);
	check("  then", order[2], 0x51);
	self_ipi(0x52);
	self_ipi(0x52);
	open_window();
	check("two of one vector are one", count[0x52], 1);
}

static void priorities(void)
{
	wr(TPR, 0x60);
	check("PPR is TPR", rd(PPR), 0x60);
	self_ipi(0x61);
	open_window();
	check("held off by TPR", count[0x61], 0);
	self_ipi(0x70);
	open_window();
	check("a higher class is not", count[0x70], 1);
	wr(TPR, 0);
	open_window();
	check("taken when TPR falls", count[0x61], 1);
	leave_eoi = true;
	self_ipi(0x82);
	open_window();
	check("in service without EOI", bit(ISR, 0x82), 1);
	check("PPR is its class", rd(PPR), 0x80);
	self_ipi(0x85);
	open_window();
	check("the same class waits", count[0x85], 0);
	self_ipi(0x90);
	open_window();
	check("a higher one interrupts", count[0x90], 1);
	wr(EOI, 0);
	wr(EOI, 0);
	leave_eoi = false;
	open_window();
	check("and then it comes", count[0x85], 1);
	__asm__ volatile("mov %0, %%cr8" : : "r"(9ull));
	check("CR8 is TPR", rd(TPR), 0x90);
	wr(TPR, 0x34);
	{
		u64 cr8;

		__asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
		check("TPR is CR8", cr8, 3);
	}
	wr(TPR, 0);
}

static void wait_for(volatile u32 *what, u32 until)
{
	for (unsigned n = 0; n < 2000 && *what < until; n++) {
		__asm__ volatile("sti" : : : "memory");
		for (unsigned i = 0; i < 2000; i++)
			__asm__ volatile("pause");
		__asm__ volatile("cli" : : : "memory");
	}
}

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static void timer(void)
{
	u32 r[4];

	wr(DIVIDE, 0xb); /* by 1 */
	wr(TIMER, 0xa0);
	wr(INITIAL, 100000);
	check("counts from the initial count", rd(CURRENT) <= 100000, 1);
	wait_for(&count[0xa0], 1);
	check("one shot", count[0xa0], 1);
	check("  stands at 0", rd(CURRENT), 0);
	wr(TIMER, 0xa1 | PERIODIC);
	wr(INITIAL, 1000000);
	wait_for(&count[0xa1], 3);
	check("periodic", count[0xa1] >= 3, 1);
	wr(INITIAL, 0);
	open_window();
	count[0xa1] = 0;
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	open_window();
	check("initial count 0 stops it", count[0xa1], 0);
	wr(TIMER, 0xa2 | MASKED);
	wr(INITIAL, 1000);
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	open_window();
	check("masked", count[0xa2], 0);
	cpuid(1, 0, r);
	if (!(r[2] & 1 << 24))
		return;
	wr(TIMER, 0xa3 | DEADLINE);
	wrmsr(0x6e0, rdtsc() + 1000000);
	wait_for(&count[0xa3], 1);
	check("TSC deadline", count[0xa3], 1);
	check("  reads as 0 then", rdmsr(0x6e0), 0);
	wrmsr(0x6e0, 1);
	wait_for(&count[0xa3], 2);
	check("a deadline in the past", count[0xa3], 2);
	wrmsr(0x6e0, rdtsc() + (1ull << 40));
	check("an armed deadline reads back", rdmsr(0x6e0) != 0, 1);
	wrmsr(0x6e0, 0);
	check("disarmed", rdmsr(0x6e0), 0);
	wr(TIMER, MASKED);
}

static void registers(void)
{
	check("ID", rd(ID), 0);
	check("version", rd(VERSION) & 0xf0, 0x10);
	wr(ESR, 0);
	wr(ESR, 0);
	check("ESR is clear", rd(ESR), 0);
	wr(SVR, 0xff);
	check("disabled: LVTs are masked", rd(LINT0) & MASKED, MASKED);
	wr(LINT0, 0);
	check("  and stay so", rd(LINT0) & MASKED, MASKED);
	wr(SVR, 0x1ff);
}

static void io_write(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)IOAPIC = reg;
	*(volatile u32 *)(uptr)(IOAPIC + 0x10) = value;
}

static u32 io_read(unsigned reg)
{
	*(volatile u32 *)(uptr)IOAPIC = reg;
	return *(volatile u32 *)(uptr)(IOAPIC + 0x10);
}

/* The PIT is pin 2 of the I/O APIC. */
static void ioapic(void)
{
	check("I/O APIC pins", io_read(1) >> 16 & 0xff, 23);
	io_write(0x10 + 2 * 2 + 1, 0);
	io_write(0x10 + 2 * 2, 0xb0);
	out8(0x43, 0x34); /* channel 0, rate generator */
	out8(0x40, 0x00);
	out8(0x40, 0x10);
	wait_for(&count[0xb0], 3);
	check("the PIT by the I/O APIC", count[0xb0] >= 3, 1);
	io_write(0x10 + 2 * 2, MASKED | 0xb0);
	open_window();
	count[0xb0] = 0;
	for (unsigned n = 0; n < 200000; n++)
		__asm__ volatile("pause");
	open_window();
	check("masked at the I/O APIC", count[0xb0], 0);
	/* And by the 8259s: virtual wire. */
	out8(0x20, 0x11);
	out8(0x21, 0xc0);
	out8(0x21, 0x04);
	out8(0x21, 0x01);
	out8(0x21, 0xfe);
	wr(LINT0, 0x700);
	for (unsigned n = 0; n < 2000 && count[0xc0] < 3; n++) {
		__asm__ volatile("sti" : : : "memory");
		for (unsigned i = 0; i < 2000; i++)
			__asm__ volatile("pause");
		__asm__ volatile("cli" : : : "memory");
		out8(0x20, 0x20);
	}
	check("the PIT by the 8259s", count[0xc0] >= 3, 1);
	out8(0x21, 0xff);
	wr(LINT0, MASKED);
}

static void read_x2apic(uptr reg)
{
	rdmsr((u32)(0x800 + reg / 16));
}

static void write_x2apic(uptr reg)
{
	wrmsr((u32)(0x800 + reg / 16), 1ull << 40);
}

static void set_base(uptr value)
{
	wrmsr(0x1b, value);
}

static void x2apic(void)
{
	u32 r[4];
	u64 base = rdmsr(0x1b);

	cpuid(1, 0, r);
	check("the boot processor", base & 0x100, 0x100);
	check_fault("x2APIC registers in xAPIC mode", guest_try(read_x2apic, ID), 13, 0);
	if (!(r[2] & 1 << 21))
		return;
	wrmsr(0x1b, base | 0x400);
	check("x2APIC id", rdmsr(0x802), 0);
	in_x2apic = true;
	wrmsr(0x83f, 0x55); /* SELF IPI */
	open_window();
	check("SELF IPI", count[0x55], 1);
	check_fault("a register that is reserved", guest_try(read_x2apic, 0x0c0), 13, 0);
	check_fault("a reserved bit", guest_try(write_x2apic, TPR), 13, 0);
	check_fault("EOI other than 0", guest_try(write_x2apic, EOI), 13, 0);
	check_fault("from x2APIC to xAPIC", guest_try(set_base, base), 13, 0);
	in_x2apic = false;
	wrmsr(0x1b, base & ~0x800ull);
	wrmsr(0x1b, base);
	check("by way of disabled", rdmsr(0x1b), base);
	check_fault("a base above MAXPHYADDR", guest_try(set_base, base | 1ull << 60), 13, 0);
}

void main(void)
{
	wr(SVR, 0x1ff);
	guest_hook = took;
	registers();
	interrupts();
	priorities();
	timer();
	ioapic();
	x2apic();
}
