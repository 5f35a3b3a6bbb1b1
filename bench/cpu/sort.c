/* SPDX-License-Identifier: Apache-2.0 */
/* Quicksort, the middle of three as pivot, short parts by insertion. One unit sorts 8,192. */
#include "bench/cpu/suite.h"

#define COUNT 8192

static void swap(uint32_t *a, uint32_t *b)
{
	uint32_t t = *a;

	*a = *b;
	*b = t;
}

static void insertion(uint32_t *v, long n)
{
	for (long i = 1; i < n; i++) {
		uint32_t x = v[i];
		long j = i;

		for (; j > 0 && v[j - 1] > x; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

static void sort(uint32_t *v, long n)
{
	while (n > 12) {
		long i = 0, j = n - 1;
		uint32_t pivot;

		if (v[n / 2] < v[0])
			swap(&v[n / 2], &v[0]);
		if (v[n - 1] < v[0])
			swap(&v[n - 1], &v[0]);
		if (v[n - 1] < v[n / 2])
			swap(&v[n - 1], &v[n / 2]);
		pivot = v[n / 2];
		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j)
				swap(&v[i++], &v[j--]);
		}
		sort(v, j + 1);
		v += i;
		n -= i;
	}
	insertion(v, n);
}

uint64_t sort_run(void *memory, uint64_t units)
{
	uint32_t *v = memory;
	uint64_t state = 11, sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		for (int k = 0; k < COUNT; k++)
			v[k] = (uint32_t)(random_next(&state) >> 32);
		sort(v, COUNT);
		for (int k = 1; k < COUNT; k++)
			sum += v[k - 1] <= v[k];
		sum = mixed(sum, v[COUNT / 2]);
	}
	return sum;
}
