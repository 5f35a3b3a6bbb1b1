/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that one processor patches while another executes it, with nothing but stores: an aligned
 * store to a constant in it. Who executes sees the old or the new one, whole, and after the next
 * message from who writes (and what serializes) the new one. AMD APM vol. 2, 7.6.1; SDM vol. 3A
 * 8.1.3 asks for more.
 */
#include "guest.h"

#define CPUS   2
#define ROUNDS 2000u

static u8 page[2][4096] __attribute__((aligned(4096)));
static volatile u32 last, seen, calls, wrong, backward;

typedef u64 (*code)(void);

static u64 call(const u8 *at)
{
	return ((code)(uptr)at)();
}

static inline void pause(void)
{
	__asm__ volatile("pause");
}

/* movabs rax, imm64 (at a multiple of 8); ret */
static u8 *constant(u32 n)
{
	return page[n] + 256;
}

static void write_code(u32 n)
{
	u8 *at = constant(n) - 2;

	at[0] = 0x48;
	at[1] = 0xb8;
	*(volatile u64 *)constant(n) = 0;
	at[10] = 0xc3;
}

static void execute(void)
{
	u64 before[2] = {0, 0};
	u32 r[4];

	for (u32 n = 0; !n || seen != ROUNDS; n++) {
		u64 now = call(constant(n % 2) - 2);

		/* Both halves are of one store. */
		wrong += (u32)now != (u32)(now >> 32);
		backward += (u32)now < (u32)before[n % 2];
		before[n % 2] = now;
		calls++;
		if (seen == last)
			continue;
		seen = last;
		cpuid(0, 0, r);
		for (u32 k = 0; k < 2; k++)
			wrong += (u32)call(constant(k) - 2) < seen;
	}
}

void main(void)
{
	write_code(0);
	write_code(1);
	guest_start_others(CPUS, execute);
	for (u32 n = 1; n <= ROUNDS; n++) {
		u32 before = calls;
		u64 value = (u64)n << 32 | n;

		*(volatile u64 *)constant(0) = value;
		*(volatile u64 *)constant(1) = value;
		last = n;
		/* Now at once, now after the other has come to know. */
		while (n % 8 && n % 3 && calls == before && seen != ROUNDS)
			pause();
		while (!(n % 8) && seen != n)
			pause();
	}
	while (seen != ROUNDS)
		pause();
	check("constants that were never written, or old ones", wrong, 0);
	check("older ones after newer ones", backward, 0);
	check("calls meanwhile", calls > ROUNDS / 8, 1);
}
