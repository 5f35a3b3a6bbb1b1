/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints how far the time-stamp counter goes during a loop of known length, between two marks: in
 * exact mode the counter counts instructions, so it must agree with the counting plugin.
 */
#include <stdio.h>
#include <x86intrin.h>

#include "mark.h"

int main(void)
{
	unsigned long long start, end;
	long count = 1000000;

	MARK(MARK_LOOP_A);
	start = __rdtsc();
	__asm__ volatile("0: dec %0; jnz 0b" : "+r"(count) : : "cc");
	end = __rdtsc();
	MARK(MARK_LOOP_B);
	printf("%llu\n", end - start);
	return 0;
}
