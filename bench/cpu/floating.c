/* SPDX-License-Identifier: Apache-2.0 */
/* Double precision in scalar code: the product of two matrices of 64 x 64 (a unit), and the planets
 * of a small system, attracting each other (5,000 steps a unit). */
#include <math.h>
#include <string.h>

#include "bench/cpu/suite.h"

#define SIDE   64
#define BODIES 5

struct matrices {
	double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
};

static uint64_t bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, sizeof(u));
	return u;
}

void matmul_prepare(void *memory, uint64_t units)
{
	struct matrices *m = memory;
	uint64_t state = 19;

	(void)units;
	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			m->a[i][j] = (double)(random_next(&state) >> 44) / (1 << 20) - 0.5;
			m->b[i][j] = (double)(random_next(&state) >> 44) / (1 << 20) - 0.5;
		}
}

uint64_t matmul_run(void *memory, uint64_t units)
{
	struct matrices *m = memory;
	uint64_t sum = 0;

	for (uint64_t u = 0; u < units; u++) {
		memset(m->c, 0, sizeof(m->c));
		for (int i = 0; i < SIDE; i++)
			for (int k = 0; k < SIDE; k++)
				for (int j = 0; j < SIDE; j++)
					m->c[i][j] += m->a[i][k] * m->b[k][j];
		sum = mixed(sum, bits(m->c[u % SIDE][u * 7 % SIDE]));
		m->a[u * 5 % SIDE][u % SIDE] = m->c[u % SIDE][u * 3 % SIDE] / SIDE;
	}
	return sum;
}

struct body {
	double at[3], speed[3], mass;
};

/* A sun, and planets on nearly round orbits. */
static void bodies_make(struct body *b)
{
	memset(b, 0, BODIES * sizeof(*b));
	b[0].mass = 40;
	for (int i = 1; i < BODIES; i++) {
		double distance = 1 + 0.7 * i * i;

		b[i].mass = 0.01 / i;
		b[i].at[0] = distance;
		b[i].at[2] = 0.1 * i;
		b[i].speed[1] = sqrt(b[0].mass / distance);
		b[i].speed[2] = 0.02 * i;
	}
}

static void attract(struct body *a, struct body *b, double dt)
{
	double d[3], square = 0, pull;

	for (int k = 0; k < 3; k++) {
		d[k] = a->at[k] - b->at[k];
		square += d[k] * d[k];
	}
	pull = dt / (square * sqrt(square));
	for (int k = 0; k < 3; k++) {
		a->speed[k] -= d[k] * b->mass * pull;
		b->speed[k] += d[k] * a->mass * pull;
	}
}

uint64_t nbody_run(void *memory, uint64_t units)
{
	struct body b[BODIES];
	uint64_t sum = 0;

	(void)memory;
	bodies_make(b);
	for (uint64_t u = 0; u < units; u++) {
		for (int step = 0; step < 5000; step++) {
			for (int i = 0; i < BODIES; i++)
				for (int j = i + 1; j < BODIES; j++)
					attract(&b[i], &b[j], 0.001);
			for (int i = 0; i < BODIES; i++)
				for (int k = 0; k < 3; k++)
					b[i].at[k] += 0.001 * b[i].speed[k];
		}
		sum = mixed(sum, bits(b[u % BODIES].at[u % 3]));
	}
	return sum;
}
