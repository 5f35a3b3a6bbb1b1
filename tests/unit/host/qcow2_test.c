/* SPDX-License-Identifier: Apache-2.0 */
/* Images that qemu-img has made, used at random beside a model in memory; qemu-img judges what is
 * left. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "host/disk.h"
#include "qcow2_rig.h"

#define SECTORS_MAX 20000u
#define SPAN_MAX    300u /* sectors */

static uint8_t model[SECTORS_MAX * 512], buffer[SPAN_MAX * 512];
static uint32_t sectors;
static struct err e;

static int setup(void **state)
{
	(void)state;
	qrig_begin();
	err_clear(&e);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qrig_end();
	return 0;
}

static struct disk *open_it(const char *name, bool readonly)
{
	const struct disk_config config = {
		.path = qrig_path(name), .readonly = readonly, .format = DISK_QCOW2};
	struct disk *d = disk_open(&config, &e);

	if (!d)
		fail_msg("%s", e.text);
	assert_true(disk_size(d) <= sizeof(model));
	sectors = (uint32_t)(disk_size(d) / 512);
	return d;
}

/* Spans of all lengths. */
static unsigned cut(struct disk_span *spans, uint32_t len)
{
	unsigned n = 0;

	for (uint32_t at = 0; at < len; n++) {
		uint32_t part = n == 20 ? len : 1 + qrig_random(40000);

		part = MIN(part, len - at);
		spans[n] = (struct disk_span){buffer + at, part};
		at += part;
	}
	return n;
}

static void check_range(struct disk *d, uint32_t first, uint32_t count)
{
	struct disk_span spans[32];
	unsigned n = cut(spans, count * 512);

	memset(buffer, 0xee, count * 512);
	assert_int_equal(disk_read(d, spans, n, (uint64_t)first * 512), 0);
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(buffer + i * 512, model + (first + i) * 512, 512))
			fail_msg("sector %u of %u+%u is wrong: %02x, not %02x", first + i, first,
				 count, buffer[i * 512], model[(first + i) * 512]);
	}
	memset(buffer, 0xee, count * 512);
	if (!disk_read_now(d, spans, n, (uint64_t)first * 512))
		assert_memory_equal(buffer, model + first * 512, count * 512);
}

static void check_all(struct disk *d)
{
	for (uint32_t at = 0; at < sectors; at += SPAN_MAX)
		check_range(d, at, MIN(SPAN_MAX, sectors - at));
}

static void write_some(struct disk *d, uint32_t first, uint32_t count)
{
	struct disk_span spans[32];

	for (uint32_t i = 0; i < count * 512; i++)
		buffer[i] = (uint8_t)(1 + qrig_random(255));
	memcpy(model + first * 512, buffer, count * 512);
	assert_int_equal(disk_write(d, spans, cut(spans, count * 512), (uint64_t)first * 512), 0);
}

/* Each sector is as it was, or zeroes. */
static void discard_some(struct disk *d, uint32_t first, uint32_t count)
{
	static const uint8_t zeroes[512];

	assert_int_equal(disk_discard(d, (uint64_t)first * 512, (uint64_t)count * 512), 0);
	for (uint32_t i = first; i < first + count; i++) {
		struct disk_span span = {buffer, 512};

		assert_int_equal(disk_read(d, &span, 1, (uint64_t)i * 512), 0);
		if (memcmp(buffer, zeroes, 512))
			assert_memory_equal(buffer, model + i * 512, 512);
		memcpy(model + i * 512, buffer, 512);
	}
}

static void do_something(struct disk *d)
{
	uint32_t first = qrig_random(sectors), most = qrig_random(8) ? 24 : SPAN_MAX;
	uint32_t count = 1 + qrig_random(MIN(most, sectors - first));
	uint32_t many = 1 +
			qrig_random(qrig_random(8) ? MIN(1000, sectors - first) : sectors - first);

	switch (qrig_random(12)) {
	case 0:
	case 1:
	case 2:
		check_range(d, first, count);
		break;
	case 3:
		assert_int_equal(disk_flush(d), 0);
		break;
	case 4:
		discard_some(d, first, many);
		break;
	case 5:
	case 6:
		memset(model + first * 512, 0, many * 512);
		assert_int_equal(
			disk_zero(d, (uint64_t)first * 512, (uint64_t)many * 512, qrig_random(2)),
			0);
		break;
	default:
		write_some(d, first, count);
	}
}

static void load_model(const char *name)
{
	FILE *f;

	memset(model, 0, sizeof(model));
	qrig_must("qemu-img convert -f qcow2 -O raw %s model", name);
	f = fopen(qrig_path("model"), "rb");
	assert_non_null(f);
	assert_true(fread(model, 1, sizeof(model), f) > 0);
	fclose(f);
}

static void judge(const char *name)
{
	FILE *f = fopen(qrig_path("model"), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(model, 512, sectors, f), sectors);
	fclose(f);
	qrig_must("qemu-img check -f qcow2 %s", name);
	qrig_must("qemu-img compare -f qcow2 -F raw %s model", name);
}

static void torture(const char *name, uint32_t seed, unsigned rounds)
{
	load_model(name);
	qrig_seed(seed);
	for (unsigned round = 0; round < rounds; round++) {
		struct disk *d = open_it(name, false);

		for (int i = 0; i < 60; i++)
			do_something(d);
		check_all(d);
		disk_free(d);
		judge(name);
		d = open_it(name, true);
		check_all(d);
		disk_free(d);
	}
}

/* Options of images, for qemu-img. */
static const char *const options[] = {
	"cluster_size=512",
	"cluster_size=512,refcount_bits=1",
	"cluster_size=512,refcount_bits=64",
	"cluster_size=1k,refcount_bits=2",
	"cluster_size=4k,refcount_bits=4,lazy_refcounts=on",
	"cluster_size=4k,compat=0.10",
	"cluster_size=16k,refcount_bits=8",
	"cluster_size=64k",
	"cluster_size=64k,preallocation=metadata",
	"cluster_size=64k,preallocation=full",
	"cluster_size=256k,refcount_bits=32",
	"cluster_size=2M",
	"cluster_size=2M,compat=0.10",
};

static void images_of_all_sizes_hold_what_is_written(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
		qrig_must("qemu-img create -f qcow2 -o %s a.qcow2 9001984", options[i]);
		torture("a.qcow2", i + 1, 1);
	}
}

/* Something to begin with: random pieces. */
static void make_raw(const char *name, uint32_t count)
{
	FILE *f = fopen(qrig_path(name), "wb");

	assert_non_null(f);
	for (uint32_t i = 0; i < count; i++) {
		memset(buffer, i % 37 < 20 ? (int)(i % 251) : 0, 512);
		assert_int_equal(fwrite(buffer, 512, 1, f), 1);
	}
	fclose(f);
}

static void what_is_not_written_comes_from_the_backing_file(void **state)
{
	(void)state;
	make_raw("base.raw", 9000);
	qrig_must("qemu-img convert -f raw -O qcow2 -c base.raw base.qcow2");
	for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
		const char *base = i % 4 ? "raw" : "qcow2";

		if (i % 2 || strstr(options[i], "preallocation"))
			continue;
		qrig_must("qemu-img create -f qcow2 -o %s -b base.%s -F %s middle.qcow2 %u",
			  options[i], base, base, 512 * (7000 + 1000 * (i % 4)));
		qrig_must("qemu-img create -f qcow2 -o %s -b middle.qcow2 -F qcow2 a.qcow2",
			  options[i]);
		torture("a.qcow2", 100 + i, 1);
		qrig_must("qemu-img check middle.qcow2");
	}
}

static void compressed_clusters_are_read_and_written_elsewhere(void **state)
{
	static const char *const kinds[] = {
		"cluster_size=512", "cluster_size=4k,compat=0.10", "cluster_size=64k",
		"cluster_size=2M",  "compression_type=zstd",
	};

	(void)state;
	make_raw("base.raw", 9000);
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		qrig_must("qemu-img convert -c -f raw -O qcow2 -o %s base.raw a.qcow2", kinds[i]);
		torture("a.qcow2", 200 + i, 1);
	}
}

static void snapshots_keep_what_they_have(void **state)
{
	static const char *const kinds[] = {
		"cluster_size=512,refcount_bits=64",
		"cluster_size=4k,compat=0.10,refcount_bits=16",
		"cluster_size=16k,refcount_bits=4",
		"cluster_size=64k",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		qrig_must("qemu-img create -f qcow2 -o %s a.qcow2 5M", kinds[i]);
		torture("a.qcow2", 300 + i, 1);
		qrig_must("qemu-img snapshot -c one a.qcow2");
		qrig_must("cp model before");
		torture("a.qcow2", 400 + i, 1);
		qrig_must("qemu-img snapshot -c two a.qcow2");
		torture("a.qcow2", 500 + i, 1);
		qrig_must("qemu-img snapshot -a one a.qcow2");
		qrig_must("qemu-img compare -f qcow2 -F raw a.qcow2 before");
		torture("a.qcow2", 600 + i, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(images_of_all_sizes_hold_what_is_written, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_not_written_comes_from_the_backing_file,
						setup, teardown),
		cmocka_unit_test_setup_teardown(compressed_clusters_are_read_and_written_elsewhere,
						setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots_keep_what_they_have, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
