/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#define COM1    0x3f8
#define PM1_CNT 0x604
#define SLP_S5  (7 << 10 | 1 << 13)

struct gate {
	u16 offset_low, selector;
	u8 ist, attr;
	u16 offset_mid;
#ifdef __x86_64__
	u32 offset_high, reserved;
#endif
};

extern uptr guarded_sp;
void call_guarded(void (*fn)(uptr), uptr arg);
void enter_user(void (*fn)(uptr), uptr arg);
void guest_start(void);
int guest_trap(struct frame *frame);

static struct gate idt[256];
static struct fault caught;
static bool guarded;
static unsigned checks, failures;

#ifdef __x86_64__
struct tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
} __attribute__((packed)) guest_tss;
#else
struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
} __attribute__((packed)) guest_tss;
#endif

bool (*guest_hook)(struct frame *frame);

void say(const char *text)
{
	while (*text) {
		while (!(in8(COM1 + 5) & 0x20))
			;
		out8(COM1, (u8)*text++);
	}
}

void say_hex(u64 value)
{
	char digits[17];
	unsigned n = 0;
	int shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		digits[n++] = "0123456789abcdef"[value >> shift & 15];
	digits[n] = '\0';
	say(digits);
}

void check(const char *name, u64 got, u64 want)
{
	checks++;
	if (got == want) {
		say("ok   ");
		say(name);
	} else {
		failures++;
		say("FAIL ");
		say(name);
		say(": got ");
		say_hex(got);
		say(", want ");
		say_hex(want);
	}
	say("\n");
}

void check_fault(const char *name, struct fault f, unsigned vector, uptr error)
{
	/* Both in one figure: vector above, error code below. */
	check(name, (u64)f.vector << 32 | (u32)f.error, (u64)vector << 32 | (u32)error);
}

void check_none(const char *name, struct fault f)
{
	check(name, f.vector, NO_FAULT);
}

void guest_gate(unsigned vector, void *target, unsigned type, unsigned dpl, unsigned ist)
{
	uptr at = (uptr)target;

	idt[vector] = (struct gate){
		.offset_low = (u16)at,
		.selector = SEL_CODE,
		.ist = (u8)ist,
		.attr = (u8)(0x80 | dpl << 5 | type),
		.offset_mid = (u16)(at >> 16),
#ifdef __x86_64__
		.offset_high = (u32)(at >> 32),
#endif
	};
}

void guest_gate_selector(unsigned vector, u16 selector)
{
	idt[vector].selector = selector;
}

void guest_gate_present(unsigned vector, bool present)
{
	idt[vector].attr = (u8)((idt[vector].attr & 0x7f) | present << 7);
}

void guest_gate_default(unsigned vector)
{
	unsigned dpl = vector == VEC_EXIT || vector == 3 || vector == 4 ? 3 : 0;

	guest_gate(vector, vectors + 16 * vector, 0xe, dpl, 0);
}

static void power_off(void)
{
	out16(PM1_CNT, SLP_S5);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* What is left to the handlers in assembly: 0 abandons the interrupted code. */
int guest_trap(struct frame *frame)
{
	if (guest_hook && guest_hook(frame))
		return 1;
	caught = (struct fault){
		.vector = frame->vector,
		.error = frame->error,
		.ip = frame->ip,
		.cs = frame->cs,
		.flags = frame->flags,
		.sp = frame->sp,
		.ss = frame->ss,
		.cr2 = read_cr2(),
		.dr6 = read_dr6(),
	};
	if (!guarded) {
		say("FAIL exception ");
		say_hex(frame->vector);
		say(" error ");
		say_hex(frame->error);
		say(" at ");
		say_hex(frame->ip);
		say(" cr2 ");
		say_hex(read_cr2());
		say("\n");
		power_off();
	}
	return 0;
}

static struct fault guard(void (*how)(void (*)(uptr), uptr), void (*fn)(uptr), uptr arg)
{
	caught = (struct fault){.vector = NO_FAULT};
	guarded = true;
	how(fn, arg);
	guarded = false;
	return caught;
}

struct fault guest_try(void (*fn)(uptr arg), uptr arg)
{
	return guard(call_guarded, fn, arg);
}

struct user_call {
	void (*fn)(uptr arg);
	uptr arg;
};

static void to_user(uptr arg)
{
	const struct user_call *call = (const struct user_call *)arg;

	enter_user(call->fn, call->arg);
}

struct fault guest_try_user(void (*fn)(uptr arg), uptr arg)
{
	struct user_call call = {fn, arg};

	return guest_try(to_user, (uptr)&call);
}

#ifdef __x86_64__

#define LAPIC        0xfee00000ull
#define SVR          0xf0
#define ICR          0x300
#define ICR_HIGH     0x310
#define INIT         0x4500
#define SIPI         0x4600
#define START_OTHERS 0x8000 /* entry64.S */

extern u8 other_begin[], other_end[];
void guest_other(void);

static void (*volatile other_work)(void);
static volatile unsigned others;

static void lapic_write(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(LAPIC + reg) = value;
}

void guest_other(void)
{
	const struct gate_table idtr = {sizeof(idt) - 1, (uptr)idt};

	__asm__ volatile("lidt %0" : : "m"(idtr));
	others++;
	other_work();
}

void guest_start_others(unsigned cpus, void (*fn)(void))
{
	copy((u8 *)START_OTHERS, other_begin, (uptr)(other_end - other_begin));
	other_work = fn;
	lapic_write(SVR, 0x1ff);
	for (unsigned n = 1; n < cpus; n++) {
		lapic_write(ICR_HIGH, n << 24);
		lapic_write(ICR, INIT);
		lapic_write(ICR_HIGH, n << 24);
		lapic_write(ICR, SIPI | START_OTHERS >> 12);
		while (others < n)
			;
	}
}

#endif

static void load_tss(void)
{
	uptr base = (uptr)&guest_tss;
	uptr limit = sizeof(guest_tss) - 1;

	guest_tss.iomap = sizeof(guest_tss);
#ifdef __x86_64__
	guest_tss.rsp[0] = (uptr)handler_stack_top;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
#else
	guest_tss.esp0 = (uptr)handler_stack_top;
	guest_tss.ss0 = SEL_DATA;
#endif
	gdt[SEL_TSS / 8] = limit | (u64)(base & 0xffffff) << 16 | 0x89ull << 40 |
			   (u64)(base >> 24 & 0xff) << 56;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* A 16550 that is ready, an IDT, a TSS; then the topic, and how many checks it made. */
void guest_start(void)
{
	const struct gate_table idtr = {sizeof(idt) - 1, (uptr)idt};

	for (unsigned v = 0; v < 256; v++)
		guest_gate_default(v);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	load_tss();
	out8(0x21, 0xff); /* both 8259s masked */
	out8(0xa1, 0xff);
	main();
	say("checks ");
	say_hex(checks);
	say(" failures ");
	say_hex(failures);
	say("\n");
	power_off();
}
