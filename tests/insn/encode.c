/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes instructions.
 *
 * A form is an opcode of a map with a class of prefixes, ModRM.mod and ModRM.reg. A stream is
 * a set of forms, numbered; its n-th case takes form n * odd modulo their number, which is a
 * power of two: so any first part of a stream is spread over all of it, and after as many cases as
 * it has forms each has come once. All else (REX's low bits, SIB, displacement, immediate) is
 * drawn.
 *
 * Sources: Intel SDM vol. 2 chapter 2 and appendix A.
 */
#include <string.h>

#include "encode.h"

/* Primary map: does it have ModRM; how long is its immediate. m: ModRM. b, w, z, v: immediate of
 * 1, 2, 2 or 4, 2 or 4 or 8 bytes. o: address. j: 1-byte distance, k: of z. f: far pointer.
 * E: ENTER's 3 bytes; M with b and Z with z: only of /0 and /1 (TEST). p: a prefix or an
 * escape, not an opcode. */
static const char *const primary[16] = {
	"m m m m b z . . m m m m b z . p", /* 00 */
	"m m m m b z . . m m m m b z . .", /* 10 */
	"m m m m b z p . m m m m b z p .", /* 20 */
	"m m m m b z p . m m m m b z p .", /* 30 */
	". . . . . . . . . . . . . . . .", /* 40: INC, DEC; REX in 64-bit mode */
	". . . . . . . . . . . . . . . .", /* 50 */
	". . m m p p p p z Q b B . . . .", /* 60: Q is m with z, B is m with b */
	"j j j j j j j j j j j j j j j j", /* 70 */
	"B Q B B m m m m m m m m m m m m", /* 80 */
	". . . . . . . . . . f . . . . .", /* 90 */
	"o o o o . . . . b z . . . . . .", /* A0 */
	"b b b b b b b b v v v v v v v v", /* B0 */
	"B B w . m m B Q E . w . . b . .", /* C0 */
	"m m m m b b . . m m m m m m m m", /* D0 */
	"j j j j b b b b k k f j . . . .", /* E0 */
	"p . p p . . M Z . . . . . . m m", /* F0 */
};

static char primary_kind(unsigned opcode)
{
	return primary[opcode >> 4][(opcode & 15) * 2];
}

/* 0F map: opcodes without ModRM, and those with an immediate byte. */
static bool escape_has_modrm(unsigned op)
{
	return !((op >= 0x04 && op <= 0x0c) || op == 0x0e || (op >= 0x30 && op <= 0x37) ||
		 op == 0x77 || (op >= 0x80 && op <= 0x8f) || (op >= 0xa0 && op <= 0xa2) ||
		 (op >= 0xa6 && op <= 0xaa && op != 0xa7) || (op >= 0xc8 && op <= 0xcf));
}

static bool escape_has_imm8(unsigned op)
{
	return (op >= 0x70 && op <= 0x73) || op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 ||
	       (op >= 0xc4 && op <= 0xc6) || op == 0x0f;
}

static void put(struct test_case *c, unsigned byte)
{
	if (c->len < CODE_MAX)
		c->code[c->len++] = (uint8_t)byte;
}

/* Immediates like to be at the edges. */
static void put_imm(struct test_case *c, unsigned size, struct rng *r)
{
	static const uint64_t edges[] = {0,      1,          UINT64_MAX, 0x80, 0x7f,
					 0x8000, 0x80000000, 31,         8,    2};
	uint64_t v = rng_chance(r, 1, 3) ? edges[rng_below(r, 10)] : rng_next(r);

	for (unsigned i = 0; i < size; i++)
		put(c, v >> (8 * i) & 0xff);
}

/* What prefixes a class stands for; R draws. */
static unsigned prefixes_of(unsigned class, uint8_t out[8], struct rng *r)
{
	static const char *const fixed[FORM_PREFIXES] = {
		"",     "\x66", "\xf2", "\xf3", "\x66\xf2", "\xf3\x66", "\x67", "\x67\x66",
		"\xf0", "",     NULL,   NULL,   "\xf3\x67", "\xf0\xf2", "",     NULL};
	static const uint8_t all[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26,
				      0x2e, 0x36, 0x3e, 0x64, 0x65};
	unsigned n;

	if (fixed[class]) {
		n = (unsigned)strlen(fixed[class]);
		memcpy(out, fixed[class], n);
		return n;
	}
	if (class == 10) {
		out[0] = all[5 + rng_below(r, 6)];
		return 1;
	}
	if (class == 11) {
		out[0] = (uint8_t)(0x64 + rng_below(r, 2));
		out[1] = 0x66;
		return 1 + rng_below(r, 2);
	}
	n = 1 + rng_below(r, 4);
	for (unsigned i = 0; i < n; i++)
		out[i] = all[rng_below(r, 11)];
	return n;
}

struct sizes {
	unsigned op, addr;
};

static struct sizes sizes_of(unsigned mode, const uint8_t *prefix, unsigned n, bool w)
{
	bool small = memchr(prefix, 0x66, n), addr = memchr(prefix, 0x67, n);

	if (mode == MODE_64)
		return (struct sizes){w ? 8 : small ? 2 : 4, addr ? 4 : 8};
	if (mode == MODE_16)
		return (struct sizes){small ? 4 : 2, addr ? 4 : 2};
	return (struct sizes){small ? 2 : 4, addr ? 2 : 4};
}

static unsigned seg_of(const uint8_t *prefix, unsigned n, unsigned mode)
{
	unsigned seg = SEG_DS_;

	for (unsigned i = 0; i < n; i++) {
		if (prefix[i] == 0x64)
			seg = SEG_FS_;
		else if (prefix[i] == 0x65)
			seg = SEG_GS_;
		else if (mode == MODE_64)
			continue;
		else if (prefix[i] == 0x26)
			seg = SEG_ES_;
		else if (prefix[i] == 0x2e)
			seg = SEG_CS_;
		else if (prefix[i] == 0x36)
			seg = SEG_SS_;
	}
	return seg;
}

static void put_disp(struct encoding *e, struct test_case *c, unsigned size, struct rng *r)
{
	e->disp_at = c->len;
	e->disp_size = size;
	put_imm(c, size, r);
}

static void put_modrm16(struct encoding *e, struct test_case *c, unsigned modrm, struct rng *r)
{
	static const int8_t base[8] = {3, 3, 5, 5, -1, -1, 5, 3};
	static const int8_t index[8] = {6, 7, 6, 7, 6, 7, -1, -1};
	unsigned mod = modrm >> 6, rm = modrm & 7;

	e->base = base[rm] < 0 ? index[rm] : base[rm];
	e->index = base[rm] < 0 ? -1 : index[rm];
	if (mod == 0 && rm == 6)
		e->base = -1;
	if (mod == 2 || (mod == 0 && rm == 6))
		put_disp(e, c, 2, r);
	else if (mod == 1)
		put_disp(e, c, 1, r);
}

/* ModRM and what belongs to it. */
static void put_modrm(struct encoding *e, struct test_case *c, unsigned modrm, unsigned rex,
		      struct rng *r)
{
	unsigned mod = modrm >> 6, rm = modrm & 7, size = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	put(c, modrm);
	if (mod == 3)
		return;
	e->memory = true;
	if (e->addr_size == 2) {
		put_modrm16(e, c, modrm, r);
		return;
	}
	if (rm == 4) {
		unsigned sib = rng_below(r, 256);

		put(c, sib);
		e->shift = sib >> 6;
		e->base = (int)((sib & 7) | (rex & 1) << 3);
		e->index = (int)((sib >> 3 & 7) | (rex >> 1 & 1) << 3);
		if (e->index == 4 && !e->vsib)
			e->index = -1;
		if ((sib & 7) == 5 && mod == 0) {
			e->base = -1;
			size = 4;
		}
	} else if (rm == 5 && mod == 0) {
		e->base = c->mode == MODE_64 ? 16 : -1;
		size = 4;
	} else {
		e->base = (int)(rm | (rex & 1) << 3);
	}
	if (size)
		put_disp(e, c, size, r);
}

static void put_primary(struct encoding *e, struct test_case *c, const struct form *f,
			const struct sizes *s, unsigned rex, struct rng *r)
{
	char kind = primary_kind(f->opcode);
	unsigned z = s->op == 2 ? 2 : 4;
	bool modrm = strchr("mBQMZ", kind);

	if (kind == 'p')
		return; /* prefixes only: what follows is drawn */
	if (modrm)
		put_modrm(e, c, (unsigned)(f->mod << 6 | f->reg << 3) | rng_below(r, 8), rex, r);
	e->imm_at = c->len;
	if (kind == 'b' || kind == 'B' || (kind == 'M' && f->reg < 2))
		put_imm(c, 1, r);
	else if (kind == 'z' || kind == 'Q' || (kind == 'Z' && f->reg < 2))
		put_imm(c, z, r);
	else if (kind == 'w')
		put_imm(c, 2, r);
	else if (kind == 'v')
		put_imm(c, s->op, r);
	else if (kind == 'E')
		put_imm(c, 3, r);
	else if (kind == 'f' && c->mode != MODE_64)
		put_imm(c, z + 2, r);
	if (kind == 'o') {
		e->moffs_at = c->len;
		put_imm(c, s->addr, r);
	}
	if (kind == 'j' || kind == 'k') {
		e->rel_at = c->len;
		e->rel_size = kind == 'j' ? 1 : z;
		put_imm(c, e->rel_size, r);
	}
}

static void put_opcode(struct encoding *e, struct test_case *c, const struct form *f,
		       const struct sizes *s, unsigned rex, struct rng *r)
{
	unsigned modrm = (unsigned)(f->mod << 6 | f->reg << 3) | rng_below(r, 8);

	if (f->map > 0)
		put(c, 0x0f);
	if (f->map > 1)
		put(c, f->map == 2 ? 0x38 : 0x3a);
	put(c, f->opcode);
	if (f->map == 0) {
		put_primary(e, c, f, s, rex, r);
	} else if (f->map > 1) {
		put_modrm(e, c, modrm, rex, r);
	} else if (escape_has_modrm(f->opcode)) {
		put_modrm(e, c, modrm, rex, r);
	} else if ((f->opcode & 0xf0) == 0x80) {
		e->rel_at = c->len;
		e->rel_size = s->op == 2 ? 2 : 4;
		put_imm(c, e->rel_size, r);
	}
	e->imm_at = f->map ? c->len : e->imm_at;
	if (f->map == 3 || (f->map == 1 && escape_has_imm8(f->opcode)))
		put_imm(c, 1, r);
	if (f->map == 1 && f->opcode == 0x78)
		put_imm(c, 2, r); /* EXTRQ, INSERTQ */
}

static void put_vex(struct encoding *e, struct test_case *c, const struct form *f, unsigned rex,
		    struct rng *r)
{
	unsigned map = f->map - 4, vvvv = rng_below(r, 16);
	unsigned modrm = (unsigned)(f->mod << 6 | f->reg << 3) | rng_below(r, 8);

	/* Most VEX instructions without a second source want vvvv to be 15. */
	if (rng_chance(r, 1, 2))
		vvvv = 15;
	if (c->mode != MODE_64)
		vvvv |= 8 * rng_chance(r, 7, 8), rex &= 8;
	if (map == 1 && !f->w && !(rex & 3) && rng_chance(r, 1, 2)) {
		put(c, 0xc5);
		put(c, (rex & 4 ? 0 : 0x80) | vvvv << 3 | f->l << 2 | f->pp);
	} else {
		put(c, 0xc4);
		put(c, (~rex & 7) << 5 | map);
		put(c, f->w << 7 | vvvv << 3 | f->l << 2 | f->pp);
	}
	put(c, f->opcode);
	e->vsib = map == 2 && f->opcode >= 0x90 && f->opcode <= 0x93;
	if (e->vsib && f->mod != 3 && rng_chance(r, 7, 8))
		modrm = (modrm & ~7u) | 4;
	if (!(map == 1 && f->opcode == 0x77))
		put_modrm(e, c, modrm, rex, r);
	e->imm_at = c->len;
	if (map == 3 || (map == 1 && escape_has_imm8(f->opcode)))
		put_imm(c, 1, r);
}

void encode(struct encoding *e, struct test_case *c, const struct form *f, struct rng *r)
{
	uint8_t prefix[8];
	unsigned n = prefixes_of(f->prefix, prefix, r), rex = rng_below(r, 8);
	struct sizes s = sizes_of(c->mode, prefix, n, f->w);
	bool vex = f->map >= 4;

	*e = (struct encoding){.at = c->len, .base = -1, .index = -1};
	e->addr_size = s.addr;
	e->seg = seg_of(prefix, n, c->mode);
	for (unsigned i = 0; i < n; i++)
		put(c, prefix[i]);
	if (c->mode != MODE_64)
		rex = 0;
	if (vex) {
		put_vex(e, c, f, rex, r);
	} else {
		if (rng_chance(r, 1, 3))
			rex = 0;
		rex |= f->w << 3;
		if (c->mode == MODE_64 && (rex || rng_chance(r, 1, 8)))
			put(c, 0x40 | rex);
		put_opcode(e, c, f, &s, rex, r);
	}
	e->len = c->len - e->at;
	/* The stack is the default segment of RSP and RBP. */
	if (e->memory && e->seg == SEG_DS_ && (e->base == 4 || e->base == 5) &&
	    !memchr(prefix, 0x3e, n))
		e->seg = SEG_SS_;
}
