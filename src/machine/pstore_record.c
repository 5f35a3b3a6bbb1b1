/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	0    record header       length 20, creator 64
 *	128  section descriptor  offset +0, length +4, type +16
 *	200  the text, or its compressed form
 *
 * pstore writes one section a record.
 */
#include "machine/pstore_record.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/bits.h"
#include "base/checked.h"

#define HEADER_SIZE       128
#define HEADER_LENGTH     20
#define HEADER_CREATOR    64
#define DESCRIPTOR_SIZE   72
#define DESCRIPTOR_OFFSET (HEADER_SIZE + 0)
#define DESCRIPTOR_LENGTH (HEADER_SIZE + 4)
#define DESCRIPTOR_TYPE   (HEADER_SIZE + 16)
#define GUID_SIZE         16

/* 75a574e3-5052-4b29-8a8e-be2c6490b89d */
static const uint8_t creator_pstore[GUID_SIZE] = {0xe3, 0x74, 0xa5, 0x75, 0x52, 0x50, 0x29, 0x4b,
						  0x8a, 0x8e, 0xbe, 0x2c, 0x64, 0x90, 0xb8, 0x9d};
/* c197e04e-d545-4a70-9c17-a5549419eb12 */
static const uint8_t type_dmesg[GUID_SIZE] = {0x4e, 0xe0, 0x97, 0xc1, 0x45, 0xd5, 0x70, 0x4a,
					      0x9c, 0x17, 0xa5, 0x54, 0x94, 0x19, 0xeb, 0x12};
/* 4f118707-04dd-4055-b5dd-956d34ddfac6 */
static const uint8_t type_dmesg_z[GUID_SIZE] = {0x07, 0x87, 0x11, 0x4f, 0xdd, 0x04, 0x55, 0x40,
						0xb5, 0xdd, 0x95, 0x6d, 0x34, 0xdd, 0xfa, 0xc6};

/* Inflates into out->text as far as it goes; false if not even a byte came. */
static bool inflate_text(struct pstore_record *out, const uint8_t *in, size_t len, int window_bits)
{
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)in,
		.avail_in = len,
		.next_out = (Bytef *)out->text,
		.avail_out = PSTORE_TEXT_MAX,
	};
	int rc;

	if (inflateInit2(&z, window_bits) != Z_OK)
		return false;
	rc = inflate(&z, Z_FINISH);
	out->len = z.total_out;
	inflateEnd(&z);
	/* Damage beyond the first line leaves what came before it worth reading. */
	return rc == Z_STREAM_END || memchr(out->text, '\n', out->len);
}

static bool copy_text(struct pstore_record *out, const uint8_t *in, size_t len)
{
	out->len = MIN(len, PSTORE_TEXT_MAX);
	memcpy(out->text, in, out->len);
	return true;
}

/* Finds the section's bytes; false if this is no record of pstore's. */
static bool find_section(const uint8_t *record, size_t len, const uint8_t **at, size_t *size)
{
	uint64_t offset;

	if (len < HEADER_SIZE + DESCRIPTOR_SIZE)
		return false;
	len = MIN(len, load_le(record + HEADER_LENGTH, 4));
	offset = load_le(record + DESCRIPTOR_OFFSET, 4);
	*size = load_le(record + DESCRIPTOR_LENGTH, 4);
	if (!range_within(offset, *size, len))
		return false;
	*at = record + offset;
	return memcmp(record + HEADER_CREATOR, creator_pstore, GUID_SIZE) == 0;
}

static void read_first_line(struct pstore_record *out)
{
	char why[16];
	const char *end = memchr(out->text, '\n', out->len);

	out->reason = PSTORE_OTHER;
	if (!end || sscanf(out->text, "%15[A-Za-z]#%*9u Part%9u", why, &out->part) != 2)
		return;
	out->body = end + 1 - out->text;
	if (!strcmp(why, "Panic"))
		out->reason = PSTORE_PANIC;
	else if (!strcmp(why, "Oops"))
		out->reason = PSTORE_OOPS;
}

enum pstore_reason pstore_record_read(struct pstore_record *out, const uint8_t *record, size_t len)
{
	const uint8_t *at, *type = record + DESCRIPTOR_TYPE;
	size_t size;
	bool read;

	out->reason = PSTORE_NONE;
	out->part = 0;
	out->len = 0;
	out->body = 0;
	if (!find_section(record, len, &at, &size))
		return PSTORE_NONE;
	if (!memcmp(type, type_dmesg, GUID_SIZE))
		read = copy_text(out, at, size);
	else if (!memcmp(type, type_dmesg_z, GUID_SIZE))
		read = inflate_text(out, at, size, -MAX_WBITS) ||
		       inflate_text(out, at, size, MAX_WBITS);
	else
		read = false;
	if (!read)
		return PSTORE_NONE;
	out->text[out->len] = '\0';
	read_first_line(out);
	return out->reason;
}
