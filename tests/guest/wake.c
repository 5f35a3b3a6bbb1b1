/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight processors that wake each other: by interrupts while they run and halt, by timers, and
 * while the console is written and looked at. Nothing may be lost: a processor that waits for what
 * does not come makes the run end at its time limit.
 *
 * Intel SDM vol. 3A 8.4 (start-up), 11.6 (IPIs), 11.5.4 (timer); vol. 2B, STI: no interrupt before
 * the end of the next instruction. Where one comes between STI and HLT all the same, the handler
 * goes on behind the HLT, for what it was to wake from does not come again.
 */
#include "guest.h"

#define CPUS     8
#define BASE     0xfee00000ull
#define ID       0x20
#define EOI      0xb0
#define SVR      0xf0
#define ICR      0x300
#define ICR_HIGH 0x310
#define ICR_BUSY 0x1000u
#define TIMER    0x320
#define INITIAL  0x380
#define DIVIDE   0x3e0
#define FIXED    0x4000u
#define INIT     0x4500u
#define SIPI     0x4600u
#define OTHERS   0xc0000u

#define WAKE  0x50 /* look at what there is to do */
#define TICK  0x52
#define START 0x8000ull /* where the other processors begin, in real mode */
#define LSR   0x3fd

#define ROUNDS 200
#define KICKS  200
#define TICKS  40
#define LINES  100
#define STACK  8192

extern u64 pml4[];
extern u8 wake_begin[], wake_values[], wake_end[];
extern u8 wake_hlt[], wake_woken[];
void wake_main(void);
void wake_halt(void); /* STI, HLT, CLI */

enum work { IDLE, RING, TICKING, POLLING, KICKED };

static struct processor {
	volatile enum work work; /* IDLE when it is done */
	volatile u32 ready, token, ticks, early, kicks;
} processors[CPUS];

struct start_values { /* in the copy of wake_begin */
	u32 cr3;
	u16 gdt_limit;
	u32 gdt_base;
} __attribute__((packed));

u8 wake_stacks[CPUS][STACK] __attribute__((aligned(16)));
static struct gate_table idtr;
static volatile bool enough;
static u32 refused;

__asm__(".pushsection .text\n"
	".code16\n"
	".globl wake_begin, wake_values, wake_end\n"
	"wake_begin:\n"
	"	cli\n"
	"	mov %cs, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl wake_values - wake_begin + 4\n"
	"	mov wake_values - wake_begin, %ebx\n"
	"	mov $0x33, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $0x28, $(1f - wake_begin + 0x8000)\n"
	"	.code32\n"
	"1:	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov %ebx, %cr3\n"
	"	mov $0x620, %eax\n"
	"	mov %eax, %cr4\n"
	"	mov $0xc0000080, %ecx\n"
	"	mov $0x901, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	mov $0x80010033, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmp $8, $2f\n"
	"wake_values: .long 0; .word 0; .long 0\n"
	"wake_end:\n"
	"	.code64\n"
	"2:	mov 0xfee00020, %eax\n"
	"	shr $24, %eax\n"
	"	inc %eax\n"
	"	imul $8192, %eax, %eax\n"
	"	lea wake_stacks(%rax), %rsp\n"
	"	xor %ebp, %ebp\n"
	"	call wake_main\n"
	".globl wake_halt, wake_hlt, wake_woken\n"
	"wake_halt: sti\n"
	"wake_hlt: hlt\n"
	"wake_woken: cli\n"
	"	ret\n"
	".popsection\n");

static u32 rd(unsigned reg)
{
	return *(volatile u32 *)(uptr)(BASE + reg);
}

static void wr(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(BASE + reg) = value;
}

static unsigned self(void)
{
	return rd(ID) >> 24;
}

static void send(unsigned to, u32 what)
{
	while (rd(ICR) & ICR_BUSY)
		;
	wr(ICR_HIGH, to << 24);
	wr(ICR, what);
}

static bool took(struct frame *frame)
{
	struct processor *p;

	if (frame->vector < 32 || frame->vector == VEC_EXIT)
		return false;
	p = &processors[self()];
	if (frame->ip == (uptr)wake_hlt) {
		p->early++;
		frame->ip = (uptr)wake_woken;
	}
	if (frame->vector == TICK)
		p->ticks++;
	wr(EOI, 0);
	return true;
}

/* Waits with interrupts off, but for the halt, until the condition holds. */
#define SLEEP_UNTIL(condition)                          \
	do {                                            \
		__asm__ volatile("cli" : : : "memory"); \
		while (!(condition))                    \
			wake_halt();                    \
		__asm__ volatile("sti" : : : "memory"); \
	} while (0)

static void pass(unsigned i, u32 round)
{
	unsigned next = (i + 1) % CPUS;

	processors[next].token = round;
	send(next, FIXED | WAKE);
}

static void ring(unsigned i)
{
	struct processor *p = &processors[i];

	for (u32 round = 1; round <= ROUNDS; round++) {
		if (i == 0)
			pass(i, round);
		SLEEP_UNTIL(p->token == round);
		if (i)
			pass(i, round);
	}
}

static void tick(struct processor *p)
{
	wr(DIVIDE, 0xb);
	wr(TIMER, TICK);
	for (u32 n = 1; n <= TICKS; n++) {
		wr(INITIAL, 20000 * n);
		SLEEP_UNTIL(p->ticks == n);
	}
}

/* KVM_HC_KICK_CPU, where CPUID says KVM_FEATURE_PV_UNHALT: what locks of Linux's are waited for by.
 * A kick ends a halt with interrupts off; one that comes before ends the next. */
static bool has_kick(void)
{
	u32 r[4];

	cpuid(0x40000000, 0, r);
	if (r[0] < 0x40000001 || r[1] != 0x4b4d564b)
		return false;
	cpuid(0x40000001, 0, r);
	return r[0] >> 7 & 1;
}

static void kick(unsigned i)
{
	u64 n = 5;

	if (vendor_amd())
		__asm__ volatile("vmmcall" : "+a"(n) : "b"(0ull), "c"((u64)i) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(n) : "b"(0ull), "c"((u64)i) : "memory");
	refused += n != 0;
}

/* Sleeps between kicks, no interrupt comes through, and counts. */
static void be_kicked(struct processor *p)
{
	__asm__ volatile("cli" : : : "memory");
	p->token = ~0u; /* from here on a kick is for these halts */
	for (u32 n = 1; n <= KICKS; n++) {
		__asm__ volatile("hlt" : : : "memory");
		p->kicks = n;
	}
	__asm__ volatile("sti" : : : "memory");
}

static void kick_all(void)
{
	for (u32 n = 0; n < KICKS; n++)
		for (unsigned i = 1; i < CPUS; i++) {
			while (processors[i].token != ~0u || processors[i].kicks != n)
				__asm__ volatile("pause");
			kick(i);
		}
}

static void poll_console(void)
{
	while (!enough)
		in8(LSR);
}

static void work(unsigned i, enum work what)
{
	switch (what) {
	case RING:
		ring(i);
		break;
	case TICKING:
		tick(&processors[i]);
		break;
	case POLLING:
		poll_console();
		break;
	case KICKED:
		be_kicked(&processors[i]);
		break;
	case IDLE:
		break;
	}
}

void wake_main(void)
{
	unsigned i = self();
	struct processor *p = &processors[i];

	__asm__ volatile("lidt %0" : : "m"(idtr));
	wr(SVR, 0x1ff);
	p->ready++;
	for (;;) {
		SLEEP_UNTIL(p->work != IDLE);
		work(i, p->work);
		p->work = IDLE;
		send(0, FIXED | WAKE);
	}
}

static unsigned at_work(void)
{
	unsigned n = 0;

	for (unsigned i = 1; i < CPUS; i++)
		n += processors[i].work != IDLE;
	return n;
}

static void begin(enum work what)
{
	enough = false;
	for (unsigned i = 1; i < CPUS; i++)
		processors[i].work = what;
	send(0, OTHERS | FIXED | WAKE);
}

static void join(void)
{
	enough = true;
	SLEEP_UNTIL(!at_work());
}

static void start(void)
{
	struct start_values *values;

	copy((u8 *)(uptr)START, wake_begin, (uptr)(wake_end - wake_begin));
	values = (void *)(uptr)(START + (uptr)(wake_values - wake_begin));
	*values = (struct start_values){(u32)(uptr)pml4, sizeof(gdt) - 1, (u32)(uptr)gdt};
	__asm__ volatile("sidt %0" : "=m"(idtr));
	for (unsigned i = 1; i < CPUS; i++) {
		send(i, INIT);
		send(i, SIPI | START >> 12);
		while (!processors[i].ready)
			;
	}
}

static u32 total(u32 (*of)(const struct processor *p))
{
	u32 n = 0;

	for (unsigned i = 1; i < CPUS; i++)
		n += of(&processors[i]);
	return n;
}

static u32 ready_of(const struct processor *p)
{
	return p->ready;
}

static u32 ticks_of(const struct processor *p)
{
	return p->ticks;
}

static u32 kicks_of(const struct processor *p)
{
	return p->kicks;
}

static u32 early_of(const struct processor *p)
{
	return p->early;
}

static void print(void)
{
	for (unsigned n = 0; n < LINES; n++) {
		say("line ");
		say_hex(n);
		say(" of what is written while others look at the line's status\n");
	}
}

void main(void)
{
	guest_hook = took;
	wr(SVR, 0x1ff);
	start();
	__asm__ volatile("sti");
	check("all start, once", total(ready_of), CPUS - 1);

	begin(RING);
	ring(0);
	join();
	check("interrupts wake who halts", processors[0].token, ROUNDS);

	begin(TICKING);
	join();
	check("each timer wakes its processor", total(ticks_of), (CPUS - 1) * TICKS);

	check("KVM_FEATURE_PV_UNHALT is there", has_kick(), true);
	if (has_kick()) {
		begin(KICKED);
		kick_all();
		join();
		check("kicks wake who halts without interrupts", total(kicks_of),
		      (CPUS - 1) * KICKS);
		check("and succeed", refused, 0);
	}

	begin(POLLING);
	print();
	join();
	check("all are idle again", at_work(), 0);
	check("no interrupt comes between STI and HLT", total(early_of) + processors[0].early, 0);
	__asm__ volatile("cli");
}
