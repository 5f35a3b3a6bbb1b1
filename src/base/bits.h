/* SPDX-License-Identifier: Apache-2.0 */
/* Bits, sizes and alignment: the arithmetic that every room writes. */
#ifndef LODGE_BASE_BITS_H
#define LODGE_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

#define BIT(n) (1ULL << (n))

/* The lowest n bits set; n from 0 to 64. */
#define MASK(n) ((n) >= 64 ? ~0ULL : BIT(n) - 1)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* The struct of the given type whose member is at ptr. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Rounds v down or up to a multiple of align, a power of two. align_up wraps: use
 * checked_align_up (base/checked.h) on any number that a guest or a file chose. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

/* Little-endian loads and stores at any alignment. */
static inline uint64_t load_le(const void *p, unsigned size)
{
	uint64_t v = 0;

	__builtin_memcpy(&v, p, size);
	return v;
}

static inline void store_le(void *p, unsigned size, uint64_t v)
{
	__builtin_memcpy(p, &v, size);
}

#endif
