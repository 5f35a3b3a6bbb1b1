/* SPDX-License-Identifier: Apache-2.0 */
/* Computing of many kinds, every result printed; compiled in the guest, by the guest's gcc. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N       3000
#define THREADS 4
#define TURNS   20000

static double matrix[3][40][40];
static uint32_t words[N];
static atomic_uint together;
static unsigned locked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t next_word(void)
{
	static uint32_t state = 2463534242u;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void multiply(void)
{
	double trace = 0;

	for (int i = 0; i < 40; i++)
		for (int j = 0; j < 40; j++) {
			matrix[0][i][j] = (double)(next_word() % 1000) / 16;
			matrix[1][i][j] = (double)(next_word() % 1000) / 16;
		}
	for (int i = 0; i < 40; i++)
		for (int j = 0; j < 40; j++)
			for (int k = 0; k < 40; k++)
				matrix[2][i][j] += matrix[0][i][k] * matrix[1][k][j];
	for (int i = 0; i < 40; i++)
		trace += matrix[2][i][i];
	printf("matrix %a\n", trace);
}

static void sort(void)
{
	uint64_t hash = 14695981039346656037u;

	for (int i = 0; i < N; i++)
		words[i] = next_word();
	qsort(words, N, sizeof(words[0]), by_value);
	for (int i = 0; i < N; i++)
		hash = (hash ^ words[i]) * 1099511628211u;
	printf("sorted %016llx\n", (unsigned long long)hash);
}

static void floats(void)
{
	long double series = 0;
	float single = 0;

	for (int n = 1; n < 2000; n++) {
		series += 1.0L / n / n;
		single += 1.0f / (float)n;
	}
	printf("floats %La %a %.10f %g %ld\n", series, (double)single, sin(1e6) + cbrt(3),
	       fmod(1e17, 3), lround(2.5));
}

static void integers(void)
{
	unsigned __int128 wide = (unsigned __int128)next_word() * next_word() * next_word();
	int64_t quotient = -((int64_t)next_word() << 20) / (int64_t)(next_word() | 1);
	char text[100];

	snprintf(text, sizeof(text), "%d %u %llx", __builtin_popcount(next_word()), 17u % 5,
		 (unsigned long long)(wide % 1000000007));
	printf("integers %lld %s %zu\n", (long long)quotient, text, strlen(text));
}

static void *turns(void *unused)
{
	for (int i = 0; i < TURNS; i++) {
		atomic_fetch_add(&together, 1);
		pthread_mutex_lock(&lock);
		locked++;
		pthread_mutex_unlock(&lock);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[THREADS];

	multiply();
	sort();
	floats();
	integers();
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, turns, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("threads %u %u\n", together, locked);
	return 0;
}
