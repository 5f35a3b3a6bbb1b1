/* SPDX-License-Identifier: Apache-2.0 */
/* The block device (virtio 1.2, 5.2) on a file, with a driver that waits for its requests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/engine.h"
#include "transport_rig.h"
#include "virtio/blk.h"

#define AREA   0x10000u
#define HEADER 0x200000u
#define DATA   0x300000u
#define STATUS 0x201000u
#define SIZE   0x100000u
#define RO     BIT(5)
#define FLUSH  BIT(9)
#define WCE    BIT(11)
#define MQ     BIT(12)

/* Fields of the configuration. */
#define WRITEBACK  32
#define NUM_QUEUES 34

enum { IN = 0, OUT = 1, FLUSH_IT = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

static struct transport_rig rig;
static struct driver driver;
static struct virtio_blk *blk;
static struct disk *disk;
static struct workers *workers;
static char path[] = "/tmp/lodge-blk-test-XXXXXX";
static struct clock guest;
static unsigned queues, block_size;
static atomic_uint flushes;
static unsigned failures;
static int failure;

/* In place of the C library's. */
int fdatasync(int fd)
{
	atomic_fetch_add(&flushes, 1);
	return fsync(fd);
}

/* Likewise: who writes, and how long it takes at least. */
static pthread_t writer;
static unsigned write_us;

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	writer = pthread_self();
	if (write_us)
		usleep(write_us);
	return syscall(SYS_pwritev, fd, iov, (long)count, offset, 0L);
}

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
	struct virtio_blk_config config = {
		.serial = "SN-0123456789abcdefXYZ",
		.clock = &guest,
		.queues = queues,
		.block_size = block_size,
		.failed = on_failed,
	};
	struct err e = ERR_INIT;

	failures = 0;
	clock_init_manual(&guest);
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
	queues = 1;
	block_size = 512;
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
	clock_release(&guest);
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
static uint32_t wait_used_by(struct driver *d)
{
	const struct timespec pause = {0, 100000};
	uint32_t written;
	int id;

	for (;;) {
		pthread_mutex_lock(&rig.device->lock);
		id = driver_get_used(d, &written);
		pthread_mutex_unlock(&rig.device->lock);
		if (id >= 0)
			return written;
		nanosleep(&pause, NULL);
	}
}

static uint32_t wait_used(void)
{
	return wait_used_by(&driver);
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

static uint64_t told(const char *name)
{
	struct engine_stat stats[64];
	size_t n = virtio_device_stats(rig.device, stats, ARRAY_LEN(stats));

	assert_in_range(n, 10, ARRAY_LEN(stats));
	assert_int_equal(virtio_device_stats(rig.device, stats, 1), n);
	while (n--)
		if (!strcmp(stats[n].name, name))
			return stats[n].count;
	fail_msg("no number is called %s", name);
	return 0;
}

/* Also over a reset of the device. */
static void what_it_did_is_counted(void **state)
{
	const struct driver_buffer out = {DATA, 1024, false}, in = {DATA, 512, true};

	(void)state;
	make(false);
	assert_int_equal(told("reads") + told("notifications"), 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(request(IN, SIZE / 512, &in, 1), IOERR);
	start(false, FLUSH);
	assert_int_equal(request(IN, 0, &in, 1), OK);
	assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
	assert_int_equal(told("reads"), 1);
	assert_int_equal(told("read_bytes"), 512);
	assert_int_equal(told("writes"), 2);
	assert_int_equal(told("write_bytes"), 2048);
	assert_int_equal(told("flushes"), 1);
	assert_int_equal(told("refused"), 1);
	assert_int_equal(told("errors"), 0);
	assert_int_equal(told("notifications"), 5);
	assert_int_equal(told("read_ns"), told("read_ns_max"));
	assert_true(told("write_ns_min") <= told("write_ns_max"));
	assert_int_equal(told("write_ns"), told("write_ns_min") + told("write_ns_max"));
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

/* Each queue answers its own driver; a reset of one leaves the other alone. */
static void queues_stand_beside_each_other(void **state)
{
	const struct driver_buffer b[] = {
		{HEADER, 16, false}, {DATA, 512, true}, {STATUS, 1, true}};
	struct virtq_place place;
	struct driver third;

	(void)state;
	queues = 3;
	make(false);
	assert_int_equal(vrig_features(&rig) & MQ, MQ);
	assert_int_equal(vrig_config_read(&rig, NUM_QUEUES, 2), 3);
	start(false, FLUSH | MQ | VIRTIO_F_RING_RESET);
	driver_init(&third, &rig.mem, false, 64, AREA + 0x20000);
	place = (struct virtq_place){third.size, third.desc, third.driver, third.device};
	for (unsigned round = 0; round < 3; round++) {
		vrig_place_queue(&rig, 2, &place);
		vrig_enable_queue(&rig, 2);
		put_header(IN, 7);
		assert_true(driver_add(&third, b, 3, false) >= 0);
		vrig_notify(&rig, 2);
		assert_int_equal(wait_used_by(&third), 513);
		assert_int_equal(*ram(STATUS), OK);
		assert_int_equal(driver_get_used(&driver, NULL), -1);
		assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
		assert_int_equal(driver_get_used(&third, NULL), -1);
		vrig_reset_queue(&rig, 2);
		assert_int_equal(request(FLUSH_IT, 0, NULL, 0), OK);
		driver_init(&third, &rig.mem, false, 64, AREA + 0x20000);
	}
}

static void one_queue_is_no_multi_queue(void **state)
{
	(void)state;
	make(false);
	assert_int_equal(vrig_features(&rig) & MQ, 0);
}

static void wait_flushes(unsigned n)
{
	while (atomic_load(&flushes) < n)
		usleep(100);
}

/* 5.2.5.2, 5.2.6.2: when a write is durable when it is done. */
static void the_cache_writes_through_or_not(void **state)
{
	const struct driver_buffer out = {DATA, 512, false};

	(void)state;
	make(false);
	atomic_store(&flushes, 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 0); /* it can flush */
	start(false, 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 1);
	start(false, WCE);
	assert_int_equal(vrig_config_read(&rig, WRITEBACK, 1), 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 2);
	vrig_config_write(&rig, WRITEBACK, 1, 1);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 2);
	start(false, FLUSH | WCE);
	assert_int_equal(vrig_config_read(&rig, WRITEBACK, 1), 1);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 2);
	vrig_config_write(&rig, WRITEBACK, 1, 0); /* what was written before is flushed */
	wait_flushes(3);
	vrig_config_write(&rig, WRITEBACK, 1, 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 4);
	start(false, FLUSH); /* without WCE what is written there counts for nothing */
	assert_int_equal(vrig_config_read(&rig, WRITEBACK, 1), 1);
	vrig_config_write(&rig, WRITEBACK, 1, 0);
	assert_int_equal(request(OUT, 0, &out, 1), OK);
	assert_int_equal(atomic_load(&flushes), 4);
}

static void large_blocks_are_told(void **state)
{
	(void)state;
	block_size = 4096;
	make(false);
	assert_int_equal(vrig_config_read(&rig, 20, 4), 4096);
	assert_int_equal(vrig_config_read(&rig, 24, 1), 0);
	assert_int_equal(vrig_config_read(&rig, 0, 4), SIZE / 512);
}

static void another_size_is_told(void **state)
{
	const struct driver_buffer in = {DATA, 512, true};
	unsigned generation;

	(void)state;
	make(false);
	generation = vrig_generation(&rig);
	assert_int_equal(truncate(path, SIZE * 2), 0);
	assert_int_equal(request(IN, SIZE / 512, &in, 1), IOERR); /* nobody has said so */
	assert_int_equal(disk_measure(disk), 0);
	virtio_blk_resize(blk);
	assert_int_equal(vrig_config_read(&rig, 0, 4), SIZE * 2 / 512);
	assert_int_not_equal(vrig_generation(&rig), generation);
	assert_int_equal(vrig_interrupts(&rig) & 2, 2);
	assert_int_equal(request(IN, SIZE / 512, &in, 1), OK);
	assert_int_equal(truncate(path, SIZE / 2 + 100), 0);
	assert_int_equal(disk_measure(disk), 0);
	virtio_blk_resize(blk);
	assert_int_equal(vrig_config_read(&rig, 0, 4), SIZE / 2 / 512);
	assert_int_equal(request(IN, SIZE / 2 / 512, &in, 1), IOERR);
	assert_int_equal(request(IN, SIZE / 2 / 512 - 1, &in, 1), OK);
	assert_int_equal(failures, 0); /* the guest was told */
}

/* Adds reads of two queues' drivers, notifies, and says how many were used meanwhile. */
static void add_reads(struct driver *d, unsigned n, uint32_t len)
{
	const struct driver_buffer b[] = {
		{HEADER, 16, false}, {DATA, len, true}, {STATUS, 1, true}};

	put_header(IN, 0);
	for (unsigned i = 0; i < n; i++)
		assert_true(driver_add(d, b, 3, false) >= 0);
}

/* Reads may be a worker's: waits for n of them, and that there are no more. */
static void expect_used(struct driver *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		wait_used_by(d);
	usleep(1000);
	pthread_mutex_lock(&rig.device->lock);
	assert_int_equal(driver_get_used(d, NULL), -1);
	pthread_mutex_unlock(&rig.device->lock);
}

static void limits_hold_requests_back(void **state)
{
	const struct limiter_bucket ops = {2, 1000, 0}, bytes = {4096, 1000, 0}, none = {0, 0, 0};

	(void)state;
	make(false);
	virtio_blk_limit(blk, NULL, &ops);
	add_reads(&driver, 5, 512);
	vrig_notify(&rig, 0);
	expect_used(&driver, 2);
	vrig_notify(&rig, 0); /* asking again is no way around it */
	clock_advance(&guest, 499 * 1000000);
	expect_used(&driver, 0);
	clock_advance(&guest, 1000000);
	expect_used(&driver, 1);
	clock_advance(&guest, 1000 * 1000000ull);
	expect_used(&driver, 2);
	virtio_blk_limit(blk, &bytes, &none);
	add_reads(&driver, 4, 2048);
	vrig_notify(&rig, 0);
	expect_used(&driver, 2);
	clock_advance(&guest, 500 * 1000000);
	expect_used(&driver, 1);
	virtio_blk_limit(blk, &none, NULL);
	clock_advance(&guest, 0);
	expect_used(&driver, 1);
	assert_null(guest.first); /* no limit, no timer */
}

/* A reset with requests held back: they are gone, and so is the timer. */
static void a_reset_drops_what_a_limit_holds(void **state)
{
	const struct limiter_bucket ops = {1, 1000, 0};

	(void)state;
	make(false);
	virtio_blk_limit(blk, NULL, &ops);
	for (unsigned round = 0; round < 300; round++) { /* more than there are requests */
		add_reads(&driver, 3, 512);
		vrig_notify(&rig, 0);
		start(round & 1, FLUSH);
		assert_null(guest.first);
		clock_advance(&guest, 1000 * 1000000);
	}
	add_reads(&driver, 2, 512);
	vrig_notify(&rig, 0);
	expect_used(&driver, 1);
	clock_advance(&guest, 1000 * 1000000);
	expect_used(&driver, 1);
}

/* While a request is held the driver need not tell of more. */
static void what_is_held_back_wants_no_notifications(void **state)
{
	const struct limiter_bucket ops = {1, 1000, 0};

	(void)state;
	make(false);
	virtio_blk_limit(blk, NULL, &ops);
	add_reads(&driver, 1, 512);
	assert_true(driver_should_kick(&driver));
	vrig_notify(&rig, 0);
	expect_used(&driver, 1);
	add_reads(&driver, 1, 512);
	assert_true(driver_should_kick(&driver));
	vrig_notify(&rig, 0);
	add_reads(&driver, 1, 512);
	assert_false(driver_should_kick(&driver));
	clock_advance(&guest, 1000 * 1000000);
	expect_used(&driver, 1);
	clock_advance(&guest, 1000 * 1000000);
	expect_used(&driver, 1);
	add_reads(&driver, 1, 512);
	assert_true(driver_should_kick(&driver));
}

static struct disk *open_other(char *name, off_t size)
{
	struct err e = ERR_INIT;
	struct disk *other;
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	other = disk_open(&(struct disk_config){.path = name}, &e);
	if (!other)
		fail_msg("%s", e.text);
	return other;
}

/* What was written before is in the first file, and durable; what comes then is in the second. A
 * request that the limiter held is judged by the second's size. */
static void another_disk_takes_its_place(void **state)
{
	static const char digits[] = "0123";
	const struct driver_buffer out = {DATA, 512, false}, in = {DATA, 512, true};
	const struct limiter_bucket once = {1, 1000, 0}, none = {0, 0, 0};
	const struct driver_buffer late[] = {
		{HEADER, 16, false}, {DATA, 512, true}, {STATUS, 1, true}};
	char name[] = "/tmp/lodge-blk-other-XXXXXX", byte;
	struct disk *other = open_other(name, SIZE / 2), *first;
	unsigned generation, before;
	FILE *f;

	(void)state;
	make(false);
	generation = vrig_generation(&rig);
	memset(ram(DATA), digits[1], 512);
	assert_int_equal(request(OUT, 3, &out, 1), OK);
	virtio_blk_limit(blk, NULL, &once);
	assert_int_equal(request(IN, 0, &in, 1), OK);
	put_header(IN, SIZE / 512 - 1); /* on the first disk only */
	assert_true(driver_add(&driver, late, 3, false) >= 0);
	vrig_notify(&rig, 0);
	before = atomic_load(&flushes);
	assert_int_equal(virtio_blk_swap(blk, other), 0);
	assert_int_equal(atomic_load(&flushes), before + 1);
	wait_used();
	assert_int_equal(*ram(STATUS), IOERR);
	first = disk;
	disk = other; /* teardown's */
	disk_free(first);
	assert_int_equal(vrig_config_read(&rig, 0, 4), SIZE / 2 / 512);
	assert_int_not_equal(vrig_generation(&rig), generation);
	assert_int_equal(vrig_interrupts(&rig) & 2, 2);
	virtio_blk_limit(blk, NULL, &none);
	memset(ram(DATA), digits[2], 512);
	assert_int_equal(request(OUT, 3, &out, 1), OK);
	for (unsigned i = 1; i <= 2; i++) {
		f = fopen(i == 1 ? path : name, "rb");
		assert_non_null(f);
		assert_int_equal(fseek(f, 3 * 512, SEEK_SET), 0);
		assert_int_equal(fread(&byte, 1, 1, f), 1);
		assert_int_equal(byte, digits[i]);
		fclose(f);
	}
	unlink(name);
}

/* With requests of two queues on their way all the time, some of them slow. */
static void disks_are_swapped_under_load(void **state)
{
	const struct driver_buffer b[] = {
		{HEADER, 16, false}, {DATA, 0x40000, true}, {STATUS, 1, true}};
	char name[] = "/tmp/lodge-blk-other-XXXXXX";
	struct disk *other = open_other(name, SIZE), *old;

	(void)state;
	make(false);
	for (unsigned round = 0; round < 50; round++) {
		put_header(round % 3 ? IN : FLUSH_IT, 0);
		for (unsigned i = 0; i < 10; i++)
			assert_true(driver_add(&driver, b, 3, false) >= 0);
		vrig_notify(&rig, 0);
		assert_int_equal(virtio_blk_swap(blk, other), 0);
		old = disk;
		disk = other;
		other = old;
		for (unsigned i = 0; i < 10; i++)
			wait_used();
		assert_int_equal(*ram(STATUS), OK);
	}
	disk_free(other);
	unlink(name);
}

/* Whether a write of a sector was done by the thread that told of it. */
static bool is_written_here(void)
{
	const struct driver_buffer data = {DATA, 512, false};

	assert_int_equal(request(OUT, 0, &data, 1), OK);
	return pthread_equal(writer, pthread_self());
}

/* One write at a time needs no other thread; until one has waited for the host's disk. */
static void a_small_write_is_done_at_once(void **state)
{
	const struct driver_buffer b[] = {
		{HEADER, 16, false}, {DATA, 512, false}, {STATUS, 1, true}};
	unsigned tries = 0;

	(void)state;
	make(false);
	start(false, 0); /* each write is flushed */
	assert_false(is_written_here());
	start(false, FLUSH);
	/* On a busy host a write may take its time. */
	while (!is_written_here() && tries++ < 1000)
		usleep(10000);
	assert_in_range(tries, 0, 999);
	put_header(OUT, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_true(driver_add(&driver, b, 3, false) >= 0);
	vrig_notify(&rig, 0);
	for (unsigned i = 0; i < 2; i++)
		wait_used();
	assert_false(pthread_equal(writer, pthread_self()));
	write_us = 100000;
	for (tries = 0; !is_written_here() && tries < 100; tries++)
		;
	assert_in_range(tries, 0, 99);
	write_us = 0;
	assert_false(is_written_here());
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_configuration_tells_of_the_disk),
		T(what_was_written_is_read),
		T(a_small_write_is_done_at_once),
		T(framing_says_nothing),
		T(what_cannot_be_is_refused),
		T(what_it_did_is_counted),
		T(chains_without_room_break_the_device),
		T(the_serial_number_is_told),
		T(ranges_are_zeroed_and_discarded),
		T(a_read_only_disk_is_told_and_kept),
		T(the_hosts_failure_is_an_error_and_told_once),
		T(a_reset_finds_no_request_under_way),
		T(queues_stand_beside_each_other),
		T(one_queue_is_no_multi_queue),
		T(the_cache_writes_through_or_not),
		T(large_blocks_are_told),
		T(another_size_is_told),
		T(another_disk_takes_its_place),
		T(disks_are_swapped_under_load),
		T(limits_hold_requests_back),
		T(a_reset_drops_what_a_limit_holds),
		T(what_is_held_back_wants_no_notifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
