/* SPDX-License-Identifier: Apache-2.0 */
/* The input is the compressed payload of a bzImage whose setup header is right. */
#include "boot_guest.h"

#define CODE_OFFSET    1024
#define PAYLOAD_OFFSET 0x240

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *make_bzimage(const uint8_t *payload, size_t size, size_t *image_size)
{
	size_t code = align_up(PAYLOAD_OFFSET + size, 16);
	uint8_t *b = calloc(1, CODE_OFFSET + code);

	boot_guest_check(b);
	memcpy(b + CODE_OFFSET + PAYLOAD_OFFSET, payload, size);
	b[0x1f1] = CODE_OFFSET / 512 - 1;
	store_le(b + 0x1f4, 4, code / 16);
	store_le(b + 0x1fe, 2, 0xaa55);
	store_le(b + 0x200, 2, 0x6aeb);
	memcpy(b + 0x202, "HdrS", 4);
	store_le(b + 0x206, 2, 0x020f);
	b[0x211] = 1;
	store_le(b + 0x22c, 4, 0x7fffffff);
	store_le(b + 0x230, 4, MIB(2));
	b[0x234] = 1;
	store_le(b + 0x236, 2, 1);
	store_le(b + 0x238, 4, 2047);
	store_le(b + 0x248, 4, PAYLOAD_OFFSET);
	store_le(b + 0x24c, 4, size);
	store_le(b + 0x258, 8, MIB(16));
	store_le(b + 0x260, 4, MIB(8));
	*image_size = CODE_OFFSET + code;
	return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem guest;
	size_t image_size;
	uint8_t *image = make_bzimage(data, size, &image_size);

	boot_guest_try(&guest, image, image_size, BOOT_AUTO);
	free(image);
	return 0;
}
