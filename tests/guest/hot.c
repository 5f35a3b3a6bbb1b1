/* SPDX-License-Identifier: Apache-2.0 */
/* Single steps and breakpoints in code that has been executed many times before, and that is
 * executed as fast as ever behind them. SDM vol. 3B chapter 18. */
#include "guest.h"

#define FLAG_TF          (1u << 8)
#define FLAG_RF          (1u << 16)
#define DR6_BS           0x4000ull
#define DR6_ONE          0xffff0ff0ull
#define DR7_ONE          0x400ull
#define EXEC             0ull
#define WRITE            1ull
#define L(n)             (1ull << (n)*2)
#define KIND(n, rw, len) (((rw) | (len) << 2) << (16 + (n)*4))

static volatile u64 words[64] __attribute__((aligned(64)));

/* Adds 1 to each of count words, 8 instructions in all for a word; 3 before, 1 behind. */
u64 hot(u64 count);
extern u8 hot_loop[], hot_middle[], hot_end[];
__asm__(".text\n"
	".globl hot, hot_loop, hot_middle, hot_end\n"
	"hot: xor %eax, %eax\n"
	"	lea words(%rip), %rsi\n"
	"	mov %rdi, %rcx\n"
	"hot_loop: mov (%rsi), %rdx\n"
	"	inc %rdx\n"
	"	mov %rdx, (%rsi)\n"
	"hot_middle: add $8, %rsi\n"
	"	add %rdx, %rax\n"
	"	nop\n"
	"	dec %rcx\n"
	"	jnz hot_loop\n"
	"hot_end: ret\n");

static unsigned met;
static uptr met_at[256];
static u64 met_dr6;
static bool stepping;

static bool meet(struct frame *frame)
{
	if (frame->vector != 1)
		return false;
	if (met < ARRAY_LEN(met_at))
		met_at[met] = frame->ip;
	met++;
	met_dr6 = read_dr6();
	write_dr6(DR6_ONE);
	frame->flags |= FLAG_RF;
	if (stepping && frame->ip == (uptr)hot_end)
		frame->flags &= ~(uptr)FLAG_TF;
	return true;
}

static u64 warm(void)
{
	u64 sum = 0;

	for (unsigned n = 0; n < 2000; n++)
		sum = hot(4);
	return sum;
}

static void clear(void)
{
	for (unsigned n = 0; n < ARRAY_LEN(words); n++)
		words[n] = 0;
	met = 0;
	write_dr6(DR6_ONE);
}

static void steps(void)
{
	u64 sum;

	clear();
	check("2000 times", warm(), 4 * 2000);
	stepping = true;
	/* The trap behind POPF's next instruction is the first: CALL's. */
	__asm__ volatile("mov $4, %%edi\n"
			 "pushf; orl $0x100, (%%rsp); popf\n"
			 "call hot\n"
			 : "=a"(sum)
			 :
			 : "rcx", "rdx", "rsi", "rdi", "memory", "cc");
	stepping = false;
	check("the same, step by step", sum, 4 * 2001);
	check("  steps", met, 1 + 3 + 4 * 8);
	check("  the first", met_at[0], (uptr)hot);
	check("  in the loop", met_at[3], (uptr)hot_loop);
	check("  around it", met_at[3 + 8], (uptr)hot_loop);
	check("  the last", met_at[met - 1], (uptr)hot_end);
	check("  DR6", met_dr6, DR6_ONE | DR6_BS);
	met = 0;
	check("and without", warm(), 4 * 4001);
	check("  no more steps", met, 0);
}

static void code_breakpoint(void)
{
	clear();
	warm();
	write_dr0((uptr)hot_middle);
	write_dr7(DR7_ONE | L(0) | KIND(0, EXEC, 0));
	check("with a breakpoint", hot(4), 4 * 2001);
	check("  met", met, 4);
	check("  where", met_at[3], (uptr)hot_middle);
	check("  DR6", met_dr6 & 0xf00f, 1);
	write_dr7(DR7_ONE);
	met = 0;
	check("disabled", warm(), 4 * 4001);
	check("  not met", met, 0);
	write_dr7(DR7_ONE | L(0) | KIND(0, EXEC, 0));
	check("enabled again", hot(4), 4 * 4002);
	check("  met", met, 4);
	write_dr7(DR7_ONE);
}

static void data_breakpoint(void)
{
	clear();
	warm();
	write_dr0(0); /* or DR6 may tell of it, though it is not enabled */
	write_dr1((uptr)&words[2]);
	write_dr7(DR7_ONE | L(1) | KIND(1, WRITE, 2));
	check("with a watched word", hot(4), 4 * 2001);
	check("  met", met, 1);
	check("  behind the store", met_at[0], (uptr)hot_middle);
	check("  DR6", met_dr6 & 0xf00f, 2);
	met = 0;
	check("a word beyond", hot(2), 2 * 2002);
	check("  not met", met, 0);
	write_dr7(DR7_ONE);
	check("disabled", warm(), 2 * 4002 + 2 * 4001);
	check("  not met", met, 0);
}

/* By the interrupt frame, as debuggers do it: from a breakpoint on, step by step. */
static bool from_here(struct frame *frame)
{
	if (frame->vector != 1)
		return false;
	if (met < ARRAY_LEN(met_at))
		met_at[met] = frame->ip;
	met++;
	write_dr6(DR6_ONE);
	write_dr7(DR7_ONE);
	if (met < 20)
		frame->flags |= FLAG_TF | FLAG_RF;
	else
		frame->flags &= ~(uptr)FLAG_TF;
	return true;
}

static void then_steps(void)
{
	clear();
	warm();
	guest_hook = from_here;
	write_dr0((uptr)hot_middle);
	write_dr7(DR7_ONE | L(0) | KIND(0, EXEC, 0));
	check("a breakpoint, then steps", hot(8), 4 * 2001 + 4);
	check("  20 in all", met, 20);
	check("  a turn later", met_at[8], (uptr)hot_middle);
	check("  two turns later", met_at[16], (uptr)hot_middle);
}

void main(void)
{
	guest_hook = meet;
	steps();
	code_breakpoint();
	data_breakpoint();
	then_steps();
	guest_hook = NULL;
}
