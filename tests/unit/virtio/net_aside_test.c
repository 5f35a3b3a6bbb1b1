/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody beside the interface of a network device (host/netif.h): what he takes and gives. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "net_rig.h"

#define HEADER NETIF_HEADER_SIZE
#define RX     0
#define TX     1

static struct net_rig rig;

/* He wants frames that begin with 0xaa, and has some of 0xbb. */
static struct {
	unsigned taken, waiting, resets;
	uint8_t frame[HEADER + 100];
} he;

static bool takes(void *opaque, const struct netif_span *spans, unsigned count)
{
	size_t offset = rig.fake.netif.header ? HEADER : 0;

	(void)opaque;
	(void)count;
	assert_true(spans[0].len > offset);
	if (((const uint8_t *)spans[0].base)[offset] != 0xaa)
		return false;
	he.taken++;
	return true;
}

static bool next(void *opaque, const uint8_t **frame, size_t *len)
{
	(void)opaque;
	if (!he.waiting)
		return false;
	he.waiting--;
	memset(he.frame, 0, sizeof(he.frame));
	memset(he.frame + (rig.fake.netif.header ? HEADER : 0), 0xbb, 100);
	*frame = he.frame;
	*len = 100 + (rig.fake.netif.header ? HEADER : 0);
	return true;
}

static bool waiting(void *opaque)
{
	(void)opaque;
	return he.waiting;
}

static void reset(void *opaque)
{
	(void)opaque;
	he.resets++;
	he.waiting = 0;
}

static void start(bool header)
{
	static const struct netif_aside aside = {takes, next, waiting, reset, NULL};

	memset(&he, 0, sizeof(he));
	nrig_make(&rig, header, 1);
	netif_attach(&rig.fake.netif, &aside);
	nrig_start(&rig, F_MRG_RXBUF, 16);
}

static void send(uint8_t first, unsigned len)
{
	uint32_t written;

	memset(nrig_at(&rig, NRIG_DATA), 0, HEADER);
	memset(nrig_at(&rig, NRIG_DATA + HEADER), first, len);
	nrig_give(&rig, TX, NRIG_DATA, HEADER + len, false);
	assert_true(driver_get_used(&rig.queue[TX], &written) >= 0);
}

static void what_he_takes(void **state)
{
	(void)state;
	for (unsigned header = 0; header < 2; header++) {
		start(header);
		send(0xaa, 60);
		assert_int_equal(he.taken, 1);
		assert_int_equal(rig.fake.sent, 0);
		send(0xab, 60);
		assert_int_equal(he.taken, 1);
		assert_int_equal(rig.fake.sent, 1);
		rig.fake.refuse = -EAGAIN; /* his do not wait for the host */
		send(0xaa, 60);
		assert_int_equal(he.taken, 2);
		nrig_release(&rig);
	}
}

/* His frame is given into buffers that come one by one, with one of the host's after it. */
static void what_he_gives(void **state)
{
	uint8_t own[64];
	uint32_t written;

	(void)state;
	start(false);
	memset(own, 0xff, sizeof(own));
	he.waiting = 1;
	nrig_give(&rig, RX, NRIG_DATA, HEADER + 40, true);
	nrig_turn(&rig, 0);
	assert_int_equal(he.waiting, 0);
	assert_int_equal(driver_get_used(&rig.queue[RX], &written), -1);
	nrig_came(&rig, 0, own, sizeof(own));
	he.waiting = 1;
	nrig_give(&rig, RX, NRIG_DATA + 0x1000, 200, true);
	nrig_turn(&rig, 0);
	assert_true(driver_get_used(&rig.queue[RX], &written) >= 0);
	assert_int_equal(written, HEADER + 40);
	assert_true(driver_get_used(&rig.queue[RX], &written) >= 0);
	assert_int_equal(written, 60);
	assert_int_equal(*nrig_at(&rig, NRIG_DATA + HEADER), 0xbb);
	assert_int_equal(*nrig_at(&rig, NRIG_DATA + 0x1000 + 59), 0xbb);
	for (unsigned i = 0; i < 2; i++) {
		nrig_give(&rig, RX, NRIG_DATA + 0x2000 + 0x1000 * i, 200, true);
		nrig_turn(&rig, 0);
		assert_true(driver_get_used(&rig.queue[RX], &written) >= 0);
	}
	assert_int_equal(*nrig_at(&rig, NRIG_DATA + 0x2000 + HEADER), 0xbb);
	assert_int_equal(*nrig_at(&rig, NRIG_DATA + 0x3000 + HEADER), 0xff);
	nrig_release(&rig);
}

/* A driver's reset in the middle of his frame: the next one sees nothing of it. */
static void a_reset(void **state)
{
	uint8_t own[64];
	uint32_t written;

	(void)state;
	start(false);
	he.waiting = 2;
	nrig_give(&rig, RX, NRIG_DATA, HEADER + 40, true);
	nrig_turn(&rig, 0);
	he.resets = 0;
	nrig_start(&rig, F_MRG_RXBUF, 16);
	assert_true(he.resets);
	memset(own, 0xff, sizeof(own));
	nrig_came(&rig, 0, own, sizeof(own));
	nrig_give(&rig, RX, NRIG_DATA, 200, true);
	nrig_turn(&rig, 0);
	assert_true(driver_get_used(&rig.queue[RX], &written) >= 0);
	assert_int_equal(written, HEADER + 64);
	assert_int_equal(*nrig_at(&rig, NRIG_DATA + HEADER), 0xff);
	nrig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_he_takes),
		cmocka_unit_test(what_he_gives),
		cmocka_unit_test(a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
