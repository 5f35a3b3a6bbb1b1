/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, registers and memory of a case.
 *
 * Where the instruction has a memory operand a register of its address is chosen such that it
 * points where something happens: within the data pages, across the border to one that cannot be
 * written or is not there, beyond a segment's limit, far away.
 */
#include "scene.h"

#include <string.h>

#include "segments.h"
#include "values.h"

/* A linear address to work on. */
uint64_t scene_target(struct work *w)
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

/* A linear address to jump to. */
uint64_t scene_code(struct work *w)
{
	switch (rng_below(&w->r, 8)) {
	case 0:
		return scene_target(w);
	case 1:
		return CODE_ADDR + CODE_SIZE - 1 - rng_below(&w->r, 4);
	default:
		return CODE_ADDR + 0x40 + rng_below(&w->r, CODE_SIZE - 0x80);
	}
}

/* The same as an offset in the code segment. */
static uint64_t code_pointer(struct work *w)
{
	return scene_code(w) - segment_base(w->c->in.sel[SEG_CS_]);
}

static uint16_t selector(struct work *w)
{
	struct rng *r = &w->r;

	static const uint16_t common[] = {SEL_CODE32, SEL_DATA, SEL_CODE64, 0,       3,    0x2a,
					  0x28,       0x10,     0x18,       0x7b,    0x63, 0x40,
					  0x48,       0x50,     SEL_CODE64, SEL_DATA};

	if (w->ldt && rng_chance(r, 1, 4))
		return SEL_LDT(rng_below(r, LDT_SEGMENTS));
	return rng_chance(r, 7, 8) ? common[rng_below(r, 16)] : (uint16_t)rng_next(r);
}

/* A frame for IRET, or a far pointer, of units of size bytes. */
static void far_frame(struct work *w, uint8_t *p, unsigned size)
{
	uint16_t cs = selector(w), ss = rng_chance(&w->r, 3, 4) ? SEL_DATA : selector(w);
	uint64_t f[5] = {scene_code(w), cs, rng_next(&w->r), scene_target(w), ss};

	if (rng_chance(&w->r, 1, 2))
		f[1] = w->c->in.sel[SEG_CS_];
	f[0] -= segment_base((uint16_t)f[1]);
	f[3] -= segment_base(ss);
	if (rng_chance(&w->r, 3, 4))
		f[2] = (f[2] & 0x40cd5) | 0x202;
	for (unsigned i = 0; i < 5; i++)
		memcpy(p + i * size, &f[i], size);
}

/* Far CALL and JMP of memory, LES and its kin: the operand is a far pointer; its offset's size. */
static unsigned far_pointer_size(const struct work *w)
{
	const struct head *h = &w->h;
	unsigned reg = h->modrm >> 3 & 7;
	bool far = (h->map == 0 && h->opcode == 0xff && (reg == 3 || reg == 5)) ||
		   (h->map == 0 && (h->opcode & 0xfe) == 0xc4) ||
		   (h->map == 1 && (h->opcode == 0xb2 || (h->opcode & 0xfe) == 0xb4));

	if (!far)
		return 0;
	if (h->rex & 8)
		return 8;
	return h->opsize != (w->c->mode == MODE_16) ? 2 : 4;
}

/* The pointer: the selector stands right after the offset. */
static void far_pointer(struct work *w, uint8_t *p, unsigned size)
{
	uint16_t cs = rng_chance(&w->r, 1, 2) ? w->c->in.sel[SEG_CS_] : selector(w);
	uint64_t offset = scene_code(w) - segment_base(cs);

	memcpy(p, &offset, size);
	memcpy(p + size, &cs, 2);
}

/* What stands at an address that the case is going to use. */
void scene_fill(struct work *w, uint64_t linear)
{
	struct rng *r = &w->r;
	unsigned kind = rng_below(r, 8), size = far_pointer_size(w);
	uint8_t *p;

	p = patch_at(w, linear, 80);
	if (!p)
		return;
	if (size && rng_chance(r, 7, 8)) {
		far_pointer(w, p, size);
		return;
	}
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
void scene_stack(struct work *w)
{
	const struct head *h = &w->h;
	uint64_t sp = w->c->in.gpr[4], v;
	unsigned size = w->c->mode == MODE_64 ? 8 : 4;
	uint16_t ss = w->c->in.sel[SEG_SS_];
	uint8_t *p = patch_at(w, segment_base(ss) + (segment_small(ss) ? sp & 0xffff : sp), 64);

	if (!p)
		return;
	value_lanes(&w->r, p, 64);
	if (h->opsize != (w->c->mode == MODE_16))
		size = 2;
	if (h->map == 0 && (h->opcode == 0xcf || (h->opcode & 0xfe) == 0xca)) {
		if (h->rex & 8)
			size = 8;
		else if (size == 8)
			size = 4;
		far_frame(w, p, size);
	} else if (rng_chance(&w->r, 1, 2)) {
		v = code_pointer(w);
		memcpy(p, &v, size);
	} else if (rng_chance(&w->r, 1, 2)) {
		v = selector(w);
		memcpy(p, &v, size);
	}
}

/* --- registers ------------------------------------------------------------------------------- */

/* Where the stack segment lets SP point to a linear address. */
static uint64_t stack_pointer_to(const struct state *s, uint64_t linear)
{
	uint64_t sp = linear - segment_base(s->sel[SEG_SS_]);

	return segment_small(s->sel[SEG_SS_]) ? (SCRATCH & ~0xffffULL) | (sp & 0xffff) : sp;
}

/* Those that addresses are made of: offsets in the segments that they mean without a prefix. */
static void pointers(struct work *w)
{
	static const uint8_t segs[] = {[3] = SEG_DS_, [5] = SEG_SS_, [6] = SEG_DS_, [7] = SEG_ES_};
	struct state *s = &w->c->in;
	struct rng *r = &w->r;
	uint64_t top = DATA_ADDR + 0x400 + 4 * rng_below(r, 0x600);

	s->gpr[4] = stack_pointer_to(s, rng_chance(r, 7, 8) ? top : scene_target(w));
	if (rng_chance(r, 1, 2))
		s->gpr[4] &= ~15ULL;
	else if (rng_chance(r, 1, 8))
		s->gpr[4] += rng_below(r, 8);
	if (segment_small(s->sel[SEG_SS_]))
		s->gpr[4] = (SCRATCH & ~0xffffULL) | (s->gpr[4] & 0xffff);
	for (unsigned i = 5; i < 8; i++)
		if (rng_chance(r, 5, 8))
			s->gpr[i] = scene_target(w) - segment_base(s->sel[segs[i]]);
	if (rng_chance(r, 1, 4))
		s->gpr[3] = scene_target(w) - segment_base(s->sel[SEG_DS_]);
	for (unsigned i = 3; w->c->mode == MODE_16 && i < 8; i++)
		if (i != 4 && rng_chance(r, 1, 2))
			s->gpr[i] = (s->gpr[i] & 0xffff) | (rng_next(r) & 0xffff0000);
}

static void flags(struct work *w)
{
	struct state *s = &w->c->in;
	struct rng *r = &w->r;

	s->rflags = (rng_next(r) & 0xcd5) | 0x202;
	if (rng_chance(r, 7, 8))
		s->rflags &= ~0x400ULL;
	if (rng_chance(r, 1, 12))
		s->rflags |= 1 << 18; /* AC */
	if (rng_chance(r, 1, 32))
		s->rflags |= 1 << 14; /* NT */
	if (rng_chance(r, 1, 4))
		s->rflags |= 1 << 21; /* ID */
}

void scene_registers(struct work *w)
{
	struct state *s = &w->c->in;
	struct rng *r = &w->r;

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = value_gpr(r);
	if (rng_chance(r, 3, 4))
		s->gpr[1] = rng_below(r, 24); /* counts */
	pointers(w);
	if (rng_chance(r, 1, 8))
		s->gpr[rng_below(r, 4)] = code_pointer(w);
	if (rng_chance(r, 1, 8))
		s->gpr[rng_below(r, 4)] = selector(w);
	for (unsigned i = 0; w->c->mode != MODE_64 && i < 16; i++)
		if (i != 4 || !segment_small(s->sel[SEG_SS_]))
			s->gpr[i] = (uint32_t)s->gpr[i];
	flags(w);
}

/* A data segment of ours, also of those that cannot be written. */
static uint16_t our_data(struct rng *r, bool writable)
{
	for (;;) {
		unsigned n = rng_below(r, LDT_SEGMENTS);
		const struct ldt_entry *t = ldt_entry(n);
		bool code = t->kind == LDT_CODE;

		if (!t->kind || t->absent || (code && t->locked))
			continue;
		if (!writable || (!code && !t->locked))
			return SEL_LDT(n);
	}
}

static uint16_t our_code(struct rng *r, bool big)
{
	for (;;) {
		unsigned n = rng_below(r, LDT_SEGMENTS);
		const struct ldt_entry *t = ldt_entry(n);

		if (t->kind == LDT_CODE && !t->absent && t->big == big)
			return SEL_LDT(n);
	}
}

/* CS, which says where the code's offsets count from, before all else. */
void scene_code_segment(struct work *w)
{
	struct test_case *c = w->c;

	c->in.sel[SEG_CS_] = c->mode == MODE_64   ? SEL_CODE64
			     : c->mode == MODE_16 ? our_code(&w->r, false)
						  : SEL_CODE32;
	if (c->mode == MODE_32 && w->ldt && rng_chance(&w->r, 1, 8))
		c->in.sel[SEG_CS_] = our_code(&w->r, true);
}

void scene_segments(struct work *w)
{
	/* In how many of 64 cases a segment is one of ours. */
	static const uint8_t ours[MODES] = {[MODE_64] = 2, [MODE_32] = 10, [MODE_16] = 48};
	struct state *s = &w->c->in;
	struct rng *r = &w->r;
	bool wide = w->c->mode == MODE_64;

	s->sel[SEG_SS_] = SEL_DATA;
	for (unsigned i = 0; i < SEGS; i++)
		if (i != SEG_CS_ && i != SEG_SS_)
			s->sel[i] = rng_chance(r, 15, 16) != wide ? SEL_DATA : 0;
	s->sel[SEG_FS_] = rng_chance(r, 1, 8) ? 0 : SEL_DATA;
	s->fs_base = rng_chance(r, 1, 2) ? rng_below(r, 0x10000) : rng_next(r) >> 18;
	s->gs_base = rng_chance(r, 1, 2) ? rng_below(r, 0x10000) : ~(rng_next(r) >> 18);
	if (!w->ldt)
		return;
	for (unsigned i = 0; i < SEGS; i++)
		if (i != SEG_CS_ && !(i == SEG_SS_ && wide) && rng_chance(r, ours[w->c->mode], 64))
			s->sel[i] = our_data(r, i == SEG_SS_);
	if (ldt_index(s->sel[SEG_FS_]) >= 0)
		s->fs_base = segment_base(s->sel[SEG_FS_]);
	if (ldt_index(s->sel[SEG_GS_]) >= 0)
		s->gs_base = segment_base(s->sel[SEG_GS_]);
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

	return w->e.seg == SEG_FS_   ? s->fs_base
	       : w->e.seg == SEG_GS_ ? s->gs_base
				     : segment_base(s->sel[w->e.seg]);
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
void scene_aim(struct work *w, uint64_t t)
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
		if (c->mode != MODE_64)
			rest = (uint32_t)rest;
		if (e->base == 4 && segment_small(c->in.sel[SEG_SS_]))
			rest = (SCRATCH & ~0xffffULL) | (rest & 0xffff);
		gpr[e->base] = rest;
	}
}
