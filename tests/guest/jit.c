/* SPDX-License-Identifier: Apache-2.0 */
/* Code as compilers that run beside it make it: function after function on one page, each executed
 * before the next is written; data between functions, written all the time; places in hot code that
 * are patched; pages that are used again; one page at two addresses. SDM vol. 3A 11.6. */
#include "guest.h"

#define PAGE   4096u
#define WINDOW 0x0000123400000000ull

extern u64 pml4[];
static u8 page[4][PAGE] __attribute__((aligned(4096)));
static u64 tables[3][512] __attribute__((aligned(4096)));

typedef u32 (*code)(u32);

static u32 call(const u8 *at, u32 argument)
{
	return ((code)(uptr)at)(argument);
}

/* lea eax, [rdi + value]; ret: 7 bytes */
#define FUNCTION 16u
static void write_function(u8 *at, u32 value)
{
	at[0] = 0x8d;
	at[1] = 0x87;
	*(volatile u32 *)(at + 2) = value;
	at[6] = 0xc3;
}

/* Each new function is called, and all before it are. */
static void one_after_the_other(void)
{
	u32 wrong = 0;

	for (u32 n = 0; n < PAGE / FUNCTION; n++) {
		write_function(page[0] + n * FUNCTION, n * 3);
		for (u32 k = 0; k <= n; k++)
			wrong += call(page[0] + k * FUNCTION, 5) != 5 + k * 3;
	}
	check("function after function on one page", wrong, 0);
}

/* Counters behind each function, as profiling code has them: not in the same 64 bytes. */
static void data_between(void)
{
	volatile u32 *counter = (u32 *)(page[1] + 128);
	u32 wrong = 0;

	write_function(page[1], 1);
	write_function(page[1] + 256, 2);
	for (u32 n = 0; n < 50000; n++) {
		wrong += call(page[1], n) != n + 1;
		wrong += call(page[1] + 256, n) != n + 2;
		++*counter;
	}
	check("data between functions, written 50000 times", wrong, 0);
	check("  the data", *counter, 50000);
}

/* In the same 64 bytes. */
static void data_close_by(void)
{
	volatile u32 *counter = (u32 *)(page[1] + 512 + 32);
	u32 wrong = 0;

	write_function(page[1] + 512, 3);
	for (u32 n = 0; n < 2000; n++) {
		wrong += call(page[1] + 512, n) != n + 3;
		++*counter;
	}
	check("data close by, written 2000 times", wrong, 0);
	check("  the data", *counter, 2000);
}

/* A loop whose constant is changed now and then, by every size of store. */
static void patched(void)
{
	/* xor eax, eax; mov ecx, edi; 1: add eax, value; dec ecx; jnz 1b; ret */
	static const u8 loop[] = {0x31, 0xc0, 0x89, 0xf9, 0x05, 0,    0,
				  0,    0,    0xff, 0xc9, 0x75, 0xf7, 0xc3};
	u8 *at = page[2] + 24; /* the constant is in two pieces of 8 bytes */
	u32 wrong = 0;

	copy(at, loop, sizeof(loop));
	for (u32 n = 1; n < 500; n++) {
		u32 value = n * 0x1010101;

		switch (n % 4) {
		case 0:
			*(volatile u32 *)(at + 5) = value;
			break;
		case 1:
			*(volatile u16 *)(at + 5) = (u16)value;
			*(volatile u16 *)(at + 7) = (u16)(value >> 16);
			break;
		case 2:
			for (u32 k = 0; k < 4; k++)
				((volatile u8 *)at)[5 + k] = (u8)(value >> k * 8);
			break;
		default:
			__asm__ volatile("xchgl %1, %0"
					 : "+m"(*(u32 *)(at + 5)), "+r"(value)
					 :
					 : "memory");
			value = n * 0x1010101;
		}
		wrong += call(at, 50) != 50 * value;
	}
	check("a constant in a hot loop, patched", wrong, 0);
}

/* A call in hot code whose target is changed, from one stub to another and back. */
static void retargeted(void)
{
	u8 *caller = page[2] + 1024;
	u32 wrong = 0;

	write_function(page[2] + 2048, 100);
	write_function(page[2] + 2048 + FUNCTION, 200);
	write_function(page[3], 300);
	for (u32 n = 0; n < 600; n++) {
		static const u32 gives[] = {100, 200, 300};
		const u8 *targets[] = {page[2] + 2048, page[2] + 2048 + FUNCTION, page[3]};
		u32 distance = (u32)((uptr)targets[n % 3] - (uptr)(caller + 5));

		caller[0] = 0xe9; /* jmp */
		*(volatile u32 *)(caller + 1) = distance;
		for (u32 k = 0; k < 20; k++)
			wrong += call(caller, k) != k + gives[n % 3];
	}
	check("a jump to one function, then another", wrong, 0);
}

/* A page is given back and has other functions, at other places, the next time. */
static void used_again(void)
{
	u32 wrong = 0;

	for (u32 n = 0; n < 200; n++) {
		u32 step = FUNCTION + n % 3 * 8;

		fill(page[3], 0xcc, PAGE);
		for (u32 k = 0; k + FUNCTION <= PAGE; k += step * 16)
			write_function(page[3] + k, n + k);
		for (u32 k = 0; k + FUNCTION <= PAGE; k += step * 16)
			wrong += call(page[3] + k, 1) != 1 + n + k;
	}
	check("a page used again and again", wrong, 0);
}

/* Written at one address, executed at another, as where no page is writable and executable. */
static void two_addresses(void)
{
	const u8 *at = (const u8 *)WINDOW;
	u32 wrong = 0;

	pml4[WINDOW >> 39 & 511] = (uptr)tables[0] | 7;
	tables[0][WINDOW >> 30 & 511] = (uptr)tables[1] | 7;
	tables[1][WINDOW >> 21 & 511] = (uptr)tables[2] | 7;
	tables[2][WINDOW >> 12 & 511] = (uptr)page[0] | 5;
	tables[2][(WINDOW >> 12 & 511) + 1] = (uptr)page[0] | 5;
	write_cr3(read_cr3());
	for (u32 n = 0; n < 1000; n++) {
		write_function(page[0] + n % 7 * 64, n);
		wrong += call(at + n % 7 * 64, 2) != 2 + n;
		wrong += call(at + PAGE + n % 7 * 64, 3) != 3 + n;
		wrong += call(page[0] + n % 7 * 64, 4) != 4 + n;
	}
	check("written at one address, executed at three", wrong, 0);
}

/* A function that writes the next one, and jumps there: 200 of them, one behind the other. */
static void chain(void)
{
	/* mov dword [rip + 25], value (behind a nop; ret; int3...); lea eax, [rdi + 1]; ... */
	static const u8 link[] = {
		0xc7, 0x05, 6,    0,    0,
		0,    0x90, 0x90, 0x90, 0xc3, /* movl: nop nop nop ret, below */
		0x8d, 0x47, 0x01,             /* lea eax, [rdi + 1] */
		0xeb, 0x01,                   /* jmp there */
		0xcc, 0xcc, 0xcc, 0xcc, 0xcc, /* written over */
	};
	u32 wrong = 0;

	for (u32 n = 0; n < 200; n++) {
		u8 *at = page[1] + 1024 + n % 32 * 64;

		copy(at, link, sizeof(link));
		wrong += call(at, n) != n + 1;
	}
	check("code that writes where it goes on", wrong, 0);
}

void main(void)
{
	one_after_the_other();
	data_between();
	data_close_by();
	patched();
	retargeted();
	used_again();
	two_addresses();
	chain();
}
