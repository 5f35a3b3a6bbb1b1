/* SPDX-License-Identifier: Apache-2.0 */
/* 4-level paging: permissions, error codes, A/D bits, large pages, reserved bits, INVLPG, global
 * pages, SMEP, SMAP, non-canonical addresses. SDM vol. 3A chapter 4. */
#include "guest.h"

#define P                  1ull
#define W                  2ull
#define U                  4ull
#define A                  0x20ull
#define D                  0x40ull
#define PS                 0x80ull
#define G                  0x100ull
#define NX                 (1ull << 63)
#define ERR(p, w, u, r, i) ((p) | (w) << 1 | (u) << 2 | (r) << 3 | (i) << 4)

#define CR0_WP   (1u << 16)
#define CR4_PGE  (1u << 7)
#define CR4_PCID (1u << 17)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define FLAG_AC  (1u << 18)

/* A window of our own: one PML4 entry, with a table at each level. */
#define WINDOW 0x0000123400000000ull

extern u64 pml4[];
static u64 tables[3][512] __attribute__((aligned(4096)));
static u8 target[3][4096] __attribute__((aligned(4096)));
static u64 *const pte = &tables[2][0];

static void map(u64 at, u64 entry)
{
	pml4[at >> 39 & 511] = (uptr)tables[0] | P | W | U;
	tables[0][at >> 30 & 511] = (uptr)tables[1] | P | W | U;
	tables[1][at >> 21 & 511] = (uptr)tables[2] | P | W | U;
	tables[2][at >> 12 & 511] = entry;
	write_cr3(read_cr3());
}

static void load(uptr at)
{
	(void)*(volatile u8 *)at;
}

static void store(uptr at)
{
	*(volatile u8 *)at = 0x5a;
}

static void fetch(uptr at)
{
	((void (*)(void))at)();
}

static void user_end(void)
{
	__asm__ volatile("int $0x80");
}

static void user_load(uptr at)
{
	load(at);
	user_end();
}

static void user_store(uptr at)
{
	store(at);
	user_end();
}

static void user_fetch(uptr at)
{
	fetch(at);
	user_end();
}

/* Every combination of rights, and who does what, against the rule. */
static void rights(void)
{
	for (unsigned n = 0; n < 128; n++) {
		bool w = n & 1, u = n & 2, nx = n & 4, wp = n & 8, user = n & 16;
		unsigned how = n >> 5; /* 0 load, 1 store, 2 fetch */
		bool allowed = !user || u;
		struct fault f;
		static char name[] = "rights  --- --- -----";
		void (*const kernel[])(uptr) = {load, store, fetch};
		void (*const ring3[])(uptr) = {user_load, user_store, user_fetch};

		if (how == 3)
			continue;
		if (how == 1 && !w && (user || wp))
			allowed = false;
		if (how == 2 && nx)
			allowed = false;
		name[8] = w ? 'w' : 'r';
		name[9] = u ? 'u' : 's';
		name[10] = nx ? 'n' : 'x';
		name[12] = wp ? 'w' : '-';
		name[13] = wp ? 'p' : '-';
		name[14] = user ? '3' : '0';
		copy(name + 16, how == 0 ? "load " : how == 1 ? "store" : "fetch", 5);
		target[0][0] = 0xc3;
		map(WINDOW, (uptr)target[0] | P | (w ? W : 0) | (u ? U : 0) | (nx ? NX : 0));
		write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~(uptr)CR0_WP);
		f = user ? guest_try_user(ring3[how], WINDOW) : guest_try(kernel[how], WINDOW);
		if (allowed)
			check(name, f.vector, user ? VEC_EXIT : NO_FAULT);
		else
			check_fault(name, f, 14, ERR(1, how == 1, user, 0, how == 2));
		if (!allowed)
			check("  cr2", f.cr2, WINDOW);
	}
	write_cr0(read_cr0() | CR0_WP);
}

static void not_present(void)
{
	map(WINDOW, 0);
	check_fault("not present, load", guest_try(load, WINDOW + 5), 14, ERR(0, 0, 0, 0, 0));
	check("  cr2", read_cr2(), WINDOW + 5);
	check_fault("not present, store", guest_try(store, WINDOW), 14, ERR(0, 1, 0, 0, 0));
	check_fault("not present, ring 3", guest_try_user(user_load, WINDOW), 14,
		    ERR(0, 0, 1, 0, 0));
	check_fault("not present, fetch", guest_try(fetch, WINDOW), 14, ERR(0, 0, 0, 0, 1));
	pml4[WINDOW >> 39 & 511] = 0;
	write_cr3(read_cr3());
	check_fault("no PML4 entry", guest_try(store, WINDOW), 14, ERR(0, 1, 0, 0, 0));
}

static void accessed_dirty(void)
{
	u64 plain = (uptr)target[0] | P | W | U;

	map(WINDOW, plain);
	guest_try(load, WINDOW);
	check("A by a load", *pte & (A | D), A);
	map(WINDOW, plain);
	guest_try(store, WINDOW);
	check("A and D by a store", *pte & (A | D), A | D);
	map(WINDOW, plain);
	guest_try(load, WINDOW);
	guest_try(store, WINDOW);
	check("D by a store after a load", *pte & (A | D), A | D);
	map(WINDOW, plain & ~W);
	guest_try(store, WINDOW);
	check("no D by a store that faults", *pte & D, 0);
	map(WINDOW, plain);
	guest_try(load, WINDOW);
	check("A in the directory", tables[1][WINDOW >> 21 & 511] & A, A);
	check("no D in the directory", tables[1][WINDOW >> 21 & 511] & D, 0);
	check("A in the PML4", pml4[WINDOW >> 39 & 511] & A, A);
	/* A bit that software takes away comes back once the TLB has forgotten. */
	map(WINDOW, plain);
	guest_try(store, WINDOW);
	*pte &= ~(A | D);
	invlpg(WINDOW);
	guest_try(store, WINDOW);
	check("A and D again after INVLPG", *pte & (A | D), A | D);
}

static bool has_1gib(void)
{
	u32 r[4];

	cpuid(0x80000001, 0, r);
	return r[3] & 1 << 26;
}

static void reserved(void)
{
	u32 r[4];
	u64 high;

	cpuid(0x80000008, 0, r);
	high = 1ull << (r[0] & 0xff);
	if (high < 1ull << 52) {
		map(WINDOW, (uptr)target[0] | P | W | U | high);
		check_fault("address too high in a PTE", guest_try(load, WINDOW), 14,
			    ERR(1, 0, 0, 1, 0));
	}
	map(WINDOW, 0);
	if (has_1gib()) {
		tables[0][WINDOW >> 30 & 511] = P | W | U | PS | 0x2000;
		write_cr3(read_cr3());
		check_fault("reserved bit in a 1 GiB entry", guest_try(load, WINDOW), 14,
			    ERR(1, 0, 0, 1, 0));
	}
	map(WINDOW, 0);
	tables[1][WINDOW >> 21 & 511] = P | W | U | PS | 0x2000;
	write_cr3(read_cr3());
	check_fault("reserved bit in a 2 MiB entry", guest_try_user(user_store, WINDOW), 14,
		    ERR(1, 1, 1, 1, 0));
	map(WINDOW, (uptr)target[0] | P | NX);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~(1ull << 11));
	write_cr3(read_cr3());
	check_fault("NX is reserved without EFER.NXE", guest_try(load, WINDOW), 14,
		    ERR(1, 0, 0, 1, 0));
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
}

static void large(void)
{
	u64 *word = (u64 *)(uptr)(WINDOW + 0x1fff8);
	u64 *same = (u64 *)0x41fff8; /* 4 MiB + that, in the identity map */

	map(WINDOW, 0);
	tables[1][WINDOW >> 21 & 511] = 0x400000 | P | W | U | PS;
	write_cr3(read_cr3());
	*same = 0x1122334455667788ull;
	check("2 MiB page reads", *word, 0x1122334455667788ull);
	check("A in a 2 MiB entry", tables[1][WINDOW >> 21 & 511] & (A | D), A);
	*word = 7;
	check("2 MiB page writes", *same, 7);
	check("D in a 2 MiB entry", tables[1][WINDOW >> 21 & 511] & (A | D), A | D);
	/* INVLPG of any address in it forgets all of it. */
	tables[1][WINDOW >> 21 & 511] = 0x600000 | P | W | U | PS;
	invlpg(WINDOW);
	*(u64 *)0x61fff8 = 9;
	check("INVLPG of a 2 MiB page", *word, 9);
	if (!has_1gib())
		return;
	tables[0][WINDOW >> 30 & 511] = 0 | P | W | U | PS;
	write_cr3(read_cr3());
	*(u64 *)0x812340 = 0xabc;
	check("1 GiB page reads", *(u64 *)(uptr)(WINDOW + 0x812340), 0xabc);
}

static void invalidation(void)
{
	volatile u8 *at = (volatile u8 *)WINDOW;

	target[0][0] = 1;
	target[1][0] = 2;
	map(WINDOW, (uptr)target[0] | P | W | G);
	check("before", *at, 1);
	*pte = (uptr)target[1] | P | W | G;
	invlpg(WINDOW);
	check("after INVLPG, without CR4.PGE", *at, 2);
	write_cr4(read_cr4() | CR4_PGE);
	*pte = (uptr)target[0] | P | W | G;
	write_cr4(read_cr4() & ~(uptr)CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	check("after CR4.PGE went and came", *at, 1);
	*pte = (uptr)target[1] | P | W | G;
	invlpg(WINDOW);
	check("INVLPG forgets a global page", *at, 2);
	*pte = (uptr)target[0] | P | W;
	invlpg(WINDOW);
	(void)*at;
	*pte = (uptr)target[1] | P | W;
	write_cr3(read_cr3());
	check("MOV CR3 forgets a page that is not global", *at, 2);
	*pte = 0;
	invlpg(WINDOW);
	check_fault("gone after INVLPG", guest_try(load, WINDOW), 14, 0);
	/* From not present to present nothing needs be invalidated. */
	*pte = (uptr)target[0] | P | W;
	check("present without INVLPG", *at, 1);
	write_cr4(read_cr4() & ~(uptr)CR4_PGE);
}

static void crossing(void)
{
	u64 *word = (u64 *)(uptr)(WINDOW + 4096 - 4);

	map(WINDOW, (uptr)target[0] | P | W);
	map(WINDOW + 4096, (uptr)target[2] | P | W);
	fill(target, 0, sizeof(target));
	*word = 0x1122334455667788ull;
	check("low half of a crossing store", *(u32 *)&target[0][4092], 0x55667788);
	check("high half", *(u32 *)target[2], 0x11223344);
	check("crossing load", *word, 0x1122334455667788ull);
}

static void store_crossing(uptr at)
{
	*(volatile u64 *)at = ~0ull;
}

static void crossing_faults(void)
{
	map(WINDOW, (uptr)target[0] | P | W);
	map(WINDOW + 4096, (uptr)target[2] | P);
	*(u32 *)&target[0][4092] = 0;
	check_fault("store into a read-only second page", guest_try(store_crossing, WINDOW + 4092),
		    14, ERR(1, 1, 0, 0, 0));
	check("  cr2 is the second page", read_cr2(), WINDOW + 4096);
	check("  nothing was stored", *(u32 *)&target[0][4092], 0);
	check_fault("store beyond the canonical half",
		    guest_try(store_crossing, 0x00007ffffffffffcull), 13, 0);
	check_fault("load not canonical", guest_try(load, 0x8000000000000000ull), 13, 0);
	check_fault("jump not canonical", guest_try(fetch, 0x0000900000000000ull), 13, 0);
}

static void load_ac(uptr at)
{
	write_flags(read_flags() | FLAG_AC);
	load(at);
}

static void supervisor_protection(void)
{
	u32 r[4];

	cpuid(7, 0, r);
	target[0][0] = 0xc3;
	map(WINDOW, (uptr)target[0] | P | W | U);
	/* Our own code lies in user pages: taken away before SMEP comes. */
	for (unsigned n = 0; n < 2048; n++)
		((u64 *)(pml4 + 1024))[n] &= ~U;
	write_cr3(read_cr3());
	if (r[1] & 1 << 7) {
		write_cr4(read_cr4() | CR4_SMEP);
		check_fault("SMEP", guest_try(fetch, WINDOW), 14, ERR(1, 0, 0, 0, 1));
		check_none("SMEP lets loads be", guest_try(load, WINDOW));
		write_cr4(read_cr4() & ~(uptr)CR4_SMEP);
		check_none("without SMEP", guest_try(fetch, WINDOW));
	}
	if (r[1] & 1 << 20) {
		write_cr4(read_cr4() | CR4_SMAP);
		check_fault("SMAP, load", guest_try(load, WINDOW), 14, ERR(1, 0, 0, 0, 0));
		check_fault("SMAP, store", guest_try(store, WINDOW), 14, ERR(1, 1, 0, 0, 0));
		check_none("SMAP with AC", guest_try(load_ac, WINDOW));
		check_fault("SMAP again", guest_try(load, WINDOW), 14, ERR(1, 0, 0, 0, 0));
		check_none("SMAP lets a fetch be", guest_try(fetch, WINDOW));
		write_cr4(read_cr4() & ~(uptr)CR4_SMAP);
	}
	for (unsigned n = 0; n < 2048; n++)
		((u64 *)(pml4 + 1024))[n] |= U;
	write_cr3(read_cr3());
}

static void set_cr4(uptr value)
{
	write_cr4(value);
}

static void set_cr0(uptr value)
{
	write_cr0(value);
}

static void control(void)
{
	check_fault("CR4.PAE cannot go in long mode", guest_try(set_cr4, read_cr4() & ~0x20ul), 13,
		    0);
	check_fault("CR0.PG without PE", guest_try(set_cr0, 0x80000010), 13, 0);
	check_fault("CR0.PG cannot go in 64-bit mode",
		    guest_try(set_cr0, read_cr0() & ~0x80000000ul), 13, 0);
	check_fault("CR0.NW without CD", guest_try(set_cr0, read_cr0() | 1u << 29), 13, 0);
	check_fault("CR0 above bit 31", guest_try(set_cr0, read_cr0() | 1ull << 32), 13, 0);
	check_fault("CR4 reserved", guest_try(set_cr4, read_cr4() | 1ull << 40), 13, 0);
}

void main(void)
{
	rights();
	not_present();
	accessed_dirty();
	reserved();
	large();
	invalidation();
	crossing();
	crossing_faults();
	supervisor_protection();
	control();
}
