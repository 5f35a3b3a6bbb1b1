/* SPDX-License-Identifier: Apache-2.0 */
/* What the processor reads and writes by itself across two pages: descriptors, gates, frames, the
 * task state, saved state; and accesses across the largest tables and the end of a canonical half.
 * SDM vol. 3A 4.6, 4.7, 6.14, 7.7. */
#include "window.h"

extern struct {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
} __attribute__((packed)) guest_tss;

static void store8(uptr at)
{
	*(volatile u64 *)at = 5;
}

static void load4(uptr at)
{
	(void)*(volatile u32 *)at;
}

static void run(uptr at)
{
	((void (*)(void))at)();
}

static void load_es(uptr selector)
{
	__asm__ volatile("mov %0, %%es" : : "r"(selector) : "memory");
}

static void load_es_user(uptr selector)
{
	load_es(selector);
	__asm__ volatile("int $0x80");
}

static void lar(uptr selector)
{
	__asm__ volatile("lar %0, %0" : "+r"(selector) : : "cc");
}

/* A GDT whose entry SEL_FREE has four bytes in the first page; the entries before are there. */
static void descriptors(void)
{
	struct gate_table own = {sizeof(gdt) - 1, EDGE - SEL_FREE - 4}, old;
	volatile u64 *entry = (volatile u64 *)behind(EDGE - 4);

	__asm__ volatile("sgdt %0" : "=m"(old));
	allow(P | W, P | W); /* not ring 3's: the processor reads them all the same */
	copy(behind(own.base), gdt, sizeof(gdt));
	*entry = 0x00cff2000000ffffull;
	__asm__ volatile("lgdt %0" : : "m"(own));
	check_none("a descriptor across the edge", guest_try(load_es, SEL_FREE));
	check("  is accessed then", *entry >> 40 & 1, 1);
	check("  its page dirty", *pte(1) & D, D);
	load_es(SEL_DATA);
	check_fault("  from ring 3", guest_try_user(load_es_user, SEL_FREE | 3), VEC_EXIT, 0);
	load_es(SEL_DATA);
	allow(P | W, P);
	check_none("  accessed already, in a read-only page", guest_try(load_es, SEL_FREE));
	load_es(SEL_DATA);
	*entry = 0x00cff2000000ffffull;
	faults_in("  ", "not yet", guest_try(load_es, SEL_FREE), P | W, EDGE);
	check("  stays so", *entry >> 40 & 1, 0);
	allow(P | W, 0);
	faults("  ", "absent", guest_try(load_es, SEL_FREE), 0, EDGE);
	faults("  ", "absent, ring 3", guest_try_user(load_es_user, SEL_FREE | 3), 0, EDGE);
	faults("  ", "absent, LAR", guest_try(lar, SEL_FREE), 0, EDGE);
	__asm__ volatile("lgdt %0" : : "m"(old));
}

static void software(uptr unused)
{
	(void)unused;
	__asm__ volatile("int $0x31");
}

static void undefined(uptr unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void gates(void)
{
	struct gate_table old, own = {256 * 16 - 1, EDGE - 0x31 * 16 - 8};
	struct fault f;

	__asm__ volatile("sidt %0" : "=m"(old));
	allow(P | W, P | W);
	*pte(2) = (uptr)page[2] | P | W;
	invlpg(EDGE + 4096);
	copy(behind(own.base), (void *)old.base, 256 * 16);
	__asm__ volatile("lidt %0" : : "m"(own));
	check_fault("a gate across the edge", guest_try(software, 0), 0x31, 0);
	allow(P, 0);
	f = guest_try(software, 0);
	faults("  ", "absent", f, 0, EDGE);
	check("  rip is the INT", *(u16 *)f.ip, 0x31cd);
	faults("  ", "absent, from ring 3", guest_try_user(software, 0), 0, EDGE);
	__asm__ volatile("lidt %0" : : "m"(old));
}

static uptr sp_seen;

static bool note_sp(struct frame *frame)
{
	sp_seen = (uptr)frame + sizeof(*frame);
	return false;
}

/* An exception's frame of 40 bytes, from 16 above the edge down. */
static void frames(void)
{
	struct fault f;

	guest_tss.ist[0] = EDGE + 16;
	guest_gate(6, vectors + 16 * 6, 0xe, 0, 1);
	allow(P | W, P | W);
	guest_hook = note_sp;
	check_fault("a frame across the edge", guest_try(undefined, 0), 6, 0);
	check("  is there", sp_seen, EDGE + 16);
	check("  D in both", *pte(0) & *pte(1) & D, D);
	guest_hook = NULL;
	allow(0, P | W);
	f = guest_try(undefined, 0);
	check_fault("  absent: #PF in place of it", f, 14, W);
	check("  in the lower page", f.cr2 >> 12, WINDOW >> 12);
	check("  rip is that of the first", *(u16 *)f.ip, 0x0b0f);
	allow(P, P | W);
	check_fault("  read-only", guest_try(undefined, 0), 14, W | P);
	guest_gate_default(6);
}

static void in_80(uptr unused)
{
	(void)unused;
	__asm__ volatile("in $0x80, %%al; int $0x80" : : : "eax");
}

/* A task state with IST 7 across the edge, and what of the I/O permissions is for port 80. */
#define IST7 0x54
static void task_state(void)
{
	u64 base = EDGE - IST7 - 4;
	u8 *tss = behind(base);

	allow(P | W, P | W);
	copy(tss, &guest_tss, sizeof(guest_tss));
	*(u64 *)(tss + IST7) = (uptr)page[2] + 4096;
	*(u16 *)(tss + 0x66) = 0x57 - 0x80 / 8; /* the two bytes at 57 and 58, which are zeroes */
	gdt[SEL_FREE / 8] = 0x68 | (base & 0xffffff) << 16 | 0x89ull << 40 |
			    (base >> 24 & 0xff) << 56;
	gdt[SEL_FREE / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE) : "memory");
	guest_gate(0x31, vectors + 16 * 0x31, 0xe, 3, 7);
	guest_hook = note_sp;
	check_fault("IST across the edge", guest_try(software, 0), 0x31, 0);
	check("  is the stack", sp_seen, (uptr)page[2] + 4096);
	guest_hook = NULL;
	check_fault("I/O permissions across it", guest_try_user(in_80, 0), VEC_EXIT, 0);
	allow(P | W, 0);
	faults("IST", ": absent", guest_try(software, 0), 0, EDGE);
	faults("IST", ": absent, from ring 3", guest_try_user(software, 0), 0, EDGE);
	faults_in("I/O permissions", ": absent", guest_try_user(in_80, 0), 0, EDGE);
	guest_gate_default(0x31);
	gdt[SEL_TSS / 8] &= ~(2ull << 40); /* not busy */
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
}

static void fxsave(uptr at)
{
	__asm__ volatile("fxsave (%0)" : : "r"(at) : "memory");
}

static void fxrstor(uptr at)
{
	__asm__ volatile("fxrstor (%0)" : : "r"(at) : "memory");
}

static void state(void)
{
	u64 at = EDGE - 256;

	allow(ALL, ALL);
	fxsave(at);
	check_none("FXRSTOR across the edge", guest_try(fxrstor, at));
	allow(ALL, 0);
	faults_in("FXSAVE", ": absent", guest_try(fxsave, at), W, EDGE);
	faults_in("FXRSTOR", ": absent", guest_try(fxrstor, at), 0, EDGE);
	allow(ALL, P | U);
	faults_in("FXSAVE", ": read-only", guest_try(fxsave, at), W | P, EDGE);
}

/* --- where tables meet ----------------------------------------------------------------------- */

#define TERA 0x0000128000000000ull /* a multiple of 512 GiB */

static void far_apart(void)
{
	static u64 low[3][512] __attribute__((aligned(4096)));
	static u64 high[3][512] __attribute__((aligned(4096)));
	volatile u64 *word = (volatile u64 *)(TERA - 3);

	pml4[(TERA >> 39) - 1] = (uptr)low[0] | ALL;
	low[0][511] = (uptr)low[1] | ALL;
	low[1][511] = (uptr)low[2] | ALL;
	low[2][511] = (uptr)page[2] | ALL;
	pml4[TERA >> 39] = (uptr)high[0] | ALL;
	high[0][0] = (uptr)high[1] | ALL;
	high[1][0] = (uptr)high[2] | ALL;
	high[2][0] = (uptr)page[0] | ALL;
	write_cr3(read_cr3());
	*word = 0x1122334455667788ull;
	check("across 512 GiB, low", *(u32 *)(page[2] + 4092) >> 8, 0x667788);
	check("  high", *(u32 *)page[0], 0x22334455);
	check("  a load", *word, 0x1122334455667788ull);
	check("  A in both PML4 entries", pml4[(TERA >> 39) - 1] & pml4[TERA >> 39] & (A | D), A);
	check("  D in both", low[2][511] & high[2][0] & D, D);
	pml4[TERA >> 39] = 0;
	write_cr3(read_cr3());
	faults("  ", "no PML4 entry", guest_try(store8, TERA - 3), W, TERA);
}

/* The last page of the lower half. */
static void edge_of_half(void)
{
	static u64 last[3][512] __attribute__((aligned(4096)));
	const u64 half = 1ull << 47;
	struct fault f;

	pml4[255] = (uptr)last[0] | ALL;
	last[0][511] = (uptr)last[1] | ALL;
	last[1][511] = (uptr)last[2] | ALL;
	last[2][511] = (uptr)page[2] | ALL;
	write_cr3(read_cr3());
	page[2][4095] = 0x90;
	f = guest_try(run, half - 1);
	check_fault("running on beyond the lower half", f, 13, 0);
	check("  rip", f.ip, half);
	copy(page[2] + 4094, "\xeb\x10", 2);
	f = guest_try(run, half - 2);
	check_fault("  a jump across", f, 13, 0);
	copy(page[2] + 4093, "\xb8\x44\x33", 3); /* MOV with two bytes more */
	check_fault("  an instruction across", guest_try(run, half - 3), 13, 0);
	check_fault("  a load across", guest_try(load4, half - 2), 13, 0);
}

void main(void)
{
	window_open();
	descriptors();
	gates();
	frames();
	task_state();
	state();
	far_apart();
	edge_of_half();
}
