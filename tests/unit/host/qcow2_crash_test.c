/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that stops after any of its writes, and has made durable what was flushed and any of the
 * rest: the image is sound, but for leaks, and has all that a flush has confirmed.
 *
 * Each sector is written with a number that goes up; zeroes are 0. After a crash a sector may have
 * what it had at the last flush or anything that came later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "host/disk.h"
#include "host/qcow2/image.h"
#include "host/qcow2/open.h"
#include "qcow2_rig.h"

#define SECTORS 6000u
#define TRIES   3 /* what is left of the same crash */
#define LEAKS   3 /* how qemu-img check ends then */

static uint32_t now[SECTORS], flushed[SECTORS], last;
static bool zeroed[SECTORS]; /* since the last flush, or it was then */
static uint8_t bytes[SECTORS * 512];
static struct err e;

static int setup(void **state)
{
	(void)state;
	qrig_begin();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qrig_end();
	return 0;
}

static uint32_t number_of(uint32_t sector)
{
	uint32_t words[128];

	memcpy(words, bytes + sector * 512, 512);
	for (unsigned i = 2; i < 128; i += 2)
		assert_int_equal(words[i], words[0]);
	for (unsigned i = 1; i < 128; i += 2)
		assert_int_equal(words[i], words[0] ? sector : 0);
	return words[0];
}

static int write_some(struct disk *d, uint32_t first, uint32_t count)
{
	const struct disk_span span = {bytes, count * 512};

	for (uint32_t i = 0; i < count; i++) {
		uint32_t words[2] = {now[first + i] = ++last, first + i};

		for (unsigned at = 0; at < 512; at += 8)
			memcpy(bytes + i * 512 + at, words, 8);
	}
	return disk_write(d, &span, 1, (uint64_t)first * 512);
}

/* Discards have no number: they leave what there was, or zeroes. */
static int clear_some(struct disk *d, uint32_t first, uint32_t count, bool discard)
{
	uint64_t at = (uint64_t)first * 512, len = (uint64_t)count * 512;

	for (uint32_t i = first; i < first + count; i++) {
		zeroed[i] = true;
		if (!discard)
			now[i] = 0;
	}
	return discard ? disk_discard(d, at, len) : disk_zero(d, at, len, qrig_random(2));
}

static int flush_it(struct disk *d)
{
	const struct disk_span span = {bytes, sizeof(bytes)};
	int rc = disk_flush(d);

	if (rc)
		return rc;
	rc = disk_read(d, &span, 1, 0);
	for (uint32_t i = 0; !rc && i < SECTORS; i++) {
		flushed[i] = now[i] = number_of(i);
		zeroed[i] = !flushed[i];
	}
	return rc;
}

/* What makes new refcount blocks, and a longer table of them. */
static int grow(struct disk *d)
{
	int rc = write_some(d, 100, 500);

	return rc ? rc : flush_it(d);
}

static int do_something(struct disk *d)
{
	uint32_t first = qrig_random(SECTORS), most = qrig_random(4) ? 20 : 700;
	uint32_t count = 1 + qrig_random(MIN(most, SECTORS - first));

	switch (qrig_random(12)) {
	case 0:
	case 1:
		return flush_it(d);
	case 2:
		return clear_some(d, first, count, true);
	case 3:
		return clear_some(d, first, count, false);
	}
	return write_some(d, first, count);
}

/* The disk of the image in the folder, as it is now. */
static void read_all(const char *name)
{
	const struct disk_config config = {
		.path = qrig_path(name), .readonly = true, .format = DISK_QCOW2};
	const struct disk_span span = {bytes, sizeof(bytes)};
	struct disk *d = disk_open(&config, &e);

	if (!d)
		fail_msg("%s", e.text);
	assert_int_equal(disk_read(d, &span, 1, 0), 0);
	disk_free(d);
}

/* Of an image that was not closed before counts are right when they have been made anew, which the
 * crash may have come before. */
static bool is_unclosed(void)
{
	FILE *f = fopen(qrig_path("crashed.qcow2"), "rb");
	int byte;

	assert_non_null(f);
	fseek(f, 79, SEEK_SET);
	byte = fgetc(f);
	fclose(f);
	return byte & 1;
}

static void check_crashed(const char *options)
{
	int status = 0;

	if (strstr(options, "lazy") && is_unclosed())
		status = qrig_run("qemu-img check -q -r all -f qcow2 crashed.qcow2");
	if (!status)
		status = qrig_run("qemu-img check -f qcow2 crashed.qcow2");
	if (status && status != LEAKS)
		fail_msg("%s: qemu-img check ends with %d", options, status);
	read_all("crashed.qcow2");
	for (uint32_t i = 0; i < SECTORS; i++) {
		uint32_t n = number_of(i);

		if (n ? n < flushed[i] || n > last : flushed[i] && !zeroed[i])
			fail_msg("%s: sector %u has %u after a crash, but %u was flushed", options,
				 i, n, flushed[i]);
	}
}

/* From an image with something in it, that many writes. True: it ended by itself. */
static bool crash_after(const char *options, unsigned long writes, int (*call)(struct disk *d),
			int calls)
{
	struct qrig_file *f = qrig_file_load("a.qcow2", writes);
	struct disk *d = qcow2_open_file(qrig_file_disk(f), qrig_path("a.qcow2"), 0, &e);
	int rc = 0;

	err_clear(&e);
	if (d) {
		/* Changes go into the file between flushes as well. */
		qcow2_of(d)->l2.limit = 8;
		for (int i = 0; !rc && i < calls; i++)
			rc = call(d);
		disk_free(d);
	}
	/* Unless it died while it was closed, which says nothing. */
	if (!rc && qrig_file_writes(f) < writes)
		memcpy(flushed, now, sizeof(now));
	for (int i = 0; i < TRIES; i++) {
		qrig_file_crash(f, "crashed.qcow2");
		check_crashed(options);
	}
	rc = qrig_file_writes(f) < writes;
	qrig_file_free(f);
	return rc;
}

static void take_snapshot(const char *options)
{
	(void)options;
	qrig_must("qemu-img snapshot -c one a.qcow2");
}

static void put_behind(const char *options)
{
	qrig_must("mv a.qcow2 base.qcow2");
	qrig_must("qemu-img create -f qcow2 -b base.qcow2 -F qcow2 -o %s a.qcow2", options);
}

static void compress(const char *options)
{
	qrig_must("qemu-img convert -c -O qcow2 -o %s a.qcow2 b.qcow2", options);
	qrig_must("mv b.qcow2 a.qcow2");
}

/* Whoever wrote it put off counting, and was killed. */
static void leave_unclosed(const char *options)
{
	uint8_t head[512], zeroes[512] = {0};
	FILE *f = fopen(qrig_path("a.qcow2"), "r+b");
	long at;

	(void)options;
	assert_non_null(f);
	assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
	head[79] |= 1;
	rewind(f);
	assert_int_equal(fwrite(head, 1, sizeof(head), f), sizeof(head));
	/* the first block of counts, by the table of them */
	fseek(f, (long)qcow2_load(head + QCOW2_H_REFTABLE, 8), SEEK_SET);
	assert_int_equal(fread(head, 1, 8, f), 8);
	at = (long)qcow2_load(head, 8);
	fseek(f, at, SEEK_SET);
	assert_int_equal(fwrite(zeroes, 1, sizeof(zeroes), f), sizeof(zeroes));
	assert_int_equal(fclose(f), 0);
}

static const struct kind {
	const char *options;
	void (*change)(const char *options); /* of an image with contents; NULL: none */
} kinds[] = {
	{"cluster_size=512,refcount_bits=64", NULL},
	{"cluster_size=512,refcount_bits=1", NULL},
	{"cluster_size=4k,compat=0.10", NULL},
	{"cluster_size=64k", NULL},
	{"cluster_size=4k", take_snapshot},
	{"cluster_size=4k", put_behind},
	{"cluster_size=64k,compat=0.10", put_behind},
	{"cluster_size=4k", compress},
	{"cluster_size=512,lazy_refcounts=on", leave_unclosed},
};

/* An image with contents, and the numbers that it has. */
static void make_image(const struct kind *kind)
{
	struct disk *d;

	qrig_must("qemu-img create -f qcow2 -o %s a.qcow2 %u", kind->options, SECTORS * 512);
	d = disk_open(&(struct disk_config){.path = qrig_path("a.qcow2"), .format = DISK_QCOW2},
		      &e);
	assert_non_null(d);
	memset(now, 0, sizeof(now));
	for (int i = 0; i < 20; i++)
		assert_int_equal(do_something(d), 0);
	assert_int_equal(flush_it(d), 0);
	disk_free(d);
	qrig_must("qemu-img check a.qcow2");
	if (kind->change)
		kind->change(kind->options);
}

/* Everything is as in the image; one crash after so many writes. */
static bool try_crash(const char *kind, unsigned long writes, int (*call)(struct disk *d),
		      int calls)
{
	static uint32_t before[SECTORS];
	bool ended;

	memcpy(before, flushed, sizeof(before));
	memcpy(now, flushed, sizeof(now));
	for (uint32_t s = 0; s < SECTORS; s++)
		zeroed[s] = !flushed[s];
	ended = crash_after(kind, writes, call, calls);
	memcpy(flushed, before, sizeof(before));
	return ended;
}

/* How many writes later the next crash is: with LODGE_CRASHES=all, one. */
static unsigned long next_crash(unsigned long writes)
{
	const char *which = getenv("LODGE_CRASHES");

	return which && !strcmp(which, "all") ? 1 : 1 + writes / 2 + qrig_random(3);
}

static void a_crash_loses_nothing_that_was_flushed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		bool ended = false;

		qrig_seed(i + 1);
		last = 0;
		make_image(&kinds[i]);
		memcpy(flushed, now, sizeof(now));
		for (unsigned long writes = 0; !ended; writes += next_crash(writes))
			ended = try_crash(kinds[i].options, writes, do_something, 150);
	}
}

static void a_table_that_grows_is_never_half_there(void **state)
{
	bool ended = false;

	(void)state;
	qrig_seed(7);
	last = 0;
	memset(flushed, 0, sizeof(flushed));
	qrig_must("qemu-img create -f qcow2 -o %s a.qcow2 %u", kinds[0].options, SECTORS * 512);
	for (unsigned long writes = 0; !ended; writes++)
		ended = try_crash(kinds[0].options, writes, grow, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_table_that_grows_is_never_half_there, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_crash_loses_nothing_that_was_flushed, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
