/* SPDX-License-Identifier: Apache-2.0 */
/* The least guest: writes to the boot timer, and sleeps for ever. */
#include "guest.h"

#define BOOT_TIMER 0xc0000000ul

void main(void)
{
	*(volatile u8 *)BOOT_TIMER = 123;
	for (;;)
		__asm__ volatile("cli; hlt");
}
