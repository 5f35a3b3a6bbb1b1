/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cpu/suite.h"

const struct program compute_programs[] = {
	{"core", KIND_INTEGER, 6000, 64 << 10, NULL, core_run, NULL, false},
	{"sha256", KIND_INTEGER, 120, 256 << 10, NULL, sha256_run, NULL, false},
	{"compress", KIND_INTEGER, 350, 1 << 20, compress_prepare, compress_run, NULL, false},
	{"list", KIND_INTEGER, 500, LIST_BYTES, list_prepare, list_run, NULL, false},
	{"random", KIND_INTEGER, 600, RANDOM_BYTES, NULL, random_run, NULL, false},
	{"bytecode", KIND_INTEGER, 900, 64 << 10, NULL, bytecode_run, NULL, false},
	{"recursion", KIND_INTEGER, 1200, 0, NULL, recursion_run, NULL, false},
	{"hash", KIND_INTEGER, 1300, 1 << 20, NULL, hash_run, NULL, false},
	{"sort", KIND_INTEGER, 800, 256 << 10, NULL, sort_run, NULL, false},
	{"string", KIND_INTEGER, 15000, 256 << 10, string_prepare, string_run, NULL, false},
	{"crc", KIND_INTEGER, 500, 256 << 10, NULL, crc_run, NULL, false},
	{"bytes", KIND_INTEGER, 2400, 512 << 10, bytes_prepare, bytes_run, NULL, false},
	{"divide", KIND_INTEGER, 30, 0, NULL, divide_run, NULL, false},
	{"matmul", KIND_VECTOR, 2500, 256 << 10, matmul_prepare, matmul_run, NULL, false},
	{"nbody", KIND_VECTOR, 750, 0, NULL, nbody_run, NULL, false},
	{"extended", KIND_VECTOR, 200, 0, NULL, extended_run, NULL, false},
	{"sse2", KIND_VECTOR, 2000, 256 << 10, sse2_prepare, sse2_run, NULL, false},
	{"avx2", KIND_VECTOR, 1600, 256 << 10, avx2_prepare, avx2_run, avx2_possible, false},
	{"memcpy", KIND_VECTOR, 800, 2 << 20, memcpy_prepare, memcpy_run, NULL, false},
	{NULL, KIND_INTEGER, 0, 0, NULL, NULL, NULL, false},
};
