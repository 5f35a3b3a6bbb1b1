/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments of a local descriptor table: 16-bit code and stacks, bases, limits, segments
 * that expand down, that cannot be written or read, that are not present. Both worlds have the same
 * table; the host's kernel sets it by modify_ldt(2).
 */
#ifndef LODGE_TESTS_INSN_SEGMENTS_H
#define LODGE_TESTS_INSN_SEGMENTS_H

#include "insn.h"

/* A descriptor as modify_ldt takes it: always of level 3, always accessed. */
struct ldt_entry {
	uint32_t base, limit; /* limit in units of pages where pages is set */
	uint8_t kind;         /* LDT_* */
	bool big, pages, locked, absent;
};

enum { LDT_NONE, LDT_DATA, LDT_DOWN, LDT_CODE };

#define LDT_SEGMENTS 18

const struct ldt_entry *ldt_entry(unsigned n);

/* The selector of entry n, and which entry is behind a selector; -1: none. */
#define SEL_LDT(n) ((uint16_t)((n) << 3 | 7))
int ldt_index(uint16_t selector);

/* What the segment adds, as far as these tables say: 0 of the host's own segments. */
uint32_t segment_base(uint16_t selector);
/* Whether its stack pointer is SP, its code 16-bit. */
bool segment_small(uint16_t selector);
/* The last offset, of code. */
uint32_t segment_last(uint16_t selector);

/* Gives this process the table; false where its kernel does not allow all of it. */
bool segments_install(void);

#endif
