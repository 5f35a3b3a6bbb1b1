/* SPDX-License-Identifier: Apache-2.0 */
/* Prints how many thousand times a second this machine's time-stamp counter counts. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define TRIES      100
#define BETWEEN_US 50000

struct moment {
	uint64_t ns;
	uint64_t tsc;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Both clocks at once: of several looks, the one in which the least time went by. */
static struct moment look(void)
{
	struct moment best = {0};
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), ns = now_ns(), after = __rdtsc();

		if (after - before < least) {
			least = after - before;
			best = (struct moment){ns, before + (after - before) / 2};
		}
	}
	return best;
}

int main(void)
{
	struct moment from = look(), to;

	usleep(BETWEEN_US);
	to = look();
	printf("%.0f\n", (double)(to.tsc - from.tsc) * 1e6 / (double)(to.ns - from.ns));
	return 0;
}
