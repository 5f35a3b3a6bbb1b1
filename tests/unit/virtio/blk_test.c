/* SPDX-License-Identifier: Apache-2.0 */
/* The block device (virtio 1.2, 5.2) on a file, with a driver that waits for its requests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "transport_rig.h"
#include "virtio/blk.h"

#define AREA   0x10000u
#define HEADER 0x200000u
#define DATA   0x300000u
#define STATUS 0x201000u
#define SIZE   0x100000u
#define RO     BIT(5)
#define FLUSH  BIT(9)

enum { IN = 0, OUT = 1, FLUSH_IT = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

static struct transport_rig rig;
static struct driver driver;
static struct virtio_blk *blk;
static struct disk *disk;
static struct workers *workers;
static char path[] = "/tmp/lodge-blk-test-XXXXXX";
static unsigned failures;
static int failure;

static void on_failed(void *opaque, const char *what, int error)
{
	(void)opaque;
	(void)what;
	failures++;
	failure = error;
}

static void start(bool packed, uint64_t features)
{
	driver_init(&driver, &rig.mem, packed, 128, AREA);
	vrig_start(&rig, features | (packed ? VIRTIO_F_RING_PACKED : 0) | VIRTIO_F_INDIRECT_DESC,
		   &driver);
}

static void make(bool readonly)
{
	struct virtio_blk_config config = {.serial = "SN-0123456789abcdefXYZ", .failed = on_failed};
	struct err e = ERR_INIT;

	failures = 0;
	disk = disk_open(&(struct disk_config){.path = path, .readonly = readonly}, &e);
	if (!disk)
		fail_msg("%s", e.text);
	workers = workers_new("test", 3, NULL);
	vrig_make(&rig, true, false);
	config.disk = disk;
	config.workers = workers;
	blk = virtio_blk_new(&rig.mem, &config, NULL);
	vrig_connect(&rig, virtio_blk_device(blk));
	start(false, FLUSH);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_set_status(&rig, 0);
	vrig_release(&rig);
	virtio_blk_free(blk);
	workers_free(workers);
	disk_free(disk);
	unlink(path);
	return 0;
}

static uint8_t *ram(uint64_t gpa)
{
	return mem_ptr_rw(&rig.mem, gpa, 1);
}

static void put_header(uint32_t type, uint64_t sector)
{
	store_le(ram(HEADER), 4, type);
	store_le(ram(HEADER + 4), 4, 0);
	store_le(ram(HEADER + 8), 8, sector);
	*ram(STATUS) = UNTOUCHED;
}

/* Waits until a request is used; its length. */
static uint32_t wait_used(void)
{
	const struct timespec pause = {0, 100000};
	uint32_t written;
	int id;

	for (;;) {
		pthread_mutex_lock(&rig.device->lock);
		id = driver_get_used(&driver, &written);
		pthread_mutex_unlock(&rig.device->lock);
		if (id >= 0)
			return written;
		nanosleep(&pause, NULL);
	}
}

static unsigned request(uint32_t type, uint64_t sector, const struct driver_buffer *data,
			unsigned n)
{
	struct driver_buffer b[16] = {{HEADER, 16, false}};

	put_header(type, sector);
	for (unsigned i = 0; i < n; i++)
		b[i + 1] = data[i];
	b[n + 1] = (struct driver_buffer){STATUS, 1, true};
	assert_true(driver_add(&driver, b, n + 2, n > 2) >= 0);
	vrig_notify(&rig, 0);
	wait_used();
	return *ram(STATUS);
}

static void the_configuration_tells_of_the_disk(void **state)
{
	(void)state;
	make(false);
	assert_int_equal(vrig_pci_read(&rig, PCI_DEVICE_ID, 2), 0x1042);
	assert_int_equal(vrig_config_read(&rig, 0, 4), SIZE / 512);
	assert_int_equal(vrig_config_read(&rig, 20, 4), 512);
	assert_in_range(vrig_config_read(&rig, 12, 4), 1, VIRTQ_CHAIN_MAX - 2);
	assert_int_equal(vrig_features(&rig) & (RO | FLUSH), FLUSH);
	assert_int_equal(vrig_features(&rig) >> 13 & 3, 3);
}

static void what_was_written_is_read(void **state)
{
	const struct driver_buffer out[] = {{DATA, 1000, false}, {DATA + 0x1000, 536, false}};
	const struct driver_buffer in[] = {
		{DATA + 0x8000, 512, true}, {DATA + 0x9000, 1, true}, {DATA + 0xa000, 1023, true}};
	char host[1536];
	FILE *f;

	(void)state;
	make(false);
	for (int packed = 0; packed < 2; packed++) {
		start(packed, FLUSH);
		for (unsigned i = 0; i < 1000; i++)
			*ram(DATA + i) = (uint8_t)(i * 7 + packed);
		memset(ram(DATA + 0x1000), 0xc3, 536);
		assert_int_equal(request(OUT, 5, out, 2), OK);
		assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
		f = fopen(path, "rb");
		assert_int_equal(fseek(f, 5 * 512, SEEK_SET), 0);
		assert_int_equal(fread(host, 1, sizeof(host), f), sizeof(host));
		fclose(f);
		assert_memory_equal(host, ram(DATA), 1000);
		assert_int_equal((uint8_t)host[1000], 0xc3);
		assert_int_equal(request(IN, 5, in, 3), OK);
		assert_memory_equal(ram(DATA + 0x8000), host, 512);
		assert_memory_equal(ram(DATA + 0x9000), host + 512, 1);
		assert_memory_equal(ram(DATA + 0xa000), host + 513, 1023);
	}
	assert_int_equal(failures, 0);
}

/* Header, data and status in any pieces: one descriptor, or split in the middle of a field. */
static void framing_says_nothing(void **state)
{
	const struct driver_buffer b[] = {
		{HEADER, 3, false}, {HEADER + 3, 13 + 512, false}, {STATUS, 1, true}};
	const struct driver_buffer in[] = {{HEADER, 16, false}, {DATA, 513, true}};

	(void)state;
	make(false);
	put_header(OUT, 1);
	memset(ram(HEADER + 16), 0x3c, 512);
	driver_add(&driver, b, 3, false);
	vrig_notify(&rig, 0);
	assert_int_equal(wait_used(), 1);
	assert_int_equal(*ram(STATUS), OK);
	put_header(IN, 1);
	driver_add(&driver, in, 2, false);
	vrig_notify(&rig, 0);
	assert_int_equal(wait_used(), 513);
	assert_int_equal(*ram(DATA + 511), 0x3c);
	assert_int_equal(*ram(DATA + 512), OK);
}

static void what_cannot_be_is_refused(void **state)
{
	static const struct {
		uint32_t type, len;
		uint64_t sector;
		bool write;
		unsigned status;
	} bad[] = {
		{IN, 512, SIZE / 512, true, IOERR},
		{IN, 1024, SIZE / 512 - 1, true, IOERR},
		{IN, 512, UINT64_MAX, true, IOERR},
		{IN, 512, 1ull << 55, true, IOERR},
		{OUT, 512, (1ull << 55) - 1, false, IOERR},
		{IN, 511, 0, true, IOERR},
		{OUT, 513, 0, false, IOERR},
		{OUT, 512, SIZE / 512, false, IOERR},
		{2, 512, 0, false, UNSUPP},
		{0xffffffff, 512, 0, true, UNSUPP},
		{14, 16, 0, false, UNSUPP},
		{DISCARD, 15, 0, false, IOERR},
		{ZEROES, 17 * 16, 0, false, IOERR},
	};

	(void)state;
	make(false);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		const struct driver_buffer data = {DATA, bad[i].len, bad[i].write};
		unsigned status = request(bad[i].type, bad[i].sector, &data, 1);

		if (status != bad[i].status)
			fail_msg("request %u: status %u", i, status);
	}
	assert_int_equal(request(IN, 0, NULL, 0), OK);
	assert_int_equal(failures, 0); /* they are the guest's, and no news */
}

static void chains_without_room_break_the_device(void **state)
{
	const struct driver_buffer header[] = {{HEADER, 15, false}, {STATUS, 1, true}};
	const struct driver_buffer status[] = {{HEADER, 16, false}};

	(void)state;
	make(false);
	for (int i = 0; i < 2; i++) {
		start(false, FLUSH);
		put_header(FLUSH_IT, 0);
		driver_add(&driver, i ? status : header, i ? 1 : 2, false);
		vrig_notify(&rig, 0);
		assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
		assert_int_equal(*ram(STATUS), UNTOUCHED);
	}
	start(false, FLUSH);
	assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
}

static void the_serial_number_is_told(void **state)
{
	const struct driver_buffer data = {DATA, 20, true}, small = {DATA + 0x100, 4, true};

	(void)state;
	make(false);
	assert_int_equal(request(GET_ID, 0, &data, 1), OK);
	assert_memory_equal(ram(DATA), "SN-0123456789abcdefX", 20); /* 20 characters, no more */
	assert_int_equal(request(GET_ID, 0, &small, 1), OK);
	assert_memory_equal(ram(DATA + 0x100), "SN-0\0", 5);
}

static void put_range(unsigned n, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	store_le(ram(DATA + n * 16), 8, sector);
	store_le(ram(DATA + n * 16 + 8), 4, sectors);
	store_le(ram(DATA + n * 16 + 12), 4, flags);
}

static void ranges_are_zeroed_and_discarded(void **state)
{
	const struct driver_buffer out = {DATA + 0x10000, 0x8000, false};
	const struct driver_buffer in = {DATA + 0x20000, 0x8000, true};
	const struct driver_buffer ranges = {DATA, 32, false};
	const uint8_t *back;

	(void)state;
	make(false);
	back = ram(DATA + 0x20000);
	memset(ram(DATA + 0x10000), 0x11, 0x8000);
	for (unsigned unmap = 0; unmap < 2; unmap++) {
		assert_int_equal(request(OUT, 0, &out, 1), OK);
		put_range(0, 1, 2, unmap);
		put_range(1, 8, 16, unmap);
		assert_int_equal(request(ZEROES, 0, &ranges, 1), OK);
		assert_int_equal(request(IN, 0, &in, 1), OK);
		for (unsigned s = 0; s < 0x8000 / 512; s++) {
			bool zero = (s >= 1 && s < 3) || (s >= 8 && s < 24);

			assert_int_equal(back[s * 512], zero ? 0 : 0x11);
			assert_int_equal(back[s * 512 + 511], zero ? 0 : 0x11);
		}
	}
	put_range(0, 0, 8, 0);
	put_range(1, 8, 8, 0);
	assert_int_equal(request(DISCARD, 0, &ranges, 1), OK);
	put_range(1, 8, 8, 1);
	assert_int_equal(request(DISCARD, 0, &ranges, 1), UNSUPP);
	put_range(1, 8, 8, 2);
	assert_int_equal(request(ZEROES, 0, &ranges, 1), UNSUPP);
	put_range(1, SIZE / 512 - 1, 2, 0);
	assert_int_equal(request(ZEROES, 0, &ranges, 1), IOERR);
	put_range(1, UINT64_MAX, 1, 0);
	assert_int_equal(request(DISCARD, 0, &ranges, 1), IOERR);
}

static void a_read_only_disk_is_told_and_kept(void **state)
{
	const struct driver_buffer out = {DATA, 512, false}, in = {DATA, 512, true};

	(void)state;
	make(true);
	assert_int_equal(vrig_features(&rig) & RO, RO);
	assert_int_equal(vrig_features(&rig) >> 13 & 3, 0);
	assert_int_equal(request(OUT, 0, &out, 1), IOERR);
	put_range(0, 0, 8, 0);
	assert_int_equal(request(ZEROES, 0, &out, 1), IOERR);
	assert_int_equal(request(IN, 0, &in, 1), OK);
	assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
	assert_int_equal(failures, 0);
}

static void the_hosts_failure_is_an_error_and_told_once(void **state)
{
	const struct driver_buffer out = {DATA, 512, false}, in = {DATA, 512, true};

	(void)state;
	make(false);
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(request(IN, SIZE / 512 - 1, &in, 1), IOERR);
	assert_int_equal(request(OUT, SIZE / 512 - 1, &out, 1), IOERR);
	assert_int_equal(request(IN, 0, &in, 1), OK);
	assert_int_equal(failures, 1);
	assert_int_equal(failure, EIO);
}

/* Resets at every moment: when one returns nothing writes to memory, and the next life is whole. */
static void a_reset_finds_no_request_under_way(void **state)
{
	const struct driver_buffer in[] = {
		{HEADER, 16, false}, {DATA, 0x40000, true}, {STATUS, 1, true}};

	(void)state;
	make(false);
	for (unsigned round = 0; round < 50; round++) {
		start(round & 1, FLUSH);
		put_header(round % 3 ? IN : FLUSH_IT, 0);
		for (unsigned i = 0; i < 10; i++)
			driver_add(&driver, in, 3, false);
		vrig_notify(&rig, 0);
		vrig_set_status(&rig, 0);
		memset(ram(DATA), 0xa5, 0x40000);
		*ram(STATUS) = UNTOUCHED;
		usleep(round * 20);
		for (unsigned i = 0; i < 0x40000; i += 512)
			assert_int_equal(*ram(DATA + i), 0xa5);
		assert_int_equal(*ram(STATUS), UNTOUCHED);
	}
	start(false, FLUSH);
	assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_configuration_tells_of_the_disk),
		T(what_was_written_is_read),
		T(framing_says_nothing),
		T(what_cannot_be_is_refused),
		T(chains_without_room_break_the_device),
		T(the_serial_number_is_told),
		T(ranges_are_zeroed_and_discarded),
		T(a_read_only_disk_is_told_and_kept),
		T(the_hosts_failure_is_an_error_and_told_once),
		T(a_reset_finds_no_request_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
