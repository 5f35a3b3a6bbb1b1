/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on text. "string" cuts it into words, counts them in a small table, compares, searches,
 * writes and reads numbers, all in plain C of its own. "bytes" goes through it byte by byte: turns
 * letters, counts them, encodes to base 64 and back. "crc" computes the CRC-32 of ISO 3309 by a
 * table. "memcpy" is the C library's work: copies, fills, comparisons and searches of many sizes,
 * by whatever vector instructions it finds.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/cpu/suite.h"

#define BUCKETS 512
#define WORD    16

struct words {
	char text[TEXT_BYTES];
	struct {
		char word[WORD];
		uint32_t count;
	} bucket[BUCKETS];
};

static int compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

static const char *search(const char *in, const char *what)
{
	for (; *in; in++) {
		size_t i = 0;

		while (what[i] && in[i] == what[i])
			i++;
		if (!what[i])
			return in;
	}
	return NULL;
}

static void decimal(char *to, uint32_t n)
{
	char digits[10];
	int len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while (n /= 10);
	while (len)
		*to++ = digits[--len];
	*to = '\0';
}

static uint32_t number(const char *s)
{
	uint32_t n = 0;

	while (*s >= '0' && *s <= '9')
		n = 10 * n + (uint32_t)(*s++ - '0');
	return n;
}

/* Takes a word into the table; its bucket's count is turned to text and back. */
static uint32_t count(struct words *w, const char *word, uint32_t hash)
{
	char text[12];

	for (;; hash++) {
		uint32_t i = hash % BUCKETS;

		if (w->bucket[i].count && compare(w->bucket[i].word, word))
			continue;
		for (int k = 0; k < WORD && (k == 0 || word[k - 1]); k++)
			w->bucket[i].word[k] = word[k];
		decimal(text, w->bucket[i].count);
		w->bucket[i].count = number(text) + 1;
		return w->bucket[i].count;
	}
}

void string_prepare(void *memory, uint64_t units)
{
	struct words *w = memory;

	(void)units;
	text_make(w->text, sizeof(w->text));
}

uint64_t string_run(void *memory, uint64_t units)
{
	struct words *w = memory;
	uint64_t sum = 0, state = 13;

	for (uint64_t i = 0; i < units; i++) {
		const char *s = w->text + random_next(&state) % (TEXT_BYTES - 16384);
		const char *end = s + 12000, *found;
		char word[WORD];
		uint32_t used = 0;

		memset(w->bucket, 0, sizeof(w->bucket));
		while (s < end && used < BUCKETS / 2) {
			uint32_t hash = 5381;
			int len = 0;

			for (; *s >= 'a' && *s <= 'z' && len < WORD - 1; s++) {
				word[len++] = *s;
				hash = hash * 33 + (uint32_t)*s;
			}
			word[len] = '\0';
			used += len && count(w, word, hash) == 1;
			s++;
		}
		found = search(w->text + 8000, word);
		sum = mixed(sum, used + (found ? (uint64_t)(found - w->text) : 0));
	}
	return sum;
}

/* --- bytes ----------------------------------------------------------------------------------- */

struct octets {
	char text[TEXT_BYTES];
	char coded[TEXT_BYTES * 4 / 3 + 8];
	char back[TEXT_BYTES];
};

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode64(char *to, const char *from, size_t len)
{
	for (size_t i = 0; i + 2 < len; i += 3) {
		uint8_t a = (uint8_t)from[i], b = (uint8_t)from[i + 1], c = (uint8_t)from[i + 2];

		*to++ = digits64[a >> 2];
		*to++ = digits64[(a & 3) << 4 | b >> 4];
		*to++ = digits64[(b & 15) << 2 | c >> 6];
		*to++ = digits64[c & 63];
	}
}

static void decode64(char *to, const char *from, size_t len, const uint8_t value[256])
{
	for (size_t i = 0; i + 3 < len; i += 4) {
		uint8_t a = value[(uint8_t)from[i]], b = value[(uint8_t)from[i + 1]];
		uint8_t c = value[(uint8_t)from[i + 2]], d = value[(uint8_t)from[i + 3]];

		*to++ = (char)(a << 2 | b >> 4);
		*to++ = (char)(b << 4 | c >> 2);
		*to++ = (char)(c << 6 | d);
	}
}

void bytes_prepare(void *memory, uint64_t units)
{
	(void)units;
	text_make(((struct octets *)memory)->text, TEXT_BYTES);
}

uint64_t bytes_run(void *memory, uint64_t units)
{
	const size_t part = 49152; /* a multiple of 3 */
	struct octets *o = memory;
	uint8_t value[256] = {0};
	uint64_t sum = 0;

	for (int i = 0; i < 64; i++)
		value[(uint8_t)digits64[i]] = (uint8_t)i;
	for (uint64_t i = 0; i < units; i++) {
		uint32_t counts[256] = {0};

		for (size_t k = 0; k < part; k++) {
			char c = o->text[k];

			if (c >= 'a' && c <= 'z')
				c = (char)((c - 'a' + 13) % 26 + 'a');
			o->text[k] = c;
			counts[(uint8_t)c]++;
		}
		encode64(o->coded, o->text, part);
		decode64(o->back, o->coded, part / 3 * 4, value);
		if (o->back[i % part] != o->text[i % part])
			abort();
		for (int k = 0; k < 256; k += 5)
			sum = mixed(sum, counts[k] + (uint8_t)o->back[(size_t)k * 191]);
	}
	return sum;
}

/* --- crc ------------------------------------------------------------------------------------- */

uint64_t crc_run(void *memory, uint64_t units)
{
	uint32_t table[256], crc = 0xffffffff;
	const uint8_t *data = memory;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
	}
	for (uint64_t i = 0; i < units; i++)
		for (size_t k = 0; k < 256 << 10; k++)
			crc = crc >> 8 ^ table[(crc ^ data[k]) & 0xff];
	return ~crc;
}

/* --- memcpy ---------------------------------------------------------------------------------- */

#define HALF (1u << 20)

void memcpy_prepare(void *memory, uint64_t units)
{
	(void)units;
	text_make(memory, HALF);
}

uint64_t memcpy_run(void *memory, uint64_t units)
{
	char *from = memory, *to = from + HALF;
	uint64_t sum = 0, state = 17;

	for (uint64_t i = 0; i < units; i++) {
		for (int k = 0; k < 1500; k++) {
			uint64_t r = random_next(&state);
			/* Sizes as often between 1 and 2 as between 32 K and 64 K. */
			size_t len = (size_t)((r >> 40 & 0xffff) | 1) >> (r & 15);
			size_t a = (r >> 8) % (HALF - 65536), b = (r >> 20) % (HALF - 65536);
			char *end;

			memcpy(to + b, from + a, len);
			sum += (uint64_t)(memcmp(to + b, from + a + (r & 32 ? 0 : 1), len) == 0);
			end = memchr(from + a, '\n', len);
			sum += end ? (uint64_t)(end - from) : strlen(from + HALF - 1 - len);
			if (r & 64)
				memset(to + a, (int)(r & 0xff), len);
		}
		sum = mixed(sum, (uint8_t)to[(i * 997) % HALF]);
	}
	return sum;
}
