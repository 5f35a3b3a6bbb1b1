/* SPDX-License-Identifier: Apache-2.0 */
/* Five levels of page tables, where CPUID has LA57: the fifth level's entries, addresses of 57
 * bits, what is canonical. By way of 32-bit mode, for CR4.LA57 cannot change in long mode. Where
 * CPUID has it not, that the bit is reserved. SDM vol. 3A 4.5, 2.5; vol. 1 3.3.7.1. */
#include "guest.h"

#define P        1ull
#define W        2ull
#define U        4ull
#define A        0x20ull
#define D        0x40ull
#define PS       0x80ull
#define NX       (1ull << 63)
#define ALL      (P | W | U)
#define CR4_LA57 (1u << 12)
#define LSTAR    0xc0000082
#define FS_BASE  0xc0000100
#define RESERVED 8 /* in an error code, with P */

/* An address that four levels have not; where an address begins that five have not. */
#define HIGH     0x0012345600000000ull
#define TOO_HIGH 0x0100000000000000ull
#define LOWEST   0xff00000000000000ull
#define NO_PAGE  0x0042000000000000ull

extern u64 pml4[];
u64 pml5[512] __attribute__((aligned(4096)));
static u64 tables[4][512] __attribute__((aligned(4096)));
static u8 target[4096] __attribute__((aligned(4096)));

/* u32 switch_paging(cr4, cr3): to 32-bit mode without paging, CR4, CR3, and back; EAX is CR4 as it
 * was there, or all ones where setting it made an exception. */
u32 switch_paging(u32 cr4, u32 cr3);
__asm__(".text\n"
	".globl switch_paging\n"
	"switch_paging:\n"
	"	push %rbx\n"
	"	mov %rsp, saved_rsp(%rip)\n"
	"	sidt saved_idt(%rip)\n"
	"	lidt own_idt(%rip)\n"
	"	ljmpl *to_32(%rip)\n"
	"	.code32\n"
	"1:	mov $0x10, %eax\n"
	"	mov %eax, %ss\n"
	"	mov %cr0, %eax\n"
	"	and $0x7fffffff, %eax\n"
	"	mov %eax, %cr0\n"
	"	mov %edi, %cr4\n"
	"	mov %esi, %cr3\n"
	"	mov %cr4, %ebx\n"
	"2:	mov %cr0, %eax\n"
	"	or $0x80000000, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmp $8, $3f\n"
	/* #GP there: CR4 and CR3 are as they were. */
	".globl refused\n"
	"refused:\n"
	"	mov $-1, %ebx\n"
	"	jmp 2b\n"
	"	.code64\n"
	"3:	mov saved_rsp(%rip), %rsp\n"
	"	lidt saved_idt(%rip)\n"
	"	mov %ebx, %eax\n"
	"	pop %rbx\n"
	"	ret\n"
	".data\n"
	"to_32: .long 1b, 0x28\n"
	"saved_rsp: .quad 0\n"
	"saved_idt: .word 0; .quad 0\n"
	"own_idt: .word 14 * 8 - 1; .quad gates_32\n"
	".text\n");
u64 gates_32[14]; /* of 32-bit mode: only that of #GP */
extern u8 refused[];

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

static void user_load(uptr at)
{
	load(at);
	__asm__ volatile("int $0x80");
}

static void set_cr4(uptr value)
{
	write_cr4(value);
}

static void write_msr(uptr index)
{
	wrmsr((u32)index, TOO_HIGH);
}

static u64 *entry(void)
{
	return &pml5[HIGH >> 48 & 511];
}

static void set(u64 flags)
{
	*entry() = flags ? (uptr)tables[0] | flags : 0;
	write_cr3(read_cr3());
}

static void fifth_level(void)
{
	struct fault f;

	tables[0][HIGH >> 39 & 511] = (uptr)tables[1] | ALL;
	tables[1][HIGH >> 30 & 511] = (uptr)tables[2] | ALL;
	tables[2][HIGH >> 21 & 511] = (uptr)tables[3] | ALL;
	tables[3][HIGH >> 12 & 511] = (uptr)target | ALL;
	set(ALL);
	target[0] = 0xc3;
	check_none("an address of 57 bits", guest_try(fetch, HIGH));
	check_none("  is written", guest_try(store, HIGH + 1));
	check("  and is the page", target[1], 0x5a);
	check("  A in the fifth level, no D", *entry() & (A | D), A);
	set(P | W);
	check_fault("ring 0's by the fifth level", guest_try_user(user_load, HIGH), 14, P | U);
	set(P | U);
	check_fault("read-only by it", guest_try(store, HIGH), 14, P | W);
	check("  cr2 has 57 bits", read_cr2(), HIGH);
	set(ALL | NX);
	check_fault("not executable by it", guest_try(fetch, HIGH), 14, P | 0x10);
	set(ALL | PS);
	check_fault("no large pages there", guest_try(load, HIGH), 14, P | RESERVED);
	set(0);
	f = guest_try(load, HIGH);
	check_fault("not present there", f, 14, 0);
	set(ALL);
	/* The same entry serves another address of these 256 TiB. */
	tables[0][0] = pml4[0];
	check_none("the lowest addresses, once more",
		   guest_try(load, (HIGH & ~0xffffffffffffull) + 0x100000));
	/* INVLPG takes all 57 bits. */
	(void)*(volatile u8 *)HIGH;
	tables[3][HIGH >> 12 & 511] = 0;
	invlpg(HIGH);
	check_fault("INVLPG", guest_try(load, HIGH), 14, 0);
	tables[3][HIGH >> 12 & 511] = (uptr)target | ALL;
}

static void canonical(void)
{
	check_fault("above 48 bits: #PF", guest_try(load, 0x0000800000000000ull), 14, 0);
	check_fault("  nothing there", guest_try(load, NO_PAGE), 14, 0);
	check_fault("above 57 bits: #GP", guest_try(load, TOO_HIGH), 13, 0);
	check_fault("  the last below the upper half", guest_try(load, LOWEST - 1), 13, 0);
	check_fault("  the upper half", guest_try(load, LOWEST), 14, 0);
	check_fault("  a jump", guest_try(fetch, TOO_HIGH), 13, 0);
	check_fault("  a jump that is canonical", guest_try(fetch, LOWEST), 14, 0x10);
	check_fault("  across", guest_try(load, TOO_HIGH - 1), 14, 0);
	check_fault("LSTAR", guest_try(write_msr, LSTAR), 13, 0);
	wrmsr(LSTAR, LOWEST);
	check("  of 57 bits", rdmsr(LSTAR), LOWEST);
	wrmsr(FS_BASE, HIGH);
	__asm__ volatile("movb $7, %%fs:2" : : : "memory");
	check("FS.base of 57 bits", target[2], 7);
	wrmsr(FS_BASE, 0);
	check_fault("CR4.LA57 cannot go in long mode",
		    guest_try(set_cr4, read_cr4() & ~(uptr)CR4_LA57), 13, 0);
}

void main(void)
{
	u32 r[4], four = (u32)read_cr3(), cr4 = (u32)read_cr4(), got;
	uptr at = (uptr)refused;

	cpuid(7, 0, r);
	gates_32[13] = (at & 0xffff) | (u64)SEL_CODE32 << 16 | 0x8e00ull << 32 | (at >> 16) << 48;
	check_fault("CR4.LA57 cannot come in long mode", guest_try(set_cr4, read_cr4() | CR4_LA57),
		    13, 0);
	check("out of long mode and back", switch_paging(cr4, four), cr4);
	pml5[0] = (uptr)pml4 | ALL;
	got = switch_paging(cr4 | CR4_LA57, (u32)(uptr)pml5);
	if (!(r[2] & 1 << 16)) {
		say("     no LA57 in CPUID\n");
		check("CR4.LA57 is reserved", got, 0xffffffff);
		return;
	}
	check("CR4.LA57", got, cr4 | CR4_LA57);
	check("  stays", read_cr4() & CR4_LA57, CR4_LA57);
	check("  A in the fifth level", pml5[0] & A, A);
	fifth_level();
	canonical();
	check("back to four levels", switch_paging(cr4, four), cr4);
	check_fault("  with 48 bits", guest_try(load, HIGH), 13, 0);
}
