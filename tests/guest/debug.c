/* SPDX-License-Identifier: Apache-2.0 */
/* Debug registers, breakpoints on code, data and ports, single step, and what holds them off. SDM
 * vol. 3B chapter 17. */
#include "guest.h"

#define FLAG_TF          (1u << 8)
#define FLAG_RF          (1u << 16)
#define DR6_BS           0x4000ull
#define DR6_BD           0x2000ull
#define DR6_ONE          0xffff0ff0ull
#define DR7_ONE          0x400ull
#define DR7_GD           0x2000ull
#define EXEC             0ull
#define WRITE            1ull
#define RW               3ull
#define L(n)             (1ull << (n)*2)
#define KIND(n, rw, len) (((rw) | (len) << 2) << (16 + (n)*4))

static volatile u64 word[4] __attribute__((aligned(64)));
static unsigned steps;
static uptr step_ip[64];
static u64 step_dr6[64];

static bool count_steps(struct frame *frame)
{
	if (frame->vector != 1)
		return false;
	if (steps < ARRAY_LEN(step_ip)) {
		step_ip[steps] = frame->ip;
		step_dr6[steps] = read_dr6();
	}
	steps++;
	write_dr6(DR6_ONE);
	if (steps > 50)
		frame->flags &= ~(uptr)FLAG_TF;
	return true;
}

extern u8 step_code[], step_1[], step_2[], step_3[], step_end[];

static void step(uptr unused)
{
	(void)unused;
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf\n"
			 ".globl step_code, step_1, step_2, step_3, step_end\n"
			 "step_code: nop\n"
			 "step_1: mov $3, %%ecx\n"
			 "step_2: lea word(%%rip), %%rdi; xor %%eax, %%eax\n"
			 "rep stosb\n"
			 "step_3: pushf; andl $~0x100, (%%rsp); popf\n"
			 "step_end: nop\n"
			 :
			 :
			 : "ecx", "rdi", "eax", "memory", "cc");
}

static void single_step(void)
{
	static const char first[] = "first trap";

	steps = 0;
	guest_hook = count_steps;
	guest_try(step, 0);
	guest_hook = NULL;
	/* popf itself does not trap; nop, mov, lea, xor, 3 of rep stosb, pushf, and, popf do. */
	check("traps", steps, 10);
	check(first, step_ip[0], (uptr)step_1);
	check("  DR6.BS", step_dr6[0], DR6_ONE | DR6_BS);
	check("after mov", step_ip[1], (uptr)step_2);
	check("an iteration of rep stays on it", step_ip[4], step_ip[5]);
	check("after the last", step_ip[6], (uptr)step_3);
	check("popf that clears TF traps still", step_ip[9], (uptr)step_end);
}

static void store_word(uptr at)
{
	*(volatile u32 *)at = 1;
}

static void load_word(uptr at)
{
	(void)*(volatile u32 *)at;
}

static void data(void)
{
	struct fault f;

	write_dr0((uptr)&word[1]);
	write_dr7(DR7_ONE | L(0) | KIND(0, WRITE, 3));
	write_dr6(DR6_ONE);
	f = guest_try(store_word, (uptr)&word[1]);
	check_fault("write breakpoint, 4 bytes", f, 1, 0);
	check("  DR6", f.dr6 & 0xf00f, 1);
	check_none("a load does not meet it", guest_try(load_word, (uptr)&word[1]));
	check_none("nor a store beside it", guest_try(store_word, (uptr)&word[1] + 4));
	write_dr6(DR6_ONE);
	f = guest_try(store_word, (uptr)&word[1] + 3);
	check_fault("a store that overlaps its last byte", f, 1, 0);
	write_dr7(DR7_ONE | L(0) | KIND(0, RW, 3));
	write_dr6(DR6_ONE);
	check_fault("read/write breakpoint, load", guest_try(load_word, (uptr)&word[1]), 1, 0);
	write_dr0((uptr)&word[1] + 2);
	write_dr7(DR7_ONE | L(0) | KIND(0, RW, 0));
	write_dr6(DR6_ONE);
	check_fault("one byte in the middle", guest_try(load_word, (uptr)&word[1]), 1, 0);
	write_dr3((uptr)&word[2]);
	write_dr7(DR7_ONE | L(3) | KIND(3, RW, 2));
	write_dr6(DR6_ONE);
	f = guest_try(load_word, (uptr)&word[2] + 4);
	check_fault("eight bytes, DR3", f, 1, 0);
	check("  DR6", f.dr6 & 0xf00f, 8);
	write_dr7(DR7_ONE | KIND(3, RW, 2));
	check_none("not enabled", guest_try(load_word, (uptr)&word[2]));
	write_dr7(DR7_ONE);
}

void target(uptr unused);
__asm__(".text\n"
	".globl target, target_2, target_3\n"
	"target: nop\n"
	"target_2: inc %rax\n"
	"target_3: ret\n");
extern u8 target_2[], target_3[];

static bool resume_over(struct frame *frame)
{
	if (frame->vector != 1)
		return false;
	steps++;
	step_ip[0] = frame->ip;
	step_dr6[0] = read_dr6();
	step_dr6[1] = frame->flags;
	frame->flags |= FLAG_RF;
	return steps < 5;
}

static void code(void)
{
	steps = 0;
	guest_hook = resume_over;
	write_dr1((uptr)target_2);
	write_dr6(DR6_ONE);
	write_dr7(DR7_ONE | L(1) | KIND(1, EXEC, 0));
	check_none("a code breakpoint is passed with RF", guest_try(target, 0));
	check("  it came once", steps, 1);
	check("  before the instruction", step_ip[0], (uptr)target_2);
	check("  DR6", step_dr6[0] & 0xf00f, 2);
	write_dr7(DR7_ONE);
	guest_hook = NULL;
}

static void read_dr_7(uptr unused)
{
	(void)unused;
	read_dr7();
}

static void set_dr7(uptr v)
{
	write_dr7(v);
}

static void set_dr6(uptr v)
{
	write_dr6(v);
}

static void move_dr4(uptr unused)
{
	(void)unused;
	__asm__ volatile("mov %%db4, %%rax" : : : "rax");
}

static void registers(void)
{
	struct fault f;

	write_dr6(DR6_ONE);
	write_dr7(DR7_ONE | DR7_GD);
	f = guest_try(read_dr_7, 0);
	check_fault("general detect", f, 1, 0);
	check("  DR6.BD", f.dr6 & 0xf00f, DR6_BD);
	check("  GD is cleared", read_dr7() & DR7_GD, 0);
	check_fault("DR7 above bit 31", guest_try(set_dr7, 1ull << 32), 13, 0);
	check_fault("DR6 above bit 31", guest_try(set_dr6, 1ull << 32), 13, 0);
	write_dr6(0);
	check("DR6's fixed bits", read_dr6(), DR6_ONE);
	write_dr7(0);
	check("DR7's fixed bits", read_dr7(), DR7_ONE);
	check_none("DR4 is DR6 without CR4.DE", guest_try(move_dr4, 0));
	write_cr4(read_cr4() | 8);
	check_fault("DR4 with CR4.DE", guest_try(move_dr4, 0), 6, 0);
	write_dr2(0x20);
	out8(0x20, 0x20);
	write_dr6(DR6_ONE);
	write_cr4(read_cr4() & ~8ul);
	write_dr7(DR7_ONE);
}

static void icebp(uptr unused)
{
	(void)unused;
	__asm__ volatile(".byte 0xf1");
}

void main(void)
{
	single_step();
	data();
	code();
	registers();
	write_dr6(DR6_ONE);
	check_fault("INT1", guest_try(icebp, 0), 1, 0);
}
