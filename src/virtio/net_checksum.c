/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sum of 16-bit words in ones' complement is the same in any byte order, but for
 * that order; so words are added as the host has them, four at a time, carries being
 * left to the end. A span that begins at an odd place has its sum turned round.
 */
#include "virtio/net_checksum.h"

#include "base/bits.h"

struct words {
	uint64_t v;
} __attribute__((packed, may_alias));

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The sum of len bytes as little-endian words, the last one filled up by zero. */
static uint16_t sum_of(const uint8_t *at, size_t len)
{
	const struct words *w = (const struct words *)at;
	uint64_t low = 0, high = 0;
	size_t n = len / sizeof(*w);

	for (size_t i = 0; i < n; i++) {
		low += (uint32_t)w[i].v;
		high += w[i].v >> 32;
	}
	/* Below 2^48: a span has less than 2^32 bytes. */
	low = fold(low) + fold(high);
	for (size_t i = n * sizeof(*w); i < len; i++)
		low += (uint64_t)at[i] << (i & 1 ? 8 : 0);
	return fold(low);
}

bool net_checksum_finish(const struct netif_span *spans, unsigned count, unsigned start,
			 unsigned offset)
{
	uint8_t *head = spans[0].base;
	size_t at = (size_t)start + offset, done = 0;
	uint64_t sum = 0;

	if (at + 2 > spans[0].len)
		return false;
	for (unsigned i = 0; i < count; i++) {
		size_t skip = i ? 0 : start;
		uint16_t part = sum_of((const uint8_t *)spans[i].base + skip, spans[i].len - skip);

		sum += done & 1 ? __builtin_bswap16(part) : part;
		done += spans[i].len - skip;
	}
	sum = (uint16_t)~fold(sum);
	/* No checksum is 0: that stands for none (RFC 768), and 0xffff is the same number. */
	store_le(head + at, 2, sum ? sum : 0xffff);
	return true;
}
