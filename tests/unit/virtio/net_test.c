/* SPDX-License-Identifier: Apache-2.0 */
/* Frames through the network device (virtio 1.2, 5.1.6), on an interface that the test plays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net_rig.h"

#define RX   0
#define TX   1
#define DATA NRIG_DATA

static struct net_rig rig;
static uint8_t frame[2048];

static int setup(void **state)
{
	(void)state;
	nrig_make(&rig, false, 1);
	memset(frame, 0xff, 6);
	for (unsigned i = 6; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	return 0;
}

static int setup_header(void **state)
{
	setup(state);
	nrig_release(&rig);
	nrig_make(&rig, true, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nrig_release(&rig);
	return 0;
}

static int used(unsigned queue, uint32_t *written)
{
	return driver_get_used(&rig.queue[queue], written);
}

static void it_says_what_it_is(void **state)
{
	uint64_t features = vrig_features(&rig.v);

	(void)state;
	assert_int_equal(vrig_pci_read(&rig.v, PCI_DEVICE_ID, 2), 0x1041);
	assert_int_equal(bus_read(&rig.v.mmio, VRIG_BAR + 18, 2), 3);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(vrig_config_read(&rig.v, i, 1), nrig_mac[i]);
	assert_int_equal(vrig_config_read(&rig.v, 6, 2), 1);
	assert_int_equal(vrig_config_read(&rig.v, 8, 2), 1);
	assert_int_equal(vrig_config_read(&rig.v, 10, 2), 1400);
	assert_int_equal(features & (F_MAC | F_MTU | F_STATUS | F_MRG_RXBUF | F_CSUM),
			 F_MAC | F_MTU | F_STATUS | F_MRG_RXBUF | F_CSUM);
	/* One pair, and frames without headers. */
	assert_false(features & (F_MQ | F_HOST_TSO4 | F_GUEST_TSO4 | F_GUEST_OFFLOADS));
}

/* A frame in a buffer: a header of zeroes but for the number of buffers, and its bytes. */
static void check_received(uint64_t gpa, unsigned flags, size_t len)
{
	const uint8_t *got = nrig_at(&rig, gpa);

	assert_int_equal(got[0], flags);
	for (unsigned i = 1; i < 10; i++)
		assert_int_equal(got[i], 0);
	assert_int_equal(got[10], 1);
	assert_int_equal(got[11], 0);
	assert_memory_equal(got + 12, frame, len);
}

static void a_frame_comes(void **state)
{
	uint32_t written;

	(void)state;
	nrig_start(&rig, 0, 8);
	nrig_give(&rig, RX, DATA, 1526, true);
	nrig_came(&rig, 0, frame, 100);
	assert_true(nrig_turn(&rig, 0));
	assert_true(used(RX, &written) >= 0);
	assert_int_equal(written, 112);
	check_received(DATA, 0, 100);
	assert_int_equal(nrig_at(&rig, DATA)[112], 0);
	assert_int_equal(rig.v.edges, 1);
}

/* What never was on a wire has a right checksum, if the driver understands that. */
static void a_bare_interfaces_frames_are_right(void **state)
{
	(void)state;
	nrig_start(&rig, F_GUEST_CSUM, 8);
	nrig_give(&rig, RX, DATA, 1526, true);
	nrig_came(&rig, 0, frame, 100);
	assert_true(nrig_turn(&rig, 0));
	check_received(DATA, 2, 100);
}

static void without_buffers_frames_wait(void **state)
{
	(void)state;
	nrig_start(&rig, 0, 8);
	nrig_came(&rig, 0, frame, 100);
	assert_true(nrig_turn(&rig, 0));
	assert_int_equal(rig.fake.in[0].count, 1);
	/* It is left alone until the driver notifies. */
	assert_false(nrig_turn(&rig, 0));
	nrig_give(&rig, RX, DATA, 1526, true);
	assert_true(nrig_turn(&rig, 0));
	assert_int_equal(rig.fake.in[0].count, 0);
	check_received(DATA, 0, 100);
	/* There are no more frames, so it is watched on. */
	assert_true(nrig_turn(&rig, 0));
}

/* Header and frame over buffers of these sizes; the second half of them comes later. */
static void merge(uint64_t features)
{
	static const uint32_t sizes[] = {13, 1, 500, 7, 600};
	uint8_t got[1500];
	size_t at = 0;
	uint32_t written;

	nrig_start(&rig, F_MRG_RXBUF | features, 8);
	nrig_came(&rig, 0, frame, 1000);
	for (unsigned i = 0; i < 3; i++)
		nrig_give(&rig, RX, DATA + i * 0x1000, sizes[i], true);
	assert_true(nrig_turn(&rig, 0));
	assert_int_equal(used(RX, &written), -1);
	assert_int_equal(rig.v.edges, 0);
	for (unsigned i = 3; i < 5; i++)
		nrig_give(&rig, RX, DATA + i * 0x1000, sizes[i], true);
	assert_true(nrig_turn(&rig, 0));
	for (unsigned i = 0; i < 5; i++) {
		assert_true(used(RX, &written) >= 0);
		assert_int_equal(written, i < 4 ? sizes[i] : 1012 - at);
		memcpy(got + at, nrig_at(&rig, DATA + i * 0x1000), written);
		at += written;
	}
	assert_int_equal(at, 1012);
	assert_int_equal(got[10] | got[11] << 8, 5);
	assert_memory_equal(got + 12, frame, 1000);
	assert_int_equal(rig.v.edges, 1);
	assert_int_equal(rig.fake.in[0].count, 0);
}

static void a_frame_takes_several_buffers(void **state)
{
	(void)state;
	merge(0);
}

static void a_frame_takes_several_packed_buffers(void **state)
{
	(void)state;
	merge(VIRTIO_F_RING_PACKED);
}

static void a_frame_that_fits_no_buffer_is_dropped(void **state)
{
	uint32_t written;

	(void)state;
	nrig_start(&rig, 0, 8);
	nrig_give(&rig, RX, DATA, 111, true);
	nrig_came(&rig, 0, frame, 100);
	nrig_came(&rig, 0, frame, 99);
	assert_true(nrig_turn(&rig, 0));
	assert_true(used(RX, &written) >= 0);
	assert_int_equal(written, 111);
	check_received(DATA, 0, 99);
	assert_int_equal(virtio_net_counts(rig.net).dropped, 1);
	assert_int_equal(virtio_net_counts(rig.net).received, 1);
	assert_int_equal(virtio_net_counts(rig.net).received_bytes, 99);
	assert_int_equal(atomic_load(&rig.stream.bytes), 99);
}

/* All buffers together are too small: the frame is cut, and the queue lives on. */
static void a_frame_that_fits_no_queue_is_cut(void **state)
{
	uint32_t written;

	(void)state;
	nrig_start(&rig, F_MRG_RXBUF, 4);
	nrig_came(&rig, 0, frame, 1000);
	for (unsigned i = 0; i < 4; i++)
		nrig_give(&rig, RX, DATA + i * 0x100, 20, true);
	assert_true(nrig_turn(&rig, 0));
	for (unsigned i = 0; i < 4; i++)
		assert_true(used(RX, &written) >= 0);
	assert_int_equal(nrig_at(&rig, DATA)[10], 4);
	assert_int_equal(rig.fake.in[0].count, 0);
}

static void a_reset_in_the_middle_of_a_frame(void **state)
{
	uint32_t written;

	(void)state;
	nrig_start(&rig, F_MRG_RXBUF, 8);
	nrig_came(&rig, 0, frame, 1000);
	nrig_give(&rig, RX, DATA, 20, true);
	assert_true(nrig_turn(&rig, 0));
	nrig_start(&rig, 0, 8);
	memset(nrig_at(&rig, DATA), 0, 0x1000);
	nrig_turn(&rig, 0);
	nrig_give(&rig, RX, DATA + 0x1000, 1526, true);
	assert_true(nrig_turn(&rig, 0));
	assert_true(used(RX, &written) >= 0);
	assert_int_equal(written, 1012);
	check_received(DATA + 0x1000, 0, 1000);
	assert_int_equal(*nrig_at(&rig, DATA), 0);
}

/* What the driver has not accepted to finish itself it does not get. */
static void headers_fit_what_was_negotiated(void **state)
{
	static const struct {
		uint8_t flags, gso;
		uint64_t features;
		bool passes;
	} cases[] = {
		{0, 0, 0, true},
		{1, 0, 0, false},
		{1, 0, F_GUEST_CSUM, true},
		{1, 1, F_GUEST_CSUM, false},
		{1, 1, F_GUEST_CSUM | F_GUEST_TSO4, true},
		{1, 4, F_GUEST_CSUM | F_GUEST_TSO4, false},
		{1, 0x81, F_GUEST_CSUM | F_GUEST_TSO4, false}, /* ECN */
		{1, 77, F_GUEST_CSUM | F_GUEST_TSO4, false},
	};
	uint32_t written;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t bytes[112] = {cases[i].flags, cases[i].gso};

		memcpy(bytes + 12, frame, 100);
		nrig_start(&rig, cases[i].features, 8);
		nrig_give(&rig, RX, DATA, 1526, true);
		nrig_came(&rig, 0, bytes, sizeof(bytes));
		assert_true(nrig_turn(&rig, 0));
		assert_int_equal(used(RX, &written) >= 0, cases[i].passes);
		if (!cases[i].passes)
			continue;
		assert_int_equal(nrig_at(&rig, DATA)[0], cases[i].flags);
		assert_int_equal(nrig_at(&rig, DATA)[1], cases[i].gso);
		assert_memory_equal(nrig_at(&rig, DATA + 12), frame, 100);
	}
}

static void offloads_are_the_interfaces(void **state)
{
	(void)state;
	nrig_start(&rig, F_GUEST_CSUM | F_GUEST_TSO4 | F_MRG_RXBUF, 8);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM | NETIF_TSO4);
	nrig_start(&rig, F_GUEST_CSUM, 8);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM);
	nrig_start(&rig, 0, 8);
	assert_int_equal(rig.fake.offloads, 0);
}

static void put_frame(uint64_t gpa, uint8_t flags, uint8_t gso)
{
	const uint8_t header[12] = {flags, gso};

	memcpy(nrig_at(&rig, gpa), header, sizeof(header));
	memcpy(nrig_at(&rig, gpa) + 12, frame, sizeof(frame));
}

static void a_frame_is_sent_without_its_header(void **state)
{
	const struct driver_buffer b[] = {
		{DATA, 5, false}, {DATA + 5, 20, false}, {DATA + 25, 87, false}};
	uint32_t written;

	(void)state;
	nrig_start(&rig, 0, 8);
	put_frame(DATA, 0, 0);
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		driver_add(&rig.queue[TX], b, 3, indirect);
		vrig_notify(&rig.v, TX);
		assert_int_equal(rig.fake.sent, indirect + 1);
		assert_int_equal(rig.fake.sent_len, 100);
		assert_memory_equal(rig.fake.sent_frame, frame, 100);
		assert_true(used(TX, &written) >= 0);
		assert_int_equal(written, 0);
	}
}

static void a_frame_is_sent_with_its_header(void **state)
{
	(void)state;
	nrig_start(&rig, F_CSUM | F_HOST_TSO4, 8);
	put_frame(DATA, 1, 1);
	nrig_give(&rig, TX, DATA, 1012, false);
	assert_int_equal(rig.fake.sent_len, 1012);
	assert_memory_equal(rig.fake.sent_frame, nrig_at(&rig, DATA), 1012);
}

static void what_the_host_does_not_take_waits(void **state)
{
	const struct netif_user *user = &rig.fake.netif.user;
	uint32_t written;

	(void)state;
	nrig_start(&rig, 0, 8);
	put_frame(DATA, 0, 0);
	rig.fake.refuse = -EAGAIN;
	nrig_give(&rig, TX, DATA, 112, false);
	nrig_give(&rig, TX, DATA, 113, false);
	assert_int_equal(used(TX, &written), -1);
	assert_true(atomic_load(&rig.fake.netif.ports[0].blocked));
	rig.fake.refuse = 0;
	user->writable(user->opaque, 0);
	assert_int_equal(rig.fake.sent, 2);
	assert_int_equal(rig.fake.sent_len, 101);
	assert_true(used(TX, &written) >= 0);
	assert_true(used(TX, &written) >= 0);
	/* One that was in hand at a reset is not sent. */
	rig.fake.refuse = -EAGAIN;
	nrig_give(&rig, TX, DATA, 112, false);
	nrig_start(&rig, 0, 8);
	rig.fake.refuse = 0;
	user->writable(user->opaque, 0);
	assert_int_equal(rig.fake.sent, 2);
	/* An error is a frame lost, as on any wire. */
	rig.fake.refuse = -EIO;
	nrig_give(&rig, TX, DATA, 112, false);
	assert_true(used(TX, &written) >= 0);
	assert_int_equal(virtio_net_counts(rig.net).lost, 1);
}

static void what_is_no_frame_is_lost(void **state)
{
	static const uint32_t lens[] = {1, 11, 12, 25, 12 + NETIF_FRAME_MAX + 1};
	uint32_t written;

	(void)state;
	nrig_start(&rig, 0, 8);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		nrig_give(&rig, TX, DATA, lens[i], false);
		assert_true(used(TX, &written) >= 0);
	}
	assert_int_equal(rig.fake.sent, 0);
	assert_false(vrig_status(&rig.v) & VIRTIO_NEEDS_RESET);
}

/* The checksum by RFC 1071, a byte at a time. */
static unsigned checksum(const uint8_t *bytes, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void checksums_are_done(void **state)
{
	static const size_t cuts[] = {100, 299, 300, 301, 1500};

	(void)state;
	nrig_start(&rig, F_CSUM, 8);
	for (unsigned i = 0; i < ARRAY_LEN(cuts); i++) {
		const struct driver_buffer b[] = {
			{DATA, 12 + (uint32_t)cuts[i], false},
			{DATA + 12 + cuts[i], 1601 - (uint32_t)cuts[i], false}};
		uint32_t written;
		unsigned want;

		put_frame(DATA, 1, 0);
		store_le(nrig_at(&rig, DATA) + 6, 2, 34);
		store_le(nrig_at(&rig, DATA) + 8, 2, 16);
		want = checksum(frame + 34, 1601 - 34);
		driver_add(&rig.queue[TX], b, 2, false);
		vrig_notify(&rig.v, TX);
		assert_true(used(TX, &written) >= 0);
		assert_int_equal(rig.fake.sent, i + 1);
		assert_int_equal(rig.fake.sent_len, 1601);
		assert_int_equal(rig.fake.sent_frame[50] << 8 | rig.fake.sent_frame[51], want);
		assert_memory_equal(rig.fake.sent_frame, frame, 50);
		assert_memory_equal(rig.fake.sent_frame + 52, frame + 52, 1601 - 52);
		/* The driver's memory is not written to. */
		assert_memory_equal(nrig_at(&rig, DATA + 12), frame, 1601);
	}
}

/* A sum of 0 is sent as 0xffff; a place beyond the headers is not written to. */
static void odd_checksums(void **state)
{
	static const uint16_t places[][2] = {
		{0xffff, 0xffff}, {99, 0}, {100, 0}, {0, 99}, {300, 0}};

	(void)state;
	nrig_start(&rig, F_CSUM, 8);
	memset(nrig_at(&rig, DATA), 0, 112);
	nrig_at(&rig, DATA)[0] = 1;
	nrig_at(&rig, DATA)[6] = 20;
	memset(nrig_at(&rig, DATA + 12 + 40), 0xff, 2);
	nrig_give(&rig, TX, DATA, 112, false);
	assert_int_equal(rig.fake.sent, 1);
	assert_int_equal(rig.fake.sent_frame[20] << 8 | rig.fake.sent_frame[21], 0xffff);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		store_le(nrig_at(&rig, DATA) + 6, 2, places[i][0]);
		store_le(nrig_at(&rig, DATA) + 8, 2, places[i][1]);
		nrig_give(&rig, TX, DATA, 112, false);
		assert_int_equal(rig.fake.sent, 1);
	}
}

static void broken_rules_need_a_reset(void **state)
{
	static const struct {
		unsigned queue;
		uint32_t len;
		bool write;
	} cases[] = {
		{TX, 112, true}, {RX, 1526, false}, {RX, 11, true}, {2, 10, false}, {2, 10, true}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		nrig_start(&rig, F_CTRL_VQ, 8);
		nrig_came(&rig, 0, frame, 100);
		nrig_give(&rig, cases[i].queue, DATA, cases[i].len, cases[i].write);
		nrig_turn(&rig, 0);
		assert_true(vrig_status(&rig.v) & VIRTIO_NEEDS_RESET);
		rig.fake.in[0].count = 0;
	}
}

static void an_interface_that_is_gone_is_a_link_down(void **state)
{
	const struct netif_user *user = &rig.fake.netif.user;

	(void)state;
	nrig_start(&rig, F_STATUS, 8);
	vrig_interrupts(&rig.v);
	user->gone(user->opaque, "it was deleted");
	assert_string_equal(rig.fake.gone, "it was deleted");
	assert_int_equal(vrig_config_read(&rig.v, 6, 2), 0);
	assert_int_equal(vrig_interrupts(&rig.v), 2);
}

static void the_limiter_is_asked(void **state)
{
	uint32_t written;

	(void)state;
	nrig_release(&rig);
	rig.tx.ops = (struct limiter_bucket){.size = 2, .refill_ms = 1000};
	nrig_make(&rig, false, 1);
	nrig_start(&rig, 0, 8);
	put_frame(DATA, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		nrig_give(&rig, TX, DATA, 112, false);
	assert_int_equal(rig.fake.sent, 2);
	clock_advance(&rig.clock, 499999999);
	assert_int_equal(rig.fake.sent, 2);
	clock_advance(&rig.clock, 1);
	assert_int_equal(rig.fake.sent, 3);
	clock_advance(&rig.clock, 500000000);
	assert_int_equal(rig.fake.sent, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(used(TX, &written) >= 0);
}

#define TEST(f)   cmocka_unit_test_setup_teardown(f, setup, teardown)
#define HEADED(f) cmocka_unit_test_setup_teardown(f, setup_header, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_says_what_it_is),
		TEST(a_frame_comes),
		TEST(a_bare_interfaces_frames_are_right),
		TEST(without_buffers_frames_wait),
		TEST(a_frame_takes_several_buffers),
		TEST(a_frame_takes_several_packed_buffers),
		TEST(a_frame_that_fits_no_buffer_is_dropped),
		TEST(a_frame_that_fits_no_queue_is_cut),
		TEST(a_reset_in_the_middle_of_a_frame),
		HEADED(headers_fit_what_was_negotiated),
		HEADED(offloads_are_the_interfaces),
		TEST(a_frame_is_sent_without_its_header),
		HEADED(a_frame_is_sent_with_its_header),
		TEST(what_the_host_does_not_take_waits),
		TEST(what_is_no_frame_is_lost),
		TEST(checksums_are_done),
		TEST(odd_checksums),
		TEST(broken_rules_need_a_reset),
		TEST(an_interface_that_is_gone_is_a_link_down),
		TEST(the_limiter_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
