/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a case of a seed and a number.
 *
 * The number's low bits choose the stream (encode.h) or another source: sequences of
 * instructions without branches, random bytes, prefixes without measure. Then come
 * registers and memory; where the instruction has a memory operand a register of its address is
 * chosen such that it points where something happens: within the data pages, across the border to
 * one that cannot be written or is not there, far away.
 *
 * Where the generator does not know the instruction's length (an opcode that it did not choose) it
 * sets TF: the case then ends by #DB. All others are followed by a jump to EXIT_ADDR.
 */
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "values.h"

struct work {
	struct test_case *c;
	struct rng r;
	struct encoding e;
	struct head h;
	bool stepped; /* length unknown: TF */
};

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

/* --- memory ---------------------------------------------------------------------------------- */

void generate_background(uint8_t *data, uint64_t seed)
{
	struct rng r;

	rng_init(&r, seed, UINT64_MAX);
	for (unsigned i = 0; i < DATA_SIZE; i += 32)
		value_lanes(&r, data + i, 32);
}

/* A linear address to work on. */
static uint64_t target(struct work *w)
{
	struct rng *r = &w->r;
	unsigned k = 1 + rng_below(r, 40), kind = rng_below(r, 100);

	if (w->c->mode == MODE_64 && rng_chance(r, 1, 8)) {
		static const uint64_t far[] = {HIGH_ADDR + PAGE,
					       HIGH_ADDR + PAGE,
					       HIGH_ADDR + 2 * PAGE,
					       HIGH_ADDR + 3 * PAGE,
					       HIGH_ADDR + 4 * PAGE,
					       HIGH_ADDR + 1000,
					       HIGH_ADDR + 2 * PAGE + 1024,
					       0x0000800000000000,
					       0xffff800000000000,
					       0x0000800000000000,
					       0};

		return far[rng_below(r, 11)] - k;
	}
	if (kind < 35)
		return DATA_ADDR + 0x100 + rng_below(r, DATA_RW - 0x400);
	if (kind < 65)
		return DATA_ADDR + 0x100 + (rng_below(r, DATA_RW - 0x400) & ~63u);
	if (kind < 75)
		return DATA_ADDR + PAGE - k;
	if (kind < 82)
		return DATA_ADDR + DATA_RW - k;
	if (kind < 86)
		return DATA_ADDR + DATA_RW + rng_below(r, PAGE);
	if (kind < 91)
		return DATA_ADDR + DATA_SIZE - k;
	if (kind < 95)
		return DATA_ADDR - k;
	if (kind < 97)
		return 0x100000000 - k;
	return CODE_ADDR + rng_below(r, CODE_SIZE + PAGE);
}

/* The offset in the data pages of a linear address, or -1. */
static int window(uint64_t linear)
{
	if (linear - DATA_ADDR < DATA_SIZE)
		return (int)(linear - DATA_ADDR);
	if (linear - HIGH_ADDR < PAGE)
		return (int)(linear - HIGH_ADDR);
	if (linear - (HIGH_ADDR + 2 * PAGE) < 2 * PAGE)
		return (int)(linear - HIGH_ADDR - PAGE);
	return -1;
}

static uint8_t *patch_at(struct work *w, uint64_t linear, unsigned len)
{
	struct test_case *c = w->c;
	int at = window(linear);
	struct patch *p = &c->patch[c->patches];

	if (at < 0 || c->patches == PATCHES_MAX)
		return NULL;
	c->patches++;
	p->offset = (unsigned)at;
	p->len = len > DATA_SIZE - p->offset ? DATA_SIZE - p->offset : len;
	memset(p->bytes, 0, sizeof p->bytes);
	return p->bytes;
}

static uint64_t code_pointer(struct work *w)
{
	switch (rng_below(&w->r, 8)) {
	case 0:
		return target(w);
	case 1:
		return CODE_ADDR + CODE_SIZE - 1 - rng_below(&w->r, 4);
	default:
		return CODE_ADDR + 0x40 + rng_below(&w->r, CODE_SIZE - 0x80);
	}
}

static uint16_t selector(struct rng *r)
{
	static const uint16_t common[] = {SEL_CODE32, SEL_DATA, SEL_CODE64, 0,       3,    0x2a,
					  0x28,       0x10,     0x18,       0x7b,    0x63, 0x40,
					  0x48,       0x50,     SEL_CODE64, SEL_DATA};

	return rng_chance(r, 7, 8) ? common[rng_below(r, 16)] : (uint16_t)rng_next(r);
}

/* A frame for IRET, or a far pointer, of units of size bytes. */
static void far_frame(struct work *w, uint8_t *p, unsigned size)
{
	uint64_t f[5] = {code_pointer(w), selector(&w->r), rng_next(&w->r), target(w),
			 rng_chance(&w->r, 3, 4) ? SEL_DATA : selector(&w->r)};

	if (rng_chance(&w->r, 1, 2))
		f[1] = w->c->mode == MODE_64 ? SEL_CODE64 : SEL_CODE32;
	if (rng_chance(&w->r, 3, 4))
		f[2] = (f[2] & 0x40cd5) | 0x202;
	for (unsigned i = 0; i < 5; i++)
		memcpy(p + i * size, &f[i], size);
}

/* What stands at an address that the case is going to use. */
static void fill(struct work *w, uint64_t linear)
{
	struct rng *r = &w->r;
	unsigned kind = rng_below(r, 8);
	uint8_t *p;

	p = patch_at(w, linear, 80);
	if (!p)
		return;
	if (kind == 0) {
		value_f80(r, p);
		value_lanes(r, p + 16, 64);
	} else if (kind == 1) { /* equal to a register */
		memcpy(p, &w->c->in.gpr[rng_chance(r, 1, 2) ? 0 : rng_below(r, 16)], 8);
		memcpy(p + 8, &w->c->in.gpr[2], 8);
		value_lanes(r, p + 16, 64);
	} else if (kind == 2) {
		far_frame(w, p, 2u << rng_below(r, 3));
	} else {
		value_lanes(r, p, 80);
	}
}

/* The stack, for whoever pops. */
static void fill_stack(struct work *w)
{
	const struct head *h = &w->h;
	uint64_t sp = w->c->in.gpr[4], v;
	unsigned size = w->c->mode == MODE_64 ? 8 : 4;
	uint8_t *p = patch_at(w, sp, 64);

	if (!p)
		return;
	value_lanes(&w->r, p, 64);
	if (h->opsize)
		size = 2;
	if (h->map == 0 && (h->opcode == 0xcf || (h->opcode & 0xfe) == 0xca)) {
		if (h->rex & 8)
			size = 8;
		else if (!h->opsize)
			size = 4;
		far_frame(w, p, size);
	} else if (rng_chance(&w->r, 1, 2)) {
		v = code_pointer(w);
		memcpy(p, &v, size);
	} else if (rng_chance(&w->r, 1, 2)) {
		v = selector(&w->r);
		memcpy(p, &v, size);
	}
}

/* --- registers ------------------------------------------------------------------------------- */

static void registers(struct work *w)
{
	struct state *s = &w->c->in;
	struct rng *r = &w->r;
	bool wide = w->c->mode == MODE_64;

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = value_gpr(r);
	if (rng_chance(r, 3, 4))
		s->gpr[1] = rng_below(r, 24); /* counts */
	s->gpr[4] = rng_chance(r, 15, 16) ? DATA_ADDR + 0x400 + 4 * rng_below(r, 0x600) : target(w);
	if (rng_chance(r, 1, 2))
		s->gpr[4] &= ~15ULL;
	for (unsigned i = 5; i < 8; i++)
		if (rng_chance(r, 5, 8))
			s->gpr[i] = target(w);
	if (rng_chance(r, 1, 4))
		s->gpr[3] = target(w);
	if (rng_chance(r, 1, 8))
		s->gpr[rng_below(r, 4)] = code_pointer(w);
	if (rng_chance(r, 1, 8))
		s->gpr[rng_below(r, 4)] = selector(r);
	for (unsigned i = 0; !wide && i < 16; i++)
		s->gpr[i] = (uint32_t)s->gpr[i];
	s->rflags = (rng_next(r) & 0xcd5) | 0x202;
	if (rng_chance(r, 7, 8))
		s->rflags &= ~0x400ULL;
	if (rng_chance(r, 1, 16))
		s->rflags |= 1 << 18; /* AC */
	if (rng_chance(r, 1, 32))
		s->rflags |= 1 << 14; /* NT */
	if (rng_chance(r, 1, 4))
		s->rflags |= 1 << 21; /* ID */
}

static void segments(struct work *w)
{
	struct state *s = &w->c->in;
	struct rng *r = &w->r;
	bool wide = w->c->mode == MODE_64;

	s->sel[SEG_CS_] = wide ? SEL_CODE64 : SEL_CODE32;
	s->sel[SEG_SS_] = SEL_DATA;
	for (unsigned i = 0; i < SEGS; i++)
		if (i != SEG_CS_ && i != SEG_SS_)
			s->sel[i] = rng_chance(r, 1, 16) != wide ? SEL_DATA : 0;
	s->sel[SEG_FS_] = rng_chance(r, 1, 8) ? 0 : SEL_DATA;
	s->fs_base = rng_chance(r, 1, 2) ? rng_below(r, 0x10000) : rng_next(r) >> 18;
	s->gs_base = rng_chance(r, 1, 2) ? rng_below(r, 0x10000) : ~(rng_next(r) >> 18);
}

static void put_at(uint8_t *p, uint64_t v, unsigned size)
{
	memcpy(p, &v, size);
}

static uint64_t disp_of(const struct work *w)
{
	const struct encoding *e = &w->e;
	int64_t d = 0;

	if (!e->disp_size)
		return 0;
	memcpy(&d, w->c->code + e->disp_at, e->disp_size);
	return (uint64_t)(d << (64 - 8 * e->disp_size) >> (64 - 8 * e->disp_size));
}

/* The base that the operand's segment adds. */
static uint64_t seg_base(const struct work *w)
{
	const struct state *s = &w->c->in;

	return w->e.seg == SEG_FS_ ? s->fs_base : w->e.seg == SEG_GS_ ? s->gs_base : 0;
}

/* Index registers of a gather, in small steps from its base. */
static void aim_vsib(struct work *w)
{
	unsigned n = (unsigned)w->e.index & 15;

	for (unsigned i = 0; i < 8; i++) {
		int32_t v = (int32_t)rng_below(&w->r, 200) - 20;
		uint8_t *half = w->c->in.xsave + (i < 4 ? 160 : 576) + 16 * n;

		if (w->h.opcode & 1 && i & 1)
			v = 0;
		memcpy(half + 4 * (i & 3), &v, 4);
	}
	w->c->in.xsave[512] = 7;
}

/* Makes the memory operand's address be t, as far as it lies in registers and displacement. */
static void aim(struct work *w, uint64_t t)
{
	const struct encoding *e = &w->e;
	struct test_case *c = w->c;
	uint64_t *gpr = c->in.gpr, ea = t - seg_base(w), rest = ea - disp_of(w);
	uint64_t mask = e->addr_size == 8 ? UINT64_MAX : e->addr_size == 4 ? UINT32_MAX : 0xffff;

	if (e->moffs_at) {
		put_at(c->code + e->moffs_at, ea, e->addr_size);
		return;
	}
	if (e->vsib)
		aim_vsib(w);
	if (e->base == 16) {
		rest = ea - (c->addr + c->len);
		put_at(c->code + e->disp_at, rest, 4);
	} else if (e->base < 0 && (e->index < 0 || e->disp_size >= 2)) {
		if (e->index >= 0 && !e->vsib)
			rest = ea - (gpr[e->index] << e->shift);
		else
			rest = ea;
		if (e->disp_size)
			put_at(c->code + e->disp_at, rest, e->disp_size);
	} else if (e->base >= 0) {
		if (e->index >= 0 && !e->vsib && e->index != e->base)
			rest -= gpr[e->index] << e->shift;
		else if (e->index == e->base && !e->vsib)
			rest /= 1 + (1u << e->shift);
		/* Above what counts may stand anything. */
		if (rng_chance(&w->r, 1, 4))
			rest = (rest & mask) | (rng_next(&w->r) & ~mask);
		gpr[e->base] = c->mode == MODE_64 ? rest : (uint32_t)rest;
	}
}

/* --- cases ----------------------------------------------------------------------------------- */

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

static void terminate(struct test_case *c)
{
	uint32_t exit = EXIT_ADDR + (c->mode == MODE_32 ? EXIT32 : 0);
	uint32_t rel = exit - (c->addr + c->len + 5);

	c->terminated = true;
	c->code[c->len] = 0xe9;
	memcpy(c->code + c->len + 1, &rel, 4);
}

/* Where in the code pages: mostly the middle, now and then across their border, or up to the end
 * of the second. */
static void place(struct work *w)
{
	struct test_case *c = w->c;
	unsigned kind = rng_below(&w->r, 32);

	c->addr = CODE_ADDR + 0x400 + rng_below(&w->r, 0x400);
	if (kind == 0)
		c->addr = CODE_ADDR + PAGE - 1 - rng_below(&w->r, 14);
	if (kind == 1 && !w->stepped) {
		c->addr = CODE_ADDR + CODE_SIZE - c->len +
			  rng_below(&w->r, 2) * rng_below(&w->r, c->len);
		c->terminated = false;
	}
}

static void aim_branch(struct work *w)
{
	struct test_case *c = w->c;
	const struct encoding *e = &w->e;
	uint64_t rel = code_pointer(w) - (c->addr + e->rel_at + e->rel_size);

	if (e->rel_size == 4 || rng_chance(&w->r, 1, 2))
		put_at(c->code + e->rel_at, rel, e->rel_size);
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
	return rel < 5 && rel > -(int)c->len && rel != 0;
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

	registers(w);
	segments(w);
	value_xsave(&w->r, c->in.xsave, rng_chance(&w->r, 1, 2));
	if (rng_chance(&w->r, 1, 64))
		w->stepped = true;
	if (c->insns != 1)
		w->stepped |= c->insns == 0;
	c->terminated = !w->stepped;
	place(w);
	t = target(w);
	if (w->e.memory || w->e.moffs_at)
		aim(w, t);
	if (w->e.rel_at && c->insns == 1)
		aim_branch(w);
	tame_xsave(w);
	if (rng_chance(&w->r, 3, 4))
		fill(w, t);
	fill_stack(w);
	if (w->stepped)
		c->in.rflags |= 0x100;
	c->in.rip = c->addr;
	if (c->terminated)
		terminate(c);
}

bool generate(struct test_case *c, uint64_t seed, uint64_t number, const char *only)
{
	struct work w = {.c = c};
	char name[NAME_MAX];

	rng_init(&w.r, seed, number);
	c->seed = seed;
	c->number = number;
	c->mode = rng_chance(&w.r, 3, 10) ? MODE_32 : MODE_64;
	c->len = 0;
	c->insns = 0;
	c->terminated = false;
	c->patches = 0;
	make_code(&w, sources[number % SOURCES], seed + number / SOURCES * 13 + number % SOURCES);
	if (!c->len || !head_parse(&w.h, c->mode, c->code, c->len + 4))
		return false;
	if (only) {
		head_name(&w.h, c->mode, name);
		if (!strstr(name, only))
			return false;
	}
	make_state(&w);
	if (lands_inside(&w))
		return false;
	return !excluded(&w.h, c->mode, c->code, c->len);
}
