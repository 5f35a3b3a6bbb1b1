/* SPDX-License-Identifier: Apache-2.0 */
/* Greatest common divisors, powers to a modulus and digits: divisions of 32 and 64 bits (20,000
 * numbers a unit). */
#include "bench/cpu/suite.h"

#define NUMBERS 20000

static uint64_t common(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint32_t power(uint32_t base, uint32_t exponent, uint32_t modulus)
{
	uint64_t result = 1, square = base % modulus;

	for (; exponent; exponent >>= 1) {
		if (exponent & 1)
			result = result * square % modulus;
		square = square * square % modulus;
	}
	return (uint32_t)result;
}

static int32_t digits(int32_t number, int32_t base)
{
	int32_t sum = 0;

	for (; number; number /= base)
		sum += number % base;
	return sum;
}

uint64_t divide_run(void *memory, uint64_t units)
{
	uint64_t state = 23, sum = 0;

	(void)memory;
	for (uint64_t u = 0; u < units; u++)
		for (unsigned n = 0; n < NUMBERS; n++) {
			uint64_t a = random_next(&state), b = random_next(&state) >> (a & 31);

			sum += common(a, b) + power((uint32_t)a, b & 15, (uint32_t)b | 1);
			sum = mixed(sum, (uint64_t)digits((int32_t)a, 7 + (int32_t)(b & 7)));
		}
	return sum;
}
