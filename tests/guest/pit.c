/* SPDX-License-Identifier: Apache-2.0 */
/* The interval timer: counting modes, latches and read-back, counter 0's interrupts by the 8259s
 * and by the I/O APIC, counter 2's gate and output at port 61. Intel 231164 (8254). No verdict is
 * about how long something takes. */
#include "guest.h"

#define LAPIC   0xfee00000ull
#define IOAPIC  0xfec00000ull
#define EOI     0xb0
#define SVR     0xf0
#define LINT0   0x350
#define MASKED  0x10000u
#define EXTINT  0x700u
#define CONTROL 0x43
#define PORT_B  0x61
#define GATE_2  0x01
#define OUT_2   0x20

/* Control words: counter, both bytes, mode; and BCD. */
#define SET(counter, mode) ((counter) << 6 | 0x30 | (mode) << 1)
#define BCD                1

static volatile u32 by_pic, by_ioapic;

static bool took(struct frame *frame)
{
	switch (frame->vector) {
	case 0xb0:
		by_ioapic++;
		*(volatile u32 *)(uptr)(LAPIC + EOI) = 0;
		return true;
	case 0xc0:
		by_pic++;
		out8(0x20, 0x20);
		return true;
	default:
		return false;
	}
}

static void load(unsigned counter, u8 control, u16 value)
{
	out8(CONTROL, control);
	out8((u16)(0x40 + counter), (u8)value);
	out8((u16)(0x40 + counter), (u8)(value >> 8));
}

static u16 read_count(unsigned counter)
{
	u8 low = in8((u16)(0x40 + counter));

	return (u16)(low | in8((u16)(0x40 + counter)) << 8);
}

static u16 latched(unsigned counter)
{
	out8(CONTROL, (u8)(counter << 6));
	return read_count(counter);
}

static u8 status(unsigned counter)
{
	out8(CONTROL, (u8)(0xe0 | 2 << counter));
	return in8((u16)(0x40 + counter));
}

static void open_window(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* Until so many came, or far longer than that takes. */
static void wait_for(volatile u32 *what, u32 until)
{
	for (unsigned n = 0; n < 20000 && *what < until; n++) {
		__asm__ volatile("sti" : : : "memory");
		for (unsigned i = 0; i < 2000; i++)
			__asm__ volatile("pause");
		__asm__ volatile("cli" : : : "memory");
	}
}

/* Lets at least so many ticks of counter 0, in mode 2 with 65536, go by. */
static void ticks(u32 wanted)
{
	u32 passed = 0;
	u16 last;

	load(0, SET(0, 2), 0);
	last = latched(0);
	while (passed < wanted) {
		u16 now = latched(0);

		passed += (u16)(last - now);
		last = now;
	}
}

/* --- reading --------------------------------------------------------------------------------- */

/* That something is so in one of many attempts: where a counter that goes round in 55 ms is looked
 * at twice, the host may have the processor stand longer in between. */
static void check_once(const char *name, bool (*is_so)(void))
{
	unsigned n = 0;

	while (n < 200 && !is_so())
		n++;
	check(name, n < 200, 1);
}

static bool falls(void)
{
	u16 a = latched(0), b;

	do
		b = latched(0);
	while (b == a);
	return (u16)(a - b) < 0x1000;
}

/* The low byte, then long after it the high one. */
static bool latch_holds(void)
{
	u16 before = latched(0), held;
	u8 low;

	out8(CONTROL, 0x00);
	low = in8(0x40);
	for (unsigned n = 0; n < 1000; n++)
		__asm__ volatile("pause");
	held = (u16)(low | in8(0x40) << 8);
	return (u16)(before - held) < 0x100;
}

static bool read_back(void)
{
	u16 before = latched(0);

	out8(CONTROL, 0xd2);
	return (u16)(before - read_count(0)) < 0x1000;
}

static void counting(void)
{
	u16 a;
	u8 low;

	load(0, SET(0, 2), 0);
	check_once("counts down", falls);
	check_once("a latched count holds until it is read", latch_holds);
	check_once("by read-back", read_back);
	out8(CONTROL, 0xc2); /* status, then count */
	low = in8(0x40);
	read_count(0);
	check("status: both bytes, mode 2", low & 0x3f, 0x34);
	load(0, SET(0, 3) | BCD, 0x9999);
	check("status: mode 3, BCD", status(0) & 0x3f, 0x37);
	a = latched(0);
	check("  no digit above 9",
	      (a & 15) < 10 && (a >> 4 & 15) < 10 && (a >> 8 & 15) < 10 && a >> 12 < 10, 1);
	out8(CONTROL, 0x14); /* counter 0, low byte only, mode 2 */
	out8(0x40, 200);
	check("low byte only", in8(0x40) <= 200, 1);
	out8(CONTROL, 0x34);
	out8(0x40, 1);
	check("half a count: null count", status(0) & 0x40, 0x40);
	out8(0x40, 0x40);
	ticks(100);
	check("  not after a whole one", status(0) & 0x40, 0);
}

/* --- counter 2 ------------------------------------------------------------------------------- */

/* Whether OUT comes to be so. */
static bool out_is(u8 level)
{
	unsigned n = 0;

	while (n < 10000000 && (in8(PORT_B) & OUT_2) != level)
		n++;
	return n < 10000000;
}

static bool new_count_falls(void)
{
	load(2, SET(2, 0), 0);
	return !(in8(PORT_B) & OUT_2);
}

static bool low_while_it_counts(void)
{
	load(2, SET(2, 1), 0);
	out8(PORT_B, 0);
	out8(PORT_B, GATE_2);
	return !(in8(PORT_B) & OUT_2);
}

static void speaker(void)
{
	u16 a, b;

	out8(PORT_B, GATE_2);
	load(2, SET(2, 0), 2000);
	check("mode 0: OUT rises at the end of the count", out_is(OUT_2), 1);
	check("  and in the status", status(2) & 0x80, 0x80);
	ticks(3000);
	check("  and stays", in8(PORT_B) & OUT_2, OUT_2);
	check_once("a new count: OUT falls", new_count_falls);
	out8(PORT_B, 0);
	a = latched(2);
	ticks(500);
	b = latched(2);
	check("the gate low: it stands", a, b);
	out8(PORT_B, GATE_2);
	ticks(500);
	check("  high: it goes on", latched(2) < b, 1);
	out8(PORT_B, 0);
	load(2, SET(2, 1), 1000);
	ticks(2000);
	check("mode 1: nothing before the gate rises", in8(PORT_B) & OUT_2, OUT_2);
	out8(PORT_B, GATE_2);
	ticks(5000);
	check("  OUT is high again behind its count", in8(PORT_B) & OUT_2, OUT_2);
	check_once("  low while it counts", low_while_it_counts);
	load(2, SET(2, 3), 1000);
	check("mode 3: OUT low for half", out_is(0), 1);
	check("  high for half", out_is(OUT_2), 1);
	load(2, SET(2, 2), 0);
	check("mode 2: OUT is high", in8(PORT_B) & OUT_2, OUT_2);
	load(2, SET(2, 4), 100);
	ticks(200);
	check("mode 4: OUT is high but for a tick", in8(PORT_B) & OUT_2, OUT_2);
	check("port 61: the gate reads back", in8(PORT_B) & 3, GATE_2);
	out8(PORT_B, 0);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static void io_apic(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)IOAPIC = reg;
	*(volatile u32 *)(uptr)(IOAPIC + 0x10) = value;
}

static void lapic(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(LAPIC + reg) = value;
}

/* Mode 0 gives one interrupt, mode 2 one after the other. */
static void modes(const char *one, const char *more, const char *many, volatile u32 *came)
{
	load(0, SET(0, 0), 0); /* OUT falls: what was pending by its level is gone */
	open_window();
	*came = 0;
	load(0, SET(0, 0), 1000);
	wait_for(came, 1);
	check(one, *came, 1);
	for (unsigned n = 0; n < 100; n++) {
		for (unsigned i = 0; i < 2000; i++)
			__asm__ volatile("pause");
		open_window();
	}
	check("  and no other", *came, 1);
	load(0, SET(0, 0), 500);
	wait_for(came, 2);
	check(more, *came, 2);
	load(0, SET(0, 2), 2000);
	*came = 0;
	wait_for(came, 5);
	check(many, *came >= 5, 1);
	load(0, SET(0, 3), 2000);
	*came = 0;
	wait_for(came, 5);
	check("  in mode 3, too", *came >= 5, 1);
	out8(CONTROL, SET(0, 2)); /* no count yet: it does not count */
	open_window();
	open_window();
	*came = 0;
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	open_window();
	check("a control word alone stops it", *came, 0);
}

static void pic(void)
{
	out8(0x20, 0x11); /* vectors c0 and c8, edges, 8086 */
	out8(0x21, 0xc0);
	out8(0x21, 0x04);
	out8(0x21, 0x01);
	out8(0xa0, 0x11);
	out8(0xa1, 0xc8);
	out8(0xa1, 0x02);
	out8(0xa1, 0x01);
	out8(0x21, 0xfe);
	lapic(LINT0, EXTINT);
	modes("the 8259s: mode 0, one interrupt", "  another with another count",
	      "  mode 2, interrupts one after the other", &by_pic);
	out8(0x21, 0xff);
	load(0, SET(0, 2), 2000);
	by_pic = 0;
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	open_window();
	check("  masked", by_pic, 0);
	out8(0x20, 0x0a); /* reads are of IRR */
	check("  it waits", in8(0x20) & 1, 1);
	out8(0x21, 0xfe);
	wait_for(&by_pic, 1);
	check("  and comes", by_pic > 0, 1);
	out8(0x21, 0xff);
	lapic(LINT0, MASKED);
}

static void apic(void)
{
	io_apic(0x10 + 2 * 2 + 1, 0);
	io_apic(0x10 + 2 * 2, 0xb0);
	modes("the I/O APIC: mode 0, one interrupt", "  another with another count",
	      "  mode 2, interrupts one after the other", &by_ioapic);
	io_apic(0x10 + 2 * 2, MASKED | 0xb0);
	load(0, SET(0, 2), 2000);
	open_window();
	by_ioapic = 0;
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	open_window();
	check("  masked", by_ioapic, 0);
}

void main(void)
{
	guest_hook = took;
	lapic(SVR, 0x1ff);
	lapic(LINT0, MASKED);
	counting();
	speaker();
	pic();
	apic();
}
