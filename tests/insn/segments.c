/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local descriptor table of a case.
 *
 * Linux allows no conforming segment that is present, and sets the accessed bit itself
 * (arch/x86/kernel/ldt.c): so no case sees that bit being set.
 */
#include <asm/ldt.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "segments.h"

#define LDT_LIMIT_PAGES 0xfffffu

static const struct ldt_entry table[LDT_SEGMENTS] = {
	/* 16-bit code: to write and read as usual; with a limit amid the second page; that cannot
	 * be read; of which the first page is cut off, as it begins there. */
	{CODE_ADDR, 0xffff, LDT_CODE, false, false, false, false},
	{CODE_ADDR, 0x17f8, LDT_CODE, false, false, false, false},
	{CODE_ADDR - 0x10, 0xffff, LDT_CODE, false, false, true, false},
	/* 32-bit code with a base and a limit; of all memory, by wrapping. */
	{CODE_ADDR - 0x1000, 0x27f6, LDT_CODE, true, false, false, false},
	{0xf0000000, LDT_LIMIT_PAGES, LDT_CODE, true, true, true, false},
	/* Not present: code and data. */
	{CODE_ADDR, 0xffff, LDT_CODE, false, false, false, true},
	{DATA_ADDR, 0xffff, LDT_DATA, false, false, false, true},
	/* 16-bit data and stacks. */
	{DATA_ADDR, 0xffff, LDT_DATA, false, false, false, false},
	{DATA_ADDR, 0x17f5, LDT_DATA, false, false, false, false},
	{DATA_ADDR - 0x8000, 0xffff, LDT_DATA, false, false, false, false},
	{DATA_ADDR, 0xffff, LDT_DATA, false, false, true, false},
	/* Expanding down, 16 and 32 bits: what lies beyond the limit is valid. */
	{DATA_ADDR, 0x0803, LDT_DOWN, false, false, false, false},
	{DATA_ADDR, 0x0803, LDT_DOWN, true, false, false, false},
	{DATA_ADDR - 0x2000, 1, LDT_DOWN, true, true, false, false},
	/* 32-bit data: with a limit; of all memory, by wrapping. */
	{DATA_ADDR - 0x1001, 0x2ffe, LDT_DATA, true, false, false, false},
	{0xf0000003, LDT_LIMIT_PAGES, LDT_DATA, true, true, false, false},
	{0, 0, LDT_NONE, false, false, false, false},
	/* Limits in pages without 32 bits. */
	{DATA_ADDR, 1, LDT_DATA, false, true, false, false},
};

const struct ldt_entry *ldt_entry(unsigned n)
{
	return &table[n];
}

int ldt_index(uint16_t selector)
{
	unsigned n = selector >> 3;

	return selector & 4 && n < LDT_SEGMENTS ? (int)n : -1;
}

uint32_t segment_base(uint16_t selector)
{
	int n = ldt_index(selector);

	return n < 0 ? 0 : table[n].base;
}

bool segment_small(uint16_t selector)
{
	int n = ldt_index(selector);

	return n >= 0 && !table[n].big;
}

uint32_t segment_last(uint16_t selector)
{
	int n = ldt_index(selector);

	if (n < 0)
		return UINT32_MAX;
	return table[n].pages ? table[n].limit << 12 | 0xfff : table[n].limit;
}

bool segments_install(void)
{
	static const uint8_t contents[] = {
		[LDT_DATA] = MODIFY_LDT_CONTENTS_DATA,
		[LDT_DOWN] = MODIFY_LDT_CONTENTS_STACK,
		[LDT_CODE] = MODIFY_LDT_CONTENTS_CODE,
	};

	for (unsigned n = 0; n < LDT_SEGMENTS; n++) {
		const struct ldt_entry *t = &table[n];
		struct user_desc d = {
			.entry_number = n,
			.base_addr = t->base,
			.limit = t->limit,
			.seg_32bit = t->big,
			.contents = contents[t->kind],
			.read_exec_only = t->locked,
			.limit_in_pages = t->pages,
			.seg_not_present = t->absent,
			.useable = 1,
		};

		if (t->kind && syscall(SYS_modify_ldt, 0x11, &d, sizeof d))
			return false;
	}
	return true;
}
