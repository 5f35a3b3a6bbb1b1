/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4, section 6.2) in plain C. Its constants, the first 32 bits of the fractional
 * parts of the cube roots of the first 64 primes (section 4.2.2), are computed. One unit hashes
 * 256 KiB.
 */
#include "bench/cpu/suite.h"

#define BYTES (256u << 10)

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* The 32 bits behind the binary point of the k-th root of n: floor(root * 2^32), without its
 * integer part. */
static uint32_t root_fraction(uint32_t n, int k)
{
	uint64_t low = 0, high = 1ull << 37;

	while (high - low > 1) {
		uint64_t mid = (low + high) / 2;
		/* Cubes of 37 bits fit into 128. */
		unsigned __int128 power = (unsigned __int128)mid * mid;
		bool less = k == 2 ? power <= (unsigned __int128)n << 64
				   : power * mid <= (unsigned __int128)n << 96;

		if (less)
			low = mid;
		else
			high = mid;
	}
	return (uint32_t)low;
}

static void constants(uint32_t k[64], uint32_t h[8])
{
	int found = 0;

	for (uint32_t n = 2; found < 64; n++) {
		bool prime = true;

		for (uint32_t d = 2; d * d <= n; d++)
			prime = prime && n % d;
		if (!prime)
			continue;
		k[found] = root_fraction(n, 3);
		if (found < 8)
			h[found] = root_fraction(n, 2);
		found++;
	}
}

static void block(uint32_t h[8], const uint32_t k[64], const uint8_t *data)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 |
		       (uint32_t)data[4 * i + 2] << 8 | data[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[i - 7] +
		       (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
	}
	for (int i = 0; i < 8; i++)
		s[i] = h[i];
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) +
			      ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
		uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) +
			      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		for (int j = 7; j > 0; j--)
			s[j] = s[j - 1];
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

uint64_t sha256_run(void *memory, uint64_t units)
{
	uint32_t k[64], h[8];
	uint64_t sum = 0;

	constants(k, h);
	for (uint64_t i = 0; i < units; i++)
		for (size_t at = 0; at < BYTES; at += 64)
			block(h, k, (uint8_t *)memory + at);
	for (int i = 0; i < 8; i++)
		sum = mixed(sum, h[i]);
	return sum;
}
