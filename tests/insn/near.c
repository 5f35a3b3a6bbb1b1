/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of 64-bit code whose accesses lie near each other, as those of programs do: a
 * translator that looks several of them up at once has to know which values registers still
 * have. So the base is copied, moved, exchanged and overwritten in between, also by what
 * instructions write without naming it; branches lead forward; and the accesses are at the end of
 * a page often enough (scene_target).
 */
#include <string.h>

#include "near.h"

#define INSNS_MAX 16
#define LEN_MAX   68 /* of the code: with the longest instruction below CODE_MAX - 16 */
#define BRANCHES  3

#define REX_W 8

enum place {
	OF_MEMORY,   /* ModRM names memory, near the base */
	OF_BASES,    /* ModRM.reg and ModRM.rm are registers that may be bases */
	OF_BASE_IMM, /* ModRM.rm is one, an immediate byte follows */
	OF_BASE,     /* ModRM.rm is one */
	OF_NOTHING   /* no ModRM */
};

/* An instruction: reg is ModRM.reg where that is a part of the opcode, else -1. */
static const struct template
{
	uint8_t bytes[4]; /* prefix and opcode, up to the first 0 */
	uint8_t place;
	uint8_t prefix; /* before REX, or 0 */
	uint8_t w;      /* REX.W: 0, REX_W, or 1 for either */
	int8_t reg;
}
templates[] = {
	{{0x8b}, OF_MEMORY, 0, 1, -1},
	{{0x89}, OF_MEMORY, 0, 1, -1},
	{{0x03}, OF_MEMORY, 0, 1, -1},
	{{0x01}, OF_MEMORY, 0, 1, -1},
	{{0x11}, OF_MEMORY, 0, 1, -1},
	{{0x39}, OF_MEMORY, 0, 1, -1},
	{{0x88}, OF_MEMORY, 0, 0, -1},
	{{0x8b}, OF_MEMORY, 0x66, 0, -1},
	{{0x87}, OF_MEMORY, 0, 1, -1},
	{{0x01}, OF_MEMORY, 0xf0, 1, -1},
	{{0x0f, 0xb1}, OF_MEMORY, 0, 1, -1},
	{{0x0f, 0xc1}, OF_MEMORY, 0, 1, -1},
	{{0x0f, 0xaf}, OF_MEMORY, 0, 1, -1},
	{{0x0f, 0x28}, OF_MEMORY, 0, 0, -1},
	{{0x0f, 0x29}, OF_MEMORY, 0, 0, -1},
	{{0x0f, 0x11}, OF_MEMORY, 0, 0, -1},
	{{0x0f, 0xfe}, OF_MEMORY, 0x66, 0, -1},
	{{0xff}, OF_MEMORY, 0, 0, 6},
	{{0x8d}, OF_MEMORY, 0, 1, -1},
	{{0x8b}, OF_BASES, 0, REX_W, -1},
	{{0x87}, OF_BASES, 0, REX_W, -1},
	{{0x0f, 0xc1}, OF_BASES, 0, REX_W, -1},
	{{0x0f, 0xb1}, OF_BASES, 0, REX_W, -1},
	{{0x0f, 0x44}, OF_BASES, 0, 1, -1},
	{{0x83}, OF_BASE_IMM, 0, 1, 0},
	{{0x83}, OF_BASE_IMM, 0, 1, 5},
	{{0xff}, OF_BASE, 0, 1, 0},
	{{0xff}, OF_BASE, 0, 1, 1},
	{{0xf7}, OF_BASE, 0, REX_W, 4},
	{{0xff}, OF_BASE, 0, 0, 6},
	{{0x8f}, OF_BASE, 0, 0, 0},
	{{0x99}, OF_NOTHING, 0, REX_W, -1},
	{{0x9f}, OF_NOTHING, 0, 0, -1},
	{{0xac}, OF_NOTHING, 0, 0, -1},
};

/* A register that addresses, mostly the case's own one; never RSP. */
static unsigned a_base(struct work *w, unsigned own)
{
	static const uint8_t others[] = {0, 2, 3, 5, 10, 11};

	return rng_chance(&w->r, 3, 4) ? own : others[rng_below(&w->r, sizeof(others))];
}

static void put(struct work *w, unsigned byte)
{
	w->c->code[w->c->len++] = (uint8_t)byte;
}

/* [base + displacement]; the last one is what scene_aim looks at. */
static void put_memory(struct work *w, unsigned reg, unsigned base)
{
	int32_t disp = (int32_t)rng_below(&w->r, 48) * 8 - 192;

	if (rng_chance(&w->r, 1, 4))
		disp += (int32_t)rng_below(&w->r, 8);
	put(w, 0x80 | (reg & 7) << 3 | (base & 7));
	w->e = (struct encoding){
		.at = w->c->len,
		.memory = true,
		.addr_size = 8,
		.seg = SEG_DS_,
		.base = (int)base,
		.index = -1,
		.disp_at = w->c->len,
		.disp_size = 4,
	};
	memcpy(w->c->code + w->c->len, &disp, 4);
	w->c->len += 4;
}

static void one(struct work *w, unsigned own)
{
	const struct template *t =
		&templates[rng_below(&w->r, sizeof(templates) / sizeof(templates[0]))];
	unsigned rm = t->place == OF_MEMORY && rng_chance(&w->r, 7, 8) ? own : a_base(w, own);
	unsigned reg = t->reg >= 0 ? (unsigned)t->reg : rng_below(&w->r, 16);
	unsigned wide = t->w == 1 ? rng_below(&w->r, 2) * REX_W : t->w;

	if (t->reg < 0 && reg == 4)
		reg = own;
	if (t->prefix)
		put(w, t->prefix);
	put(w, 0x40 | wide | (reg >> 3) << 2 | (t->place == OF_NOTHING ? 0 : rm >> 3));
	for (unsigned n = 0; t->bytes[n]; n++)
		put(w, t->bytes[n]);
	if (t->place == OF_MEMORY)
		put_memory(w, reg, rm);
	else if (t->place != OF_NOTHING)
		put(w, 0xc0 | (reg & 7) << 3 | (rm & 7));
	if (t->place == OF_BASE_IMM)
		put(w, rng_below(&w->r, 32) * 8);
}

void near_sequence(struct work *w)
{
	static const uint8_t own[] = {3, 3, 5, 10, 11, 0, 2};
	unsigned base = own[rng_below(&w->r, sizeof(own))], branch[BRANCHES], branches = 0;
	unsigned start[INSNS_MAX + 1], count = 3 + rng_below(&w->r, INSNS_MAX - 2);
	struct test_case *c = w->c;

	for (c->insns = 0; c->insns < count && c->len < LEN_MAX; c->insns++) {
		start[c->insns] = c->len;
		if (branches < BRANCHES && c->insns && rng_chance(&w->r, 1, 8)) {
			put(w, 0x70 | rng_below(&w->r, 16));
			put(w, 0);
			branch[branches++] = c->insns;
		} else {
			one(w, base);
		}
	}
	start[c->insns] = c->len;
	for (unsigned n = 0; n < branches; n++) {
		unsigned from = branch[n] + 1, to = from + rng_below(&w->r, c->insns - from + 1);

		c->code[start[from] - 1] = (uint8_t)(start[to] - start[from]);
	}
}
