/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of an operand lie, once all that may fault has been checked. Private to mmu/. */
#ifndef LODGE_ENGINE_BT_MMU_PLACE_H
#define LODGE_ENGINE_BT_MMU_PLACE_H

#include <stddef.h>

#include "engine/bt/mmu/tlb.h"

/* The part of an operand in one page. */
struct place {
	uint64_t gpa;
	uint8_t *host; /* NULL: not RAM */
	bool tell;     /* pages_written has to know of a write */
	unsigned len;
};

struct places {
	struct place part[2];
	unsigned count; /* pages: 1 or 2 */
};

/* Finds len bytes (at most a page) at linear for an access (one of TLB_*) in a context. Raises the
 * page fault, of the first page before the second. */
void places_find(struct cpu *cpu, struct places *p, enum tlb_context context, uint64_t linear,
		 unsigned len, unsigned access);

/* Copies them; raises nothing. One of 1, 2, 4, 8 or 16 bytes of RAM in one page is one access
 * of the host. */
void places_read(struct cpu *cpu, const struct places *p, void *buf);
void places_write(struct cpu *cpu, const struct places *p, const void *buf);

/* The address n bytes after linear: they wrap at 4 GiB but in 64-bit mode. */
static inline uint64_t linear_add(const struct cpu *cpu, uint64_t linear, uint64_t n)
{
	if (cpu->mode == CPU_LONG || linear > UINT32_MAX)
		return linear + n;
	return (linear + n) & UINT32_MAX;
}

/* Notes in cpu->debug_hits the data breakpoints that an access meets, which has raised nothing. */
void watch_slow(struct cpu *cpu, uint64_t linear, unsigned len, bool write);

static inline void watch(struct cpu *cpu, uint64_t linear, unsigned len, bool write)
{
	if (__builtin_expect(cpu->tlb->watch, 0))
		watch_slow(cpu, linear, len, write);
}

/* Raises #AC where alignment checks are on for the current CPL and linear is not a multiple of
 * size, a power of two. Before the page is looked at: processors report #AC first. */
static inline void check_alignment(struct cpu *cpu, uint64_t linear, unsigned size)
{
	if (cpu->cpl == 3 && (cpu->rflags & RFLAGS_AC) && (cpu->cr0 & CR0_AM) &&
	    (linear & (size - 1)))
		cpu_raise_error(cpu, VECTOR_AC, 0);
}

#endif
