/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest memory that the fuzzed interpreter begins with: tables for every mode at
 * once, so that code of any of them finds something to use, and to break.
 *
 *	00000  interrupt vector table of real mode
 *	01000  GDT                      05000  PML5, PML4, PDPT, PD, PT of 64-bit paging
 *	02000  IDT, 8-byte gates        0a000  PDPT and PD of PAE (same PT as above)
 *	03000  TSS of 32, 64, 16 bits   0c000  PD and PT of 32-bit paging
 *	04000  LDT                      0e000  IDT, 16-byte gates
 *	10000  code                     20000  RAM of another region
 *	40000  a device                 41000  RAM again
 *
 * Paging maps the first 2 MiB one to one; the large pages above them are RAM again,
 * the local APIC, addresses where nothing is, and the tables themselves.
 */
#ifndef LODGE_TESTS_FUZZ_INTERP_GUEST_H
#define LODGE_TESTS_FUZZ_INTERP_GUEST_H

#include <stdint.h>

#include "base/bits.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"

enum {
	GUEST_GDT = 0x1000,
	GUEST_IDT = 0x2000,
	GUEST_TSS32 = 0x3000,
	GUEST_TSS64 = 0x3400,
	GUEST_TSS16 = 0x3800,
	GUEST_LDT = 0x4000,
	GUEST_PML5 = 0x5000,
	GUEST_PML4 = 0x6000,
	GUEST_PDPT = 0x7000,
	GUEST_PD = 0x8000,
	GUEST_PT = 0x9000,
	GUEST_PAE_PDPT = 0xa000,
	GUEST_PAE_PD = 0xb000,
	GUEST_PD32 = 0xc000,
	GUEST_PT32 = 0xd000,
	GUEST_IDT64 = 0xe000,
	GUEST_CODE = 0x10000,
	GUEST_SECOND = 0x20000,
	GUEST_DATA = 0x28000,
	GUEST_STACK = 0x30000,
	GUEST_DEVICE = 0x40000,
	GUEST_THIRD = 0x41000,
	GUEST_END = 0x45000,
	GUEST_TSS_LIMIT = 0x2ff,
	GUEST_GDT_LIMIT = 0xff,
};

/* Selectors. */
enum {
	SEL_CODE64 = 0x08,
	SEL_DATA = 0x10,
	SEL_USER_DATA = 0x1b,
	SEL_USER_CODE64 = 0x23,
	SEL_CODE32 = 0x28,
	SEL_CODE16 = 0x30,
	SEL_USER_CODE32 = 0x3b,
	SEL_TSS32 = 0x40,
	SEL_TSS64 = 0x48,
	SEL_LDT = 0x58,
	SEL_CALL32 = 0x68,
	SEL_CALL64 = 0x70,
	SEL_TASK = 0x80,
	SEL_OTHER_TSS32 = 0x88,
	SEL_OTHER_TSS16 = 0x90,
	SEL_CONFORMING = 0x98,
	SEL_EXPAND_DOWN = 0xa0,
	SEL_CODE16_USER = 0xab,
	SEL_LDT_DATA = 0x04,
};

#define GUEST_P_RW (PTE_P | PTE_RW | PTE_US)

static inline void guest_put(uint8_t *ram, uint64_t at, unsigned size, uint64_t value)
{
	store_le(ram + at, size, value);
}

static inline uint64_t guest_descriptor(uint64_t base, uint64_t limit, uint64_t attr)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | attr << 40 | (limit >> 16 & 15) << 48 |
	       (base >> 24 & 255) << 56;
}

static inline uint64_t guest_gate(uint16_t selector, uint32_t offset, unsigned attr)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)attr << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

static inline void guest_segments(uint8_t *ram)
{
	static const struct {
		uint16_t selector;
		uint64_t descriptor;
	} flat[] = {
		{SEL_CODE64, 0x00af9b000000ffff},      {SEL_DATA, 0x00cf93000000ffff},
		{SEL_USER_DATA, 0x00cff3000000ffff},   {SEL_USER_CODE64, 0x00affb000000ffff},
		{SEL_CODE32, 0x00cf9b000000ffff},      {SEL_CODE16, 0x008f9b000000ffff},
		{SEL_USER_CODE32, 0x00cffb000000ffff}, {SEL_CONFORMING, 0x00cf9f000000ffff},
		{SEL_EXPAND_DOWN, 0x00cf970000000fff}, {SEL_CODE16_USER, 0x008ffb000000ffff},
	};

	for (unsigned i = 0; i < ARRAY_LEN(flat); i++)
		guest_put(ram, GUEST_GDT + (flat[i].selector & ~7u), 8, flat[i].descriptor);
	guest_put(ram, GUEST_GDT + SEL_TSS32, 8,
		  guest_descriptor(GUEST_TSS32, GUEST_TSS_LIMIT, 0x8b));
	guest_put(ram, GUEST_GDT + SEL_TSS64, 8,
		  guest_descriptor(GUEST_TSS64, GUEST_TSS_LIMIT, 0x8b));
	guest_put(ram, GUEST_GDT + SEL_LDT, 8, guest_descriptor(GUEST_LDT, 0xff, 0x82));
	guest_put(ram, GUEST_GDT + SEL_CALL32, 8,
		  guest_gate(SEL_CODE32, GUEST_CODE, 0xec) | 3ULL << 32);
	guest_put(ram, GUEST_GDT + SEL_CALL64, 8, guest_gate(SEL_CODE64, GUEST_CODE, 0xec));
	guest_put(ram, GUEST_GDT + SEL_TASK, 8, guest_gate(SEL_OTHER_TSS32, 0, 0xe5));
	guest_put(ram, GUEST_GDT + SEL_OTHER_TSS32, 8, guest_descriptor(GUEST_TSS64, 0x2ff, 0xe9));
	guest_put(ram, GUEST_GDT + SEL_OTHER_TSS16, 8, guest_descriptor(GUEST_TSS16, 0xff, 0xe1));
	guest_put(ram, GUEST_LDT + (SEL_LDT_DATA & ~7u), 8, 0x00cff3000000ffff);
}

/* Stacks for every ring and IST, and what the other tasks begin with. */
static inline void guest_tasks(uint8_t *ram)
{
	for (unsigned ring = 0; ring < 3; ring++) {
		guest_put(ram, GUEST_TSS32 + 4 + 8 * ring, 4, GUEST_STACK - 0x400 * ring);
		guest_put(ram, GUEST_TSS32 + 8 + 8 * ring, 2, SEL_DATA + ring);
	}
	for (unsigned n = 0; n < 10; n++)
		guest_put(ram, GUEST_TSS64 + 4 + 8 * n, 8, GUEST_STACK - 0x200 * n);
	guest_put(ram, GUEST_TSS32 + 0x66, 2, 0x68);
	guest_put(ram, GUEST_TSS64 + 0x66, 2, 0x68);
	/* The 64-bit TSS is also the other 32-bit task's: its registers from EIP on. */
	guest_put(ram, GUEST_TSS64 + 0x1c, 4, GUEST_PAE_PDPT);
	guest_put(ram, GUEST_TSS64 + 0x20, 4, GUEST_CODE + 0x20);
	guest_put(ram, GUEST_TSS64 + 0x38, 4, GUEST_STACK);
	for (unsigned n = 0; n < 6; n++)
		guest_put(ram, GUEST_TSS64 + 0x48 + 4 * n, 4, n == 1 ? SEL_CODE32 : SEL_DATA);
	guest_put(ram, GUEST_TSS16 + 0x0e, 2, 0x40);
	guest_put(ram, GUEST_TSS16 + 0x10, 2, 2);
	guest_put(ram, GUEST_TSS16 + 0x1a, 2, 0x800);
	for (unsigned n = 0; n < 4; n++)
		guest_put(ram, GUEST_TSS16 + 0x22 + 2 * n, 2, n == 1 ? SEL_CODE16 : SEL_DATA);
}

/* Every vector goes to the code page; some by traps, rings' or task gates, or other stacks. */
static inline void guest_vectors(uint8_t *ram)
{
	for (unsigned v = 0; v < 256; v++) {
		uint32_t to = GUEST_CODE + 16 * (v % 32);
		unsigned attr = v % 3 ? 0xee : 0xef;
		uint64_t gate = guest_gate(SEL_CODE32, to, attr);

		guest_put(ram, 4 * v, 4, (uint64_t)(GUEST_CODE >> 4) << 16 | 16 * (v % 32));
		if (v == 0x21)
			gate = guest_gate(SEL_OTHER_TSS32, 0, 0xe5);
		else if (v == 0x22)
			gate = guest_gate(SEL_CODE16, 0x40, 0xe6);
		guest_put(ram, GUEST_IDT + 8 * v, 8, gate);
		guest_put(ram, GUEST_IDT64 + 16 * v, 8,
			  guest_gate(SEL_CODE64, to, attr) | (uint64_t)(v % 5 == 3 ? v % 8 : 0)
								     << 32);
	}
}

static inline void guest_pages(uint8_t *ram)
{
	static const uint64_t large[] = {0, 0xfee00000, 0x40000000, 0xffffffffff000};

	for (unsigned i = 0; i < 512; i++)
		guest_put(ram, GUEST_PT + 8 * i, 8,
			  i << 12 | GUEST_P_RW | (i % 16 == 7 ? PTE_G : 0));
	for (unsigned i = 0; i < 1024; i++)
		guest_put(ram, GUEST_PT32 + 4 * i, 4, i << 12 | GUEST_P_RW);
	guest_put(ram, GUEST_PML5, 8, GUEST_PML4 | GUEST_P_RW);
	guest_put(ram, GUEST_PML4, 8, GUEST_PDPT | GUEST_P_RW);
	guest_put(ram, GUEST_PML4 + 8, 8, GUEST_PML4 | GUEST_P_RW);
	guest_put(ram, GUEST_PML4 + 8 * 511, 8, GUEST_PDPT | GUEST_P_RW);
	guest_put(ram, GUEST_PDPT, 8, GUEST_PD | GUEST_P_RW);
	guest_put(ram, GUEST_PDPT + 8, 8, PTE_PS | GUEST_P_RW);
	guest_put(ram, GUEST_PDPT + 8 * 511, 8, GUEST_PD | GUEST_P_RW);
	guest_put(ram, GUEST_PAE_PDPT, 8, GUEST_PD | PTE_P);
	guest_put(ram, GUEST_PAE_PDPT + 8, 8, GUEST_PAE_PD | PTE_P);
	guest_put(ram, GUEST_PAE_PD, 8, GUEST_PT | GUEST_P_RW);
	guest_put(ram, GUEST_PD, 8, GUEST_PT | GUEST_P_RW);
	guest_put(ram, GUEST_PD32, 4, GUEST_PT32 | GUEST_P_RW);
	for (unsigned i = 0; i < ARRAY_LEN(large); i++) {
		guest_put(ram, GUEST_PD + 8 * (i + 1), 8, large[i] | PTE_PS | GUEST_P_RW);
		guest_put(ram, GUEST_PD32 + 4 * (i + 1), 4,
			  (uint32_t)large[i] | PTE_PS | GUEST_P_RW);
	}
	guest_put(ram, GUEST_PD + 8 * 511, 8, GUEST_PT | GUEST_P_RW);
	guest_put(ram, GUEST_PD32 + 4 * 1023, 4, GUEST_PD32 | GUEST_P_RW);
}

/* Writes all this to GUEST_END bytes of zeroes. */
static inline void guest_make(uint8_t *ram)
{
	guest_vectors(ram);
	guest_segments(ram);
	guest_tasks(ram);
	guest_pages(ram);
}

#endif
