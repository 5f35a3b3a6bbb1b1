/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values at the edges of their formats, and random ones between.
 *
 * Sources: Intel SDM vol. 1, 4.2 (numbers), 8.1 (x87 registers), 10.2.3 (MXCSR), 13.4 (XSAVE
 * area).
 */
#include <string.h>

#include "values.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const uint64_t edges[] = {
	0,
	1,
	2,
	3,
	7,
	8,
	15,
	16,
	31,
	32,
	33,
	63,
	64,
	65,
	0x7f,
	0x80,
	0x81,
	0xfe,
	0xff,
	0x100,
	0x7ffe,
	0x7fff,
	0x8000,
	0x8001,
	0xfffe,
	0xffff,
	0x10000,
	0x7ffffffe,
	0x7fffffff,
	0x80000000,
	0x80000001,
	0xfffffffe,
	0xffffffff,
	0x100000000,
	0x100000001,
	0x7ffffffffffffffe,
	0x7fffffffffffffff,
	0x8000000000000000,
	0x8000000000000001,
	0xfffffffffffffffe,
	0xffffffffffffffff,
	0xffffffffffffff80,
	0xffffffffffff8000,
	0xffffffff80000000,
	0x5555555555555555,
	0xaaaaaaaaaaaaaaaa,
	0x0f0f0f0f0f0f0f0f,
	0x0123456789abcdef,
	0x99,
	0x9999999999999999,
	0x00007fffffffffff,
	0xffff800000000000,
	0x0000800000000000,
	0x8000000080000000,
	0x7fffffff7fffffff,
};

uint64_t value_gpr(struct rng *r)
{
	uint64_t v = rng_next(r);

	switch (v & 7) {
	case 0:
	case 1:
	case 2:
		return edges[rng_below(r, COUNT(edges))];
	case 3:
		return v >> 58; /* small */
	case 4:
		return (v & ~0xffffffffULL) | (uint32_t)edges[rng_below(r, COUNT(edges))];
	case 5:
		return v >> (v >> 3 & 63) | v << 63;
	default:
		return v;
	}
}

static const uint32_t f32_edges[] = {
	0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x00000001,
	0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff,
	0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0x7fbfffff, 0xff800001,
	0x7fffffff, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, 0x5f000000, 0xdf000000,
	0x4b000000, 0x4b7fffff, 0x3effffff, 0x3fc00000, 0x40490fdb, 0x33800000, 0x477fe000,
	0x477ff000, 0x38800000, 0x33000000, 0x387fc000, 0x42f60000,
};

static const uint64_t f64_edges[] = {
	0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000,
	0x4000000000000000, 0x3fe0000000000000, 0x0000000000000001, 0x8000000000000001,
	0x000fffffffffffff, 0x0010000000000000, 0x8010000000000000, 0x0010000000000001,
	0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
	0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001, 0x7ff7ffffffffffff,
	0xfff0000000000001, 0x7fffffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000,
	0xc1e0000000000000, 0xc1e0000000200000, 0x43e0000000000000, 0xc3e0000000000000,
	0x4330000000000000, 0x433fffffffffffff, 0x3fdfffffffffffff, 0x3ff8000000000000,
	0x400921fb54442d18, 0x3ca0000000000000, 0x47efffffe0000000, 0x47effffff0000000,
	0x3810000000000000, 0x36a0000000000000, 0x380fffffc0000000, 0x405ec00000000000,
};

/* A float near others in magnitude: so that sums and products round, and fused ones cancel. */
static uint32_t f32_value(struct rng *r)
{
	uint64_t v = rng_next(r);

	if ((v & 3) == 0)
		return f32_edges[(v >> 8) % COUNT(f32_edges)];
	if ((v & 3) == 1)
		return (uint32_t)(v >> 32);
	return (uint32_t)(v >> 32 & 0x807fffff) | (uint32_t)(117 + (v >> 8) % 20) << 23;
}

static uint64_t f64_value(struct rng *r)
{
	uint64_t v = rng_next(r);

	if ((v & 3) == 0)
		return f64_edges[(v >> 8) % COUNT(f64_edges)];
	if ((v & 3) == 1)
		return rng_next(r);
	return (rng_next(r) & 0x800fffffffffffff) | (1013 + (v >> 8) % 20) << 52;
}

static uint64_t lane(struct rng *r, unsigned kind)
{
	switch (kind) {
	case 0:
		return f32_value(r) | (uint64_t)f32_value(r) << 32;
	case 1:
		return f64_value(r);
	case 2:
		return edges[rng_below(r, COUNT(edges))];
	case 3:
		return rng_below(r, 80); /* shift counts, indexes */
	case 4:                          /* bytes and words at their edges */
		return (rng_next(r) & 0x8181818181818181) * (1 + (rng_next(r) & 0x7e));
	default:
		return rng_next(r);
	}
}

void value_lanes(struct rng *r, uint8_t *out, unsigned size)
{
	unsigned kind = rng_below(r, 8);

	for (unsigned i = 0; i < size; i += 8) {
		uint64_t v = lane(r, kind);

		memcpy(out + i, &v, 8);
	}
}

void value_f80(struct rng *r, uint8_t out[10])
{
	static const uint16_t exponents[] = {0,      1,      0x3ffe, 0x3fff, 0x4000, 0x7ffe, 0x7fff,
					     0x3fbe, 0x403e, 0x401e, 0x400e, 0x3f81, 0x407e, 0x407f,
					     0x3c01, 0x43fe, 0x43ff, 0x3bcc, 0x3f69, 0x4039};
	static const uint64_t mantissas[] = {0,
					     1ULL << 63,
					     (1ULL << 63) | 1,
					     UINT64_MAX,
					     3ULL << 62,
					     1,
					     UINT64_MAX >> 1,
					     (1ULL << 63) | 0x400,
					     (1ULL << 63) | 0x8000000000,
					     0xa000000000000001};
	uint64_t v = rng_next(r), m = rng_next(r);
	uint16_t e = (uint16_t)(v >> 48);

	switch (v & 7) {
	case 0:
	case 1: /* the edges, also unnormals and pseudo-denormals */
		e = (uint16_t)((e & 0x8000) | exponents[rng_below(r, COUNT(exponents))]);
		m = mantissas[rng_below(r, COUNT(mantissas))];
		break;
	case 2:
		e = 0xffff; /* as MMX leaves it */
		break;
	case 3: /* a whole number */
		e = (uint16_t)((e & 0x8000) | (0x3fff + (v >> 8) % 66));
		m = m >> 63 ? m & ~0ULL << (m & 63) : m;
		m |= 1ULL << 63;
		break;
	case 4:
		break; /* anything */
	default:       /* a common number */
		e = (uint16_t)((e & 0x8000) | (0x3ff0 + (v >> 8) % 32));
		m |= 1ULL << 63;
	}
	memcpy(out, &m, 8);
	memcpy(out + 8, &e, 2);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void value_x87(struct rng *r, uint8_t *area, bool calm)
{
	static const uint8_t tags[] = {0xff, 0xff, 0, 0xff, 0x0f, 0xf0, 0x01, 0x80};
	unsigned fcw = rng_below(r, 0x10000) & 0xf40, fsw = rng_below(r, 0x10000);

	/* Mostly all masked, sometimes any. */
	fcw |= calm || rng_chance(r, 3, 4) ? 0x7f : 0x40 | rng_below(r, 64);
	if (rng_chance(r, 1, 2))
		fcw = 0x37f;
	fsw &= rng_chance(r, 1, 2) ? 0x7f00 : 0x7f7f;
	/* ES and B say whether one that is not masked is there. */
	if (!calm && rng_chance(r, 31, 32) && (fsw & ~fcw & 0x3f))
		fsw = rng_chance(r, 1, 4) ? fsw | 0x8080 : fsw & ~(~fcw & 0x3f);
	if (calm)
		fsw &= 0x7f40 | (fcw & 0x3f);
	put16(area, fcw);
	put16(area + 2, fsw);
	area[4] = rng_chance(r, 1, 4) ? (uint8_t)rng_next(r) : tags[rng_below(r, 8)];
	put16(area + 6, rng_below(r, 0x800));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t pointer = rng_next(r) >> 17;

		memcpy(area + 8 + 8 * i, &pointer, 8);
	}
	for (unsigned i = 0; i < 8; i++)
		value_f80(r, area + 32 + 16 * i);
}

void value_xsave(struct rng *r, uint8_t area[XSAVE_AREA], bool calm)
{
	unsigned mxcsr = 0x1f80;

	memset(area, 0, 32);
	memset(area + 416, 0, 576 - 416);
	value_x87(r, area, calm);
	if (rng_chance(r, 1, 2))
		mxcsr = rng_below(r, 0x10000);
	if (calm || rng_chance(r, 1, 2))
		mxcsr |= 0x1f80;
	put16(area + 24, mxcsr);
	area[28] = 0xff; /* MXCSR_MASK: not read */
	area[29] = 0xff;
	for (unsigned i = 0; i < 16; i++)
		value_lanes(r, area + 160 + 16 * i, 16);
	for (unsigned i = 0; i < 16; i++)
		value_lanes(r, area + 576 + 16 * i, 16);
	/* Now and then the same register twice, so that comparisons find equals. */
	memmove(area + 160 + 16 * rng_below(r, 16), area + 160 + 16 * rng_below(r, 16), 16);
	area[512] = 7;
	if (rng_chance(r, 1, 16))
		area[512] = (uint8_t)rng_below(r, 8); /* components in their initial state */
}
