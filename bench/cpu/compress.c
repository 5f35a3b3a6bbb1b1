/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compressor of the family of LZ77: the last 32 KiB are searched by hash chains for the longest
 * earlier place that reads as what follows, as deep as zlib looks at its middle level; literals and
 * (distance, length) pairs then go through an adaptive binary range coder. What comes out is
 * decompressed and compared. One unit is 16 KiB of text there and back.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/cpu/suite.h"

#define UNIT      (16u << 10)
#define HASH_BITS 12
#define MIN_MATCH 3
#define MAX_MATCH 66 /* MIN_MATCH + 6 bits */
#define DEPTH     24

struct model {
	uint16_t flag, literal[256], length[64], distance[16][1024];
};

struct compressor {
	char text[TEXT_BYTES];
	uint8_t packed[2 * UNIT];
	char back[UNIT];
	uint16_t head[1 << HASH_BITS], chain[UNIT];
	struct model model;
};

_Static_assert(sizeof(struct compressor) <= 1 << 20, "fits what the table gives it");

struct coder {
	uint8_t *at;
	uint64_t low; /* encoder: with the carry in bit 32 */
	uint32_t range, code;
	uint8_t held;
	uint32_t pending;
};

/* --- the range coder: a bit has a probability of 11 bits that follows what was seen ---------- */

static void shift_low(struct coder *c)
{
	if ((uint32_t)c->low < 0xff000000 || c->low >> 32) {
		uint8_t carry = (uint8_t)(c->low >> 32);

		*c->at++ = (uint8_t)(c->held + carry);
		for (; c->pending; c->pending--)
			*c->at++ = (uint8_t)(0xff + carry);
		c->held = (uint8_t)(c->low >> 24);
	} else {
		c->pending++;
	}
	c->low = (uint32_t)c->low << 8;
}

static void encode_bit(struct coder *c, uint16_t *p, unsigned bit)
{
	uint32_t bound = (c->range >> 11) * *p;

	if (bit) {
		c->low += bound;
		c->range -= bound;
		*p = (uint16_t)(*p - (*p >> 5));
	} else {
		c->range = bound;
		*p = (uint16_t)(*p + ((2048 - *p) >> 5));
	}
	while (c->range < 1 << 24) {
		c->range <<= 8;
		shift_low(c);
	}
}

static unsigned decode_bit(struct coder *c, uint16_t *p)
{
	uint32_t bound = (c->range >> 11) * *p;
	unsigned bit = c->code >= bound;

	if (bit) {
		c->code -= bound;
		c->range -= bound;
		*p = (uint16_t)(*p - (*p >> 5));
	} else {
		c->range = bound;
		*p = (uint16_t)(*p + ((2048 - *p) >> 5));
	}
	while (c->range < 1 << 24) {
		c->range <<= 8;
		c->code = c->code << 8 | *c->at++;
	}
	return bit;
}

static void encode(struct coder *c, uint16_t *tree, unsigned bits, unsigned value)
{
	unsigned node = 1;

	while (bits--) {
		unsigned bit = value >> bits & 1;

		encode_bit(c, &tree[node], bit);
		node = 2 * node + bit;
	}
}

static unsigned decode(struct coder *c, uint16_t *tree, unsigned bits)
{
	unsigned node = 1;

	for (unsigned i = 0; i < bits; i++)
		node = 2 * node + decode_bit(c, &tree[node]);
	return node - (1u << bits);
}

static void model_init(struct model *m)
{
	uint16_t *p = (uint16_t *)m;

	for (size_t i = 0; i < sizeof(*m) / sizeof(*p); i++)
		p[i] = 1024;
}

/* --- matches --------------------------------------------------------------------------------- */

static unsigned hash3(const char *s)
{
	uint32_t v = (uint8_t)s[0] | (uint32_t)(uint8_t)s[1] << 8 | (uint32_t)(uint8_t)s[2] << 16;

	return v * 2654435761u >> (32 - HASH_BITS);
}

/* Positions are kept one higher, so that 0 ends a chain. */
static void insert(struct compressor *z, const char *text, unsigned at)
{
	unsigned h = hash3(text + at);

	z->chain[at] = z->head[h];
	z->head[h] = (uint16_t)(at + 1);
}

static unsigned longest(const struct compressor *z, const char *text, unsigned at, unsigned *from)
{
	unsigned limit = UNIT - at < MAX_MATCH ? UNIT - at : MAX_MATCH, best = 0;
	unsigned p = z->head[hash3(text + at)];

	for (int depth = DEPTH; p && depth; depth--, p = z->chain[p - 1]) {
		const char *s = text + p - 1;
		unsigned len = 0;

		if (s[best] != text[at + best])
			continue;
		while (len < limit && s[len] == text[at + len])
			len++;
		if (len > best) {
			best = len;
			*from = p - 1;
			if (len == limit)
				break;
		}
	}
	return best;
}

static size_t pack(struct compressor *z, const char *text)
{
	struct coder c = {.at = z->packed, .range = 0xffffffff};
	struct model *m = &z->model;

	model_init(m);
	memset(z->head, 0, sizeof(z->head));
	for (unsigned at = 0; at < UNIT;) {
		unsigned from = 0, len = at + MIN_MATCH < UNIT ? longest(z, text, at, &from) : 0;

		encode_bit(&c, &m->flag, len >= MIN_MATCH);
		if (len < MIN_MATCH) {
			encode(&c, m->literal, 8, (uint8_t)text[at]);
			len = 1;
		} else {
			encode(&c, m->length, 6, len - MIN_MATCH);
			encode(&c, m->distance[15], 4, (at - from) >> 10);
			encode(&c, m->distance[(at - from) >> 11], 10, (at - from) & 1023);
		}
		for (; len; len--, at++)
			if (at + MIN_MATCH < UNIT)
				insert(z, text, at);
	}
	for (int i = 0; i < 5; i++)
		shift_low(&c);
	return (size_t)(c.at - z->packed);
}

static void unpack(struct compressor *z)
{
	struct coder c = {.at = z->packed + 1, .range = 0xffffffff};
	struct model *m = &z->model;

	model_init(m);
	for (int i = 0; i < 4; i++)
		c.code = c.code << 8 | *c.at++;
	for (unsigned at = 0; at < UNIT;) {
		unsigned len, distance;

		if (!decode_bit(&c, &m->flag)) {
			z->back[at++] = (char)decode(&c, m->literal, 8);
			continue;
		}
		len = decode(&c, m->length, 6) + MIN_MATCH;
		distance = decode(&c, m->distance[15], 4) << 10;
		distance |= decode(&c, m->distance[distance >> 11], 10);
		if (distance > at || len > UNIT - at)
			abort();
		for (; len; len--, at++)
			z->back[at] = z->back[at - distance];
	}
}

void compress_prepare(void *memory, uint64_t units)
{
	struct compressor *z = memory;

	(void)units;
	text_make(z->text, sizeof(z->text));
}

uint64_t compress_run(void *memory, uint64_t units)
{
	struct compressor *z = memory;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		const char *text = z->text + i * 1021 % (TEXT_BYTES - UNIT);
		size_t len = pack(z, text);

		sum = mixed(mixed(sum, len), z->packed[len / 2]);
		unpack(z);
		if (memcmp(z->back, text, UNIT))
			abort();
	}
	return sum;
}
