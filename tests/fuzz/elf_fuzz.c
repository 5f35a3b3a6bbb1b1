/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a file that is booted as its contents tell, mostly an ELF. */
#include "boot_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem guest;

	boot_guest_try(&guest, data, size, BOOT_AUTO);
	boot_guest_try(&guest, data, size, BOOT_ELF);
	return 0;
}
