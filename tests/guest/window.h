/* SPDX-License-Identifier: Apache-2.0 */
/* Two pages beside each other, and what each of them allows: for topics about what lies across. */
#ifndef LODGE_TESTS_GUEST_WINDOW_H
#define LODGE_TESTS_GUEST_WINDOW_H

#include "guest.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull

#define NX    (1ull << 63)
#define ALL   (P | W | U)
#define FETCH 0x10 /* error codes of #PF */

/* Two pages and the edge between them. */
#define WINDOW 0x0000123400000000ull
#define EDGE   (WINDOW + 4096)

extern u64 pml4[];

static u64 tables[3][512] __attribute__((aligned(4096)));
static u8 page[3][4096] __attribute__((aligned(4096)));

static inline u64 *pte(unsigned n)
{
	return &tables[2][n];
}

/* What the two pages allow (P, W, U, NX); 0: not present. A and D are clear. */
static inline void allow(u64 first, u64 second)
{
	*pte(0) = first ? (uptr)page[0] | first : 0;
	*pte(1) = second ? (uptr)page[1] | second : 0;
	*pte(2) = (uptr)page[2] | ALL;
	invlpg(WINDOW);
	invlpg(EDGE);
}

static inline u8 *behind(u64 at)
{
	return page[0] + (at - WINDOW);
}

static inline const char *name(const char *what, const char *how)
{
	static char text[96];
	unsigned n = 0;

	while (*what && n < sizeof(text) - 1)
		text[n++] = *what++;
	while (*how && n < sizeof(text) - 1)
		text[n++] = *how++;
	text[n] = '\0';
	return text;
}

static inline void faults(const char *what, const char *how, struct fault f, uptr error, u64 at)
{
	check_fault(name(what, how), f, 14, error);
	check("  cr2", f.cr2, at);
}

/* Where the processor is free to choose which of an instruction's accesses is the first. */
static inline void faults_in(const char *what, const char *how, struct fault f, uptr error,
			     u64 page_at)
{
	check_fault(name(what, how), f, 14, error);
	check("  the page", f.cr2 >> 12, page_at >> 12);
}

/* Before anything else. */
static inline void window_open(void)
{
	pml4[WINDOW >> 39 & 511] = (uptr)tables[0] | ALL;
	tables[0][WINDOW >> 30 & 511] = (uptr)tables[1] | ALL;
	tables[1][WINDOW >> 21 & 511] = (uptr)tables[2] | ALL;
}

#endif
