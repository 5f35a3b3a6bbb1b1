/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a file that is booted as a bzImage, by its own entry. */
#include "boot_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem guest;

	boot_guest_try(&guest, data, size, BOOT_BZIMAGE);
	return 0;
}
