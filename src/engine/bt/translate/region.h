/* SPDX-License-Identifier: Apache-2.0 */
/* The guest code of a block, decoded, with what the analysis found. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_REGION_H
#define LODGE_ENGINE_BT_TRANSLATE_REGION_H

#include "engine/bt/decode/insn.h"

#define REGION_MAX 48

struct cpu;
struct page;

/* The status flags, as bits of RFLAGS. */
#define FLAGS_STATUS 0x8d5u

struct region_insn {
	struct insn insn;
	uint64_t linear;
	uint8_t kind;  /* enum kind */
	uint16_t live; /* status flags that may be read after it before they are written */
};

/* The page that the last instruction ends in, where that is not the region's. */
struct region_crossing {
	uint64_t linear;     /* of the page */
	uintptr_t host;      /* where it is */
	struct page *page;   /* its record */
	uint32_t generation; /* before the bytes were read */
};

struct region {
	uint64_t linear;
	uint64_t gpa;
	uint32_t generation; /* of the page before the bytes were read */
	unsigned count;      /* instructions; the last may be a branch */
	unsigned bytes;
	bool branches;   /* it is one, and so the block's end */
	unsigned within; /* conditional branches that do not end it */
	unsigned turn;   /* instructions of a loop that is there several times; 0: it is not */
	bool crosses;    /* it crosses the page's end */
	struct region_crossing crossing;
	uint16_t live; /* status flags that may be read before they are written, at the beginning */
	struct region_insn insn[REGION_MAX];
};

/* Decodes from linear, which lies at gpa in RAM, on. Marks the page as code. An instruction that
 * cannot be translated ends the region, and is not in it. May wait for other vCPUs. */
void region_read(struct cpu *cpu, struct region *r, uint64_t linear, uint64_t gpa);

/* Whether an instruction that has been decoded can be part of a region. Finds its kind. */
bool region_takes(const struct cpu *cpu, struct region_insn *i);

/* Adds the instruction that begins with the len bytes at first, the last ones of the page, if it is
 * one that can be. */
void region_cross(struct cpu *cpu, struct region *r, const uint8_t *first, unsigned len);

/* Makes several turns of a region that is a loop, if it is one that can be: unroll.c. bytes stays
 * that of one. */
void region_unroll(struct region *r);

/* Where the region is left by this conditional branch of it, which does not end it. */
uint64_t region_way_out(const struct region *r, const struct region_insn *i);

/* Whether the instruction, one of the region, is the branch that ends it. */
static inline bool region_ends(const struct region *r, const struct region_insn *i)
{
	return r->branches && i == &r->insn[r->count - 1];
}

/* Status flags that may be read by the instruction, or after it before they are written. */
unsigned region_live_before(const struct region_insn *i);

/* Finds the live flags, backwards. */
void region_analyse(struct cpu *cpu, struct region *r);

#endif
