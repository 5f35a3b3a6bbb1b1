/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device (virtio 1.2, 5.10): connections, credit, ends; and drivers that break rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "vsock_rig.h"

#define F_SEQPACKET BIT(1)
#define BUFFER      (256u << 10)
#define PAYLOAD     (64u << 10)
#define GUEST       500u
#define HOST        1000u

static struct vsock_rig rig;
static uint8_t bytes[BUFFER + 1];

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	srig_make(&rig);
	srig_start(&rig, F_SEQPACKET);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	srig_release(&rig);
	return 0;
}

static void say(unsigned op, unsigned type, uint32_t flags, const void *data, uint32_t len)
{
	const struct srig_packet p = {.src = GUEST,
				      .dst = HOST,
				      .len = len,
				      .flags = flags,
				      .alloc = BUFFER,
				      .type = (uint16_t)type,
				      .op = (uint16_t)op};

	srig_send(&rig, &p, data, len);
}

static void expect(struct srig_packet *p, unsigned op)
{
	assert_true(srig_take(&rig, p));
	assert_int_equal(p->op, op);
	assert_int_equal(p->src, HOST);
	assert_int_equal(p->dst, GUEST);
}

static void expect_nothing(void)
{
	struct srig_packet p;

	assert_false(srig_take(&rig, &p));
}

/* A connection that the guest asked for. */
static struct srig_line *open_line(unsigned type)
{
	struct srig_packet p;

	say(OP_REQUEST, type, 0, NULL, 0);
	expect(&p, OP_RESPONSE);
	assert_int_equal(p.alloc, BUFFER);
	assert_int_equal(rig.dialed, HOST);
	return &rig.lines[0];
}

static void bytes_both_ways(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	say(OP_RW, STREAM, 0, bytes, 5000);
	assert_int_equal(l->got_len, 5000);
	assert_memory_equal(l->got, bytes, 5000);
	l->said = bytes;
	l->said_len = 5000;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 4096);
	assert_int_equal(p.fwd, 5000);
	assert_memory_equal(p.data, bytes, 4096);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 904);
	assert_memory_equal(p.data, bytes + 4096, 904);
	expect_nothing();
	assert_int_equal(l->watched, PORTAL_READ);
}

static void nobody_there_is_a_reset(void **state)
{
	struct srig_packet p;

	(void)state;
	srig_give(&rig, 2);
	rig.dial_result = -ECONNREFUSED;
	say(OP_REQUEST, STREAM, 0, NULL, 0);
	expect(&p, OP_RST);
	assert_int_equal(virtio_vsock_counts(rig.vsock).refused, 1);
}

/* What the host's program does not read is kept, up to what the guest was told, and no more. */
static void a_slow_reader(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	l->room = 100;
	for (unsigned i = 0; i < 4; i++)
		say(OP_RW, STREAM, 0, bytes + i * PAYLOAD, PAYLOAD);
	assert_int_equal(l->got_len, 100);
	assert_true(l->watched & PORTAL_WRITE);
	say(OP_CREDIT_REQUEST, STREAM, 0, NULL, 0);
	while (srig_take(&rig, &p))
		assert_int_equal(p.op, OP_CREDIT);
	assert_int_equal(p.fwd, 100);
	l->room = sizeof(l->got) - 100;
	srig_ready(&rig, l, PORTAL_WRITE);
	assert_int_equal(l->got_len, BUFFER);
	assert_memory_equal(l->got, bytes, BUFFER);
	assert_false(l->watched & PORTAL_WRITE);
	expect(&p, OP_CREDIT);
	assert_int_equal(p.fwd, BUFFER);
}

static void more_than_its_credit_breaks_a_connection(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	l->room = 0;
	for (unsigned i = 0; i < 4; i++)
		say(OP_RW, STREAM, 0, NULL, PAYLOAD);
	assert_false(l->hung_up);
	say(OP_RW, STREAM, 0, NULL, 1);
	assert_true(l->hung_up);
	while (srig_take(&rig, &p) && p.op == OP_CREDIT)
		;
	assert_int_equal(p.op, OP_RST);
	assert_false(vrig_status(&rig.v) & VIRTIO_NEEDS_RESET);
}

/* The guest's counters wrap, and may be lies: it gets what they leave, and nothing breaks. */
static void the_guests_room_is_kept_to(void **state)
{
	struct srig_packet p = {.src = GUEST, .dst = HOST, .type = STREAM, .op = OP_REQUEST};
	struct srig_line *l = &rig.lines[0];

	(void)state;
	srig_give(&rig, 8);
	p.alloc = 10;
	srig_send(&rig, &p, NULL, 0);
	expect(&p, OP_RESPONSE);
	l->said = bytes;
	l->said_len = 100;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 10);
	expect_nothing();
	assert_false(l->watched & PORTAL_READ);
	p = (struct srig_packet){.src = GUEST, .dst = HOST, .type = STREAM, .op = OP_CREDIT};
	p.alloc = 10;
	p.fwd = 20; /* more than there was */
	srig_send(&rig, &p, NULL, 0);
	expect_nothing();
	p = (struct srig_packet){.src = GUEST, .dst = HOST, .type = STREAM, .op = OP_CREDIT};
	p.alloc = 0xffffffffu;
	p.fwd = 10;
	srig_send(&rig, &p, NULL, 0);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 90);
}

static void packets_keep_their_bounds(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(SEQPACKET);
	say(OP_RW, SEQPACKET, 0, bytes, 100);
	say(OP_RW, SEQPACKET, 0, bytes + 100, 100);
	assert_int_equal(l->got_packets, 0);
	say(OP_RW, SEQPACKET, 1, bytes + 200, 50);
	say(OP_RW, SEQPACKET, 1, bytes + 250, 10);
	assert_int_equal(l->got_packets, 2);
	assert_int_equal(l->got_len, 260);
	assert_memory_equal(l->got, bytes, 260);
	l->said = bytes;
	l->said_len = 5000;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 4096);
	assert_int_equal(p.flags, 0);
	assert_int_equal(p.fwd, 260);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 904);
	assert_int_equal(p.flags, 1);
	l->said = bytes;
	l->said_len = BUFFER + 1; /* the guest could never take it */
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RST);
	assert_true(l->hung_up);
}

static void packets_wait_whole(void **state)
{
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(SEQPACKET);
	l->room = 99;
	say(OP_RW, SEQPACKET, 1, bytes, 100);
	say(OP_RW, SEQPACKET, 1, bytes + 100, 20);
	say(OP_RW, SEQPACKET, 0, bytes + 120, 20);
	assert_int_equal(l->got_packets, 0);
	l->room = 1000;
	srig_ready(&rig, l, PORTAL_WRITE);
	assert_int_equal(l->got_packets, 2);
	assert_int_equal(l->got_len, 120);
	assert_false(l->watched & PORTAL_WRITE);
	say(OP_RW, SEQPACKET, 1, bytes + 140, 1);
	assert_int_equal(l->got_packets, 3);
	assert_memory_equal(l->got, bytes, 141);
}

static void halves_are_ended_one_by_one(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	say(OP_SHUTDOWN, STREAM, 2, NULL, 0);
	assert_int_equal(l->shut, PORTAL_WRITE);
	l->said = bytes;
	l->said_len = 10;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RW);
	l->said_end = true;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_SHUTDOWN);
	assert_int_equal(p.flags, 2);
	expect_nothing();
	assert_false(l->hung_up);
	say(OP_SHUTDOWN, STREAM, 3, NULL, 0);
	expect(&p, OP_RST);
	assert_true(l->hung_up);
}

/* The guest closes; what it had sent is still on its way, and its ports are free. */
static void what_was_sent_arrives_after_the_end(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	l->room = 10;
	say(OP_RW, STREAM, 0, bytes, 100);
	say(OP_SHUTDOWN, STREAM, 3, NULL, 0);
	expect(&p, OP_RST);
	assert_false(l->hung_up);
	assert_int_equal(l->watched, PORTAL_WRITE);
	say(OP_REQUEST, STREAM, 0, NULL, 0);
	expect(&p, OP_RESPONSE);
	l->room = 1000;
	srig_ready(&rig, l, PORTAL_WRITE);
	assert_int_equal(l->got_len, 100);
	assert_true(l->hung_up);
	assert_false(rig.lines[1].hung_up);
	expect_nothing();
}

static void a_program_that_is_gone(void **state)
{
	struct srig_packet p;
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	l->room = 0;
	l->refusal = -EPIPE;
	l->said = bytes;
	l->said_len = 10;
	say(OP_RW, STREAM, 0, bytes, 100); /* what it wrote before is not lost by this */
	expect(&p, OP_SHUTDOWN);
	assert_int_equal(p.flags, 1);
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_RW);
	assert_int_equal(p.len, 10);
	l->said_end = l->deaf = true;
	srig_ready(&rig, l, PORTAL_READ);
	expect(&p, OP_SHUTDOWN);
	assert_int_equal(p.flags, 3);
	assert_true(l->hung_up);
	say(OP_RW, STREAM, 0, bytes, 100);
	say(OP_RST, STREAM, 0, NULL, 0);
	expect_nothing();
}

static void the_host_calls(void **state)
{
	struct srig_packet p, reply;
	struct srig_line *l;

	(void)state;
	l = srig_call(&rig, 77, false);
	assert_non_null(l);
	srig_give(&rig, 8);
	assert_true(srig_take(&rig, &p));
	assert_int_equal(p.op, OP_REQUEST);
	assert_int_equal(p.dst, 77);
	assert_int_equal(l->answered, 0);
	reply = (struct srig_packet){
		.src = 77, .dst = p.src, .type = STREAM, .op = OP_RESPONSE, .alloc = BUFFER};
	srig_send(&rig, &reply, NULL, 0);
	assert_int_equal(l->answered, p.src);
	assert_int_equal(l->watched, PORTAL_READ);
	reply.op = OP_RST;
	srig_send(&rig, &reply, NULL, 0);
	assert_true(l->hung_up);
	expect_nothing();
}

static void nobody_calls_a_guest_that_is_not_there(void **state)
{
	(void)state;
	vrig_set_status(&rig.v, 0);
	assert_null(srig_call(&rig, 77, false));
}

/* Two lines that always have more to say get their turns. */
static void lines_take_turns(void **state)
{
	struct srig_packet p = {
		.src = GUEST, .dst = HOST, .type = STREAM, .op = OP_REQUEST, .alloc = BUFFER};
	unsigned of[2] = {0, 0};

	(void)state;
	srig_give(&rig, 2);
	srig_send(&rig, &p, NULL, 0);
	p.src++;
	srig_send(&rig, &p, NULL, 0);
	while (srig_take(&rig, &p))
		assert_int_equal(p.op, OP_RESPONSE);
	for (unsigned i = 0; i < 2; i++) {
		rig.lines[i].said = bytes;
		rig.lines[i].said_len = BUFFER;
		srig_ready(&rig, &rig.lines[i], PORTAL_READ);
		assert_false(rig.lines[i].watched & PORTAL_READ); /* there is no buffer */
	}
	for (unsigned i = 0; i < 10; i++) {
		srig_give(&rig, 1);
		assert_true(srig_take(&rig, &p));
		of[p.dst - GUEST]++;
	}
	assert_int_equal(of[0], 5);
	assert_int_equal(of[1], 5);
}

static void strays_get_resets(void **state)
{
	static const struct {
		unsigned op, type;
		bool answered;
	} all[] = {
		{OP_RW, STREAM, true},     {OP_RESPONSE, STREAM, true}, {OP_SHUTDOWN, STREAM, true},
		{OP_CREDIT, STREAM, true}, {OP_RST, STREAM, false},     {99, STREAM, true},
		{OP_REQUEST, 3, true},     {OP_REQUEST, 0, true},
	};
	struct srig_packet p;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		say(all[i].op, all[i].type, 0, NULL, 0);
		srig_give(&rig, 1);
		if (all[i].answered) {
			expect(&p, OP_RST);
			assert_int_equal(p.type, all[i].type);
		} else {
			expect_nothing();
		}
	}
	/* However many: they are forgotten at last. */
	for (unsigned i = 0; i < 3000; i++)
		say(OP_RW, STREAM, 0, NULL, 0);
	assert_true(virtio_vsock_counts(rig.vsock).silenced > 0);
}

static void packets_that_cannot_be_break_the_device(void **state)
{
	static const uint32_t lens[] = {1, PAYLOAD, PAYLOAD + 1, 0xffffffffu};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		const struct srig_packet p = {
			.src = GUEST, .dst = HOST, .type = STREAM, .op = OP_RW, .len = lens[i]};

		srig_start(&rig, 0);
		srig_send(&rig, &p, NULL, 0);
		assert_true(vrig_status(&rig.v) & VIRTIO_NEEDS_RESET);
	}
}

static void a_reset_hangs_up(void **state)
{
	struct srig_line *l;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	l->room = 0;
	say(OP_RW, STREAM, 0, bytes, 100);
	vrig_set_status(&rig.v, 0);
	assert_true(l->hung_up);
	srig_start(&rig, 0);
	srig_give(&rig, 8);
	expect_nothing();
}

static void a_transport_reset_is_told(void **state)
{
	const struct driver_buffer b = {0x3f0000, 8, true};
	struct srig_line *l;
	uint32_t written;

	(void)state;
	srig_give(&rig, 8);
	l = open_line(STREAM);
	*(uint8_t *)mem_ptr_rw(&rig.v.mem, 0x3f0000, 1) = 0xee;
	virtio_vsock_transport_reset(rig.vsock);
	assert_true(l->hung_up);
	driver_add(&rig.event, &b, 1, false);
	vrig_notify(&rig.v, 2);
	assert_true(driver_get_used(&rig.event, &written) >= 0);
	assert_int_equal(written, 4);
	assert_int_equal(driver_peek(&rig.event, 0x3f0000, 4), 0);
}

static void it_has_a_context_id(void **state)
{
	(void)state;
	assert_int_equal(vrig_pci_read(&rig.v, PCI_DEVICE_ID, 2), 0x1040 + 19);
	assert_int_equal(vrig_config_read(&rig.v, 0, 4), SRIG_CID);
	assert_int_equal(vrig_config_read(&rig.v, 4, 4), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_has_a_context_id),
		TEST(bytes_both_ways),
		TEST(nobody_there_is_a_reset),
		TEST(a_slow_reader),
		TEST(more_than_its_credit_breaks_a_connection),
		TEST(the_guests_room_is_kept_to),
		TEST(packets_keep_their_bounds),
		TEST(packets_wait_whole),
		TEST(halves_are_ended_one_by_one),
		TEST(what_was_sent_arrives_after_the_end),
		TEST(a_program_that_is_gone),
		TEST(the_host_calls),
		TEST(nobody_calls_a_guest_that_is_not_there),
		TEST(lines_take_turns),
		TEST(strays_get_resets),
		TEST(packets_that_cannot_be_break_the_device),
		TEST(a_reset_hangs_up),
		TEST(a_transport_reset_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
