/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The /init of the guest whose way from InstanceStart to /init is measured: writes to the boot
 * timer and powers off. Freestanding, so that no C library's start stands before that.
 */
#include <asm/unistd.h>

#define BOOT_TIMER 0xc0000000l
#define RDWR       2
#define SHARED     1
#define READ_WRITE 3

static long call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

/* The boot timer's page of /dev/mem, or a negative errno. */
static long map(long fd)
{
	register long flags __asm__("r10") = SHARED;
	register long file __asm__("r8") = fd;
	register long offset __asm__("r9") = BOOT_TIMER;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(__NR_mmap), "D"(0l), "S"(4096l), "d"((long)READ_WRITE), "r"(flags),
			   "r"(file), "r"(offset)
			 : "rcx", "r11", "memory");
	return result;
}

void _start(void);

void _start(void)
{
	long at = map(call(__NR_open, (long)"/dev/mem", RDWR, 0));

	if (at > 0)
		*(volatile unsigned char *)at = 123;
	call(__NR_reboot, (int)0xfee1dead, 0x28121969, 0x4321fedc);
	for (;;)
		call(__NR_pause, 0, 0, 0);
}
