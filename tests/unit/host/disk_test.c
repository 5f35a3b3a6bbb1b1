/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "host/disk_int.h"

#define SIZE 65536u

static char path[] = "/tmp/lodge-disk-test-XXXXXX";
static struct err e;

static int setup(void **state)
{
	int fd;

	(void)state;
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	err_clear(&e);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static struct disk *try_open(const char *name, bool readonly)
{
	return disk_open(&(struct disk_config){.path = name, .readonly = readonly}, &e);
}

static struct disk *open_it(bool readonly)
{
	struct disk *d = try_open(path, readonly);

	if (!d)
		fail_msg("%s", e.text);
	return d;
}

static void spans_go_to_their_places(void **state)
{
	char a[] = "0123456789", b[] = "abcdef", back[17] = "";
	const struct disk_span out[] = {{a, 10}, {b, 6}};
	const struct disk_span in[] = {{back, 3}, {back + 3, 13}};
	struct disk *d = open_it(false);

	(void)state;
	assert_int_equal(disk_size(d), SIZE);
	assert_false(disk_readonly(d));
	assert_int_equal(disk_write(d, out, 2, 1000), 0);
	assert_int_equal(disk_read(d, in, 2, 1000), 0);
	assert_string_equal(back, "0123456789abcdef");
	assert_int_equal(disk_write_more(d, out, 1, 1001), 0);
	assert_int_equal(disk_read(d, in, 2, 1000), 0);
	assert_string_equal(back, "00123456789bcdef");
	assert_true(disk_quick(d));
	assert_int_equal(disk_read(d, in, 1, 997), 0);
	assert_memory_equal(back, "\0\0\0", 3);
	assert_int_equal(disk_flush(d), 0);
	disk_free(d);
}

/* Either the page cache has it, or somebody has to wait for it; never anything else. */
static void reading_at_once_is_reading_or_nothing(void **state)
{
	char out[600], in[600];
	const struct disk_span o = {out, sizeof(out)}, i = {in, sizeof(in)};
	struct disk *d = open_it(false);
	int rc;

	(void)state;
	memset(out, 0x5a, sizeof(out));
	assert_int_equal(disk_write(d, &o, 1, 512), 0);
	rc = disk_read_now(d, &i, 1, 512);
	assert_true(rc == 0 || rc == -EAGAIN);
	if (!rc)
		assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(disk_read_now(d, &i, 1, SIZE - 100), -EAGAIN);
	disk_free(d);
}

static void a_disk_that_is_read_only_is_not_written(void **state)
{
	char byte = 1;
	const struct disk_span span = {&byte, 1};
	struct disk *d;

	(void)state;
	assert_int_equal(chmod(path, 0444), 0);
	d = open_it(true);
	assert_true(disk_readonly(d));
	assert_int_equal(disk_write(d, &span, 1, 0), -EROFS);
	assert_int_equal(disk_write_more(d, &span, 1, 0), -EROFS);
	assert_int_equal(disk_zero(d, 0, 512, true), -EROFS);
	assert_int_equal(disk_discard(d, 0, 512), -EROFS);
	assert_int_equal(disk_flush(d), 0);
	assert_int_equal(disk_read(d, &span, 1, 0), 0);
	assert_int_equal(byte, 0);
	disk_free(d);
}

static void zeroes_are_written(void **state)
{
	static char bytes[SIZE], zeroes[SIZE];
	const struct disk_span all = {bytes, SIZE};
	struct disk *d = open_it(false);

	(void)state;
	for (int unmap = 0; unmap < 2; unmap++) {
		memset(bytes, 0x77, SIZE);
		assert_int_equal(disk_write(d, &all, 1, 0), 0);
		assert_int_equal(disk_zero(d, 4096 + 512, 20000, unmap), 0);
		assert_int_equal(disk_read(d, &all, 1, 0), 0);
		assert_memory_equal(bytes + 4096 + 512, zeroes, 20000);
		assert_int_equal(bytes[4096 + 511], 0x77);
		assert_int_equal(bytes[4096 + 512 + 20000], 0x77);
	}
	disk_free(d);
}

static void discarded_space_is_given_back(void **state)
{
	static char bytes[SIZE];
	const struct disk_span all = {bytes, SIZE};
	struct disk *d = open_it(false);
	struct stat before, after;

	(void)state;
	memset(bytes, 0x77, SIZE);
	assert_int_equal(disk_write(d, &all, 1, 0), 0);
	assert_int_equal(disk_flush(d), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(disk_discard(d, 0, SIZE / 2), 0);
	assert_int_equal(disk_flush(d), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, SIZE);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(disk_read(d, &all, 1, 0), 0);
	assert_int_equal(bytes[SIZE / 2], 0x77);
	disk_free(d);
}

/* Somebody cuts the image off under us: an error, and no silent hole where data was. */
static void an_image_that_shrinks_gives_errors(void **state)
{
	char bytes[512] = "x";
	const struct disk_span span = {bytes, sizeof(bytes)};
	struct disk *d = open_it(false);
	struct stat st;

	(void)state;
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(disk_read(d, &span, 1, 0), 0);
	assert_int_equal(disk_read(d, &span, 1, SIZE / 2), -EIO);
	assert_int_equal(disk_read(d, &span, 1, SIZE / 2 - 256), -EIO);
	assert_int_equal(disk_write(d, &span, 1, SIZE - 512), -EIO);
	assert_int_equal(disk_zero(d, SIZE - 512, 512, false), -EIO);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE / 2);
	disk_free(d);
}

static void another_size_is_taken_when_asked(void **state)
{
	struct disk *d = open_it(false);

	(void)state;
	assert_int_equal(truncate(path, 2 * SIZE + 700), 0);
	assert_int_equal(disk_size(d), SIZE);
	assert_int_equal(disk_measure(d), 0);
	assert_int_equal(disk_size(d), 2 * SIZE + 512);
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(disk_measure(d), 0);
	assert_int_equal(disk_size(d), SIZE / 2);
	disk_free(d);
}

/* Whatever the host wants aligned, memory need not be: of 3 MiB in odd pieces, so that more than
 * one copy is made, all come back. */
#define GROWTHS 20000u

static void *grow(void *opaque)
{
	struct disk *d = opaque;
	int rc = 0;

	for (unsigned i = 1; !rc && i <= GROWTHS; i++)
		rc = disk_set_size(d, SIZE + i * DISK_SECTOR);
	return rc ? d : NULL;
}

/* As qcow2 does: room is made for new clusters beside writes to others. */
static void a_file_that_gets_longer_hurts_no_write(void **state)
{
	const struct disk_config config = {.path = path};
	struct disk *d = disk_raw_open_file(&config, &e);
	char bytes[512] = "";
	const struct disk_span span = {bytes, sizeof(bytes)};
	pthread_t thread;
	void *failed;
	int rc = 0;

	(void)state;
	assert_non_null(d);
	assert_int_equal(pthread_create(&thread, NULL, grow, d), 0);
	while (!rc && disk_size(d) < SIZE + GROWTHS * DISK_SECTOR)
		rc = disk_write(d, &span, 1, 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	assert_int_equal(rc, 0);
	disk_free(d);
}

static void direct_disks_take_any_memory(void **state)
{
	const struct disk_config config = {.path = path, .direct = true};
	const size_t len = 3 << 20;
	uint8_t *out = malloc(len + 1), *in = calloc(1, len + 3), *cached = malloc(len);
	const struct disk_span write[] = {{out + 1, 4097}, {out + 1 + 4097, len - 4097}};
	const struct disk_span read[] = {
		{in + 3, 1}, {in + 4, len - 513}, {in + 3 + len - 512, 512}};
	struct disk *d;
	FILE *f;

	(void)state;
	assert_int_equal(truncate(path, 4 << 20), 0);
	d = disk_open(&config, &e);
	if (!d && e.code == -EINVAL)
		skip(); /* a file system without */
	assert_non_null(d);
	assert_in_range(disk_unit(d), 512, 65536);
	for (size_t i = 0; i < len; i++)
		out[1 + i] = (uint8_t)(i * 31 + (i >> 12));
	assert_int_equal(disk_write(d, write, 2, disk_unit(d)), 0);
	assert_int_equal(disk_read_now(d, read, 3, disk_unit(d)), -EAGAIN);
	assert_int_equal(disk_read(d, read, 3, disk_unit(d)), 0);
	assert_memory_equal(in + 3, out + 1, len);
	assert_int_equal(disk_zero(d, 0, 4 << 20, false), 0);
	assert_int_equal(disk_write(d, write, 2, 0), 0);
	assert_int_equal(disk_flush(d), 0);
	disk_free(d);
	f = fopen(path, "rb");
	assert_int_equal(fread(cached, 1, len, f), len);
	fclose(f);
	assert_memory_equal(cached, out + 1, len);
	free(out);
	free(in);
	free(cached);
}

static void an_image_is_locked_against_other_openers(void **state)
{
	struct disk *d = open_it(false), *other;

	(void)state;
	for (int readonly = 0; readonly < 2; readonly++) {
		err_clear(&e);
		assert_null(try_open(path, readonly));
		assert_int_equal(e.code, -EBUSY);
		assert_non_null(strstr(e.text, "in use"));
	}
	disk_free(d);
	err_clear(&e);
	d = open_it(true);
	other = open_it(true);
	assert_null(try_open(path, false));
	disk_free(other);
	disk_free(d);
}

static void refused(const char *name, bool readonly, int code, const char *words)
{
	err_clear(&e);
	assert_null(try_open(name, readonly));
	assert_int_equal(e.code, code);
	if (!strstr(e.text, words))
		fail_msg("'%s' lacks '%s'", e.text, words);
}

static void what_is_no_disk_is_refused(void **state)
{
	char fifo[sizeof(path) + 5];

	(void)state;
	refused("/nonexistent/disk", false, -ENOENT, "truncate");
	refused("/tmp", false, -EISDIR, "directory");
	refused("/tmp", true, -EINVAL, "neither a file nor a block device");
	refused("/dev/null", false, -EINVAL, "neither a file nor a block device");
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refused(fifo, true, -EINVAL, "neither");
	unlink(fifo);
	assert_int_equal(truncate(path, 1000), 0);
	refused(path, false, -EINVAL, "no whole sectors");
	assert_int_equal(truncate(path, 0), 0);
	refused(path, false, -EINVAL, "0 bytes");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(spans_go_to_their_places),
		T(reading_at_once_is_reading_or_nothing),
		T(a_disk_that_is_read_only_is_not_written),
		T(zeroes_are_written),
		T(discarded_space_is_given_back),
		T(an_image_that_shrinks_gives_errors),
		T(another_size_is_taken_when_asked),
		T(a_file_that_gets_longer_hurts_no_write),
		T(direct_disks_take_any_memory),
		T(an_image_is_locked_against_other_openers),
		T(what_is_no_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
