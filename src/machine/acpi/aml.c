/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AML builder. All code goes straight into the caller's buffer; a block's
 * PkgLength, which stands before what it counts and is one to four bytes long, is
 * reserved as one byte and grown by moving the block's contents when the block is
 * closed (ACPI 6.3, 20.2.4 "Package Length Encoding"). Blocks are small, so that
 * this costs less than building each in a buffer of its own.
 */
#include "machine/acpi/aml.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

#define OP_NAME        0x08
#define OP_BYTE        0x0a
#define OP_WORD        0x0b
#define OP_DWORD       0x0c
#define OP_STRING      0x0d
#define OP_QWORD       0x0e
#define OP_SCOPE       0x10
#define OP_BUFFER      0x11
#define OP_PACKAGE     0x12
#define OP_METHOD      0x14
#define OP_DUAL_NAME   0x2e
#define OP_MULTI_NAME  0x2f
#define OP_EXT         0x5b
#define OP_EXT_REGION  0x80
#define OP_EXT_FIELD   0x81
#define OP_EXT_DEVICE  0x82
#define OP_IF          0xa0
#define OP_ELSE        0xa1
#define METHOD_SERIAL  0x08
#define FIELD_DWORD    0x03 /* accesses of 32 bits, no lock, other bits preserved */
#define PKG_LENGTH_MAX 0x0fffffff

/* Resource descriptors: the tag byte of small ones with its length, of large ones alone. */
#define RES_IRQ_NO_FLAGS 0x22
#define RES_IO           0x47
#define RES_END          0x79
#define RES_MEMORY32     0x86
#define RES_DWORD_SPACE  0x87
#define RES_WORD_SPACE   0x88
#define RES_INTERRUPT    0x89
#define RES_QWORD_SPACE  0x8a

#define SPACE_MEMORY 0
#define SPACE_IO     1
#define SPACE_BUS    2
#define WINDOW_FLAGS 0x0c /* producer, positive decode, minimum and maximum fixed */

void aml_init(struct aml *a, void *data, size_t room)
{
	*a = (struct aml){.data = data, .room = room};
}

/* Room for n more bytes at the end, or NULL. */
static uint8_t *grow(struct aml *a, size_t n)
{
	uint8_t *p = a->data + a->len;

	if (a->overflow || n > a->room - a->len) {
		a->overflow = true;
		return NULL;
	}
	a->len += n;
	return p;
}

/* Moves what stands at mark and after by n bytes; the gap, or NULL. */
static uint8_t *insert(struct aml *a, size_t mark, size_t n)
{
	size_t tail = a->len - mark;

	if (!grow(a, n))
		return NULL;
	memmove(a->data + mark + n, a->data + mark, tail);
	return a->data + mark;
}

void aml_op(struct aml *a, uint8_t op)
{
	uint8_t *p = grow(a, 1);

	if (p)
		*p = op;
}

void aml_raw(struct aml *a, const void *p, size_t len)
{
	uint8_t *to = grow(a, len);

	if (to)
		memcpy(to, p, len);
}

void aml_raw_le(struct aml *a, uint64_t v, unsigned size)
{
	assert(size <= sizeof(v));
	aml_raw(a, &v, size);
}

void aml_path(struct aml *a, const char *path)
{
	size_t len, segments;

	if (*path == '\\')
		aml_op(a, *path++);
	len = strlen(path);
	assert(len == 0 || len % 5 == 4);
	segments = (len + 1) / 5;
	assert(segments <= UINT8_MAX);
	if (segments == 0) {
		aml_op(a, AML_ZERO);
	} else if (segments == 2) {
		aml_op(a, OP_DUAL_NAME);
	} else if (segments > 2) {
		aml_op(a, OP_MULTI_NAME);
		aml_op(a, (uint8_t)segments);
	}
	for (; segments > 0; segments--, path += 5) {
		aml_raw(a, path, 4);
		assert(segments == 1 || path[4] == '.');
	}
}

void aml_integer(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_op(a, (uint8_t)v);
	} else if (v <= UINT8_MAX) {
		aml_op(a, OP_BYTE);
		aml_raw_le(a, v, 1);
	} else if (v <= UINT16_MAX) {
		aml_op(a, OP_WORD);
		aml_raw_le(a, v, 2);
	} else if (v <= UINT32_MAX) {
		aml_op(a, OP_DWORD);
		aml_raw_le(a, v, 4);
	} else {
		aml_op(a, OP_QWORD);
		aml_raw_le(a, v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_op(a, OP_STRING);
	aml_raw(a, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A' + 10);
	assert(c >= 'a' && c <= 'f');
	return (unsigned)(c - 'a' + 10);
}

/* Three letters of five bits each and four hexadecimal digits, most significant byte first:
 * ACPI 6.3, 19.6.36 "EISAID". */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t v = 0;

	assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	aml_op(a, OP_DWORD);
	aml_raw_le(a, __builtin_bswap32(v), 4);
}

static size_t block(struct aml *a, uint8_t op)
{
	size_t mark;

	aml_op(a, op);
	mark = a->len;
	aml_op(a, 0); /* the PkgLength */
	return mark;
}

static size_t named_block(struct aml *a, uint8_t op, const char *path)
{
	size_t mark = block(a, op);

	aml_path(a, path);
	return mark;
}

void aml_end(struct aml *a, size_t mark)
{
	size_t len, more;
	uint8_t *p;

	if (a->overflow)
		return;
	len = a->len - mark; /* with a PkgLength of one byte */
	more = len < 0x40 ? 0 : len + 1 < 0x1000 ? 1 : len + 2 < 0x100000 ? 2 : 3;
	len += more;
	assert(len <= PKG_LENGTH_MAX);
	if (more == 0) {
		a->data[mark] = (uint8_t)len;
		return;
	}
	if (!insert(a, mark + 1, more))
		return;
	p = a->data + mark;
	*p++ = (uint8_t)(more << 6 | (len & 0xf));
	store_le(p, (unsigned)more, len >> 4);
}

size_t aml_scope(struct aml *a, const char *path)
{
	return named_block(a, OP_SCOPE, path);
}

size_t aml_device(struct aml *a, const char *path)
{
	aml_op(a, OP_EXT);
	return named_block(a, OP_EXT_DEVICE, path);
}

size_t aml_method(struct aml *a, const char *path, unsigned args, bool serialized)
{
	size_t mark = named_block(a, OP_METHOD, path);

	assert(args <= 7);
	aml_op(a, (uint8_t)(args | (serialized ? METHOD_SERIAL : 0)));
	return mark;
}

size_t aml_package(struct aml *a, unsigned elements)
{
	size_t mark = block(a, OP_PACKAGE);

	assert(elements <= UINT8_MAX);
	aml_op(a, (uint8_t)elements);
	return mark;
}

size_t aml_if(struct aml *a)
{
	return block(a, OP_IF);
}

size_t aml_else(struct aml *a)
{
	return block(a, OP_ELSE);
}

void aml_name(struct aml *a, const char *path)
{
	aml_op(a, OP_NAME);
	aml_path(a, path);
}

void aml_name_integer(struct aml *a, const char *path, uint64_t v)
{
	aml_name(a, path);
	aml_integer(a, v);
}

void aml_name_eisa_id(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisa_id(a, id);
}

void aml_ports(struct aml *a, const char *name, uint16_t base, uint8_t len)
{
	aml_op(a, OP_EXT);
	aml_op(a, OP_EXT_REGION);
	aml_path(a, name);
	aml_op(a, SPACE_IO);
	aml_integer(a, base);
	aml_integer(a, len);
}

size_t aml_fields(struct aml *a, const char *region)
{
	size_t mark;

	aml_op(a, OP_EXT);
	mark = named_block(a, OP_EXT_FIELD, region);
	aml_op(a, FIELD_DWORD);
	return mark;
}

/* The width has the form of a PkgLength: one byte up to 63. */
void aml_field(struct aml *a, const char *name, unsigned bits)
{
	assert(strlen(name) == 4 && bits < 0x40);
	aml_raw(a, name, 4);
	aml_op(a, (uint8_t)bits);
}

void aml_buffer(struct aml *a, const void *p, size_t len)
{
	size_t mark = block(a, OP_BUFFER);

	aml_integer(a, len);
	aml_raw(a, p, len);
	aml_end(a, mark);
}

/* The first three groups are little-endian numbers: ACPI 6.3, 19.6.142 "ToUUID". */
void aml_uuid(struct aml *a, const char *uuid)
{
	static const uint8_t order[16] = {6,  4,  2,  0,  11, 9,  16, 14,
					  19, 21, 24, 26, 28, 30, 32, 34};
	uint8_t bytes[16];

	assert(strlen(uuid) == 36);
	for (unsigned i = 0; i < 16; i++)
		bytes[i] = (uint8_t)(hex_digit(uuid[order[i]]) << 4 |
				     hex_digit(uuid[order[i] + 1]));
	aml_buffer(a, bytes, sizeof(bytes));
}

size_t aml_resources(struct aml *a)
{
	return block(a, OP_BUFFER);
}

/* The buffer's size stands between its PkgLength and its bytes. */
void aml_resources_end(struct aml *a, size_t mark)
{
	size_t len;
	uint8_t *p;

	aml_op(a, RES_END);
	aml_op(a, 0); /* the checksum: 0 is "not given" */
	if (a->overflow)
		return;
	len = a->len - mark - 1;
	assert(len <= UINT16_MAX);
	p = insert(a, mark + 1, len <= UINT8_MAX ? 2 : 3);
	if (!p)
		return;
	p[0] = len <= UINT8_MAX ? OP_BYTE : OP_WORD;
	store_le(p + 1, len <= UINT8_MAX ? 1 : 2, len);
	aml_end(a, mark);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_op(a, RES_IO);
	aml_op(a, 1); /* decodes 16 bits */
	aml_raw_le(a, base, 2);
	aml_raw_le(a, base, 2);
	aml_op(a, 1);
	aml_op(a, len);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
	assert(irq < 16);
	aml_op(a, RES_IRQ_NO_FLAGS);
	aml_raw_le(a, BIT(irq), 2);
}

/* A large descriptor: tag and the length of what follows. */
static void large(struct aml *a, uint8_t tag, uint16_t len)
{
	aml_op(a, tag);
	aml_raw_le(a, len, 2);
}

void aml_res_gsi(struct aml *a, uint32_t gsi, bool edge)
{
	large(a, RES_INTERRUPT, 6);
	aml_op(a, edge ? 0x03 : 0x01); /* consumer; bit 1: edge-triggered */
	aml_op(a, 1);
	aml_raw_le(a, gsi, 4);
}

void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	large(a, RES_MEMORY32, 9);
	aml_op(a, 1); /* writable */
	aml_raw_le(a, base, 4);
	aml_raw_le(a, len, 4);
}

/* An address space descriptor with numbers of size bytes; ACPI 6.3, 6.4.3.5. */
static void window(struct aml *a, unsigned size, uint8_t type, uint64_t first, uint64_t last)
{
	static const uint8_t tag[] = {
		[2] = RES_WORD_SPACE, [4] = RES_DWORD_SPACE, [8] = RES_QWORD_SPACE};
	/* Memory: read-write, not cacheable. I/O: the entire range. */
	static const uint8_t flags[] = {[SPACE_MEMORY] = 0x01, [SPACE_IO] = 0x03, [SPACE_BUS] = 0};

	large(a, tag[size], (uint16_t)(3 + 5 * size));
	aml_op(a, type);
	aml_op(a, WINDOW_FLAGS);
	aml_op(a, flags[type]);
	aml_raw_le(a, 0, size); /* granularity */
	aml_raw_le(a, first, size);
	aml_raw_le(a, last, size);
	aml_raw_le(a, 0, size); /* translation */
	aml_raw_le(a, last - first + 1, size);
}

void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, SPACE_BUS, first, last);
}

void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, SPACE_IO, first, last);
}

void aml_res_memory32_window(struct aml *a, uint32_t first, uint32_t last)
{
	window(a, 4, SPACE_MEMORY, first, last);
}

void aml_res_memory64_window(struct aml *a, uint64_t first, uint64_t last)
{
	window(a, 8, SPACE_MEMORY, first, last);
}
