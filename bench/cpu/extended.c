/* SPDX-License-Identifier: Apache-2.0 */
/* Extended precision, which is the x87's: a Mandelbrot set of 64 x 64 points (a unit). */
#include "bench/cpu/suite.h"

#define SIDE  64
#define STEPS 100

static unsigned escape(long double x, long double y)
{
	long double a = 0, b = 0;
	unsigned n = 0;

	while (n < STEPS && a * a + b * b < 4) {
		long double next = a * a - b * b + x;

		b = 2 * a * b + y;
		a = next;
		n++;
	}
	return n;
}

uint64_t extended_run(void *memory, uint64_t units)
{
	uint64_t sum = 0;

	(void)memory;
	for (uint64_t u = 0; u < units; u++)
		for (int i = 0; i < SIDE; i++)
			for (int j = 0; j < SIDE; j++)
				sum = mixed(sum, escape((long double)(j * 3) / SIDE - 2.25L -
								(long double)(u & 7) / 1024,
							(long double)(i * 3) / SIDE - 1.5L));
	return sum;
}
