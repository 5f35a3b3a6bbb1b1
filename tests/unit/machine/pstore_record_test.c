/* SPDX-License-Identifier: Apache-2.0 */
/* Records as Linux's pstore writes them, good and damaged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "base/bits.h"
#include "machine/pstore_record.h"

#define RECORD_MAX 8192
#define DATA       200

static const uint8_t creator[16] = {0xe3, 0x74, 0xa5, 0x75, 0x52, 0x50, 0x29, 0x4b,
				    0x8a, 0x8e, 0xbe, 0x2c, 0x64, 0x90, 0xb8, 0x9d};
static const uint8_t dmesg[16] = {0x4e, 0xe0, 0x97, 0xc1, 0x45, 0xd5, 0x70, 0x4a,
				  0x9c, 0x17, 0xa5, 0x54, 0x94, 0x19, 0xeb, 0x12};
static const uint8_t dmesg_z[16] = {0x07, 0x87, 0x11, 0x4f, 0xdd, 0x04, 0x55, 0x40,
				    0xb5, 0xdd, 0x95, 0x6d, 0x34, 0xdd, 0xfa, 0xc6};
static const uint8_t mce[16] = {0xbe, 0xff, 0x08, 0xfe, 0xe4, 0x95, 0xe7, 0x4b,
				0xbc, 0x73, 0x40, 0x96, 0x04, 0x4a, 0x38, 0xfc};

static uint8_t record[RECORD_MAX];
static struct pstore_record out;

/* Gives the record's length. */
static size_t make(const uint8_t *type, const void *data, size_t len)
{
	memset(record, 0, sizeof(record));
	memcpy(record, "CPER", 4);
	store_le(record + 20, 4, DATA + len);
	memcpy(record + 64, creator, 16);
	store_le(record + 96, 8, 1);
	store_le(record + 128, 4, DATA);
	store_le(record + 132, 4, len);
	memcpy(record + 144, type, 16);
	memcpy(record + DATA, data, len);
	return DATA + len;
}

static size_t make_compressed(const char *text, size_t text_len, int window_bits)
{
	uint8_t data[RECORD_MAX - DATA];
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)text,
		.avail_in = text_len,
		.next_out = data,
		.avail_out = sizeof(data),
	};

	deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits, MAX_MEM_LEVEL,
		     Z_DEFAULT_STRATEGY);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return make(dmesg_z, data, z.total_out);
}

static const char panic_text[] = "Panic#2 Part1\n<0>[    3.1] Kernel panic - not syncing: so\n";

static void plain_text(void **state)
{
	size_t len = make(dmesg, panic_text, strlen(panic_text));

	(void)state;
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_PANIC);
	assert_int_equal(out.reason, PSTORE_PANIC);
	assert_int_equal(out.part, 1);
	assert_string_equal(out.text, panic_text);
	assert_int_equal(out.len, strlen(panic_text));
	assert_string_equal(out.text + out.body, "<0>[    3.1] Kernel panic - not syncing: so\n");
}

static void compressed_text(void **state)
{
	static const int windows[] = {-11, -12, -15, 12, 15};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(windows); i++) {
		size_t len = make_compressed(panic_text, strlen(panic_text), windows[i]);

		assert_int_equal(pstore_record_read(&out, record, len), PSTORE_PANIC);
		assert_string_equal(out.text, panic_text);
	}
}

static void reasons(void **state)
{
	static const struct {
		const char *text;
		enum pstore_reason reason;
		unsigned part;
	} cases[] = {
		{"Oops#1 Part3\nx", PSTORE_OOPS, 3},
		{"Panic#17 Part1\n", PSTORE_PANIC, 1},
		{"Shutdown#1 Part1\n", PSTORE_OTHER, 1},
		{"Panic", PSTORE_OTHER, 0},
		{"Panic#1 Part1", PSTORE_OTHER, 0}, /* no line */
		{"panic\nPanic#1 Part1\n", PSTORE_OTHER, 0},
		{"", PSTORE_OTHER, 0},
		{"\n\n", PSTORE_OTHER, 0},
		{"Panic#99999999999999999999 Part99999999999999999999\n", PSTORE_OTHER, 0},
		{"AVeryLongReasonThatIsNone#1 Part1\n", PSTORE_OTHER, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = make(dmesg, cases[i].text, strlen(cases[i].text));

		assert_int_equal(pstore_record_read(&out, record, len), cases[i].reason);
		assert_int_equal(out.part, cases[i].part);
		assert_string_equal(out.text, cases[i].text);
	}
}

static void other_records(void **state)
{
	size_t len = make(mce, panic_text, strlen(panic_text));

	(void)state;
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
	len = make(dmesg, panic_text, strlen(panic_text));
	record[64] ^= 1;
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
}

static void lying_lengths(void **state)
{
	size_t len = make(dmesg, panic_text, strlen(panic_text));

	(void)state;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(pstore_record_read(&out, record, cut), PSTORE_NONE);
	store_le(record + 20, 4, len - 1); /* the record's own length */
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
	store_le(record + 20, 4, 0xffffffff);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_PANIC);
	store_le(record + 132, 4, 0xffffffff);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
	store_le(record + 128, 4, 0xffffffff);
	store_le(record + 132, 4, 1);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
}

static void damage_keeps_what_came_before(void **state)
{
	char text[4096];
	size_t n = 0, len;

	(void)state;
	n += snprintf(text, sizeof(text), "Panic#1 Part1\n");
	for (unsigned i = 0; n < 3000; i++)
		n += snprintf(text + n, sizeof(text) - n, "line %u %u\n", i, i * 2654435761u);
	len = make_compressed(text, n, -11);
	memset(record + len - 300, 0xff, 300);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_PANIC);
	assert_in_range(out.len, 114, PSTORE_TEXT_MAX);
	assert_memory_equal(out.text, text, 100);
	/* damaged from its beginning */
	memset(record + DATA, 0xff, 100);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_NONE);
}

static void a_bomb_is_cut(void **state)
{
	static char text[1 << 20];
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "Oops#1 Part1\n", 13);
	len = make_compressed(text, sizeof(text), -11);
	assert_int_equal(pstore_record_read(&out, record, len), PSTORE_OOPS);
	assert_int_equal(out.len, PSTORE_TEXT_MAX);
	assert_int_equal(out.text[out.len], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text),    cmocka_unit_test(compressed_text),
		cmocka_unit_test(reasons),       cmocka_unit_test(other_records),
		cmocka_unit_test(lying_lengths), cmocka_unit_test(damage_keeps_what_came_before),
		cmocka_unit_test(a_bomb_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
