/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in blocks (virtio 1.2, 5.15): requests, good ones and others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "transport_rig.h"
#include "virtio/memory.h"

#define AREA     0x10000u
#define REQUEST  0x30000u
#define RESPONSE 0x31000u
#define START    GIB(4)
#define BLOCK    MIB(2)
#define BLOCKS   16u

static struct transport_rig rig;
static struct virtio_memory memory;
static struct driver driver;
static unsigned wakes;
static bool refuse;

static void on_wake(void *opaque)
{
	(void)opaque;
	wakes++;
}

/* The lock is free: the engine may stop a vCPU that waits for it. */
static void check_lock(void)
{
	assert_int_equal(pthread_mutex_trylock(&memory.device.lock), 0);
	pthread_mutex_unlock(&memory.device.lock);
}

static bool on_plug(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	check_lock();
	if (!refuse)
		mem_plug(&rig.mem, gpa, len);
	return !refuse;
}

static void on_unplug(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	check_lock();
	mem_unplug(&rig.mem, gpa, len);
}

static int setup(void **state)
{
	const struct virtio_memory_config config = {
		.start = START, .wake = on_wake, .plug = on_plug, .unplug = on_unplug};

	(void)state;
	wakes = 0;
	refuse = false;
	vrig_make(&rig, true, false);
	assert_int_equal(mem_add_blocks(&rig.mem, START, BLOCKS * BLOCK, BLOCK, NULL), 0);
	virtio_memory_init(&memory, &rig.mem, &config);
	vrig_connect(&rig, &memory.device);
	driver_init(&driver, &rig.mem, false, 16, AREA);
	vrig_start(&rig, BIT(1), &driver);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vrig_release(&rig);
	virtio_memory_release(&memory);
	return 0;
}

static void request_size(uint64_t size, bool good)
{
	pthread_mutex_lock(&memory.device.lock);
	assert_int_equal(virtio_memory_request(&memory, size), good);
	pthread_mutex_unlock(&memory.device.lock);
}

/* The response's type; its state is at RESPONSE + 8. */
static unsigned ask(unsigned type, uint64_t gpa, unsigned blocks)
{
	const struct driver_buffer b[] = {{REQUEST, 24, false}, {RESPONSE, 10, true}};
	uint8_t *p = mem_ptr_rw(&rig.mem, REQUEST, 24);
	unsigned before = wakes;
	uint32_t written;

	store_le(p, 2, type);
	store_le(p + 8, 8, gpa);
	store_le(p + 16, 2, blocks);
	memset(mem_ptr_rw(&rig.mem, RESPONSE, 10), 0x55, 10);
	driver_add(&driver, b, 2, false);
	vrig_notify(&rig, 0);
	assert_int_equal(wakes, before + 1);
	virtio_memory_serve(&memory);
	assert_true(driver_get_used(&driver, &written) >= 0);
	assert_int_equal(written, 10);
	return load_le(mem_ptr(&rig.mem, RESPONSE, 10), 2);
}

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };

static unsigned block_state(uint64_t gpa, unsigned blocks)
{
	assert_int_equal(ask(STATE, gpa, blocks), ACK);
	return load_le(mem_ptr(&rig.mem, RESPONSE + 8, 2), 2);
}

static uint64_t plugged(void)
{
	return vrig_config_read(&rig, 40, 4);
}

static void what_it_says_of_itself(void **state)
{
	(void)state;
	assert_int_equal(vrig_config_read(&rig, 0, 4), BLOCK);
	assert_int_equal(vrig_config_read(&rig, 20, 4), START >> 32);
	assert_int_equal(vrig_config_read(&rig, 24, 4), BLOCKS * BLOCK);
	assert_int_equal(vrig_config_read(&rig, 32, 4), BLOCKS * BLOCK);
	assert_int_equal(plugged(), 0);
	request_size(BLOCK + 1, false);
	request_size((BLOCKS + 1) * BLOCK, false);
	request_size(4 * BLOCK, true);
	assert_int_equal(vrig_config_read(&rig, 48, 4), 4 * BLOCK);
}

static void blocks_come_and_go(void **state)
{
	uint8_t *p;

	(void)state;
	request_size(4 * BLOCK, true);
	assert_null(mem_ptr(&rig.mem, START, 1));
	assert_int_equal(ask(PLUG, START + BLOCK, 3), ACK);
	assert_int_equal(plugged(), 3 * BLOCK);
	assert_int_equal(block_state(START, 1), 1);
	assert_int_equal(block_state(START + BLOCK, 3), 0);
	assert_int_equal(block_state(START, BLOCKS), 2);
	p = mem_ptr_rw(&rig.mem, START + BLOCK, 3 * BLOCK);
	assert_non_null(p);
	assert_null(mem_ptr(&rig.mem, START + BLOCK - 1, 2));
	assert_null(mem_ptr(&rig.mem, START + 4 * BLOCK - 1, 2));
	p[0] = p[BLOCK] = 0xff;
	assert_int_equal(ask(UNPLUG, START + BLOCK, 1), ACK);
	assert_null(mem_ptr(&rig.mem, START + BLOCK, 1));
	assert_int_equal(p[0], 0); /* the host's again */
	assert_int_equal(p[BLOCK], 0xff);
	assert_int_equal(ask(UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(plugged(), 0);
	assert_int_equal(p[BLOCK], 0);
	assert_int_equal(block_state(START, BLOCKS), 1);
}

static void what_cannot_be(void **state)
{
	static const struct {
		unsigned type;
		uint64_t gpa;
		unsigned blocks, response;
	} cases[] = {
		{PLUG, START, 0, ERROR},
		{PLUG, START + 1, 1, ERROR},
		{PLUG, START - BLOCK, 1, ERROR},
		{PLUG, START, 0xffff, ERROR},
		{PLUG, START + (BLOCKS - 1) * BLOCK, 2, ERROR},
		{PLUG, UINT64_MAX - BLOCK + 1, 1, ERROR},
		{PLUG, START + 2 * BLOCK, 4, ERROR}, /* half of it is there */
		{PLUG, START + 4 * BLOCK, 1, NACK},  /* more than was asked for */
		{UNPLUG, START + 3 * BLOCK, 2, ERROR},
		{UNPLUG, START + 5 * BLOCK, 1, ERROR},
		{STATE, START + 1, 1, ERROR},
		{STATE, START, 0, ERROR},
		{99, START, 1, ERROR},
	};

	(void)state;
	request_size(4 * BLOCK, true);
	assert_int_equal(ask(PLUG, START, 4), ACK);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(ask(cases[i].type, cases[i].gpa, cases[i].blocks),
				 cases[i].response);
	assert_int_equal(plugged(), 4 * BLOCK);
	request_size(5 * BLOCK, true);
	refuse = true;
	assert_int_equal(ask(PLUG, START + 4 * BLOCK, 1), NACK);
	request_size(BLOCK, true); /* below what is there */
	refuse = false;
	assert_int_equal(ask(PLUG, START + 4 * BLOCK, 1), NACK);
}

/* 5.15.6.1: a driver that comes anew finds its memory; the machine's reset takes it. */
static void resets(void **state)
{
	(void)state;
	request_size(4 * BLOCK, true);
	assert_int_equal(ask(PLUG, START, 4), ACK);
	vrig_set_status(&rig, 0);
	assert_int_equal(plugged(), 4 * BLOCK);
	assert_non_null(mem_ptr(&rig.mem, START, 4 * BLOCK));
	virtio_memory_clear(&memory);
	assert_int_equal(plugged(), 0);
	assert_null(mem_ptr(&rig.mem, START, 1));
}

static void a_response_without_room_breaks_it(void **state)
{
	const struct driver_buffer b[] = {{REQUEST, 24, false}, {RESPONSE, 9, true}};

	(void)state;
	driver_add(&driver, b, 2, false);
	vrig_notify(&rig, 0);
	virtio_memory_serve(&memory);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

static void a_short_request_breaks_it(void **state)
{
	const struct driver_buffer b[] = {{REQUEST, 23, false}, {RESPONSE, 10, true}};

	(void)state;
	driver_add(&driver, b, 2, false);
	vrig_notify(&rig, 0);
	virtio_memory_serve(&memory);
	assert_true(vrig_status(&rig) & VIRTIO_NEEDS_RESET);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_says_of_itself),
		TEST(blocks_come_and_go),
		TEST(what_cannot_be),
		TEST(resets),
		TEST(a_response_without_room_breaks_it),
		TEST(a_short_request_breaks_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
