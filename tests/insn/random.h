/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers by seed and number: xoshiro256**, seeded by splitmix64. */
#ifndef LODGE_TESTS_INSN_RANDOM_H
#define LODGE_TESTS_INSN_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

static inline uint64_t rng_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static inline void rng_init(struct rng *r, uint64_t seed, uint64_t number)
{
	uint64_t x = rng_mix(seed) ^ (number * 0xd1342543de82ef95);

	for (unsigned i = 0; i < 4; i++)
		r->s[i] = rng_mix(x += 0x632be59bd9b4e019);
}

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t m = r->s[1] * 5, result = ((m << 7) | (m >> 57)) * 9, t = r->s[1] << 17;

	r->s[2] ^= r->s[0];
	r->s[3] ^= r->s[1];
	r->s[1] ^= r->s[2];
	r->s[0] ^= r->s[3];
	r->s[2] ^= t;
	r->s[3] = (r->s[3] << 45) | (r->s[3] >> 19);
	return result;
}

/* Below n; n < 2^32. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

/* True in n of m cases. */
static inline bool rng_chance(struct rng *r, uint32_t n, uint32_t m)
{
	return rng_below(r, m) < n;
}

#endif
