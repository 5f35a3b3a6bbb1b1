/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and returns: Fibonacci's numbers by their definition. One unit computes the 24th. */
#include "bench/cpu/suite.h"

/* Both calls are to stay calls. */
__attribute__((noipa, optimize("no-optimize-sibling-calls"))) static uint64_t fib(uint64_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t recursion_run(void *memory, uint64_t units)
{
	uint64_t sum = 0;

	(void)memory;
	for (uint64_t i = 0; i < units; i++)
		sum = mixed(sum, fib(24) + i);
	return sum;
}
