/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What single operations cost a guest, in cycles of its time-stamp counter: the list of Adams and
 * Agesen (A comparison of software and hardware techniques for x86 virtualization, ASPLOS 2006) and
 * some more. A guest without an operating system, built on tests/guest.
 *
 * Each operation is done in BATCHES batches of a fixed number; a line "nano NAME CYCLES" gives the
 * middle one's cycles for one operation. With a second processor only what needs one is measured:
 * it would make the rest dearer. Handlers do the least that lets the interrupted code go on. What
 * needs ring 3 is measured there; loops are unrolled and not subtracted.
 */
#include "guest.h"

#define BATCHES 21

#define STAR    0xc0000081
#define LSTAR   0xc0000082
#define FMASK   0xc0000084
#define SCRATCH 0x3ff /* the UART's register without a meaning */
#define APIC    0xfee00000ull
#define EOI     "0xfee000b0"
#define SVR     0xf0
#define ICR     0x300
#define ICR_TO  0x310
#define TIMER   0x320
#define INITIAL 0x380
#define CURRENT 0x390
#define DIVIDE  0x3e0
#define SELF    0x40000u
#define VECTOR  0x50
#define IOAPIC  0xfec00000ull
#define WINDOW  0x0000123400000000ull
#define P_W_U   7ull
#define PCIDE   (1u << 17)
#define NOFLUSH (1ull << 63)
#define ALARM   200000u /* cycles to a timer's end, or until another processor halts for sure */

/* count times text, unrolled by ten. */
#define REPEAT(count, text, ...)                   \
	for (unsigned n = 0; n < (count); n += 10) \
	__asm__ volatile(".rept 10\n" text "\n.endr" __VA_ARGS__)

/* How an operation is measured. */
#define USER  1u /* in ring 3 */
#define WAITS 2u /* it begins with ALARM cycles of waiting */
#define TWO   4u /* between two processors */

struct operation {
	const char *name;
	void (*batch)(void);
	unsigned count;
	unsigned how;
	bool (*possible)(void);
};

extern u64 pml4[];
extern u8 nano_syscall[], nano_fault[], nano_divide[], nano_interrupt[];
void nano_halt(void);

static u64 tables[3][512] __attribute__((aligned(4096)));
static u8 page[8][4096] __attribute__((aligned(4096)));
static u64 pml4_other[512] __attribute__((aligned(4096)));
volatile u32 nano_taken; /* interrupts */
static u64 times[BATCHES];
static u64 alarm_ticks; /* of the APIC's timer */
static volatile bool other_halts;

__asm__(".text\n"
	"nano_syscall:\n"
	"	sysretq\n"
	/* Both go on behind an instruction of two bytes. */
	"nano_fault:\n"
	"	add $8, %rsp\n"
	"nano_divide:\n"
	"	addq $2, (%rsp)\n"
	"	iretq\n"
	/* One that comes between STI and HLT, as in some emulated machines, ends the wait, too. */
	"nano_interrupt:\n"
	"	push %rax\n"
	"	incl nano_taken(%rip)\n"
	"	mov $" EOI ", %eax\n"
	"	movl $0, (%rax)\n"
	"	cmpq $nano_hlt, 8(%rsp)\n"
	"	jne 1f\n"
	"	movq $nano_woken, 8(%rsp)\n"
	"1:	pop %rax\n"
	"	iretq\n"
	"nano_halt:\n"
	"	sti\n"
	"nano_hlt:\n"
	"	hlt\n"
	"nano_woken:\n"
	"	cli\n"
	"	ret\n"
	"nano_call:\n"
	"	ret\n"
	"	.balign 16\n"
	"nano_calls:\n"
	".rept 10\n"
	"	.balign 16\n"
	"	ret\n"
	".endr\n");

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

static void apic_write(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(APIC + reg) = value;
}

static u32 apic_read(unsigned reg)
{
	return *(volatile u32 *)(uptr)(APIC + reg);
}

/* --- the operations ------------------------------------------------------------------------- */

static void do_syscall(void)
{
	REPEAT(1000, "syscall", : : : "rcx", "r11", "memory");
}

static void do_in(void)
{
	REPEAT(1000, "inb %%dx, %%al", : : "d"(SCRATCH) : "rax");
}

static void do_out(void)
{
	REPEAT(1000, "outb %%al, %%dx", : : "d"(SCRATCH), "a"(0));
}

static void do_cr8(void)
{
	REPEAT(1000, "mov %0, %%cr8", : : "r"(0ul));
}

static void do_call(void)
{
	REPEAT(10000, "call nano_call");
}

/* Ten targets in turn. */
static void do_indirect_call(void)
{
	for (unsigned n = 0; n < 10000; n += 10)
		__asm__ volatile("lea nano_calls(%%rip), %%rdx\n"
				 ".rept 10\n"
				 "call *%%rdx\n"
				 "add $16, %%rdx\n"
				 ".endr"
				 :
				 :
				 : "rdx", "cc");
}

static void do_page_fault(void)
{
	REPEAT(100, "movb (%0), %%al", : : "D"(WINDOW + 0x100000) : "rax", "memory");
}

static void do_divide_error(void)
{
	REPEAT(100, "div %%ecx", : : "c"(0) : "rax", "rdx", "cc");
}

/* Of a page that nothing is looked for in. */
static void do_page_table(void)
{
	for (unsigned n = 0; n < 1000; n++)
		*(volatile u64 *)&tables[2][8] = (uptr)page[n & 7] | P_W_U;
	tables[2][8] = 0;
}

static void do_invlpg(void)
{
	for (unsigned n = 0; n < 1000; n++) {
		invlpg(WINDOW);
		(void)*(volatile u8 *)WINDOW;
	}
}

static void do_remap(void)
{
	for (unsigned n = 0; n < 1000; n++) {
		tables[2][0] = (uptr)page[n & 7] | P_W_U;
		invlpg(WINDOW);
		(void)*(volatile u8 *)WINDOW;
	}
}

/* Between two address spaces; four pages are touched in each. */
static void switches(u64 a, u64 b)
{
	for (unsigned n = 0; n < 100; n++) {
		write_cr3(n & 1 ? a : b);
		for (unsigned i = 0; i < 4; i++)
			(void)*(volatile u8 *)(WINDOW + 0x1000 * i);
	}
	write_cr3((uptr)pml4);
}

static void do_cr3(void)
{
	switches((uptr)pml4, (uptr)pml4_other);
}

static bool pcid_possible(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] >> 17 & 1;
}

static void do_cr3_pcid(void)
{
	write_cr4(read_cr4() | PCIDE);
	switches((uptr)pml4 | 1 | NOFLUSH, (uptr)pml4_other | 2 | NOFLUSH);
	write_cr4(read_cr4() & ~(uptr)PCIDE);
}

static void do_mmio(void)
{
	REPEAT(1000, "mov (%0), %%eax", : : "r"(IOAPIC) : "rax", "memory");
}

static void do_apic(void)
{
	REPEAT(1000, "mov (%0), %%eax", : : "r"(APIC + 0x20) : "rax", "memory");
}

static void do_ipi(void)
{
	for (unsigned n = 0; n < 100; n++) {
		u32 before = nano_taken;

		apic_write(ICR, SELF | VECTOR);
		__asm__ volatile("sti; nop; cli" : : : "memory");
		while (nano_taken == before)
			__asm__ volatile("sti; nop; cli" : : : "memory");
	}
}

static void do_timer(void)
{
	for (unsigned n = 0; n < 20; n++) {
		u32 before = nano_taken;

		__asm__ volatile("sti" : : : "memory");
		apic_write(INITIAL, 1);
		while (nano_taken == before)
			;
		__asm__ volatile("cli" : : : "memory");
	}
}

static void do_halt(void)
{
	apic_write(INITIAL, (u32)alarm_ticks);
	nano_halt();
}

/* What the second processor does, all the time. */
static void other(void)
{
	apic_write(SVR, 0x1ff);
	for (;;) {
		while (!other_halts)
			__asm__ volatile("sti; pause" : : : "memory");
		nano_halt();
	}
}

static void tell_other(void)
{
	u32 before = nano_taken;

	apic_write(ICR_TO, 1u << 24);
	apic_write(ICR, VECTOR);
	while (nano_taken == before)
		__asm__ volatile("pause" : : : "memory");
}

static void do_ipi_running(void)
{
	other_halts = false;
	for (unsigned n = 0; n < 100; n++)
		tell_other();
}

static void do_ipi_halted(void)
{
	u64 begin = rdtsc();

	other_halts = true;
	while (rdtsc() - begin < ALARM)
		;
	tell_other();
}

static const struct operation operations[] = {
	{"syscall", do_syscall, 1000, USER, NULL},
	{"in", do_in, 1000, 0, NULL},
	{"out", do_out, 1000, 0, NULL},
	{"cr8", do_cr8, 1000, 0, NULL},
	{"call", do_call, 10000, USER, NULL},
	{"indirect-call", do_indirect_call, 10000, USER, NULL},
	{"page-fault", do_page_fault, 100, USER, NULL},
	{"divide-error", do_divide_error, 100, USER, NULL},
	{"page-table", do_page_table, 1000, 0, NULL},
	{"invlpg", do_invlpg, 1000, 0, NULL},
	{"remap", do_remap, 1000, 0, NULL},
	{"cr3", do_cr3, 100, 0, NULL},
	{"cr3-pcid", do_cr3_pcid, 100, 0, pcid_possible},
	{"mmio", do_mmio, 1000, 0, NULL},
	{"apic", do_apic, 1000, 0, NULL},
	{"self-ipi", do_ipi, 100, 0, NULL},
	{"timer", do_timer, 20, 0, NULL},
	{"halt", do_halt, 1, WAITS, NULL},
	{"ipi-running", do_ipi_running, 100, TWO, NULL},
	{"ipi-halted", do_ipi_halted, 1, WAITS | TWO, NULL},
};

/* --- how they are measured ------------------------------------------------------------------- */

static void measure(uptr at)
{
	const struct operation *o = &operations[at];

	for (unsigned n = 0; n < BATCHES; n++) {
		u64 begin = rdtsc();

		o->batch();
		times[n] = rdtsc() - begin;
	}
	if (o->how & USER)
		__asm__ volatile("int $0x80");
}

static u64 middle(void)
{
	for (unsigned i = 1; i < BATCHES; i++)
		for (unsigned j = i; j > 0 && times[j - 1] > times[j]; j--) {
			u64 t = times[j];

			times[j] = times[j - 1];
			times[j - 1] = t;
		}
	return times[BATCHES / 2];
}

static void say_number(u64 n)
{
	char digits[21];
	unsigned at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	say(digits + at);
}

static void report(const struct operation *o, u64 cycles)
{
	u64 tenths = (cycles * 10 + o->count / 2) / o->count;

	say("nano ");
	say(o->name);
	say(" ");
	say_number(tenths / 10);
	say(".");
	say_number(tenths % 10);
	say("\n");
}

static bool two_processors(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return (r[1] >> 16 & 0xff) > 1;
}

/* Ring 3 may use the window's pages; its first four are there, others are not. */
static void prepare_memory(void)
{
	pml4[WINDOW >> 39 & 511] = (uptr)tables[0] | P_W_U;
	tables[0][WINDOW >> 30 & 511] = (uptr)tables[1] | P_W_U;
	tables[1][WINDOW >> 21 & 511] = (uptr)tables[2] | P_W_U;
	for (unsigned i = 0; i < 4; i++)
		tables[2][i] = (uptr)page[i] | P_W_U;
	copy(pml4_other, pml4, sizeof(pml4_other));
}

static void prepare_handlers(void)
{
	wrmsr(STAR, (u64)0x10 << 48 | (u64)SEL_CODE << 32);
	wrmsr(LSTAR, (uptr)nano_syscall);
	wrmsr(FMASK, 0);
	guest_gate(14, nano_fault, 0xe, 0, 0);
	guest_gate(0, nano_divide, 0xe, 0, 0);
	guest_gate(VECTOR, nano_interrupt, 0xe, 0, 0);
}

/* How far the APIC's timer counts in ALARM cycles. */
static void prepare_timer(void)
{
	u64 begin, cycles, ticks;

	apic_write(SVR, 0x1ff);
	apic_write(DIVIDE, 0xb);
	apic_write(TIMER, 0x10000 | VECTOR);
	apic_write(INITIAL, 0xffffffff);
	begin = rdtsc();
	while (rdtsc() - begin < 10000000)
		;
	cycles = rdtsc() - begin;
	ticks = 0xffffffff - apic_read(CURRENT);
	alarm_ticks = ticks * ALARM / cycles;
	apic_write(INITIAL, 0);
	apic_write(TIMER, VECTOR);
}

void main(void)
{
	const bool two = two_processors();

	prepare_memory();
	prepare_handlers();
	prepare_timer();
	if (two)
		guest_start_others(2, other);
	for (unsigned i = 0; i < ARRAY_LEN(operations); i++) {
		const struct operation *o = &operations[i];
		struct fault f;
		u64 cycles;

		if (!(o->how & TWO) == two || (o->possible && !o->possible()))
			continue;
		f = (o->how & USER ? guest_try_user : guest_try)(measure, i);
		check(o->name, f.vector, o->how & USER ? VEC_EXIT : NO_FAULT);
		cycles = middle();
		/* What it takes beyond the time that was asked for. */
		if (o->how & WAITS)
			cycles = cycles > ALARM ? cycles - ALARM : 0;
		report(o, cycles);
	}
}
