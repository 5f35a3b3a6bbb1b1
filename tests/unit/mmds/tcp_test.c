/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, segment by segment, against what RFC 793 and its successors say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/time.h"
#include "mmds/tcp.h"

#define IRS 0xfffffff0u /* both numbers wrap soon */
#define ISS 0xffffff00u

static uint64_t now;

static enum tcp_fate input(struct tcp_conn *c, uint8_t flags, uint32_t seq, uint32_t ack,
			   const char *data)
{
	const struct tcp_segment s = {.seq = IRS + seq,
				      .ack = ISS + ack,
				      .window = 65535,
				      .flags = flags,
				      .data = (const uint8_t *)data,
				      .len = data ? strlen(data) : 0};

	return tcp_input(c, &s, now);
}

static void window(struct tcp_conn *c, uint32_t seq, uint32_t ack, uint16_t size)
{
	const struct tcp_segment s = {
		.seq = IRS + seq, .ack = ISS + ack, .window = size, .flags = TCP_ACK};

	assert_int_equal(tcp_input(c, &s, now), TCP_LIVES);
}

/* The next segment is this one; its length. */
static size_t output(struct tcp_conn *c, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct tcp_segment s;

	assert_true(tcp_has_output(c));
	assert_true(tcp_output(c, &s, now));
	assert_int_equal(s.flags, flags);
	assert_int_equal(s.seq - ISS, seq);
	assert_int_equal(s.ack - IRS, ack);
	return s.len;
}

static void silent(struct tcp_conn *c)
{
	struct tcp_segment s;

	assert_false(tcp_has_output(c));
	assert_false(tcp_output(c, &s, now));
}

static void syn(struct tcp_conn *c, uint16_t mss)
{
	const struct tcp_segment s = {.seq = IRS, .flags = TCP_SYN, .window = 65535, .mss = mss};

	now = NS_PER_SEC;
	tcp_open(c, &s, ISS);
}

/* As far as ESTABLISHED. */
static void open_connection(struct tcp_conn *c)
{
	syn(c, 1000);
	assert_int_equal(output(c, TCP_SYN | TCP_ACK, 0, 1), 0);
	assert_true(c->deadline);
	assert_int_equal(input(c, TCP_ACK, 1, 1, NULL), TCP_LIVES);
	assert_true(c->synced);
	assert_int_equal(c->deadline, 0);
	silent(c);
}

static void answer(struct tcp_conn *c, size_t len)
{
	uint8_t *data = malloc(len);

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7);
	assert_true(tcp_can_write(c));
	tcp_write(c, data, len, now);
}

/* RFC 793, 3.4 and 3.5: three segments, a question and an answer, the peer closes first. */
static void a_conversation(void **state)
{
	struct tcp_conn c;

	(void)state;
	open_connection(&c);
	assert_int_equal(input(&c, TCP_ACK | TCP_PSH, 1, 1, "hello"), TCP_LIVES);
	assert_memory_equal(c.in, "hello", 5);
	tcp_consume(&c, 5);
	answer(&c, 10);
	assert_int_equal(output(&c, TCP_ACK | TCP_PSH, 1, 6), 10); /* and acknowledges */
	silent(&c);
	assert_int_equal(input(&c, TCP_ACK, 6, 11, NULL), TCP_LIVES);
	assert_null(c.out);
	assert_int_equal(c.deadline, 0);
	assert_int_equal(input(&c, TCP_FIN | TCP_ACK, 6, 11, NULL), TCP_LIVES);
	assert_true(c.got_fin);
	output(&c, TCP_ACK, 11, 7);
	tcp_close(&c);
	output(&c, TCP_FIN | TCP_ACK, 11, 7);
	assert_false(tcp_is_over(&c));
	assert_int_equal(input(&c, TCP_ACK, 7, 12, NULL), TCP_LIVES);
	assert_true(tcp_is_over(&c));
	assert_int_equal(c.deadline, 0);
	tcp_release(&c);
}

/* We close first: FIN with the last data, the peer's FIN is acknowledged last of all. */
static void an_active_close(void **state)
{
	struct tcp_conn c;

	(void)state;
	open_connection(&c);
	answer(&c, 1500);
	tcp_close(&c);
	assert_int_equal(output(&c, TCP_ACK, 1, 1), 1000);
	assert_int_equal(output(&c, TCP_FIN | TCP_PSH | TCP_ACK, 1001, 1), 500);
	silent(&c);
	input(&c, TCP_ACK, 1, 1501, NULL);
	assert_null(c.out);
	assert_false(c.fin_acked);
	input(&c, TCP_ACK, 1, 1502, "late words"); /* which nobody reads */
	assert_true(c.fin_acked);
	assert_int_equal(c.in_len, 0);
	output(&c, TCP_ACK, 1502, 11);
	input(&c, TCP_FIN | TCP_ACK, 11, 1502, NULL);
	assert_false(tcp_is_over(&c));
	output(&c, TCP_ACK, 1502, 12);
	assert_true(tcp_is_over(&c));
	tcp_release(&c);
}

/* RFC 793, 3.9, and RFC 5961: what is not acceptable is acknowledged and dropped. */
static void unacceptable_segments(void **state)
{
	struct tcp_conn c;

	(void)state;
	open_connection(&c);
	input(&c, TCP_ACK, 0, 1, "x"); /* old: as a keep-alive is */
	output(&c, TCP_ACK, 1, 1);
	input(&c, TCP_ACK, 1 + TCP_ROOM, 1, "x"); /* beyond the window */
	output(&c, TCP_ACK, 1, 1);
	input(&c, TCP_ACK, 3, 1, "x"); /* out of order */
	output(&c, TCP_ACK, 1, 1);
	assert_int_equal(c.in_len, 0);
	input(&c, TCP_ACK, 1, 1, "abc");
	input(&c, TCP_ACK, 2, 1, "bcd"); /* partly old */
	assert_int_equal(c.in_len, 4);
	assert_memory_equal(c.in, "abcd", 4);
	output(&c, TCP_ACK, 1, 5);
	input(&c, TCP_ACK, 5, 2, "x"); /* acknowledges what was not sent */
	output(&c, TCP_ACK, 1, 5);
	assert_int_equal(c.in_len, 4);
	assert_int_equal(input(&c, TCP_SYN, 5, 1, NULL), TCP_LIVES);
	output(&c, TCP_ACK, 1, 5);
	assert_int_equal(input(&c, TCP_RST, 6, 1, NULL), TCP_LIVES); /* in the window, not exact */
	output(&c, TCP_ACK, 1, 5);
	assert_int_equal(input(&c, TCP_RST, 4, 1, NULL), TCP_LIVES);
	silent(&c);
	assert_int_equal(input(&c, TCP_PSH, 5, 1, "x"), TCP_LIVES); /* no ACK */
	silent(&c);
	assert_int_equal(input(&c, TCP_RST, 5, 1, NULL), TCP_GONE);
	tcp_release(&c);
}

static void handshakes(void **state)
{
	struct tcp_conn c;

	(void)state;
	syn(&c, 0);
	assert_int_equal(c.mss, 536); /* RFC 1122, 4.2.2.6 */
	output(&c, TCP_SYN | TCP_ACK, 0, 1);
	assert_int_equal(input(&c, TCP_SYN, 0, 0, NULL), TCP_LIVES); /* ours was lost */
	output(&c, TCP_SYN | TCP_ACK, 0, 1);
	assert_int_equal(input(&c, TCP_ACK, 1, 2, NULL), TCP_REFUSES);
	assert_int_equal(input(&c, TCP_ACK, 1, 0, NULL), TCP_REFUSES);
	assert_false(c.synced);
	assert_int_equal(input(&c, TCP_ACK, 1, 1, "with data"), TCP_LIVES);
	assert_true(c.synced);
	assert_int_equal(c.in_len, 9);
	syn(&c, 9000);
	assert_int_equal(c.mss, TCP_MSS_MAX);
	assert_int_equal(input(&c, TCP_ACK, 1, 1, NULL), TCP_REFUSES); /* none was sent */
	output(&c, TCP_SYN | TCP_ACK, 0, 1);
	assert_int_equal(input(&c, TCP_SYN, 1, 0, NULL), TCP_GONE);
	syn(&c, 1);
	assert_true(c.mss >= 28);
	output(&c, TCP_SYN | TCP_ACK, 0, 1);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t wait = c.deadline - now;

		now = c.deadline;
		assert_int_equal(tcp_timeout(&c, now), TCP_LIVES);
		assert_int_equal(c.deadline - now, 2 * wait); /* RFC 6298, 5.5 */
		output(&c, TCP_SYN | TCP_ACK, 0, 1);
	}
	assert_int_equal(tcp_timeout(&c, now), TCP_GONE);
}

/* A loss: all that was not acknowledged goes out again, slowly at first (RFC 5681, 3.1). */
static void retransmission(void **state)
{
	struct tcp_conn c;
	uint64_t wait;

	(void)state;
	open_connection(&c);
	answer(&c, 10000);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(output(&c, TCP_ACK, 1 + i * 1000, 1), 1000);
	silent(&c);
	wait = c.deadline - now;
	now += wait / 2;
	input(&c, TCP_ACK, 1, 1001, NULL);
	assert_int_equal(c.deadline, now + wait); /* RFC 6298, 5.3 */
	now = c.deadline;
	assert_int_equal(tcp_timeout(&c, now), TCP_LIVES);
	assert_int_equal(c.deadline, now + 2 * wait);
	assert_int_equal(output(&c, TCP_ACK, 1001, 1), 1000);
	silent(&c);                        /* one segment alone */
	input(&c, TCP_ACK, 1, 4001, NULL); /* the others had come */
	assert_int_equal(output(&c, TCP_ACK, 4001, 1), 1000);
	assert_int_equal(output(&c, TCP_ACK, 5001, 1), 1000);
	silent(&c);
	input(&c, TCP_ACK, 1, 6001, NULL);
	assert_int_equal(output(&c, TCP_ACK, 6001, 1), 1000);
	for (unsigned i = 0; i < 10; i++) {
		now = c.deadline;
		assert_int_equal(tcp_timeout(&c, now), TCP_LIVES);
		output(&c, TCP_ACK, 6001, 1);
	}
	assert_true(now > 100 * NS_PER_SEC); /* RFC 1122, 4.2.3.5 */
	assert_int_equal(tcp_timeout(&c, c.deadline), TCP_GONE);
	tcp_release(&c);
}

/* RFC 1122, 4.2.2.17: a closed window is asked after, for as long as the peer answers. */
static void a_closed_window(void **state)
{
	struct tcp_conn c;

	(void)state;
	open_connection(&c);
	window(&c, 1, 1, 0);
	answer(&c, 2500);
	silent(&c);
	for (unsigned i = 0; i < 50; i++) {
		assert_true(c.deadline > now);
		now = c.deadline;
		assert_int_equal(tcp_timeout(&c, now), TCP_LIVES);
		assert_int_equal(output(&c, TCP_ACK, 1, 1), 1);
		silent(&c);
		window(&c, 1, 1, 0);
		silent(&c);
	}
	window(&c, 1, 1, 1700);
	assert_int_equal(output(&c, TCP_ACK, 1, 1), 1000);
	silent(&c); /* 700 more would fit, but an acknowledgement will come */
	window(&c, 1, 1001, 1700);
	assert_int_equal(output(&c, TCP_ACK, 1001, 1), 1000);
	assert_int_equal(output(&c, TCP_PSH | TCP_ACK, 2001, 1), 500);
	window(&c, 1, 2501, 0);
	assert_int_equal(c.deadline, 0);
	tcp_release(&c);
}

/* What comes has room until it is read, and not a byte beyond; then the peer is told. */
static void our_window(void **state)
{
	static char data[TCP_ROOM + 1];
	struct tcp_conn c;
	struct tcp_segment s;

	(void)state;
	memset(data, 'x', TCP_ROOM);
	open_connection(&c);
	input(&c, TCP_ACK, 1, 1, data);
	assert_int_equal(c.in_len, TCP_ROOM);
	assert_true(tcp_output(&c, &s, now));
	assert_int_equal(s.window, 0);
	input(&c, TCP_ACK, 1 + TCP_ROOM, 1, "y");
	assert_int_equal(c.in_len, TCP_ROOM);
	assert_true(tcp_output(&c, &s, now));
	assert_int_equal(s.ack - IRS, 1 + TCP_ROOM);
	tcp_consume(&c, 10);
	silent(&c); /* not worth a segment: RFC 1122, 4.2.3.3 */
	tcp_consume(&c, TCP_ROOM / 2);
	assert_true(tcp_output(&c, &s, now));
	assert_int_equal(s.window, TCP_ROOM / 2 + 10);
	input(&c, TCP_ACK | TCP_FIN, 1 + TCP_ROOM, 1, "y");
	assert_true(c.got_fin);
	output(&c, TCP_ACK, 1, TCP_ROOM + 3);
	input(&c, TCP_ACK | TCP_FIN, 1 + TCP_ROOM, 1, "y"); /* again */
	output(&c, TCP_ACK, 1, TCP_ROOM + 3);
	tcp_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_conversation),
		cmocka_unit_test(an_active_close),
		cmocka_unit_test(unacceptable_segments),
		cmocka_unit_test(handshakes),
		cmocka_unit_test(retransmission),
		cmocka_unit_test(a_closed_window),
		cmocka_unit_test(our_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
