/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that means harm: its command line names what it does, over and over, until it
 * is ended from outside or by its own doing (test_hostile.py knows which). The point is
 * what becomes of the monitor.
 */
#include "guest.h"

#define LAPIC     0xfee00000ull
#define IOAPIC    0xfec00000ull
#define NOBODY    0xfed80000ull /* no device: reads as ones */
#define RAM_END   (64ull << 20) /* as in test_hostile.py */
#define UNMAPPED  (5ull << 32)
#define COM1      0x3f8
#define ICR       0x300
#define EOI       0xb0
#define IST_STACK 0x700000ull

/* What SIDT and SGDT give, and a PVH start info as far as it is used. */
struct start_info {
	u32 magic, version, flags, modules;
	u64 modlist, cmdline;
};

extern u64 pml4[];
extern u64 pd[];
extern u32 start_info;
extern u8 guest_tss[];
static u8 area[8192] __attribute__((aligned(4096)));
static u64 noise = 88172645463325252ull;

static u64 random(void)
{
	noise ^= noise << 13;
	noise ^= noise >> 7;
	noise ^= noise << 17;
	return noise;
}

/* What interrupts are to find in memory is there by then. */
static void lapic(unsigned reg, u32 value)
{
	__asm__ volatile("" : : : "memory");
	*(volatile u32 *)(uptr)(LAPIC + reg) = value;
}

static void repeat(void (*fn)(uptr), uptr arg)
{
	for (;;)
		guest_try(fn, arg);
}

static void lidt(u64 base, u16 limit)
{
	const struct gate_table t = {limit, base};

	__asm__ volatile("lidt %0" : : "m"(t));
}

static void set_ist(unsigned n, u64 top)
{
	*(volatile u64 *)(guest_tss + 0x24 + 8 * (n - 1)) = top;
}

static void jump(uptr to)
{
	__asm__ volatile("jmp *%0" : : "r"(to));
}

static void jump_mmio(void)
{
	for (;;) {
		guest_try(jump, LAPIC + 0x20);
		guest_try(jump, LAPIC + 0xfff);
		guest_try(jump, IOAPIC);
		guest_try(jump, NOBODY);
		guest_try(jump, RAM_END);
		guest_try(jump, 0xa0000);
	}
}

static void jump_unmapped(void)
{
	repeat(jump, UNMAPPED);
}

static void jump_noncanonical(void)
{
	for (;;) {
		guest_try(jump, 0x800000000000);
		guest_try(jump, 0xffff7fffffffffff);
		guest_try(jump, 0x7fffffffffff);
	}
}

/* An instruction in each page of RAM: what is remembered of code has to have an end. */
static void code_everywhere(void)
{
	for (uptr at = 8ull << 20; at < RAM_END; at += 4096) {
		*(volatile u8 *)at = 0xc3;
		((void (*)(void))at)();
	}
}

/* The entries that map this program change while it runs, to what maps it again. */
static void own_tables(void)
{
	for (u64 n = 0;; n++) {
		volatile u64 *entry = &pd[n % 4];
		u64 value = (n % 4) << 21 | 0x87;

		*entry = value | 0x60;
		*entry = value | (n & 1) << 8;
		*entry = value;
		if (n % 3 == 0)
			invlpg((n % 4) << 21);
		if (n % 7 == 0)
			write_cr3(read_cr3());
		if (n % 11 == 0) {
			write_cr4(read_cr4() ^ 0x80);
			pd[40 + n % 8] = random();
			*(volatile u64 *)area = *(volatile u64 *)area;
		}
	}
}

static void flood(void)
{
	for (;;) {
		const void *from = (void *)0x100000;
		uptr count = 4096;

		__asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(COM1) : "memory");
	}
}

static bool rearm_deadline;

static bool count_interrupt(struct frame *frame)
{
	(void)frame;
	lapic(EOI, 0);
	if (rearm_deadline)
		wrmsr(0x6e0, 1);
	return true;
}

static void timer_periodic(void)
{
	guest_hook = count_interrupt;
	lapic(0xf0, 0x1ff);
	lapic(0x3e0, 0xb);
	lapic(0x320, 0x20040);
	lapic(0x380, 1);
	for (;;)
		__asm__ volatile("sti; hlt; nop; cli");
}

static void timer_deadline(void)
{
	guest_hook = count_interrupt;
	rearm_deadline = true;
	lapic(0xf0, 0x1ff);
	lapic(0x320, 0x40040);
	wrmsr(0x6e0, 1);
	for (;;)
		__asm__ volatile("sti; nop");
}

static void triple(void)
{
	lidt(0, 0);
	__asm__ volatile("ud2");
}

static void tables_in_mmio(void)
{
	write_cr3(LAPIC);
}

static void tables_in_nothing(void)
{
	write_cr3(NOBODY);
}

/* A page that is its own table at every level: all of memory is that page, and executing it. */
static void tables_self(void)
{
	u64 *table = (u64 *)(uptr)0x600000;

	for (unsigned n = 0; n < 512; n++)
		table[n] = 0x600000 | 0x67;
	write_cr3(0x600000);
}

static void idt_in_mmio(void)
{
	lidt(LAPIC, 0xfff);
	__asm__ volatile("int $0x20");
}

static void idt_in_nothing(void)
{
	lidt(UNMAPPED, 0xfff);
	__asm__ volatile("int $0x20");
}

static void gdt_in_mmio(void)
{
	const struct gate_table t = {0xfff, LAPIC};

	__asm__ volatile("lgdt %0; mov %1, %%ds" : : "m"(t), "r"(0x10));
}

static void to_exception(uptr arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static void tss_in_mmio(void)
{
	gdt[SEL_TSS / 8] = 0x67 | (LAPIC & 0xffffff) << 16 | 0x89ull << 40 | (LAPIC >> 24) << 56;
	gdt[SEL_TSS / 8 + 1] = 0;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	guest_try_user(to_exception, 0);
}

static void stack_at(uptr at)
{
	__asm__ volatile("mov %0, %%rsp\n"
			 "push %%rax\n"
			 "pushfq\n"
			 "call 1f\n"
			 "1: popfq\n"
			 "push $0x1234\n"
			 "ret"
			 :
			 : "r"(at)
			 : "memory");
}

static void stack_in_mmio(void)
{
	for (;;) {
		guest_try(stack_at, LAPIC + 0x400);
		guest_try(stack_at, NOBODY + 0x800);
		guest_try(stack_at, RAM_END + 8);
		guest_try(stack_at, IOAPIC + 0x20);
	}
}

static void locked(uptr at)
{
	__asm__ volatile("lock addl $1, (%0); lock xaddq %%rax, (%0); xchgb %%al, (%0);"
			 "lock cmpxchgq %%rbx, (%0); lock btsl $77, (%0); lock cmpxchg8b (%0)"
			 :
			 : "r"(at)
			 : "rax", "memory", "cc");
}

static void locked_16(uptr at)
{
	__asm__ volatile("lock cmpxchg16b (%0)" : : "r"(at) : "rax", "rdx", "memory", "cc");
}

static void lock_mmio(void)
{
	static const uptr at[] = {LAPIC + 0x80, LAPIC + ICR, NOBODY,  NOBODY + 0x3d,
				  RAM_END - 4,  RAM_END - 1, IOAPIC,  0x9ffff,
				  LAPIC - 2,    0xfff,       RAM_END, 0xbffffffd};

	for (unsigned n = 0;; n++) {
		guest_try(locked, at[n % ARRAY_LEN(at)]);
		guest_try(locked_16, at[n % ARRAY_LEN(at)] & ~15ull);
	}
}

/* MMIO to itself, backwards and forwards, 2^64 - 1 times; each is interrupted only from outside. */
static void rep_mmio(void)
{
	uptr count = ~0ull;
	uptr from = NOBODY, to = NOBODY;

	__asm__ volatile("std; rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
}

static void rep_port(void)
{
	uptr count = ~0ull, to = LAPIC + 0x80;

	for (;;)
		__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(COM1 + 5) : "memory");
}

/* Over everything that is mapped, this program too. */
static void rep_all(void)
{
	uptr count = ~0ull, to = RAM_END - 4096;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0) : "memory");
	for (;;)
		;
}

/* Instructions of 15 bytes and more, at the end of RAM. */
static void prefixes(void)
{
	u8 *end = (u8 *)RAM_END;

	for (unsigned n = 0;; n++) {
		unsigned len = 13 + n % 4;

		fill(end - 32, 0x90, 32);
		fill(end - len - n % 2, 0x66, len - 1);
		if (n % 2)
			end[-1] = 0xc3;
		guest_try(jump, RAM_END - len - n % 2);
	}
}

/* A handler that begins with the interrupt that called it, always on the same stack. */
static void int_loop(void)
{
	fill(area, 0x90, 16);
	area[0] = 0xcd;
	area[1] = 0x90;
	set_ist(1, IST_STACK);
	guest_gate(0x90, area, 0xf, 0, 1);
	jump((uptr)area);
}

/* A fault in the handler's first instruction, whose handler it is. */
static void fault_loop(void)
{
	area[0] = 0x0f;
	area[1] = 0x0b;
	set_ist(1, IST_STACK);
	guest_gate(6, area, 0xe, 0, 1);
	jump((uptr)area);
}

/* Every page fault becomes a double fault, whose handler goes back to the page fault. */
static void double_faults(void)
{
	fill(area, 0x90, 16);
	area[0] = 0x48; /* add $8, %rsp; iretq */
	area[1] = 0x83;
	area[2] = 0xc4;
	area[3] = 0x08;
	area[4] = 0x48;
	area[5] = 0xcf;
	set_ist(1, IST_STACK);
	guest_gate(8, area, 0xe, 0, 1);
	guest_gate_present(14, false);
	*(volatile u32 *)UNMAPPED = 1;
}

static bool send_again(struct frame *frame)
{
	if (frame->vector == 2) {
		lapic(ICR, 0x40400);
		return true;
	}
	if (frame->vector >= 0x20) {
		lapic(ICR, 0x40000 | (u32)(random() % 0xd0 + 0x20));
		lapic(ICR, 0x80000 | (u32)(random() % 0xd0 + 0x20));
		lapic(EOI, 0);
		return true;
	}
	return false;
}

static void ipi_storm(void)
{
	guest_hook = send_again;
	lapic(0xf0, 0x1ff);
	lapic(ICR, 0x40041);
	for (;;)
		__asm__ volatile("sti; nop; nop; pause");
}

static void nmi_storm(void)
{
	guest_hook = send_again;
	lapic(0xf0, 0x1ff);
	lapic(ICR, 0x40400);
	for (;;)
		lapic(ICR, 0x40400);
}

static void own_code(void)
{
	static const u8 code[] = {
		0x48, 0x8d, 0x3d, 0xf9, 0xff, 0xff, 0xff, /* 1: lea 1b(%rip), %rdi */
		0xfe, 0x47, 0x20,                         /* incb 0x20(%rdi) */
		0x8a, 0x07, 0x88, 0x07,                   /* mov (%rdi), %al; mov %al, (%rdi) */
		0xeb, 0xf0,                               /* jmp 1b */
	};

	copy(area, code, sizeof(code));
	jump((uptr)area);
}

/*
 * The other processor, in real mode at 0x8000, counts in the instruction at 0x9000 that this one
 * executes, and this one in an instruction there.
 */
static void cross_code(void)
{
	static const u8 other[] = {
		0xb8, 0x00, 0x09, 0x8e, 0xd8, /* mov $0x900, %ax; mov %ax, %ds */
		0xfe, 0x06, 0x01, 0x00,       /* 1: incb 1 */
		0xb0, 0x00,                   /* mov $0, %al */
		0xeb, 0xf8,                   /* jmp 1b */
	};
	static const u8 own[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $0, %eax; ret */

	copy((u8 *)0x8000, other, sizeof(other));
	copy((u8 *)0x9000, own, sizeof(own));
	lapic(0xf0, 0x1ff);
	lapic(ICR, 0xc4500);
	for (unsigned n = 0; n < 100000; n++)
		__asm__ volatile("pause");
	lapic(ICR, 0xc4608);
	for (;;) {
		((void (*)(void))0x9000)();
		(*(volatile u8 *)0x800a)++;
	}
}

static void load_garbage(uptr how)
{
	switch (how) {
	case 0:
		__asm__ volatile("xrstor64 %0" : : "m"(area), "a"(~0), "d"(~0));
		break;
	case 1:
		__asm__ volatile("fxrstor64 %0" : : "m"(area));
		break;
	case 2:
		__asm__ volatile("frstor %0" : : "m"(area));
		break;
	case 3:
		__asm__ volatile("fldenv %0" : : "m"(area));
		break;
	case 4:
		__asm__ volatile("ldmxcsr %0" : : "m"(area));
		break;
	case 5:
		__asm__ volatile(".byte 0x48, 0x0f, 0xc7, 0x1f" : : "D"(area), "a"(~0), "d"(~0));
		break;
	case 6:
		__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)random()), "d"(0));
		break;
	default:
		__asm__ volatile("fadds %0; fwait; fbstp %0; emms" : : "m"(area));
	}
}

static void garbage(void)
{
	write_cr4(read_cr4() | 1 << 18);
	for (;;) {
		for (unsigned n = 0; n < 832 / 8; n++)
			((u64 *)area)[n] = random() & (random() & 1 ? random() : ~0ull);
		if (random() & 3) {
			*(u32 *)(area + 24) &= 0xffff;
			*(u64 *)(area + 512) &= 7;
			fill(area + 520, 0, 56);
		}
		for (uptr how = 0; how < 8; how++)
			guest_try(load_garbage, how);
	}
}

static void halt(void)
{
	__asm__ volatile("cli; hlt");
}

/* Power-off, reset and crash reports are not meant here. */
static bool ends(u16 port)
{
	return port == 0x64 || port == 0x92 || port == 0x505 || (port & ~7) == 0xcf8 ||
	       (port & ~0xf) == 0x600;
}

static void ports(void)
{
	for (;;) {
		u16 port = (u16)random();

		if (random() & 3)
			port &= 0x3ff;
		if (ends(port))
			continue;
		out8(port, (u8)random());
		in8(port);
		if (!ends(port + 1))
			out16(port, (u16)random());
	}
}

static void any_access(uptr at)
{
	u64 value = random();

	switch (value >> 60 & 3) {
	case 0:
		*(volatile u8 *)at = (u8)value;
		break;
	case 1:
		*(volatile u32 *)(at & ~3ull) = (u32)value;
		break;
	case 2:
		*(volatile u64 *)at = value;
		break;
	default:
		(void)*(volatile u64 *)at;
	}
}

/* The local APIC sends INIT to its own processor here, too. */
static void mmio(void)
{
	for (;;) {
		guest_try(any_access, LAPIC + random() % 0x400);
		guest_try(any_access, IOAPIC + random() % 0x40);
		guest_try(any_access, 0xc0000000 + random() % 0x3ec00000);
		guest_try(any_access, 0xe0000000 + random() % 0x10000);
	}
}

static void wrmsr_any(uptr index)
{
	wrmsr((u32)index, rdmsr((u32)index) ^ 1ull << random() % 64);
}

/* Every register that there is, but those that this needs to go on. */
static void msrs(void)
{
	for (;;) {
		static const u32 from[] = {0, 0x200, 0x800, 0xc0000080, 0xc0010000, 0x4b564d00};
		u32 index = from[random() % ARRAY_LEN(from)] + (u32)(random() % 0x120);

		if (index != 0xc0000080 && index != 0x1b)
			guest_try(wrmsr_any, index);
	}
}

static void reset(void)
{
	out8(0x64, 0xfe);
	halt();
}

static const struct {
	const char *word;
	void (*fn)(void);
} deeds[] = {
	{"jump-mmio", jump_mmio},
	{"jump-unmapped", jump_unmapped},
	{"jump-noncanonical", jump_noncanonical},
	{"code-everywhere", code_everywhere},
	{"own-tables", own_tables},
	{"flood", flood},
	{"timer-periodic", timer_periodic},
	{"timer-deadline", timer_deadline},
	{"triple", triple},
	{"tables-in-mmio", tables_in_mmio},
	{"tables-in-nothing", tables_in_nothing},
	{"tables-self", tables_self},
	{"idt-in-mmio", idt_in_mmio},
	{"idt-in-nothing", idt_in_nothing},
	{"gdt-in-mmio", gdt_in_mmio},
	{"tss-in-mmio", tss_in_mmio},
	{"stack-in-mmio", stack_in_mmio},
	{"lock-mmio", lock_mmio},
	{"rep-mmio", rep_mmio},
	{"rep-port", rep_port},
	{"rep-all", rep_all},
	{"prefixes", prefixes},
	{"int-loop", int_loop},
	{"fault-loop", fault_loop},
	{"double-faults", double_faults},
	{"ipi-storm", ipi_storm},
	{"nmi-storm", nmi_storm},
	{"own-code", own_code},
	{"cross-code", cross_code},
	{"garbage", garbage},
	{"halt", halt},
	{"ports", ports},
	{"mmio", mmio},
	{"msrs", msrs},
	{"reset", reset},
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

void main(void)
{
	const struct start_info *info = (const struct start_info *)(uptr)start_info;

	for (unsigned n = 0; n < ARRAY_LEN(deeds); n++)
		if (same(deeds[n].word, (const char *)(uptr)info->cmdline))
			deeds[n].fn();
	say("came back\n");
}
