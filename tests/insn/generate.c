/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a case of a seed and a number.
 *
 * The number's low bits choose the stream (encode.h) or another source: sequences of
 * instructions without branches, or of accesses near each other (near.c), random bytes, prefixes
 * without measure. Then come segments, registers and memory (scene.c).
 *
 * Where the generator does not know the instruction's length (an opcode that it did not choose) it
 * sets TF: the case then ends by #DB. All others are followed by a jump to EXIT_ADDR.
 */
#include <stdlib.h>
#include <string.h>

#include "near.h"
#include "scene.h"
#include "segments.h"
#include "values.h"

#define SOURCES 32

enum { SOURCE_SEQUENCE = FORMS, SOURCE_BYTES, SOURCE_PREFIXES };

static const uint8_t sources[SOURCES] = {
	FORMS_BASE,       FORMS_BASE,       FORMS_BASE,      FORMS_BASE,      FORMS_BASE,
	FORMS_BASE,       FORMS_BASE,       FORMS_BASE,      FORMS_BASE,      FORMS_0F38,
	FORMS_VEX_KNOWN,  FORMS_VEX_KNOWN,  FORMS_VEX_KNOWN, FORMS_VEX_KNOWN, FORMS_VEX_KNOWN,
	FORMS_0F38_KNOWN, FORMS_VEX,        FORMS_X87,       FORMS_X87,       FORMS_X87,
	FORMS_X87,        FORMS_CHOSEN,     FORMS_CHOSEN,    FORMS_CHOSEN,    FORMS_CHOSEN,
	FORMS_CHOSEN,     SOURCE_SEQUENCE,  SOURCE_SEQUENCE, SOURCE_SEQUENCE, SOURCE_BYTES,
	SOURCE_PREFIXES,  FORMS_0F38_KNOWN,
};

void generate_background(uint8_t *data, uint64_t seed)
{
	struct rng r;

	rng_init(&r, seed, UINT64_MAX);
	for (unsigned i = 0; i < DATA_SIZE; i += 32)
		value_lanes(&r, data + i, 32);
}

/* XSAVE and its kin: only components that the CPU models have. */
static void tame_xsave(struct work *w)
{
	bool group_ae = w->h.map == 1 && w->h.opcode == 0xae,
	     c7 = w->h.map == 1 && w->h.opcode == 0xc7;

	if ((group_ae || c7) && w->h.modrm < 0xc0 && (w->h.modrm & 0x38) >= 0x18) {
		w->c->in.gpr[0] = rng_below(&w->r, 8);
		w->c->in.gpr[2] = 0;
		if (w->h.opcode == 0xc7 && (w->h.modrm & 0x38) == 8)
			w->c->in.gpr[0] = rng_next(&w->r);
	}
}

/* The jump to EXIT_ADDR: near in 64-bit code, far to there in other code. */
static void terminate(struct test_case *c)
{
	uint32_t exit = EXIT_ADDR, rel = exit - (c->addr + c->len + 5);
	uint8_t far[] = {0x66, 0xea, 0, 0, 0, 0, SEL_CODE64, 0};

	if (c->mode == MODE_64) {
		c->tail = 5;
		c->code[c->len] = 0xe9;
		memcpy(c->code + c->len + 1, &rel, 4);
		return;
	}
	memcpy(far + 2, &exit, 4);
	c->tail = c->mode == MODE_16 ? 8 : 7;
	memcpy(c->code + c->len, far + 8 - c->tail, c->tail);
}

/* Where in the code pages: mostly the middle, now and then across their border, or up to the end
 * of the second, or to that of the segment. */
static void place(struct work *w)
{
	struct test_case *c = w->c;
	uint32_t base = segment_base(c->in.sel[SEG_CS_]), last = segment_last(c->in.sel[SEG_CS_]);
	unsigned kind = rng_below(&w->r, 32);

	c->addr = CODE_ADDR + 0x400 + rng_below(&w->r, 0x400);
	c->tail = !w->stepped;
	if (kind == 0)
		c->addr = CODE_ADDR + PAGE - 1 - rng_below(&w->r, 14);
	if (kind > 2 || kind == 0 || w->stepped)
		return;
	c->tail = 0;
	if (kind == 2 && last < 2 * CODE_SIZE)
		c->addr = base + last + 1 - c->len + rng_below(&w->r, 2) * rng_below(&w->r, c->len);
	else if (last >= 2 * CODE_SIZE)
		c->addr = CODE_ADDR + CODE_SIZE - c->len +
			  rng_below(&w->r, 2) * rng_below(&w->r, c->len);
}

static void aim_branch(struct work *w)
{
	struct test_case *c = w->c;
	const struct encoding *e = &w->e;
	uint64_t rel = scene_code(w) - (c->addr + e->rel_at + e->rel_size);

	if (e->rel_size == 4 || rng_chance(&w->r, 1, 2))
		memcpy(c->code + e->rel_at, &rel, e->rel_size);
}

/* A branch into its own bytes, or into the jump after it, which may be anything. */
static bool lands_inside(const struct work *w)
{
	const struct encoding *e = &w->e;
	const struct test_case *c = w->c;
	int32_t rel = 0;

	if (!e->rel_at || c->insns != 1)
		return false;
	memcpy(&rel, c->code + e->rel_at, e->rel_size);
	if (e->rel_size < 4)
		rel = e->rel_size == 1 ? (int8_t)rel : (int16_t)rel;
	return rel < 8 && rel > -(int)c->len && rel != 0;
}

static void random_tail(struct work *w, unsigned len)
{
	for (unsigned i = 0; i < len && w->c->len < 20; i++)
		w->c->code[w->c->len++] = (uint8_t)rng_next(&w->r);
	w->stepped = true;
}

/* Whether the generator cannot know how long what it wrote is. */
static bool length_unknown(const struct form *f, unsigned mode)
{
	uint8_t op = f->opcode;

	if (f->map == 1)
		return op == 0x38 || op == 0x3a || op == 0xa6 || op == 0xa7 || op == 0xff ||
		       op == 0xb9 || op == 0x0f || op == 0x24 || op == 0x26;
	if (f->map)
		return f->map == 4;
	if (op == 0x0f || (op & 0xe7) == 0x26 || (op >= 0x64 && op <= 0x67) || op == 0xf0 ||
	    op == 0xf2 || op == 0xf3)
		return true;
	if (op == 0xc4 || op == 0xc5 || op == 0x62 || op == 0x8f)
		return mode == MODE_64 || f->mod == 3;
	return mode == MODE_64 && ((op & 0xf0) == 0x40 || op == 0xea || op == 0x9a || op == 0xd4 ||
				   op == 0xd5 || op == 0x82);
}

static void one_form(struct work *w, unsigned stream, uint64_t n)
{
	struct form f;

	form_at(&f, stream, n, &w->r);
	encode(&w->e, w->c, &f, &w->r);
	w->c->insns = 1;
	if (length_unknown(&f, w->c->mode))
		random_tail(w, 12);
}

/* Instructions that go on to the next one: no branches, no system instructions. */
static bool plain(const struct form *f)
{
	uint8_t op = f->opcode;

	if (f->map == 0)
		return !((op & 0xf0) == 0x70 || op == 0x9a || op == 0x9d || op == 0xf4 ||
			 op == 0x8e || (op >= 0xc2 && op <= 0xc3) || (op >= 0xc8 && op <= 0xcf) ||
			 (op >= 0xe0 && op <= 0xf5) || (op >= 0xfa && op <= 0xfb) || op == 0xff ||
			 op == 0xfe || op == 0x8f || (op >= 0x6c && op <= 0x6f) || op == 0x17 ||
			 op == 0x07 || op == 0x1f || op == 0xc4 || op == 0xc5 || op == 0x62);
	if (f->map == 1)
		return (op >= 0x10 && op <= 0x1f) || (op >= 0x28 && op <= 0x2f) ||
		       (op >= 0x40 && op <= 0x7f) || (op >= 0x90 && op <= 0x9f) ||
		       (op >= 0xa3 && op != 0xa6 && op != 0xa7 && op != 0xaa && op != 0xae &&
			op != 0xa8 && op != 0xa9 && op != 0xb2 && op != 0xb4 && op != 0xb5 &&
			op != 0xb9 && op != 0xc7 && op != 0xff);
	return true;
}

static void sequence(struct work *w, uint64_t n)
{
	static const uint8_t streams[] = {FORMS_BASE, FORMS_BASE,      FORMS_BASE,
					  FORMS_X87,  FORMS_VEX_KNOWN, FORMS_0F38_KNOWN};
	unsigned count = 2 + rng_below(&w->r, 5), stream = streams[rng_below(&w->r, 6)];
	struct form f;

	for (unsigned i = 0; i < count; i++) {
		uint64_t draw = n + rng_next(&w->r);

		/* Mostly of one kind, so that they meet. */
		form_at(&f, rng_chance(&w->r, 3, 4) ? stream : FORMS_BASE, draw, &w->r);
		if (!plain(&f) || length_unknown(&f, w->c->mode) || w->c->len > 60)
			continue;
		f.prefix = rng_chance(&w->r, 3, 4) || f.prefix >= 8 ? 0 : f.prefix;
		if (rng_chance(&w->r, 1, 2))
			f.mod = 3;
		encode(&w->e, w->c, &f, &w->r);
		w->c->insns++;
		if (!head_parse(&w->h, w->c->mode, w->c->code + w->e.at, w->e.len + 4) ||
		    excluded(&w->h, w->c->mode, w->c->code + w->e.at, w->e.len)) {
			w->c->len = w->e.at;
			w->c->insns--;
			w->e.memory = false;
		}
	}
	memset(w->c->code + w->c->len, 0, 8);
}

static void many_prefixes(struct work *w, uint64_t n)
{
	static const uint8_t all[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e,
				      0x36, 0x3e, 0x64, 0x65, 0x66, 0x48, 0x41};
	unsigned count = rng_below(&w->r, 15);

	for (unsigned i = 0; i < count; i++)
		w->c->code[w->c->len++] = all[rng_below(&w->r, w->c->mode == MODE_64 ? 14 : 12)];
	one_form(w, FORMS_BASE, n);
	random_tail(w, 4);
}

static void make_code(struct work *w, unsigned source, uint64_t n)
{
	struct test_case *c = w->c;

	if (source < FORMS)
		one_form(w, source, n);
	else if (source == SOURCE_SEQUENCE && c->mode == MODE_64 && rng_chance(&w->r, 1, 2))
		near_sequence(w);
	else if (source == SOURCE_SEQUENCE)
		sequence(w, n);
	else if (source == SOURCE_PREFIXES)
		many_prefixes(w, n);
	else
		random_tail(w, 18);
	if (c->len > CODE_MAX - 16)
		c->len = CODE_MAX - 16;
	memset(c->code + c->len, 0, 8);
}

static void make_state(struct work *w)
{
	struct test_case *c = w->c;
	uint64_t t;

	scene_code_segment(w);
	scene_segments(w);
	scene_registers(w);
	value_xsave(&w->r, c->in.xsave, rng_chance(&w->r, 1, 2));
	if (rng_chance(&w->r, 1, 64))
		w->stepped = true;
	if (c->insns != 1)
		w->stepped |= c->insns == 0;
	place(w);
	t = scene_target(w);
	if (w->e.memory || w->e.moffs_at)
		scene_aim(w, t);
	if (w->e.rel_at && c->insns == 1)
		aim_branch(w);
	tame_xsave(w);
	if (rng_chance(&w->r, 3, 4))
		scene_fill(w, t);
	scene_stack(w);
	if (w->stepped)
		c->in.rflags |= 0x100;
	c->in.rip = c->addr - segment_base(c->in.sel[SEG_CS_]);
	if (c->tail)
		terminate(c);
}

static unsigned draw_mode(struct work *w)
{
	unsigned k = rng_below(&w->r, 16);

	return k < 9 ? MODE_64 : k < 13 || !w->ldt ? MODE_32 : MODE_16;
}

bool generate(const struct generator *g, struct test_case *c, uint64_t number)
{
	struct work w = {.c = c, .ldt = g->ldt};
	char name[NAME_MAX];

	rng_init(&w.r, g->seed, number);
	c->seed = g->seed;
	c->number = number;
	c->mode = draw_mode(&w);
	c->len = 0;
	c->insns = 0;
	c->tail = 0;
	c->patches = 0;
	make_code(&w, sources[number % SOURCES],
		  g->seed + number / SOURCES * 13 + number % SOURCES);
	if (!c->len || !head_parse(&w.h, c->mode, c->code, c->len + 4))
		return false;
	if (g->only) {
		head_name(&w.h, c->mode, name);
		if (!strstr(name, g->only))
			return false;
	}
	make_state(&w);
	/* Where the encoding was not the one that was thought, an address may have been put into
	 * the opcode. */
	if (lands_inside(&w) || !head_parse(&w.h, c->mode, c->code, c->len + 4))
		return false;
	return !excluded(&w.h, c->mode, c->code, c->len);
}
