/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector code by intrinsics. "sse2" works on a grey picture of 256 x 256: a blur, a sum of absolute
 * differences, a dot product of 16-bit numbers, and a curve in single precision. "avx2" filters
 * 8,192 samples by 16 coefficients with FMA, shuffles bytes, and mixes 32-bit integers: what
 * x86-64-v3 brings. It runs where the processor says it can.
 */
#include <immintrin.h>
#include <string.h>

#include "bench/cpu/suite.h"

#define PIXELS (256 * 256)

struct picture {
	uint8_t in[PIXELS + 64], out[PIXELS + 64];
	float curve[PIXELS / 8];
};

static void random_fill(void *to, size_t len)
{
	uint64_t state = 23;
	uint8_t *p = to;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(random_next(&state) >> 50);
}

void sse2_prepare(void *memory, uint64_t units)
{
	struct picture *p = memory;

	(void)units;
	random_fill(p->in, sizeof(p->in));
}

static __m128i load(const void *at)
{
	return _mm_loadu_si128(at);
}

static uint64_t blur(struct picture *p)
{
	__m128i zero = _mm_setzero_si128(), differences = zero, products = zero;

	for (size_t i = 0; i < PIXELS - 512; i += 16) {
		__m128i here = load(p->in + i), right = load(p->in + i + 1);
		__m128i below = load(p->in + i + 256), both = load(p->in + i + 257);
		__m128i mean = _mm_avg_epu8(_mm_avg_epu8(here, right), _mm_avg_epu8(below, both));
		__m128i low = _mm_unpacklo_epi8(mean, zero), high = _mm_unpackhi_epi8(mean, zero);

		_mm_storeu_si128((__m128i *)(p->out + i), mean);
		differences = _mm_add_epi64(differences, _mm_sad_epu8(mean, here));
		products = _mm_add_epi32(products, _mm_madd_epi16(low, high));
	}
	products = _mm_add_epi32(products, _mm_srli_si128(products, 8));
	products = _mm_add_epi32(products, _mm_srli_si128(products, 4));
	return (uint64_t)_mm_cvtsi128_si64(differences) ^
	       (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(differences, 8)) << 20 ^
	       (uint64_t)(uint32_t)_mm_cvtsi128_si32(products) << 32;
}

static void curve(struct picture *p)
{
	const __m128 half = _mm_set1_ps(0.5f), scale = _mm_set1_ps(1.0f / 128);
	__m128i zero = _mm_setzero_si128();

	for (size_t i = 0; i < PIXELS / 8; i += 4) {
		int four;
		__m128i v;
		__m128 x, y;

		memcpy(&four, p->out + i, sizeof(four));
		v = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero);
		x = _mm_mul_ps(_mm_cvtepi32_ps(_mm_unpacklo_epi16(v, zero)), scale);
		y = _mm_add_ps(_mm_mul_ps(x, _mm_sub_ps(x, half)), half);
		y = _mm_div_ps(y, _mm_add_ps(x, _mm_sqrt_ps(_mm_max_ps(x, half))));
		_mm_storeu_ps(p->curve + i, y);
	}
}

uint64_t sse2_run(void *memory, uint64_t units)
{
	struct picture *p = memory;
	uint64_t sum = 0;

	for (uint64_t u = 0; u < units; u++) {
		for (int k = 0; k < 12; k++) {
			uint32_t f;

			sum = mixed(sum, blur(p));
			curve(p);
			memcpy(&f, &p->curve[(u + (uint64_t)k * 100) % (PIXELS / 8)], sizeof(f));
			sum = mixed(sum, f);
			p->in[(u * 12 + (uint64_t)k) * 31 % PIXELS] ^= (uint8_t)sum;
		}
	}
	return sum;
}

/* --- x86-64-v3 ------------------------------------------------------------------------------- */

#define SAMPLES 8192
#define TAPS    16

struct samples {
	float in[SAMPLES + TAPS], out[SAMPLES];
	uint32_t words[SAMPLES + 8];
};

bool avx2_possible(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

void avx2_prepare(void *memory, uint64_t units)
{
	struct samples *s = memory;
	uint64_t state = 29;

	(void)units;
	for (size_t i = 0; i < SAMPLES + TAPS; i++)
		s->in[i] = (float)(random_next(&state) >> 44) / (1 << 20) - 0.5f;
	random_fill(s->words, sizeof(s->words));
}

__attribute__((target("avx2,fma"))) static void filter(struct samples *s)
{
	__m256 taps[TAPS];

	for (int t = 0; t < TAPS; t++)
		taps[t] = _mm256_set1_ps(0.25f / (float)(t + 1));
	for (size_t i = 0; i < SAMPLES; i += 16) {
		__m256 a = _mm256_setzero_ps(), b = a;

		for (int t = 0; t < TAPS; t++) {
			a = _mm256_fmadd_ps(taps[t], _mm256_loadu_ps(s->in + i + t), a);
			b = _mm256_fmadd_ps(taps[t], _mm256_loadu_ps(s->in + i + 8 + t), b);
		}
		_mm256_storeu_ps(s->out + i, a);
		_mm256_storeu_ps(s->out + i + 8, b);
	}
}

__attribute__((target("avx2,fma"))) static uint64_t mix_words(struct samples *s)
{
	const __m256i odd = _mm256_set1_epi32((int)0x9e3779b1);
	const __m256i turn = _mm256_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12,
					      1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
	__m256i sum = _mm256_setzero_si256();
	uint64_t out[4];

	for (size_t i = 0; i < SAMPLES; i += 8) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(s->words + i));
		__m256i w = _mm256_loadu_si256((const __m256i *)(s->words + i + 1));

		v = _mm256_mullo_epi32(_mm256_shuffle_epi8(v, turn), odd);
		v = _mm256_xor_si256(
			v, _mm256_srlv_epi32(w, _mm256_and_si256(v, _mm256_set1_epi32(15))));
		v = _mm256_permute4x64_epi64(v, 0x39);
		_mm256_storeu_si256((__m256i *)(s->words + i), v);
		sum = _mm256_add_epi64(sum, _mm256_max_epu32(v, w));
	}
	_mm256_storeu_si256((__m256i *)out, sum);
	return out[0] ^ out[1] << 1 ^ out[2] << 2 ^ out[3] << 3;
}

uint64_t avx2_run(void *memory, uint64_t units)
{
	struct samples *s = memory;
	uint64_t sum = 0;

	for (uint64_t u = 0; u < units; u++) {
		for (int k = 0; k < 24; k++) {
			uint32_t f;

			filter(s);
			memcpy(&f, &s->out[(u * 24 + (uint64_t)k) % SAMPLES], sizeof(f));
			sum = mixed(mixed(sum, f), mix_words(s));
		}
	}
	return sum;
}
