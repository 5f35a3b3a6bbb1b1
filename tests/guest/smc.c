/* SPDX-License-Identifier: Apache-2.0 */
/* Code that changes: written by itself, through another address, by string instructions, by LOCK,
 * across pages, the page table under it. SDM vol. 3A 11.6 asks for no more than a jump. */
#include "guest.h"

extern u64 pml4[];
static u8 page[4][4096] __attribute__((aligned(4096)));

typedef u32 (*code)(void);

/* mov eax, value; ret */
static void write_code(u8 *at, u32 value)
{
	at[0] = 0xb8;
	*(volatile u32 *)(at + 1) = value;
	at[5] = 0xc3;
}

static u32 run(const u8 *at)
{
	return ((code)(uptr)at)();
}

static void rewritten(void)
{
	u32 wrong = 0;

	for (u32 n = 0; n < 1000; n++) {
		write_code(page[0], n);
		wrong += run(page[0]) != n;
	}
	check("rewritten 1000 times", wrong, 0);
	write_code(page[0], 1);
	run(page[0]);
	page[0][1] = 2;
	check("one byte", run(page[0]), 2);
	__asm__ volatile("lock addl %1, %0" : "+m"(*(u32 *)(page[0] + 1)) : "r"(40));
	check("by a locked instruction", run(page[0]), 42);
	__asm__ volatile("lock addq %1, %0" : "+m"(*(u64 *)(page[0] + 1)) : "r"(1ull));
	check("by a wider one", run(page[0]), 43);
	{
		u8 fresh[6];
		const u8 *from = fresh;
		u8 *to = page[0];
		uptr len = 6;

		write_code(fresh, 77);
		__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(len) : : "memory");
		check("by rep movs", run(page[0]), 77);
		len = 4;
		to = page[0] + 1;
		__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(0x11) : "memory");
		check("by rep stos", run(page[0]), 0x11111111);
	}
}

/* Data beside code on one page stays what it was, and the code too. */
static void beside(void)
{
	volatile u64 *data = (u64 *)(page[0] + 2048);
	u64 sum = 0;

	write_code(page[0], 5);
	for (u32 n = 0; n < 1000; n++) {
		*data += run(page[0]);
		sum += 5;
	}
	check("data beside code", *data, sum);
}

static void crossing(void)
{
	u8 *at = page[1] + 4096 - 3;

	write_code(at, 0x01020304);
	check("an instruction across two pages", run(at), 0x01020304);
	page[2][1] = 9;
	check("its second page written", run(at), 0x09020304);
	at[2] = 7;
	check("its first page written", run(at), 0x09020704);
}

#define WINDOW 0x0000123400000000ull
static u64 tables[3][512] __attribute__((aligned(4096)));

static void remapped(void)
{
	u64 *pte = &tables[2][WINDOW >> 12 & 511];
	const u8 *at = (const u8 *)WINDOW;

	pml4[WINDOW >> 39 & 511] = (uptr)tables[0] | 7;
	tables[0][WINDOW >> 30 & 511] = (uptr)tables[1] | 7;
	tables[1][WINDOW >> 21 & 511] = (uptr)tables[2] | 7;
	*pte = (uptr)page[0] | 7;
	write_cr3(read_cr3());
	write_code(page[0], 100);
	write_code(page[3], 200);
	check("code at another address", run(at), 100);
	page[0][1] = 101;
	check("written at the first", run(at), 101);
	((volatile u8 *)at)[1] = 102;
	check("written at the other, run at the first", run(page[0]), 102);
	*pte = (uptr)page[3] | 7;
	invlpg(WINDOW);
	check("mapped elsewhere", run(at), 200);
	*pte = (uptr)page[0] | 7;
	write_cr3(read_cr3());
	check("and back", run(at), 102);
}

/* An instruction that overwrites the next one, after a jump. */
extern u8 patch_here[];
static u32 itself(u32 value)
{
	u32 got;

	__asm__ volatile("	movl %1, patch_here+1(%%rip)\n"
			 "	jmp 1f\n"
			 "1:\n"
			 ".globl patch_here\n"
			 "patch_here: movl $0, %%eax\n"
			 : "=&a"(got)
			 : "r"(value)
			 : "memory");
	return got;
}

/* A call writes the address that it is to return to over the code that it calls, which has not run
 * before. The stack's page has been written in the same run of instructions. */
static void overwritten_by_the_call(void)
{
	u8 *top = page[3] + 2048; /* the stack; below it movabs $return address, %rax, and ret */
	u64 got, want, saved;

	copy(top - 18, "\x48\xb8", 2);
	__asm__ volatile("	mov %%rsp, %[saved]\n"
			 "	mov %[top], %%rsp\n"
			 "	lea 1f(%%rip), %[want]\n"
			 "	jmp 2f\n"
			 "2:	pushq $0xc3\n"
			 "	call *%[code]\n"
			 "1:	mov %[saved], %%rsp\n"
			 : "=&a"(got), [want] "=&r"(want), [saved] "=&r"(saved)
			 : [top] "r"(top), [code] "r"(top - 18)
			 : "memory", "cc");
	check("code that its own call overwrites", got, want);
}

void main(void)
{
	u32 wrong = 0;

	overwritten_by_the_call();

	rewritten();
	beside();
	crossing();
	remapped();
	for (u32 n = 0; n < 100; n++)
		wrong += itself(n * 3) != n * 3;
	check("code that writes itself", wrong, 0);
}
