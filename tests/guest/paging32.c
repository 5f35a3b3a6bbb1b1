/* SPDX-License-Identifier: Apache-2.0 */
/* 32-bit paging with 4 MiB pages, and PAE paging with its loaded directory pointers. SDM vol. 3A,
 * 4.3 and 4.4. */
#include "guest.h"

#define P                  1u
#define W                  2u
#define U                  4u
#define A                  0x20u
#define D                  0x40u
#define PS                 0x80u
#define ERR(p, w, u, r, i) ((p) | (w) << 1 | (u) << 2 | (r) << 3 | (i) << 4)
#define WINDOW             0x40000000u

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u64 pointers[4] __attribute__((aligned(32)));
static u64 directories[4][512] __attribute__((aligned(4096)));
static u64 wide[512] __attribute__((aligned(4096)));
static u8 target[2][4096] __attribute__((aligned(4096)));

static void load(uptr at)
{
	(void)*(volatile u8 *)at;
}

static void store(uptr at)
{
	*(volatile u8 *)at = 0x5a;
}

static void user_store(uptr at)
{
	store(at);
	__asm__ volatile("int $0x80");
}

static void fetch(uptr at)
{
	((void (*)(void))at)();
}

static void off(void)
{
	write_cr0(read_cr0() & 0x7fffffff);
}

static void two_levels(void)
{
	write_cr4(read_cr4() | 0x10); /* PSE */
	for (u32 n = 0; n < 256; n++)
		directory[n] = n << 22 | P | W | U | PS;
	directory[WINDOW >> 22] = (uptr)table | P | W | U;
	table[0] = (uptr)target[0] | P | W | U;
	write_cr3((uptr)directory);
	write_cr0(read_cr0() | 0x80010000);
	check_none("a 4 KiB page", guest_try(store, WINDOW));
	check("  the byte", target[0][0], 0x5a);
	check("  A and D", table[0] & (A | D), A | D);
	check("  A in the directory", directory[WINDOW >> 22] & (A | D), A);
	check("A in a 4 MiB entry", directory[0] & A, A);
	table[0] = (uptr)target[0] | P | U;
	invlpg(WINDOW);
	check_fault("read-only", guest_try(store, WINDOW), 14, ERR(1, 1, 0, 0, 0));
	check("  cr2", read_cr2(), WINDOW);
	write_cr0(read_cr0() & ~0x10000u);
	check_none("read-only, without CR0.WP", guest_try(store, WINDOW));
	check_fault("  ring 3 is not excused", guest_try_user(user_store, WINDOW), 14,
		    ERR(1, 1, 1, 0, 0));
	write_cr0(read_cr0() | 0x10000);
	directory[WINDOW >> 22] &= ~U;
	table[0] = (uptr)target[0] | P | W | U;
	write_cr3(read_cr3());
	check_fault("supervisor by the directory", guest_try_user(user_store, WINDOW), 14,
		    ERR(1, 1, 1, 0, 0));
	directory[WINDOW >> 22] = 0;
	write_cr3(read_cr3());
	check_fault("no directory entry", guest_try(load, WINDOW), 14, 0);
	target[0][0] = 0xc3;
	directory[WINDOW >> 22] = (uptr)table | P | W | U;
	check_none("fetch: there is no NX", guest_try(fetch, WINDOW));
	/* Without PSE the bit is ignored, and the entry points to a table. */
	off();
	write_cr4(read_cr4() & ~0x10u);
}

static void set_cr3(uptr value)
{
	write_cr3(value);
}

static void pae(void)
{
	write_cr4(read_cr4() | 0x20);
	for (u32 n = 0; n < 512; n++)
		directories[0][n] = (u64)n << 21 | P | W | U | PS;
	pointers[0] = (uptr)directories[0] | P;
	pointers[1] = (uptr)directories[1] | P;
	directories[1][0] = (uptr)wide | P | W | U;
	wide[0] = (uptr)target[1] | P | W | U;
	write_cr3((uptr)pointers);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
	write_cr0(read_cr0() | 0x80010000);
	check_none("PAE, a 4 KiB page", guest_try(store, WINDOW));
	check("  the byte", target[1][0], 0x5a);
	check("  A and D", wide[0] & (A | D), A | D);
	wide[0] |= 1ull << 63;
	invlpg(WINDOW);
	check_fault("NX", guest_try(fetch, WINDOW), 14, ERR(1, 0, 0, 0, 1));
	/* The pointers are those that were loaded. */
	wide[0] &= ~(1ull << 63);
	pointers[1] = 0;
	invlpg(WINDOW);
	check_none("a pointer changed in memory only", guest_try(store, WINDOW));
	write_cr3(read_cr3());
	check_fault("  and loaded", guest_try(load, WINDOW), 14, 0);
	pointers[1] = (uptr)directories[1] | P | W;
	check_fault("a reserved bit in a pointer", guest_try(set_cr3, (uptr)pointers), 13, 0);
	pointers[1] = (uptr)directories[1] | P;
	write_cr3((uptr)pointers);
	wide[0] = (uptr)target[1] | P | W | U | 1ull << 62;
	invlpg(WINDOW);
	check_fault("a reserved bit in an entry", guest_try(load, WINDOW), 14, ERR(1, 0, 0, 1, 0));
	off();
	write_cr4(read_cr4() & ~0x20u);
}

void main(void)
{
	two_levels();
	pae();
}
