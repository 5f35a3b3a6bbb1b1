/* SPDX-License-Identifier: Apache-2.0 */
/* Images that are damaged, marked, hostile or of another kind; and many threads at one image. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "host/disk.h"
#include "host/qcow2/image.h"
#include "host/qcow2/open.h"
#include "qcow2_rig.h"

static struct err e;
static uint8_t buffer[MIB(1)];

static int setup(void **state)
{
	(void)state;
	qrig_begin();
	qrig_seed(11);
	err_clear(&e);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qrig_end();
	return 0;
}

static struct disk *try_open(const char *name, bool readonly)
{
	const struct disk_config config = {
		.path = qrig_path(name), .readonly = readonly, .format = DISK_QCOW2};

	err_clear(&e);
	return disk_open(&config, &e);
}

static struct disk *open_it(const char *name, bool readonly)
{
	struct disk *d = try_open(name, readonly);

	if (!d)
		fail_msg("%s", e.text);
	return d;
}

static void refused(const char *name, bool readonly, const char *words)
{
	struct disk *d = try_open(name, readonly);

	assert_null(d);
	if (!strstr(e.text, words))
		fail_msg("'%s' lacks '%s'", e.text, words);
}

/* Bytes of a file of the folder. */
static void poke(const char *name, long at, const void *bytes, size_t len)
{
	FILE *f = fopen(qrig_path(name), "r+b");

	assert_non_null(f);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static uint64_t peek(const char *name, long at, unsigned size)
{
	uint8_t bytes[8];
	FILE *f = fopen(qrig_path(name), "rb");

	assert_non_null(f);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	assert_int_equal(fread(bytes, 1, size, f), size);
	fclose(f);
	return qcow2_load(bytes, size);
}

static int write_at(struct disk *d, uint64_t at, uint64_t len)
{
	const struct disk_span span = {buffer, len};

	return disk_write(d, &span, 1, at);
}

static int read_at(struct disk *d, uint64_t at, uint64_t len)
{
	const struct disk_span span = {buffer, len};

	return disk_read(d, &span, 1, at);
}

static void what_lodge_has_not_is_refused_by_name(void **state)
{
	(void)state;
	qrig_must("qemu-img create -f qcow2 a.qcow2 1M");
	poke("a.qcow2", 72, "\200", 1); /* bit 63 */
	refused("a.qcow2", true, "(bit 63)");
	poke("a.qcow2", 72, "\0\0\0\0\0\0\0\4", 8);
	refused("a.qcow2", true, "another file");
	qrig_must("qemu-img create -f qcow2 -o extended_l2=on a.qcow2 1M");
	refused("a.qcow2", false, "subclusters");
	qrig_must("qemu-img create -f qcow2 a.qcow2 1M");
	poke("a.qcow2", 32, "\0\0\0\1", 4);
	refused("a.qcow2", false, "encrypted");
	qrig_must("truncate -s 1M a.qcow2");
	qrig_must("truncate -s 0 a.qcow2");
	refused("a.qcow2", false, "too short");
	qrig_must("truncate -s 1M a.qcow2");
	refused("a.qcow2", false, "format=raw");
}

static void backing_files_are_what_the_image_says(void **state)
{
	struct disk *d, *other;

	(void)state;
	qrig_must("mkdir sub");
	qrig_must("qemu-img create -f qcow2 sub/base.qcow2 1M");
	qrig_must("qemu-img create -f qcow2 -b base.qcow2 -F qcow2 sub/a.qcow2");
	d = open_it("sub/a.qcow2", false);
	refused("sub/base.qcow2", false, "in use");
	other = open_it("sub/base.qcow2", true);
	disk_free(other);
	disk_free(d);
	qrig_must("qemu-img rebase -u -b a.qcow2 -F qcow2 sub/a.qcow2");
	refused("sub/a.qcow2", false, "in use");
	refused("sub/a.qcow2", true, "more than 16");
	qrig_must("qemu-img rebase -u -b gone.qcow2 -F qcow2 sub/a.qcow2");
	refused("sub/a.qcow2", true, "gone.qcow2");
	qrig_must("qemu-img rebase -u -b base.qcow2 -F qed sub/a.qcow2");
	refused("sub/a.qcow2", true, "format 'qed'");
	/* The name of the format's extension is changed, so that there is none. */
	qrig_must("qemu-img create -f qcow2 -b base.qcow2 -F qcow2 -o compat=0.10 sub/a.qcow2");
	assert_int_equal(peek("sub/a.qcow2", 72, 4), 0xe2792aca);
	poke("sub/a.qcow2", 72, "abcd", 4);
	refused("sub/a.qcow2", true, "does not say of which format");
}

/* The dirty bit: counts that are too low, flags that are wrong. */
static void an_image_that_was_not_closed_is_repaired(void **state)
{
	static const uint8_t zeroes[512];
	struct disk *d;

	(void)state;
	qrig_must("qemu-img create -f qcow2 -o cluster_size=512,lazy_refcounts=on a.qcow2 1M");
	d = open_it("a.qcow2", false);
	memset(buffer, 0x5a, sizeof(buffer));
	assert_int_equal(write_at(d, 4096, 200000), 0);
	disk_free(d);
	qrig_must("qemu-img snapshot -c one a.qcow2");
	/* The first refcount block: nothing is counted. */
	poke("a.qcow2", (long)peek("a.qcow2", (long)peek("a.qcow2", 48, 8), 8), zeroes, 512);
	poke("a.qcow2", 79, "\1", 1);
	assert_int_equal(qrig_run("qemu-img check a.qcow2"), 2);
	d = open_it("a.qcow2", true);
	assert_int_equal(read_at(d, 4096, 200000), 0);
	assert_int_equal(buffer[199999], 0x5a);
	disk_free(d);
	d = open_it("a.qcow2", false);
	assert_int_equal(write_at(d, 8192, 100000), 0);
	disk_free(d);
	assert_int_equal(peek("a.qcow2", 79, 1), 0);
	qrig_must("qemu-img check a.qcow2");
}

static void features_that_writing_would_belie_are_cleared(void **state)
{
	struct disk *d;

	(void)state;
	qrig_must("qemu-img create -f qcow2 a.qcow2 1M");
	poke("a.qcow2", 88, "\100", 1);
	d = open_it("a.qcow2", true);
	disk_free(d);
	assert_int_equal(peek("a.qcow2", 88, 1), 0x40);
	d = open_it("a.qcow2", false);
	disk_free(d);
	assert_int_equal(peek("a.qcow2", 88, 1), 0);
}

/* An L2 entry that points to the L1 table, so that a write would go there. */
static void a_damaged_image_is_marked_and_left_alone(void **state)
{
	uint8_t entry[8];
	uint64_t l1, l2;
	struct disk *d;

	(void)state;
	qrig_must("qemu-img create -f qcow2 a.qcow2 1M");
	d = open_it("a.qcow2", false);
	assert_int_equal(write_at(d, 0, 65536), 0);
	disk_free(d);
	l1 = peek("a.qcow2", 40, 8);
	l2 = peek("a.qcow2", (long)l1, 8) & QCOW2_OFFSET;
	qcow2_store(entry, 8, l1 | QCOW2_COPIED);
	poke("a.qcow2", (long)l2, entry, 8);
	qrig_must("cp a.qcow2 b.qcow2");
	d = open_it("a.qcow2", false);
	assert_int_equal(write_at(d, 65536, 4096), 0);
	assert_int_equal(write_at(d, 0, 4096), -EUCLEAN);
	assert_int_equal(write_at(d, 65536, 4096), -EUCLEAN);
	assert_int_equal(read_at(d, 65536, 4096), 0);
	assert_int_equal(disk_flush(d), -EUCLEAN);
	disk_free(d);
	assert_int_equal(peek("a.qcow2", 79, 1), 2);
	poke("a.qcow2", 79, "\0", 1);
	qrig_must("truncate -s %llu a.qcow2", (unsigned long long)l2 + 65536);
	qrig_must("truncate -s %llu b.qcow2", (unsigned long long)l2 + 65536);
	qrig_must("cmp a.qcow2 b.qcow2"); /* nothing else was written */
	poke("a.qcow2", 79, "\2", 1);
	refused("a.qcow2", false, "marked as corrupt");
	disk_free(open_it("a.qcow2", true));
}

/* Anything may fail, but nothing crashes, and the file in memory sees that nothing is read or
 * written beyond its end. */
static void do_anything(struct disk *d)
{
	uint32_t sectors = (uint32_t)(disk_size(d) / 512);

	for (int i = 0; i < 30; i++) {
		uint64_t at = qrig_random(sectors), len = 1 + qrig_random(64);

		len = 512 * MIN(len, sectors - at);
		at *= 512;
		switch (qrig_random(5)) {
		case 0:
			(void)!read_at(d, at, len);
			break;
		case 1:
			(void)!disk_zero(d, at, len, true);
			break;
		case 2:
			(void)!disk_flush(d);
			break;
		default:
			(void)!write_at(d, at, len);
		}
	}
}

static void no_flipped_bit_does_harm(void **state)
{
	struct disk *d;

	(void)state;
	for (unsigned i = 0; i < sizeof(buffer); i++)
		buffer[i] = (uint8_t)(i >> 9);
	qrig_must("qemu-img create -f qcow2 -o cluster_size=512 a.qcow2 200k");
	d = open_it("a.qcow2", false);
	assert_int_equal(write_at(d, 0, 100 << 10), 0);
	disk_free(d);
	qrig_must("qemu-img snapshot -c one a.qcow2");
	for (int i = 0; i < 250; i++) {
		struct qrig_file *f = qrig_file_load("a.qcow2", 1000000);
		/* Tables come first in the file; the header is flipped most. */
		uint32_t size = (uint32_t)disk_size(qrig_file_disk(f));
		uint32_t within = qrig_random(2) ? 112 : qrig_random(2) ? 8192 : size;
		uint8_t byte;
		struct disk_span span = {&byte, 1};
		uint64_t at = 4 + qrig_random(within - 4);

		/* The place of the backing file's name stays 0. */
		if (at >= 8 && at < 16)
			at = 16;
		assert_int_equal(disk_read(qrig_file_disk(f), &span, 1, at), 0);
		byte ^= (uint8_t)(1u << qrig_random(8));
		assert_int_equal(disk_write(qrig_file_disk(f), &span, 1, at), 0);
		d = qcow2_open_file(qrig_file_disk(f), "a", 0, NULL);
		if (d) {
			do_anything(d);
			disk_free(d);
		}
		qrig_file_free(f);
	}
}

#define THREADS 4u
#define ROUNDS  400u
#define SIZE    MIB(8)

struct writer {
	struct disk *disk;
	unsigned n;
	uint32_t seed;
	uint8_t *model; /* its own sectors of it */
};

static uint32_t next(struct writer *w, uint32_t below)
{
	w->seed = w->seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)w->seed * below >> 32);
}

/* Each thread has every fourth sector for itself, so that clusters are everybody's. */
static void *write_beside_others(void *opaque)
{
	static char wrong[] = "reads what was not written", failed[] = "gets an error";
	struct writer *w = opaque;
	uint8_t bytes[512];
	struct disk_span span = {bytes, sizeof(bytes)};

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = (next(w, SIZE / 512 / THREADS) * THREADS + w->n) * 512;
		uint32_t what = next(w, 10);
		int rc;

		memset(bytes, (int)(1 + next(w, 255)), sizeof(bytes));
		if (what < 6) {
			rc = disk_write(w->disk, &span, 1, at);
			memcpy(w->model + at, bytes, 512);
		} else if (what < 7) {
			rc = disk_zero(w->disk, at, 512, true);
			memset(w->model + at, 0, 512);
		} else if (what < 8 && i % 8 == 0) {
			rc = disk_flush(w->disk);
		} else {
			rc = disk_read_now(w->disk, &span, 1, at);
			if (rc == -EAGAIN)
				rc = disk_read(w->disk, &span, 1, at);
			if (memcmp(bytes, w->model + at, 512))
				return wrong;
		}
		if (rc)
			return failed;
	}
	return NULL;
}

static void threads_write_side_by_side(void **state)
{
	static uint8_t model[SIZE], all[SIZE];
	const struct disk_span span = {all, SIZE};

	(void)state;
	for (int size = 512; size <= 65536; size *= 128) {
		struct writer writers[THREADS];
		pthread_t threads[THREADS];
		struct disk *d;

		memset(model, 0, SIZE);
		qrig_must("qemu-img create -f qcow2 -o cluster_size=%d a.qcow2 8M", size);
		d = open_it("a.qcow2", false);
		qcow2_of(d)->l2.limit = 8;
		for (unsigned i = 0; i < THREADS; i++) {
			writers[i] = (struct writer){d, i, i + 77, model};
			pthread_create(&threads[i], NULL, write_beside_others, &writers[i]);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			void *failed;

			pthread_join(threads[i], &failed);
			if (failed)
				fail_msg("thread %u: %s", i, (char *)failed);
		}
		assert_int_equal(disk_read(d, &span, 1, 0), 0);
		assert_memory_equal(all, model, SIZE);
		disk_free(d);
		qrig_must("qemu-img check a.qcow2");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_lodge_has_not_is_refused_by_name, setup,
						teardown),
		cmocka_unit_test_setup_teardown(backing_files_are_what_the_image_says, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_image_that_was_not_closed_is_repaired, setup,
						teardown),
		cmocka_unit_test_setup_teardown(features_that_writing_would_belie_are_cleared,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_image_is_marked_and_left_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(no_flipped_bit_does_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_write_side_by_side, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
