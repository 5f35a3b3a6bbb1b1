/* SPDX-License-Identifier: Apache-2.0 */
/* What user mode can do natively of nano.c's list; the same lines. Linux's shortest system call
 * takes the place of a bare SYSCALL and SYSRET. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#define BATCHES 21

__asm__(".text\n"
	"nano_call:\n"
	"	ret\n"
	"	.balign 16\n"
	"nano_calls:\n"
	".rept 10\n"
	"	.balign 16\n"
	"	ret\n"
	".endr\n");

static void do_syscall(void)
{
	for (int n = 0; n < 1000; n++) {
		long result = SYS_getppid;

		__asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
	}
}

/* Calls write below the stack pointer, where the compiler may keep something (the red zone). */
static void do_call(void)
{
	for (int n = 0; n < 10000; n += 10)
		__asm__ volatile("sub $128, %%rsp\n"
				 ".rept 10\n"
				 "call nano_call\n"
				 ".endr\n"
				 "add $128, %%rsp"
				 :
				 :
				 : "memory", "cc");
}

static void do_indirect_call(void)
{
	for (int n = 0; n < 10000; n += 10)
		__asm__ volatile("sub $128, %%rsp\n"
				 "lea nano_calls(%%rip), %%rdx\n"
				 ".rept 10\n"
				 "call *%%rdx\n"
				 "add $16, %%rdx\n"
				 ".endr\n"
				 "add $128, %%rsp"
				 :
				 :
				 : "rdx", "memory", "cc");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*batch)(void), int count)
{
	uint64_t times[BATCHES];

	for (int n = 0; n < BATCHES; n++) {
		uint64_t begin;

		_mm_lfence();
		begin = __rdtsc();
		batch();
		_mm_lfence();
		times[n] = __rdtsc() - begin;
	}
	qsort(times, BATCHES, sizeof(times[0]), compare);
	printf("nano %s %.1f\n", name, (double)times[BATCHES / 2] / count);
}

int main(void)
{
	measure("syscall", do_syscall, 1000);
	measure("call", do_call, 10000);
	measure("indirect-call", do_indirect_call, 10000);
	printf("checks 0 failures 0\n");
	return 0;
}
