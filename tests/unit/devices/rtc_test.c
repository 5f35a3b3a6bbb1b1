/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock against the MC146818 datasheet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "base/time.h"
#include "devices/legacy/rtc.h"

#define LEAP_DAY 1709251198ull /* 2024-02-29 23:59:58 UTC, a Thursday */

struct fixture {
	struct clock clock;
	struct rtc r;
	bool level;
	unsigned edges;
};

static void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(number, 8);
	f->edges += level && !f->level;
	f->level = level;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init_manual(&f->clock);
	clock_set_wall(&f->clock, LEAP_DAY * NS_PER_SEC);
	rtc_init(&f->r, &f->clock, (struct irq_line){pin, f, 8});
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rtc_release(&f->r);
	clock_release(&f->clock);
	free(f);
	return 0;
}

static uint8_t port_in(struct fixture *f, unsigned port)
{
	uint64_t v;

	pthread_mutex_lock(&f->r.lock);
	v = rtc_ops.read(&f->r, port, 1);
	pthread_mutex_unlock(&f->r.lock);
	return (uint8_t)v;
}

static void port_out(struct fixture *f, unsigned port, uint8_t v)
{
	pthread_mutex_lock(&f->r.lock);
	rtc_ops.write(&f->r, port, 1, v);
	pthread_mutex_unlock(&f->r.lock);
}

static uint8_t in(struct fixture *f, uint8_t index)
{
	port_out(f, 0, index);
	return port_in(f, 1);
}

static void out(struct fixture *f, uint8_t index, uint8_t v)
{
	port_out(f, 0, index);
	port_out(f, 1, v);
}

static void advance_ms(struct fixture *f, uint64_t ms)
{
	clock_advance(&f->clock, ms * NS_PER_MS);
}

static uint64_t wall_ms(struct fixture *f)
{
	return clock_wall(&f->clock) / NS_PER_MS;
}

/* Second, minute, hour, day of week, day, month, year, century. */
static void expect_time(struct fixture *f, const uint8_t expected[8])
{
	static const uint8_t index[8] = {0, 2, 4, 6, 7, 8, 9, RTC_CENTURY};

	for (int i = 0; i < 8; i++)
		assert_int_equal(in(f, index[i]), expected[i]);
}

static void time_is_utc_in_bcd_and_24_hours(void **state)
{
	struct fixture *f = *state;

	expect_time(f, (const uint8_t[]){0x58, 0x59, 0x23, 5, 0x29, 0x02, 0x24, 0x20});
	advance_ms(f, 2000);
	expect_time(f, (const uint8_t[]){0x00, 0x00, 0x00, 6, 0x01, 0x03, 0x24, 0x20});
	assert_int_equal(in(f, RTC_D), RTC_D_VRT);
	assert_int_equal(in(f, RTC_A), 0x26);
	assert_int_equal(in(f, RTC_B), RTC_B_24H);
	assert_int_equal(port_in(f, 0), 0xff);
}

static void time_in_binary_and_12_hours(void **state)
{
	static const uint8_t hours[24] = {0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
					  0x08, 0x09, 0x10, 0x11, 0x92, 0x81, 0x82, 0x83,
					  0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91};
	struct fixture *f = *state;

	out(f, RTC_B, RTC_B_24H | RTC_B_DM);
	expect_time(f, (const uint8_t[]){58, 59, 23, 5, 29, 2, 24, 20});
	out(f, RTC_B, RTC_B_DM);
	assert_int_equal(in(f, RTC_HOUR), 0x80 | 11);
	out(f, RTC_B, 0);
	advance_ms(f, 2000);
	for (int h = 0; h < 24; h++) {
		assert_int_equal(in(f, RTC_HOUR), hours[h]);
		out(f, RTC_HOUR, hours[h]); /* as read, so written */
		assert_int_equal(in(f, RTC_HOUR), hours[h]);
		advance_ms(f, 3600 * 1000);
	}
}

static void dates_agree_with_the_host_s_calendar(void **state)
{
	struct fixture *f = *state;

	out(f, RTC_B, RTC_B_24H | RTC_B_DM);
	srandom(4);
	for (int i = 0; i < 3000; i++) {
		time_t t = (time_t)((uint64_t)random() * 4 % 9000000000ull);
		struct tm tm;

		gmtime_r(&t, &tm);
		clock_set_wall(&f->clock, (uint64_t)t * NS_PER_SEC);
		expect_time(f, (const uint8_t[]){(uint8_t)tm.tm_sec, (uint8_t)tm.tm_min,
						 (uint8_t)tm.tm_hour, (uint8_t)(tm.tm_wday + 1),
						 (uint8_t)tm.tm_mday, (uint8_t)(tm.tm_mon + 1),
						 (uint8_t)(tm.tm_year % 100),
						 (uint8_t)((tm.tm_year + 1900) / 100)});
	}
}

/* What Linux's mc146818_set_time does, to 2031-07-08 09:10:11. */
static void a_guest_sets_the_clock(void **state)
{
	struct fixture *f = *state;

	advance_ms(f, 300);
	out(f, RTC_B, RTC_B_24H | RTC_B_SET);
	out(f, RTC_A, 0x70 | 6);
	out(f, RTC_YEAR, 0x31);
	out(f, RTC_CENTURY, 0x20);
	out(f, RTC_MONTH, 0x07);
	out(f, RTC_DAY, 0x08);
	out(f, RTC_HOUR, 0x09);
	out(f, RTC_MINUTE, 0x10);
	out(f, RTC_SECOND, 0x11);
	advance_ms(f, 5000); /* nothing moves */
	assert_int_equal(in(f, RTC_SECOND), 0x11);
	out(f, RTC_B, RTC_B_24H);
	advance_ms(f, 5000);
	assert_int_equal(in(f, RTC_SECOND), 0x11);
	out(f, RTC_A, 0x26);
	assert_int_equal(wall_ms(f), 1941268211500ull); /* the first update is half a second away */
	advance_ms(f, 499);
	assert_int_equal(in(f, RTC_SECOND), 0x11);
	advance_ms(f, 2);
	assert_int_equal(in(f, RTC_SECOND), 0x12);
	assert_int_equal(in(f, RTC_DAY_OF_WEEK), 3);
}

static void set_alone_keeps_the_phase_and_without_writes_the_time(void **state)
{
	struct fixture *f = *state;

	advance_ms(f, 300);
	out(f, RTC_B, RTC_B_24H | RTC_B_SET);
	advance_ms(f, 5000);
	assert_int_equal(in(f, RTC_SECOND), 0x58);
	out(f, RTC_B, RTC_B_24H);
	assert_int_equal(wall_ms(f), LEAP_DAY * 1000 + 5300);
	assert_int_equal(in(f, RTC_SECOND), 0x03);
	out(f, RTC_B, RTC_B_24H | RTC_B_SET);
	out(f, RTC_MINUTE, 0x30);
	advance_ms(f, 400);
	out(f, RTC_B, RTC_B_24H);
	assert_int_equal(wall_ms(f), LEAP_DAY * 1000 + 5700 + 30 * 60000);
}

static void a_byte_written_while_it_runs_counts_at_once(void **state)
{
	struct fixture *f = *state;

	out(f, RTC_YEAR, 0x25); /* 2025-02-29 does not exist */
	expect_time(f, (const uint8_t[]){0x58, 0x59, 0x23, 7, 0x01, 0x03, 0x25, 0x20});
	out(f, RTC_DAY_OF_WEEK, 1); /* follows from the date */
	assert_int_equal(in(f, RTC_DAY_OF_WEEK), 7);
}

static void uip_warns_244_us_before_an_update(void **state)
{
	struct fixture *f = *state;

	clock_advance(&f->clock, NS_PER_SEC - 245 * NS_PER_US);
	assert_int_equal(in(f, RTC_A), 0x26);
	clock_advance(&f->clock, 2 * NS_PER_US);
	assert_int_equal(in(f, RTC_A), 0x26 | RTC_A_UIP);
	out(f, RTC_B, RTC_B_24H | RTC_B_SET);
	assert_int_equal(in(f, RTC_A), 0x26);
	out(f, RTC_B, RTC_B_24H);
	clock_advance(&f->clock, 243 * NS_PER_US);
	assert_int_equal(in(f, RTC_A), 0x26);
	assert_int_equal(in(f, RTC_SECOND), 0x59);
	out(f, RTC_A, 0xff);
	assert_int_equal(in(f, RTC_A), 0x7f); /* UIP cannot be written */
}

static void flags_are_set_without_interrupts_and_cleared_by_reading(void **state)
{
	struct fixture *f = *state;

	in(f, RTC_C);
	assert_int_equal(in(f, RTC_C), 0);
	advance_ms(f, 1000);
	assert_int_equal(in(f, RTC_C), RTC_C_UF | RTC_C_PF);
	assert_int_equal(in(f, RTC_C), 0);
	assert_false(f->r.timer.armed);
	assert_int_equal(f->edges, 0);
}

static void update_interrupt_once_a_second(void **state)
{
	struct fixture *f = *state;

	advance_ms(f, 400);
	out(f, RTC_A, 0x20);
	in(f, RTC_C);
	out(f, RTC_B, RTC_B_24H | RTC_B_UIE);
	advance_ms(f, 599);
	assert_false(f->level);
	advance_ms(f, 1);
	assert_true(f->level);
	assert_false(f->r.timer.armed); /* pending: nothing more can happen */
	advance_ms(f, 5000);
	assert_int_equal(f->edges, 1);
	assert_int_equal(in(f, RTC_C) & ~RTC_C_AF, RTC_C_IRQF | RTC_C_UF);
	assert_false(f->level);
	advance_ms(f, 1000);
	assert_int_equal(f->edges, 2);
	out(f, RTC_B, RTC_B_24H | RTC_B_UIE | RTC_B_SET); /* SET clears UIE */
	assert_int_equal(in(f, RTC_B), RTC_B_24H | RTC_B_SET);
	assert_false(f->level);
	assert_false(f->r.timer.armed);
}

static void periodic_interrupt_at_all_rates(void **state)
{
	static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
					256, 128, 64,  32,   16,   8,    4,    2};
	struct fixture *f = *state;

	for (uint8_t rate = 0; rate < 16; rate++) {
		unsigned count = 0;

		out(f, RTC_B, RTC_B_24H);
		out(f, RTC_A, 0x20 | rate);
		in(f, RTC_C);
		out(f, RTC_B, RTC_B_24H | RTC_B_PIE);
		assert_int_equal(f->r.timer.armed, rate != 0);
		for (int i = 0; i < 20000; i++) { /* one second in 50 us */
			clock_advance(&f->clock, 50 * NS_PER_US);
			if (f->level) {
				assert_true(in(f, RTC_C) & RTC_C_PF);
				count++;
			}
		}
		assert_in_range(count, hz[rate] ? hz[rate] - 1 : 0, hz[rate] ? hz[rate] + 1 : 0);
	}
}

static void alarm_at_a_time_of_day(void **state)
{
	struct fixture *f = *state;

	out(f, RTC_HOUR_ALARM, 0x00);
	out(f, RTC_MINUTE_ALARM, 0x01);
	out(f, RTC_SECOND_ALARM, 0x05);
	in(f, RTC_C);
	out(f, RTC_B, RTC_B_24H | RTC_B_AIE);
	advance_ms(f, (2 + 64) * 1000);
	assert_false(f->level);
	advance_ms(f, 1000);
	assert_true(f->level);
	assert_true(in(f, RTC_C) & RTC_C_AF);
	advance_ms(f, 86399 * 1000);
	assert_false(f->level);
	advance_ms(f, 1000);
	assert_true(f->level);
}

static void alarm_fields_that_match_always(void **state)
{
	static const struct {
		uint8_t hour, minute, second;
		unsigned period; /* seconds between two alarms */
	} rows[] = {
		{0xff, 0xff, 0xff, 1},     {0xc0, 0xff, 0x30, 60}, {0xff, 0x15, 0x30, 3600},
		{0x03, 0x15, 0x30, 86400}, {0x03, 0x75, 0x30, 0}, /* no such minute */
	};
	struct fixture *f = *state;

	out(f, RTC_A, 0x20);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t last = 0;

		out(f, RTC_B, RTC_B_24H);
		out(f, RTC_HOUR_ALARM, rows[i].hour);
		out(f, RTC_MINUTE_ALARM, rows[i].minute);
		out(f, RTC_SECOND_ALARM, rows[i].second);
		in(f, RTC_C);
		out(f, RTC_B, RTC_B_24H | RTC_B_AIE);
		assert_int_equal(f->r.timer.armed, rows[i].period != 0);
		for (int n = 0; n < 5 && rows[i].period; n++) {
			while (!f->level)
				clock_advance(&f->clock, rows[i].period * NS_PER_SEC / 7);
			assert_true(in(f, RTC_C) & RTC_C_AF);
			/* the alarm came in this seventh of a period */
			if (last)
				assert_in_range(clock_wall(&f->clock) / NS_PER_SEC - last,
						rows[i].period - rows[i].period / 7 - 1,
						rows[i].period + rows[i].period / 7 + 1);
			last = clock_wall(&f->clock) / NS_PER_SEC;
		}
	}
}

/* Each alarm found is the first second that matches, looked for one by one. */
static void alarms_agree_with_a_search(void **state)
{
	struct fixture *f = *state;

	srandom(5);
	out(f, RTC_A, 0x20);
	for (int i = 0; i < 200; i++) {
		uint64_t begin = (uint64_t)random() % 100000000;
		uint64_t t = begin;
		int h = random() % 3 ? (int)(random() % 24) : -1;
		int m = random() % 3 ? (int)(random() % 60) : -1;
		int s = random() % 3 ? (int)(random() % 60) : -1;

		out(f, RTC_B, RTC_B_24H | RTC_B_DM);
		out(f, RTC_HOUR_ALARM, (uint8_t)h);
		out(f, RTC_MINUTE_ALARM, (uint8_t)m);
		out(f, RTC_SECOND_ALARM, (uint8_t)s);
		clock_set_wall(&f->clock, begin * NS_PER_SEC);
		in(f, RTC_C);
		in(f, RTC_C);
		out(f, RTC_B, RTC_B_24H | RTC_B_DM | RTC_B_AIE);
		do {
			t++;
		} while ((h >= 0 && (int)(t / 3600 % 24) != h) ||
			 (m >= 0 && (int)(t / 60 % 60) != m) || (s >= 0 && (int)(t % 60) != s));
		clock_advance(&f->clock, (t - begin) * NS_PER_SEC - 1);
		assert_false(f->level);
		clock_advance(&f->clock, 1);
		assert_true(f->level);
	}
}

static void memory_sizes_and_ram(void **state)
{
	struct fixture *f = *state;

	rtc_set_memory(&f->r, 3 * GIB(1), 5 * GIB(1));
	assert_int_equal(in(f, 0x15) | in(f, 0x16) << 8, 640);
	assert_int_equal(in(f, 0x17) | in(f, 0x18) << 8, 0xffff);
	assert_int_equal(in(f, 0x30) | in(f, 0x31) << 8, 0xffff);
	assert_int_equal(in(f, 0x34) | in(f, 0x35) << 8, (3072 - 16) * 16);
	assert_int_equal(in(f, 0x5b) | in(f, 0x5c) << 8 | in(f, 0x5d) << 16, 5 * 1024 * 16);
	assert_int_equal(in(f, RTC_CENTURY), 0x20);
	rtc_set_memory(&f->r, MIB(8), 0);
	assert_int_equal(in(f, 0x17) | in(f, 0x18) << 8, 7 * 1024);
	assert_int_equal(in(f, 0x34) | in(f, 0x35) << 8, 0);
	out(f, 0x80 | 0x40, 0x5a); /* NMI masked, same byte */
	assert_true(f->r.s.nmi_masked);
	assert_int_equal(in(f, 0x40), 0x5a);
	assert_false(f->r.s.nmi_masked);
	out(f, RTC_SHUTDOWN, 0x0a);
	rtc_reset(&f->r);
	assert_int_equal(in(f, 0x40), 0x5a); /* there is a battery */
	assert_int_equal(in(f, RTC_SHUTDOWN), 0);
}

static void reset_stops_interrupts_and_keeps_the_time(void **state)
{
	struct fixture *f = *state;

	out(f, RTC_B, RTC_B_UIE | RTC_B_PIE | RTC_B_DM);
	advance_ms(f, 1000);
	assert_true(f->level);
	in(f, RTC_C);
	assert_true(f->r.timer.armed);
	rtc_reset(&f->r);
	assert_false(f->level);
	assert_false(f->r.timer.armed);
	assert_int_equal(in(f, RTC_B), RTC_B_24H);
	assert_int_equal(in(f, RTC_C), 0);
	assert_int_equal(in(f, RTC_SECOND), 0x59);
}

static void random_accesses_keep_the_invariants(void **state)
{
	struct fixture *f = *state;

	srandom(6);
	for (int i = 0; i < 200000; i++) {
		unsigned what = (unsigned)random() % 16;
		uint8_t v = (uint8_t)random();

		if (what < 3)
			port_out(f, 0, v % 16);
		else if (what < 8)
			port_out(f, 1, v);
		else if (what < 12)
			port_in(f, what % 2);
		else if (what == 12)
			out(f, RTC_CENTURY, v);
		else
			clock_advance(&f->clock, (uint64_t)random());
		assert_int_equal(f->level, (f->r.s.bytes[RTC_B] & f->r.s.bytes[RTC_C] & 0x70) != 0);
		assert_int_equal(f->r.timer_set, f->r.timer.armed);
		assert_false(f->level && f->r.timer.armed);
		if (!(f->r.s.bytes[RTC_B] & 0x70))
			assert_false(f->r.timer.armed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(time_is_utc_in_bcd_and_24_hours),
		TEST(time_in_binary_and_12_hours),
		TEST(dates_agree_with_the_host_s_calendar),
		TEST(a_guest_sets_the_clock),
		TEST(set_alone_keeps_the_phase_and_without_writes_the_time),
		TEST(a_byte_written_while_it_runs_counts_at_once),
		TEST(uip_warns_244_us_before_an_update),
		TEST(flags_are_set_without_interrupts_and_cleared_by_reading),
		TEST(update_interrupt_once_a_second),
		TEST(periodic_interrupt_at_all_rates),
		TEST(alarm_at_a_time_of_day),
		TEST(alarm_fields_that_match_always),
		TEST(alarms_agree_with_a_search),
		TEST(memory_sizes_and_ram),
		TEST(reset_stops_interrupts_and_keeps_the_time),
		TEST(random_accesses_keep_the_invariants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
