/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The /init of the guest whose boot is measured: marks its start, writes one line, marks again when
 * the line has left the serial port, and powers off.  Freestanding, so that no C library's start
 * stands between the kernel and the mark.
 */
#include <asm/unistd.h>

#include "../tests/lab/mark.h"

#define TCSBRK 0x5409 /* with argument 1: wait until all output is sent (tcdrain) */

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

void _start(void);

void _start(void)
{
	static const char line[] = "LODGE-GUEST: init\n";

	MARK(MARK_INIT);
	call(__NR_write, 1, (long)line, sizeof(line) - 1, 0);
	call(__NR_ioctl, 1, TCSBRK, 1, 0);
	MARK(MARK_LINE);
	call(__NR_reboot, (int)0xfee1dead, 0x28121969, 0x4321fedc, 0);
	for (;;)
		call(__NR_pause, 0, 0, 0, 0);
}
