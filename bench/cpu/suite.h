/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs of the suite: what they are made of, and the tables that hold them.
 *
 * A program does a fixed amount of work, counted in units, and comes to a checksum that depends on
 * the number of units and on nothing else: not on the processor, the clock or addresses.
 */
#ifndef LODGE_BENCH_CPU_SUITE_H
#define LODGE_BENCH_CPU_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
	KIND_INTEGER, /* general registers only */
	KIND_VECTOR,  /* floating point, SSE2, AVX2 */
	KIND_SYSTEM,  /* mostly the kernel's work */
};

struct program {
	const char *name;
	enum kind kind;
	uint64_t units; /* at scale 1 */
	size_t memory;  /* bytes, zeroed and touched, for prepare and run; 0: none */
	/* Makes the input; not timed. NULL: nothing to make. */
	void (*prepare)(void *memory, uint64_t units);
	/* The work, timed; returns the checksum. */
	uint64_t (*run)(void *memory, uint64_t units);
	/* False: it cannot run here. NULL: it always can. */
	bool (*possible)(void);
	bool asked; /* runs only when it is named */
};

/* Each ends with a program without a name. */
extern const struct program compute_programs[];
extern const struct program system_programs[];

/* compute.c's table is made of these, one file each or several of a kind together. */
uint64_t core_run(void *memory, uint64_t units);
uint64_t sha256_run(void *memory, uint64_t units);
void compress_prepare(void *memory, uint64_t units);
uint64_t compress_run(void *memory, uint64_t units);
void list_prepare(void *memory, uint64_t units);
uint64_t list_run(void *memory, uint64_t units);
uint64_t random_run(void *memory, uint64_t units);
uint64_t bytecode_run(void *memory, uint64_t units);
uint64_t recursion_run(void *memory, uint64_t units);
uint64_t hash_run(void *memory, uint64_t units);
uint64_t sort_run(void *memory, uint64_t units);
void string_prepare(void *memory, uint64_t units);
uint64_t string_run(void *memory, uint64_t units);
uint64_t crc_run(void *memory, uint64_t units);
void bytes_prepare(void *memory, uint64_t units);
uint64_t bytes_run(void *memory, uint64_t units);
void matmul_prepare(void *memory, uint64_t units);
uint64_t matmul_run(void *memory, uint64_t units);
uint64_t nbody_run(void *memory, uint64_t units);
uint64_t divide_run(void *memory, uint64_t units);
uint64_t extended_run(void *memory, uint64_t units);
void sse2_prepare(void *memory, uint64_t units);
uint64_t sse2_run(void *memory, uint64_t units);
bool avx2_possible(void);
void avx2_prepare(void *memory, uint64_t units);
uint64_t avx2_run(void *memory, uint64_t units);
void memcpy_prepare(void *memory, uint64_t units);
uint64_t memcpy_run(void *memory, uint64_t units);

#define LIST_BYTES   (512u << 10)
#define RANDOM_BYTES (64u << 20)
#define TEXT_BYTES   (64u << 10)

/* Fills text with words and lines that look like a language, the same each time; no zero byte in
 * it but the last. */
void text_make(char *text, size_t len);

/* A sequence that looks random (xorshift64*, Vigna 2016); *state is not zero. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* The checksum sum with value added to it. */
static inline uint64_t mixed(uint64_t sum, uint64_t value)
{
	sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
	return sum << 29 | sum >> 35;
}

#endif
