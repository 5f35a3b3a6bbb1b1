/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a guest's, and the frames that answer them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/time.h"
#include "mmds/counts.h"
#include "mmds_rig.h"

#define LARGE     40000u
#define GET(path) "GET " path " HTTP/1.1\r\n\r\n"

static char json[LARGE + 100];
static struct mmds_rig rig;
static struct mrig_client clients[40];

static int setup_with(bool header)
{
	int head = sprintf(json, "{\"id\":\"i-1\",\"large\":\"");

	for (unsigned i = 0; i < LARGE; i++)
		json[head + (int)i] = (char)('a' + i * i % 26);
	strcpy(json + head + LARGE, "\"}");
	mrig_make(&rig, header, json);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(false);
}

static int setup_header(void **state)
{
	(void)state;
	return setup_with(true);
}

static int teardown(void **state)
{
	(void)state;
	mrig_release(&rig);
	return 0;
}

static const uint8_t arp_request[60] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 1,   2,   3,   4, 5, 8, 6, /* Ethernet */
	0,    1,    8,    0,    6,    4,    0,    1,                         /* what it is */
	0x52, 1,    2,    3,    4,    5,    10,   0,   0,   2,               /* who asks */
	0,    0,    0,    0,    0,    0,    169,  254, 169, 254,             /* after whom */
};

/* RFC 826. */
static void address_resolution(void **state)
{
	static const uint8_t reply[28] = {0,   1,   8,   0,   6,   4,   0,   2,   2,    'l',
					  'o', 'd', 'g', 'e', 169, 254, 169, 254, 0x52, 1,
					  2,   3,   4,   5,   10,  0,   0,   2};
	uint8_t frame[60];
	const uint8_t *got;
	size_t len;

	(void)state;
	assert_false(mrig_send(&rig, arp_request, sizeof(arp_request), 2, false));
	got = mrig_take(&rig, &len);
	assert_non_null(got);
	assert_int_equal(len, 42);
	assert_memory_equal(got, mrig_mac, 6);
	assert_memory_equal(got + 6, "\x02lodge\x08\x06", 8);
	assert_memory_equal(got + 14, reply, sizeof(reply));
	assert_null(mrig_take(&rig, &len));
	/* A reply, a claim, other protocols: taken, since they are for the address, and no more. */
	for (unsigned at = 14; at < 22; at++) {
		memcpy(frame, arp_request, sizeof(frame));
		frame[at] ^= 2;
		assert_false(mrig_send(&rig, frame, sizeof(frame), 1, false));
		assert_null(mrig_take(&rig, &len));
	}
	memcpy(frame, arp_request, sizeof(frame));
	memcpy(frame + 28, frame + 38, 4);
	assert_false(mrig_send(&rig, frame, sizeof(frame), 1, false));
	assert_null(mrig_take(&rig, &len));
}

/* What is for others goes to the host; what comes from there comes. */
static void frames_of_others(void **state)
{
	static const uint8_t came[64] = {1, 2, 3};
	uint8_t frame[60];
	const uint8_t *got;
	size_t len;

	(void)state;
	memcpy(frame, arp_request, sizeof(frame));
	frame[41] = 253;
	assert_true(mrig_send(&rig, frame, sizeof(frame), 3, false));
	memset(frame, 0, sizeof(frame));
	frame[12] = 8;
	assert_true(mrig_send(&rig, frame, sizeof(frame), 3, false));
	memcpy(frame + 30, "\xa9\xfe\xa9\xfe", 4);
	assert_false(mrig_send(&rig, frame, sizeof(frame), 3, false));
	frame[13] = 1; /* another protocol than IPv4 */
	assert_true(mrig_send(&rig, frame, sizeof(frame), 1, false));
	frame[13] = 0;
	assert_true(mrig_send(&rig, frame, 33, 1, false)); /* too short to tell */
	assert_true(mrig_send(&rig, frame, 1, 1, false));
	assert_null(mrig_take(&rig, &len));
	rig.host_frame = came;
	rig.host_len = sizeof(came);
	got = NULL;
	assert_int_equal(netif_receive(&rig.netif, 0, &got, &len), 0);
	assert_ptr_equal(got, came);
	/* One that was begun stays before those of the service. */
	mrig_send(&rig, arp_request, sizeof(arp_request), 1, false);
	assert_int_equal(netif_receive(&rig.netif, 0, &got, &len), 0);
	assert_ptr_equal(got, came);
	netif_received(&rig.netif, 0);
	assert_int_equal(netif_receive(&rig.netif, 0, &got, &len), 0);
	assert_ptr_not_equal(got, came);
	rig.host_len = sizeof(came); /* and the other way round */
	assert_int_equal(netif_receive(&rig.netif, 0, &got, &len), 0);
	assert_ptr_not_equal(got, came);
	netif_received(&rig.netif, 0);
	assert_int_equal(netif_receive(&rig.netif, 0, &got, &len), 0);
	assert_ptr_equal(got, came);
	netif_received(&rig.netif, 0);
}

static void requests_on_one_connection(void **state)
{
	struct mrig_client *c = &clients[0];
	size_t len;

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	assert_null(mrig_take(&rig, &len));
	assert_int_equal(rig.clock.first != NULL, 0); /* nothing is waited for */
	assert_int_equal(mrig_ask(c, GET("/id")), 200);
	assert_string_equal(strstr(c->got, "\r\n\r\n") + 4, "i-1");
	assert_int_equal(mrig_ask(c, GET("/none")), 404);
	/* In pieces, and two at once. */
	mrig_write(c, "\r\nGET /id HT", TCP_ACK);
	assert_int_equal(mrig_read(c, 0), 1);
	assert_int_equal(mrig_ask(c, "TP/1.1\n\n" GET("/none")), 200);
	assert_non_null(strstr(c->got, "i-1HTTP/1.1 404"));
	/* A body that nobody wants, and a request behind it. */
	assert_int_equal(mrig_ask(c, "PUT /id HTTP/1.1\r\nContent-Length: 10\r\n\r\nGET /"), 404);
	assert_int_equal(mrig_ask(c, "12345" GET("/id")), 200);
	assert_int_equal(rig.clock.first != NULL, 0);
	mrig_write(c, "", TCP_FIN | TCP_ACK);
	mrig_read(c, 0);
	assert_true(c->got_fin);
	mrig_write(c, "", TCP_ACK); /* to a connection that is gone */
	mrig_read(c, 0);
	assert_true(c->got_rst);
	assert_int_equal(rig.clock.first != NULL, 0);
}

/* As a guest sends them that leaves segmentation to its device (virtio 1.2, 5.1.6.2); more than the
 * window has room for is taken as far as it has, as always with TCP. */
static void a_request_in_a_frame_that_is_not_cut(void **state)
{
	struct mrig_client *c = &clients[0];
	char request[8000];

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	snprintf(request, sizeof(request), "GET /id HTTP/1.1\r\nX-Long: %03500d\r\n\r\n", 1);
	assert_int_equal(mrig_ask(c, request), 200);
	assert_int_equal(atomic_load(&mmds_service_counts(rig.service)->requests), 1);
	assert_int_equal(atomic_load(&mmds_service_counts(rig.service)->unusual), 0);
	snprintf(request, sizeof(request), "GET /id HTTP/1.1\r\nX-Long: %07000d\r\n\r\n", 1);
	mrig_ask(c, request);
	netif_reset(&rig.netif);
	mrig_connect(c, &rig, MRIG_PORT);
	assert_int_equal(mrig_ask(c, GET("/id")), 200);
	assert_int_equal(rig.host_frames, 0);
}

static void what_it_does_is_counted(void **state)
{
	struct mmds_counts *n = mmds_service_counts(rig.service);
	struct mrig_client *c = &clients[0];

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	mrig_ask(c, GET("/id"));
	mrig_ask(c, GET("/none"));
	assert_int_equal(atomic_load(&n->connections), 1);
	assert_int_equal(atomic_load(&n->closed), 0);
	assert_int_equal(atomic_load(&n->requests), 2);
	assert_int_equal(atomic_load(&n->refused), 1);
	assert_true(atomic_load(&n->frames) >= 4 && atomic_load(&n->sent) >= 3);
	assert_true(atomic_load(&n->sent_bytes) > 100);
	mrig_write(c, "", TCP_FIN | TCP_ACK);
	mrig_read(c, 0);
	mrig_write(c, "", TCP_ACK);
	assert_int_equal(atomic_load(&n->closed), 1);
}

static void a_request_that_ends_the_connection(void **state)
{
	struct mrig_client *c = &clients[0];

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	assert_int_equal(mrig_ask(c, "GET /id HTTP/1.0\r\n\r\n"), 200);
	assert_true(c->got_fin);
	mrig_write(c, "", TCP_FIN | TCP_ACK);
	assert_int_equal(mrig_read(c, 0), 1);
	assert_false(c->got_rst);
	/* A head that never ends. */
	mrig_connect(c, &rig, MRIG_PORT);
	for (unsigned i = 0; i < 4; i++) {
		static char words[1100];

		memset(words, 'x', 1024);
		mrig_write(c, words, TCP_ACK);
		mrig_read(c, 0);
	}
	assert_int_equal(strncmp(c->got, "HTTP/1.1 400", 12), 0);
	assert_true(c->got_fin);
	/* One that is cut off. */
	mrig_connect(c, &rig, MRIG_PORT + 1);
	mrig_write(c, "GET / HTT", TCP_FIN | TCP_ACK);
	mrig_read(c, 0);
	assert_true(c->got_fin);
	assert_int_equal(c->got_len, 0);
}

static void is_large(struct mrig_client *c)
{
	const char *body = strstr(c->got, "\r\n\r\n");

	assert_non_null(body);
	assert_int_equal(strlen(body + 4), LARGE);
	assert_memory_equal(body + 4, strstr(json, "large") + 8, LARGE);
}

static void a_large_answer(void **state)
{
	struct mrig_client *c = &clients[0];

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	assert_int_equal(mrig_ask(c, GET("/large")), 200);
	is_large(c);
}

/* Each third, second, ... frame is lost; time makes it good, and then stands still. */
static void losses(void **state)
{
	struct mrig_client *c = &clients[0];

	(void)state;
	for (unsigned lose = 2; lose < 8; lose++) {
		unsigned rounds = 0;

		mrig_connect(c, &rig, (uint16_t)(MRIG_PORT + lose));
		mrig_write(c, GET("/large"), TCP_ACK);
		for (; rounds < 100 && (rig.clock.first || !rounds); rounds++) {
			mrig_read(c, lose);
			if (rig.clock.first)
				clock_advance(&rig.clock, 30 * NS_PER_SEC);
		}
		assert_true(rounds < 100);
		is_large(c);
		assert_false(c->got_rst);
	}
}

static void a_guest_that_is_gone(void **state)
{
	struct mrig_client *c = &clients[0];
	struct mrig_segment s;

	(void)state;
	mrig_connect(c, &rig, MRIG_PORT);
	mrig_write(c, GET("/large"), TCP_ACK);
	for (unsigned i = 0; i < 12; i++) {
		while (mrig_hear(&rig, &s))
			;
		clock_advance(&rig.clock, 60 * NS_PER_SEC);
	}
	assert_null(rig.clock.first);
	mrig_write(c, "", TCP_ACK);
	assert_true(mrig_hear(&rig, &s));
	assert_true(s.flags & TCP_RST);
}

static void segments_that_are_wrong(void **state)
{
	struct mrig_client *c = &clients[0];
	struct mrig_segment s = {.port = MRIG_PORT, .flags = TCP_SYN, .wrong = true};

	(void)state;
	mrig_say(&rig, &s);
	assert_false(mrig_hear(&rig, &s)); /* dropped without a word: RFC 1122, 4.2.2.7 */
	s = (struct mrig_segment){.port = MRIG_PORT, .flags = TCP_SYN, .ip_flags = 0x2000};
	mrig_say(&rig, &s); /* a fragment */
	assert_false(mrig_hear(&rig, &s));
	/* RFC 793, 3.4: resets. */
	s = (struct mrig_segment){.port = MRIG_PORT, .to = 81, .seq = 7, .flags = TCP_SYN};
	mrig_say(&rig, &s);
	assert_true(mrig_hear(&rig, &s));
	assert_int_equal(s.to, 81);
	assert_int_equal(s.flags, TCP_RST | TCP_ACK);
	assert_int_equal(s.seq, 0);
	assert_int_equal(s.ack, 8);
	s = (struct mrig_segment){.port = MRIG_PORT, .seq = 7, .ack = 9, .flags = TCP_ACK};
	mrig_say(&rig, &s);
	assert_true(mrig_hear(&rig, &s));
	assert_int_equal(s.flags, TCP_RST);
	assert_int_equal(s.seq, 9);
	s = (struct mrig_segment){.port = MRIG_PORT, .flags = TCP_RST | TCP_ACK};
	mrig_say(&rig, &s);
	assert_false(mrig_hear(&rig, &s));
	mrig_connect(c, &rig, MRIG_PORT);
	s = (struct mrig_segment){
		.port = MRIG_PORT, .seq = c->seq, .ack = c->ack, .flags = TCP_RST};
	mrig_say(&rig, &s);
	mrig_write(c, "", TCP_ACK);
	assert_true(mrig_hear(&rig, &s));
	assert_true(s.flags & TCP_RST); /* it was gone */
}

/* Two at once, frame by frame in turns. */
static void two_clients(void **state)
{
	struct mrig_segment s;
	unsigned turns = 0, last = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		mrig_connect(&clients[i], &rig, (uint16_t)(MRIG_PORT + i));
	for (unsigned i = 0; i < 2; i++)
		mrig_write(&clients[i], GET("/large"), TCP_ACK);
	while (mrig_hear(&rig, &s)) {
		struct mrig_client *c = &clients[s.port - MRIG_PORT];

		turns += s.port != last;
		last = s.port;
		assert_int_equal(s.seq, c->ack);
		memcpy(c->got + c->got_len, s.data, s.len);
		c->got_len += s.len;
		c->ack += (uint32_t)s.len;
		mrig_write(c, "", TCP_ACK);
	}
	assert_true(turns > 20);
	is_large(&clients[0]);
	is_large(&clients[1]);
}

/* The 17th connection takes the place of the one that was silent longest; none, if all are busy. */
static void many_clients(void **state)
{
	struct mrig_segment s;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		mrig_connect(&clients[i], &rig, (uint16_t)(MRIG_PORT + i));
		clock_advance(&rig.clock, 1000);
	}
	mrig_ask(&clients[0], GET("/id"));
	s = (struct mrig_segment){.port = MRIG_PORT + 16, .flags = TCP_SYN};
	mrig_say(&rig, &s);
	assert_true(mrig_hear(&rig, &s));
	assert_int_equal(s.port, MRIG_PORT + 1);
	assert_true(s.flags & TCP_RST);
	assert_int_equal(s.seq, clients[1].ack);
	assert_true(mrig_hear(&rig, &s));
	assert_int_equal(s.port, MRIG_PORT + 16);
	assert_int_equal(s.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(mrig_ask(&clients[0], GET("/id")), 200);
	s = (struct mrig_segment){
		.port = MRIG_PORT + 16, .seq = 1, .ack = s.seq + 1, .flags = TCP_ACK};
	mrig_say(&rig, &s);
	for (unsigned i = 0; i < 16; i++) {
		if (i != 1)
			mrig_write(&clients[i], GET("/large"), TCP_ACK);
	}
	s.data = GET("/large");
	s.len = strlen(s.data);
	s.flags = TCP_ACK;
	mrig_say(&rig, &s);
	while (mrig_hear(&rig, &s))
		;
	s = (struct mrig_segment){.port = 1, .flags = TCP_SYN};
	mrig_say(&rig, &s);
	assert_true(mrig_hear(&rig, &s));
	assert_true(s.flags & TCP_RST);
	assert_int_equal(s.port, 1);
}

/* A driver that begins anew hears nothing of what was before. */
static void a_reset(void **state)
{
	struct mrig_segment s;
	const uint8_t *frame;
	size_t len;

	(void)state;
	mrig_connect(&clients[0], &rig, MRIG_PORT);
	mrig_write(&clients[0], GET("/large"), TCP_ACK);
	assert_int_equal(netif_receive(&rig.netif, 0, &frame, &len), 0);
	assert_non_null(rig.clock.first);
	netif_reset(&rig.netif);
	assert_null(rig.clock.first);
	assert_false(mrig_hear(&rig, &s));
	mrig_connect(&clients[0], &rig, MRIG_PORT);
	assert_int_equal(mrig_ask(&clients[0], GET("/id")), 200);
}

/* A flood costs what sixteen connections do. */
static void a_flood(void **state)
{
	struct mrig_segment s;
	unsigned heard = 0;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		s = (struct mrig_segment){.port = (uint16_t)i, .seq = i, .flags = TCP_SYN};
		mrig_say(&rig, &s);
		s = (struct mrig_segment){.port = (uint16_t)i, .to = 22, .flags = TCP_SYN};
		mrig_say(&rig, &s);
	}
	while (mrig_hear(&rig, &s))
		heard++;
	assert_true(heard >= 16 && heard <= 32);
}

#define BOTH(f)                                              \
	cmocka_unit_test_setup_teardown(f, setup, teardown), \
		cmocka_unit_test_setup_teardown(f, setup_header, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(address_resolution),
		BOTH(frames_of_others),
		BOTH(requests_on_one_connection),
		BOTH(a_request_in_a_frame_that_is_not_cut),
		BOTH(what_it_does_is_counted),
		BOTH(a_request_that_ends_the_connection),
		BOTH(a_large_answer),
		BOTH(losses),
		BOTH(a_guest_that_is_gone),
		BOTH(segments_that_are_wrong),
		BOTH(two_clients),
		BOTH(many_clients),
		BOTH(a_reset),
		BOTH(a_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
