/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic on numbers that a guest or a file chose. Each function stores the
 * result and returns true where it fits, and returns false, the result then
 * being unspecified, where it does not.
 */
#ifndef LODGE_BASE_CHECKED_H
#define LODGE_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool checked_sub(uint64_t a, uint64_t b, uint64_t *difference)
{
	return !__builtin_sub_overflow(a, b, difference);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* Rounds v up to a multiple of align, a power of two. */
static inline bool checked_align_up(uint64_t v, uint64_t align, uint64_t *aligned)
{
	uint64_t sum;

	if (!checked_add(v, align - 1, &sum))
		return false;
	*aligned = sum & ~(align - 1);
	return true;
}

/* Whether [at, at + len) lies within [0, limit). An empty range at limit does. */
static inline bool range_within(uint64_t at, uint64_t len, uint64_t limit)
{
	return at <= limit && len <= limit - at;
}

/* Whether [a, a + alen) and [b, b + blen) share a byte; neither may go beyond 2^64. */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a >= b ? alen && a - b < blen : blen && b - a < alen;
}

#endif
