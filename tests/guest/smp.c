/* SPDX-License-Identifier: Apache-2.0 */
/* Several processors: INIT and SIPI, IPIs by every destination, locked instructions, also across
 * cache lines and pages, TLB shootdown, code written by another processor, NMI. */
#include "guest.h"

#define BASE   0xfee00000ull
#define ICR    0x300
#define EOI    0xb0
#define SVR    0xf0
#define LDR    0xd0
#define DFR    0xe0
#define CPUS   4
#define ROUNDS 10000u

extern u64 pml4[];
extern u8 trampoline[], trampoline_end[];

/* What the other processors do: a number that they wait for, a function. */
static volatile u32 arrived, done, go;
static void (*volatile work)(unsigned cpu);
static volatile u32 took[CPUS], nmis[CPUS];

u8 ap_stacks[CPUS][8192] __attribute__((aligned(16)));
volatile u32 ap_next;
void ap_main(unsigned cpu);

/* Copied to 0x8000: real mode to 64-bit mode, with the boot processor's tables. */
__asm__(".text\n"
	".globl trampoline, trampoline_end\n"
	".code16\n"
	"trampoline:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl 0x8100\n"
	"	mov $0x620, %eax\n"
	"	mov %eax, %cr4\n"
	"	mov 0x8110, %eax\n"
	"	mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx\n"
	"	mov $0x901, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	mov $0x80010033, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $ap_long\n"
	"trampoline_end:\n"
	".code64\n"
	"ap_long:\n"
	"	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov $1, %edi\n"
	"	lock xadd %edi, ap_next(%rip)\n"
	"	mov %edi, %eax\n"
	"	inc %eax\n"
	"	shl $13, %eax\n"
	"	lea ap_stacks(%rip), %rsp\n"
	"	add %rax, %rsp\n"
	"	lidt 0x8120\n"
	"	call ap_main\n");

static u32 rd(unsigned reg)
{
	return *(volatile u32 *)(uptr)(BASE + reg);
}

static void wr(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(BASE + reg) = value;
}

static void send(u32 dest, u32 low)
{
	wr(ICR + 0x10, dest << 24);
	wr(ICR, low);
}

static void locked_inc(volatile u32 *at)
{
	__asm__ volatile("lock incl %0" : "+m"(*at) : : "memory");
}

static void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static unsigned self(void)
{
	return rd(0x20) >> 24;
}

static bool interrupt(struct frame *frame)
{
	if (frame->vector == 2) {
		locked_inc(&nmis[self()]);
		return true;
	}
	if (frame->vector < 0x40)
		return false;
	locked_inc(&took[self()]);
	wr(EOI, 0);
	return true;
}

void ap_main(unsigned cpu)
{
	u32 seen = 0;

	wr(SVR, 0x1ff);
	wr(DFR, 0xffffffff);
	wr(LDR, 1u << (24 + self()));
	locked_inc(&arrived);
	(void)cpu;
	for (;;) {
		__asm__ volatile("sti");
		while (go == seen)
			pause();
		seen = go;
		work(self());
		locked_inc(&done);
	}
}

/* Has every processor run fn, this one too. */
static void everywhere(void (*fn)(unsigned cpu))
{
	done = 0;
	work = fn;
	locked_inc(&go);
	fn(0);
	while (done < CPUS - 1)
		pause();
}

static void wait_until(volatile u32 *what, u32 value)
{
	for (u64 n = 0; n < 30000000 && *what < value; n++)
		pause();
}

static void start(void)
{
	struct gate_table *t = (struct gate_table *)0x8100;

	copy((u8 *)0x8000, trampoline, (uptr)(trampoline_end - trampoline));
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(*t), "=m"(*(struct gate_table *)0x8120));
	*(volatile u32 *)0x8110 = (u32)read_cr3();
	send(0, 0xc4500); /* INIT to all but self */
	for (unsigned n = 0; n < 100000; n++)
		pause();
	send(0, 0xc4608); /* SIPI at 0x8000 */
	wait_until(&arrived, CPUS - 1);
	check("the others are up", arrived, CPUS - 1);
}

static void clear(void)
{
	for (unsigned n = 0; n < CPUS; n++)
		took[n] = 0;
}

/* A digit for each processor: what it took. Waits for what has to come, however late the host lets
 * a processor run, and then a while for what may not. */
static void check_taken(const char *name, u32 want)
{
	for (unsigned n = 0; n < CPUS; n++)
		wait_until(&took[n], want >> (4 * n) & 15);
	for (unsigned n = 0; n < 300000; n++)
		pause();
	check(name, took[0] | took[1] << 4 | took[2] << 8 | took[3] << 12, want);
}

static void ipis(void)
{
	__asm__ volatile("sti");
	clear();
	send(2, 0x50);
	check_taken("physical destination 2", 0x0100);
	clear();
	send(0x0a, 0x50 | 0x800);
	check_taken("logical destination, two of them", 0x1010);
	clear();
	send(0, 0x50 | 0x80000);
	check_taken("all including self", 0x1111);
	clear();
	send(0, 0x50 | 0xc0000);
	check_taken("all but self", 0x1110);
	clear();
	send(0, 0x50 | 0x40000);
	check_taken("self", 0x0001);
	clear();
	send(0xff, 0x50);
	check_taken("broadcast", 0x1111);
	clear();
	send(1, 0x400); /* NMI */
	wait_until(&nmis[1], 1);
	check("NMI", nmis[1], 1);
	__asm__ volatile("cli");
}

static volatile u8 area[8192] __attribute__((aligned(4096)));
static volatile u32 plain;

static void add_aligned(unsigned cpu)
{
	(void)cpu;
	for (u32 n = 0; n < ROUNDS; n++)
		__asm__ volatile("lock addl $1, %0" : "+m"(plain));
}

static void add_line(unsigned cpu)
{
	(void)cpu;
	for (u32 n = 0; n < ROUNDS / 10; n++)
		__asm__ volatile("lock addl $0x1010101, %0" : "+m"(*(u32 *)&area[62]));
}

static void add_page(unsigned cpu)
{
	(void)cpu;
	for (u32 n = 0; n < ROUNDS / 10; n++)
		__asm__ volatile("lock addq $1, %0" : "+m"(*(u64 *)&area[4092]));
}

static void exchange(unsigned cpu)
{
	static volatile u32 lock;
	static volatile u32 inside;

	(void)cpu;
	for (u32 n = 0; n < ROUNDS / 10; n++) {
		u32 one = 1;

		do
			__asm__ volatile("xchg %0, %1" : "+r"(one), "+m"(lock) : : "memory");
		while (one);
		inside++;
		if (inside == 1)
			area[100]++;
		inside--;
		lock = 0;
	}
}

static volatile u64 pair[2] __attribute__((aligned(16)));

static void compare_wide(unsigned cpu)
{
	(void)cpu;
	for (u32 n = 0; n < ROUNDS / 10; n++) {
		u64 lo = pair[0], hi = pair[1];
		bool ok;

		do {
			__asm__ volatile("lock cmpxchg16b %1; setz %0"
					 : "=qm"(ok), "+m"(pair), "+a"(lo), "+d"(hi)
					 : "b"(lo + 1), "c"(hi - 1)
					 : "memory", "cc");
		} while (!ok);
	}
}

static void locked(void)
{
	everywhere(add_aligned);
	check("LOCK ADD", plain, CPUS * ROUNDS);
	everywhere(add_line);
	check("LOCK ADD across a cache line", *(u32 *)&area[62],
	      (u32)(CPUS * (ROUNDS / 10) * 0x1010101u));
	everywhere(add_page);
	check("LOCK ADD across a page", *(u64 *)&area[4092], CPUS * (ROUNDS / 10));
	area[100] = 0;
	everywhere(exchange);
	check("XCHG as a lock", area[100], (u8)(CPUS * (ROUNDS / 10)));
	everywhere(compare_wide);
	check("CMPXCHG16B", pair[0], CPUS * (ROUNDS / 10));
	check("  both halves", pair[0] + pair[1], 0);
}

/* Another processor's TLB forgets when an IPI tells it to. */
#define WINDOW 0x0000123400000000ull
static u64 tables[3][512] __attribute__((aligned(4096)));
static u8 target[2][4096] __attribute__((aligned(4096)));
static volatile u32 wrong;

static bool shoot(struct frame *frame)
{
	if (frame->vector != 0x60)
		return interrupt(frame);
	invlpg(WINDOW);
	wr(EOI, 0);
	locked_inc(&done);
	return true;
}

static void reader(unsigned cpu)
{
	if (!cpu)
		return;
	__asm__ volatile("sti");
	while (*(volatile u8 *)(WINDOW + 1) != 0xee)
		pause();
}

static void shootdown(void)
{
	u64 *pte = &tables[2][WINDOW >> 12 & 511];

	pml4[WINDOW >> 39 & 511] = (uptr)tables[0] | 7;
	tables[0][WINDOW >> 30 & 511] = (uptr)tables[1] | 7;
	tables[1][WINDOW >> 21 & 511] = (uptr)tables[2] | 7;
	*pte = (uptr)target[0] | 7;
	guest_hook = shoot;
	done = 0;
	work = reader;
	locked_inc(&go);
	for (unsigned n = 0; n < 30; n++) {
		*pte = (uptr)target[n & 1] | 7;
		invlpg(WINDOW);
		done = 0;
		send(0, 0x60 | 0xc0000);
		while (done < CPUS - 1)
			pause();
		wrong += *(volatile u8 *)WINDOW != target[n & 1][0];
	}
	done = 0;
	target[0][1] = 0xee;
	target[1][1] = 0xee;
	while (done < CPUS - 1)
		pause();
	check("30 shootdowns", wrong, 0);
	guest_hook = interrupt;
}

/* Code that one processor writes and another runs. */
static u8 code[4096] __attribute__((aligned(4096)));
static volatile u32 written, ran;

static void runner(unsigned cpu)
{
	if (cpu != 1)
		return;
	for (u32 n = 1; n <= 100; n++) {
		u32 r[4];

		while (written != n)
			pause();
		cpuid(0, 0, r); /* serializes, as it has to */
		if (((u32(*)(void))(uptr)code)() != n)
			wrong++;
		ran = n;
	}
}

static void cross_modifying(void)
{
	wrong = 0;
	code[0] = 0xb8;
	code[5] = 0xc3;
	done = 0;
	work = runner;
	locked_inc(&go);
	for (u32 n = 1; n <= 100; n++) {
		*(volatile u32 *)(code + 1) = n;
		written = n;
		while (ran != n)
			pause();
	}
	while (done < CPUS - 1)
		pause();
	check("100 times code from another processor", wrong, 0);
}

void main(void)
{
	wr(SVR, 0x1ff);
	wr(DFR, 0xffffffff);
	wr(LDR, 1u << 24);
	guest_hook = interrupt;
	start();
	ipis();
	locked();
	shootdown();
	cross_modifying();
}
