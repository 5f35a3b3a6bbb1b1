/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of forms.
 *
 * Three run through every opcode byte of the legacy and VEX maps, defined or not, with
 * every class of prefixes and every ModRM.mod and .reg. Most of the bytes of some maps
 * are not defined, so two more take from lists of those that are: VEX's, and
 * primary opcodes that deserve more than their share (branches, segments, strings, flags).
 */
#include "encode.h"

/* Ranges of defined VEX opcodes, with the pp that they are known with (a bit each: none, 66, F3,
 * F2). */
static const struct {
	uint8_t map, first, last, pp;
} vex_known[] = {
	{1, 0x10, 0x17, 0xf}, {1, 0x28, 0x2f, 0xf}, {1, 0x50, 0x5f, 0xf}, {1, 0x60, 0x6f, 0x6},
	{1, 0x70, 0x76, 0xf}, {1, 0x77, 0x77, 0x1}, {1, 0x7c, 0x7f, 0xe}, {1, 0xae, 0xae, 0x1},
	{1, 0xc2, 0xc6, 0xf}, {1, 0xd0, 0xe7, 0xe}, {1, 0xe8, 0xff, 0xa}, {2, 0x00, 0x0f, 0x2},
	{2, 0x13, 0x1e, 0x2}, {2, 0x20, 0x2f, 0x2}, {2, 0x30, 0x41, 0x2}, {2, 0x45, 0x47, 0x2},
	{2, 0x50, 0x53, 0x2}, {2, 0x58, 0x5a, 0x2}, {2, 0x78, 0x79, 0x2}, {2, 0x8c, 0x93, 0x2},
	{2, 0x96, 0x9f, 0x2}, {2, 0xa6, 0xaf, 0x2}, {2, 0xb6, 0xbf, 0x2}, {2, 0xcf, 0xdf, 0x2},
	{2, 0xf2, 0xf7, 0xf}, {3, 0x00, 0x06, 0x2}, {3, 0x08, 0x0f, 0x2}, {3, 0x14, 0x21, 0x2},
	{3, 0x38, 0x4c, 0x2}, {3, 0x60, 0x63, 0x2}, {3, 0xce, 0xdf, 0x2}, {3, 0xf0, 0xf0, 0x8},
};

/* The same of the legacy maps 0F38 and 0F3A; 16 stands for any prefix. */
static const struct {
	uint8_t map, first, last, pp;
} escape_known[] = {
	{2, 0x00, 0x0b, 0x3}, {2, 0x10, 0x17, 0x2}, {2, 0x1c, 0x1e, 0x3}, {2, 0x20, 0x25, 0x2},
	{2, 0x28, 0x2b, 0x2}, {2, 0x30, 0x35, 0x2}, {2, 0x37, 0x41, 0x2}, {2, 0xc8, 0xcf, 0x3},
	{2, 0xdb, 0xdf, 0x2}, {2, 0xf0, 0xf1, 0xf}, {2, 0xf0, 0xf1, 0xf}, {2, 0xf5, 0xf9, 0xf},
	{3, 0x08, 0x0f, 0x3}, {3, 0x14, 0x22, 0x2}, {3, 0x40, 0x44, 0x2}, {3, 0x60, 0x63, 0x2},
};

/* Opcodes that deserve more cases than one in 512, of the primary and the 0F map. */
static const uint8_t chosen[][2] = {
	{0, 0x07}, {0, 0x17}, {0, 0x1f}, {0, 0x06}, {0, 0x0e}, {0, 0x60}, {0, 0x61}, {0, 0x62},
	{0, 0x63}, {0, 0x8c}, {0, 0x8e}, {0, 0x8f}, {0, 0x9a}, {0, 0x9c}, {0, 0x9d}, {0, 0xa4},
	{0, 0xa5}, {0, 0xa6}, {0, 0xa7}, {0, 0xaa}, {0, 0xab}, {0, 0xac}, {0, 0xad}, {0, 0xae},
	{0, 0xaf}, {0, 0xc2}, {0, 0xc3}, {0, 0xc4}, {0, 0xc5}, {0, 0xc8}, {0, 0xc9}, {0, 0xca},
	{0, 0xcb}, {0, 0xcd}, {0, 0xce}, {0, 0xcf}, {0, 0xd7}, {0, 0xe0}, {0, 0xe2}, {0, 0xe3},
	{0, 0xe8}, {0, 0xe9}, {0, 0xea}, {0, 0xf6}, {0, 0xf7}, {0, 0xfe}, {0, 0xff}, {0, 0xff},
	{1, 0x00}, {1, 0x01}, {1, 0x02}, {1, 0x03}, {1, 0xa0}, {1, 0xa1}, {1, 0xa3}, {1, 0xab},
	{1, 0xae}, {1, 0xae}, {1, 0xae}, {1, 0xb2}, {1, 0xb4}, {1, 0xb5}, {1, 0xba}, {1, 0xc7},
};

static uint64_t bits(uint64_t *n, unsigned count)
{
	uint64_t v = *n & ((1ULL << count) - 1);

	*n >>= count;
	return v;
}

static void vex_prefix(struct form *f, struct rng *r)
{
	/* A 66, F2, F3, LOCK or REX before VEX is #UD; segments and 67 are good. */
	static const uint8_t class[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 6, 10, 11, 1, 3, 8};

	f->prefix = class[rng_below(r, 16)];
}

static void form_vex_known(struct form *f, uint64_t n, struct rng *r)
{
	unsigned pick = (unsigned)bits(&n, 5);

	f->map = 4u + vex_known[pick].map;
	f->opcode = (uint8_t)(vex_known[pick].first +
			      rng_below(r, vex_known[pick].last - vex_known[pick].first + 1u));
	do
		f->pp = (uint8_t)rng_below(r, 4);
	while (!(vex_known[pick].pp >> f->pp & 1));
	f->l = bits(&n, 1);
	f->w = bits(&n, 1) && rng_chance(r, 1, 2);
	f->mod = (uint8_t)bits(&n, 2);
	f->reg = (uint8_t)bits(&n, 3);
	vex_prefix(f, r);
}

static void form_escape_known(struct form *f, uint64_t n, struct rng *r)
{
	static const uint8_t class[] = {0, 1, 3, 2}; /* as pp: none, 66, F3, F2 */
	unsigned pick = (unsigned)bits(&n, 4), pp;

	f->map = escape_known[pick].map;
	f->opcode = (uint8_t)(escape_known[pick].first +
			      rng_below(r,
					escape_known[pick].last - escape_known[pick].first + 1u));
	do
		pp = rng_below(r, 4);
	while (!(escape_known[pick].pp >> pp & 1));
	f->prefix = class[pp];
	f->w = bits(&n, 1);
	f->mod = (uint8_t)bits(&n, 2);
	f->reg = (uint8_t)bits(&n, 3);
}

static const unsigned log2_count[FORMS] = {
	[FORMS_BASE] = 9 + 4 + 1 + 5,     [FORMS_0F38] = 9 + 4 + 1 + 5,
	[FORMS_VEX] = 10 + 2 + 1 + 1 + 5, [FORMS_X87] = 3 + 5 + 4,
	[FORMS_VEX_KNOWN] = 12,           [FORMS_CHOSEN] = 6 + 4 + 1 + 5,
	[FORMS_0F38_KNOWN] = 10,
};

uint64_t form_count(unsigned stream)
{
	return 1ULL << log2_count[stream];
}

void form_at(struct form *f, unsigned stream, uint64_t n, struct rng *r)
{
	*f = (struct form){0};
	n = (n * 0x9e3779b97f4a7c15) & (form_count(stream) - 1);
	if (stream == FORMS_VEX_KNOWN) {
		form_vex_known(f, n, r);
		return;
	}
	if (stream == FORMS_0F38_KNOWN) {
		form_escape_known(f, n, r);
		return;
	}
	f->mod = (uint8_t)bits(&n, 2);
	f->reg = (uint8_t)bits(&n, 3);
	if (stream == FORMS_VEX) {
		f->w = bits(&n, 1);
		f->l = bits(&n, 1);
		f->pp = (uint8_t)bits(&n, 2);
		f->opcode = (uint8_t)bits(&n, 8);
		f->map = 4 + (unsigned)bits(&n, 2);
		vex_prefix(f, r);
		return;
	}
	f->prefix = (unsigned)bits(&n, 4);
	if (stream == FORMS_X87) {
		f->opcode = (uint8_t)(0xd8 + bits(&n, 3));
		f->w = rng_chance(r, 1, 4);
		if (rng_chance(r, 3, 4))
			f->prefix = 0;
		return;
	}
	f->w = bits(&n, 1);
	if (stream == FORMS_CHOSEN) {
		unsigned pick = (unsigned)bits(&n, 6);

		f->map = chosen[pick][0];
		f->opcode = chosen[pick][1];
		return;
	}
	f->opcode = (uint8_t)bits(&n, 8);
	f->map = (unsigned)bits(&n, 1) + (stream == FORMS_0F38 ? 2 : 0);
}
