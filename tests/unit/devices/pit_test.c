/* SPDX-License-Identifier: Apache-2.0 */
/* The PIT against the 8254 datasheet, tick by tick on a manual clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "devices/legacy/pit.h"

struct fixture {
	struct clock clock;
	struct pit p;
	bool level;
	unsigned edges;
	uint64_t edge_at; /* guest ns of the last */
	int64_t tick;
};

static void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(number, 0);
	if (level && !f->level) {
		f->edges++;
		f->edge_at = clock_now(&f->clock);
	}
	f->level = level;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init_manual(&f->clock);
	pit_init(&f->p, &f->clock, (struct irq_line){pin, f, 0});
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pit_release(&f->p);
	clock_release(&f->clock);
	free(f);
	return 0;
}

/* To the moment just after the given number of further ticks. */
static void ticks(struct fixture *f, int64_t n)
{
	uint64_t ns;

	f->tick += n;
	ns = time_scale((uint64_t)f->tick, NS_PER_SEC, PIT_HZ) + 1;
	clock_advance(&f->clock, ns - clock_now(&f->clock));
}

static void out(struct fixture *f, unsigned reg, uint8_t v)
{
	pthread_mutex_lock(&f->p.lock);
	pit_ops.write(&f->p, reg, 1, v);
	pthread_mutex_unlock(&f->p.lock);
}

static uint8_t in(struct fixture *f, unsigned reg)
{
	uint64_t v;

	pthread_mutex_lock(&f->p.lock);
	v = pit_ops.read(&f->p, reg, 1);
	pthread_mutex_unlock(&f->p.lock);
	return (uint8_t)v;
}

static void speaker(struct fixture *f, uint8_t v)
{
	pthread_mutex_lock(&f->p.lock);
	speaker_ops.write(&f->p, 0, 1, v);
	pthread_mutex_unlock(&f->p.lock);
}

static uint8_t speaker_in(struct fixture *f)
{
	uint64_t v;

	pthread_mutex_lock(&f->p.lock);
	v = speaker_ops.read(&f->p, 0, 1);
	pthread_mutex_unlock(&f->p.lock);
	return (uint8_t)v;
}

static bool out2(struct fixture *f)
{
	return speaker_in(f) & SPEAKER_OUT;
}

static void program(struct fixture *f, unsigned counter, unsigned mode, unsigned count)
{
	out(f, PIT_CONTROL, (uint8_t)(counter << 6 | 0x30 | mode << 1));
	out(f, counter, (uint8_t)count);
	out(f, counter, (uint8_t)(count >> 8));
}

static unsigned read_value(struct fixture *f, unsigned counter)
{
	unsigned low;

	out(f, PIT_CONTROL, (uint8_t)(counter << 6));
	low = in(f, counter);
	return low | (unsigned)in(f, counter) << 8;
}

/* Counter 2 with its gate up; the output as a string, one character a tick, 'H' or '_'. */
static void expect_output(struct fixture *f, const char *wave)
{
	for (size_t i = 0; wave[i]; i++) {
		ticks(f, 1);
		if (out2(f) != (wave[i] == 'H'))
			fail_msg("tick %zu of %s", i + 1, wave);
	}
}

static void mode_0_rises_n_plus_1_ticks_after_the_count(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 0, 4);
	assert_false(out2(f));
	expect_output(f, "____HHHHH");
	assert_int_equal(read_value(f, 2), 0xfffc); /* goes on counting */
	out(f, 2, 3); /* the first byte stops it and lowers the output */
	assert_false(out2(f));
	expect_output(f, "____");
	out(f, 2, 0);
	expect_output(f, "___HH");
}

static void mode_0_holds_while_the_gate_is_low(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 0, 4);
	expect_output(f, "__");
	speaker(f, 0);
	assert_int_equal(read_value(f, 2), 3);
	expect_output(f, "______");
	assert_int_equal(read_value(f, 2), 3);
	speaker(f, SPEAKER_GATE);
	expect_output(f, "__HHH");
	speaker(f, 0);
	expect_output(f, "HHH");
}

static void mode_1_is_a_one_shot_that_the_gate_starts_again(void **state)
{
	struct fixture *f = *state;

	program(f, 2, 1, 3);
	expect_output(f, "HHHH");
	speaker(f, SPEAKER_GATE);
	expect_output(f, "___HHH");
	speaker(f, 0);
	expect_output(f, "HH");
	speaker(f, SPEAKER_GATE);
	expect_output(f, "__");
	speaker(f, 0); /* has no effect on the output */
	speaker(f, SPEAKER_GATE);
	expect_output(f, "___H");
	speaker(f, 0);
	speaker(f, SPEAKER_GATE);
	ticks(f, 1);
	out(f, 2, 5); /* a new count waits for the next trigger */
	out(f, 2, 0);
	expect_output(f, "__H");
	speaker(f, 0);
	speaker(f, SPEAKER_GATE);
	expect_output(f, "_____H");
}

static void mode_2_is_low_for_the_last_tick_of_each_period(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 2, 4);
	expect_output(f, "HHH_HHH_HHH_H");
	assert_int_equal(read_value(f, 2), 4);
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 3);
	out(f, 2, 3); /* taken at the end of the period */
	out(f, 2, 0);
	expect_output(f, "H_HH_HH_");
	speaker(f, 0);
	expect_output(f, "HHHH"); /* the gate forces the output high */
	speaker(f, SPEAKER_GATE);
	expect_output(f, "HH_HH_"); /* and starts a new period */
}

static void mode_3_is_a_square_wave_also_of_odd_counts(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 3, 4);
	expect_output(f, "HH__HH__H");
	program(f, 2, 3, 5);
	expect_output(f, "HHH__HHH__H");
	assert_int_equal(read_value(f, 2), 4);
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 2);
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 0);
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 4);
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 2);
	program(f, 2, 3, 4);
	expect_output(f, "H");
	out(f, 2, 6); /* taken at the end of the half period */
	out(f, 2, 0);
	expect_output(f, "H___HHH___");
	speaker(f, 0);
	expect_output(f, "HHHH");
}

static void mode_4_and_5_strobe_once(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 4, 3);
	expect_output(f, "HHH_HHHHHH");
	out(f, 2, 2); /* a new count starts it again */
	out(f, 2, 0);
	expect_output(f, "HH_HH");
	speaker(f, 0);
	program(f, 2, 5, 3);
	expect_output(f, "HHHHHH");
	speaker(f, SPEAKER_GATE);
	expect_output(f, "HHH_HHHH");
}

static void modes_6_and_7_are_2_and_3(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	program(f, 2, 6, 3);
	expect_output(f, "HH_HH_");
	program(f, 2, 7, 4);
	expect_output(f, "HH__HH__");
}

static void count_0_is_the_longest(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 0);
	ticks(f, 1 + 65536);
	assert_int_equal(f->edges, 1 + 1); /* programming the mode raised the output */
	ticks(f, 65535);
	assert_int_equal(f->edges, 2);
	ticks(f, 1);
	assert_int_equal(f->edges, 3);
}

static void bcd_counts_in_tens(void **state)
{
	struct fixture *f = *state;

	speaker(f, SPEAKER_GATE);
	out(f, PIT_CONTROL, 0xb1); /* counter 2, mode 0, BCD */
	out(f, 2, 0x00);
	out(f, 2, 0x10); /* one thousand */
	ticks(f, 2);
	assert_int_equal(read_value(f, 2), 0x0999);
	ticks(f, 989);
	assert_int_equal(read_value(f, 2), 0x0010);
	ticks(f, 10);
	assert_true(out2(f));
	ticks(f, 1);
	assert_int_equal(read_value(f, 2), 0x9999);
}

static void one_byte_accesses(void **state)
{
	struct fixture *f = *state;

	out(f, PIT_CONTROL, 0x14); /* counter 0, low byte, mode 2 */
	out(f, 0, 100);
	ticks(f, 1);
	assert_int_equal(in(f, 0), 100);
	ticks(f, 1);
	assert_int_equal(in(f, 0), 99);
	out(f, PIT_CONTROL, 0x24); /* high byte */
	out(f, 0, 2);
	ticks(f, 1);
	assert_int_equal(in(f, 0), 2);
	ticks(f, 1);
	assert_int_equal(in(f, 0), 1);
	ticks(f, 511);
	assert_int_equal(in(f, 0), 2);
}

static void unlatched_reads_alternate_between_low_and_high(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 0x1234);
	ticks(f, 1);
	assert_int_equal(in(f, 0), 0x34);
	assert_int_equal(in(f, 0), 0x12);
	assert_int_equal(in(f, 0), 0x34);
}

static void a_latch_holds_until_it_is_read(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 1000);
	ticks(f, 1);
	out(f, PIT_CONTROL, 0x00);
	ticks(f, 100);
	out(f, PIT_CONTROL, 0x00); /* ignored: the first has not been read */
	assert_int_equal(in(f, 0), 1000 & 0xff);
	ticks(f, 100);
	assert_int_equal(in(f, 0), 1000 >> 8);
	assert_int_equal(in(f, 0), (1000 - 200) & 0xff);
}

static void read_back_latches_status_and_count_of_several(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 1000);
	out(f, PIT_CONTROL, 0x70 | 0x06);               /* counter 1: mode 3, no count yet */
	out(f, PIT_CONTROL, PIT_READ_BACK | 0x06);      /* both, of counters 0 and 1 */
	assert_int_equal(in(f, 0), 0x80 | 0x40 | 0x34); /* not loaded before the next tick */
	in(f, 0);
	in(f, 0);
	assert_int_equal(in(f, 1), 0x80 | 0x40 | 0x36);
	ticks(f, 1);
	out(f, PIT_CONTROL, PIT_READ_BACK | PIT_RB_NO_COUNT | 0x02);
	assert_int_equal(in(f, 0), 0x80 | 0x34);
	out(f, 0, 1);
	out(f, 0, 1);
	out(f, PIT_CONTROL, PIT_READ_BACK | PIT_RB_NO_COUNT | 0x02);
	assert_int_equal(in(f, 0), 0x80 | 0x40 | 0x34);
	out(f, PIT_CONTROL, PIT_READ_BACK | PIT_RB_NO_STATE | 0x02);
	assert_int_equal(in(f, 0), 1000 & 0xff);
	assert_int_equal(in(f, 0), 1000 >> 8);
	assert_int_equal(in(f, PIT_CONTROL), 0xff);
}

static void counter_0_interrupts_at_its_rate(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 11932); /* 100 Hz */
	f->edges = 0;
	clock_advance(&f->clock, NS_PER_SEC + 20 * NS_PER_US);
	assert_int_equal(f->edges, 100);
	program(f, 0, 3, 1193); /* 1000 Hz */
	f->edges = 0;
	clock_advance(&f->clock, NS_PER_SEC);
	assert_int_equal(f->edges, 1000);
}

static void counter_0_once(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 0, 100);
	assert_false(f->level);
	ticks(f, 100);
	assert_int_equal(f->edges, 0);
	ticks(f, 1);
	assert_int_equal(f->edges, 1);
	assert_false(f->p.timer.armed);
	program(f, 0, 4, 100);
	f->edges = 0;
	ticks(f, 101);
	assert_int_equal(f->edges, 0);
	ticks(f, 1);
	assert_int_equal(f->edges, 1);
	assert_false(f->p.timer.armed);
}

static void a_control_word_stops_the_timer(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 1000);
	assert_true(f->p.timer.armed);
	out(f, PIT_CONTROL, 0x30);
	assert_false(f->p.timer.armed);
	assert_false(f->level);
	program(f, 0, 2, 1000);
	pit_reset(&f->p);
	assert_false(f->p.timer.armed);
	assert_false(f->level);
	out(f, PIT_CONTROL, PIT_READ_BACK | PIT_RB_NO_COUNT | 0x0e);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(in(f, i), 0x70);
}

static void edges_missed_are_one(void **state)
{
	struct fixture *f = *state;

	program(f, 0, 2, 1000);
	f->edges = 0;
	clock_set(&f->clock, NS_PER_SEC); /* the host was away */
	clock_advance(&f->clock, 0);
	assert_int_equal(f->edges, 1);
	clock_advance(&f->clock, time_scale(1000, NS_PER_SEC, PIT_HZ) + 1);
	assert_int_equal(f->edges, 2);
}

static void port_61_keeps_four_bits_and_shows_refresh(void **state)
{
	struct fixture *f = *state;
	unsigned changes = 0;
	uint8_t last;

	speaker(f, 0xff);
	assert_int_equal(speaker_in(f) & 0xcf, 0x0f);
	speaker(f, 0x00);
	last = speaker_in(f) & 0xcf;
	assert_int_equal(last, 0);
	for (int i = 0; i < 1000; i++) {
		clock_advance(&f->clock, 1000);
		changes += (speaker_in(f) & SPEAKER_REFRESH) != last;
		last = speaker_in(f) & SPEAKER_REFRESH;
	}
	assert_in_range(changes, 65, 67); /* 1 ms of 15.085 us */
}

/* Linux's quick_pit_calibrate and pit_calibrate_tsc: counter 2 in mode 0 by port 0x61. */
static void linux_calibrates_by_counter_2(void **state)
{
	struct fixture *f = *state;
	unsigned msb = 0xff, steps = 0;

	speaker(f, (uint8_t)((speaker_in(f) & ~0x02) | 0x01));
	program(f, 2, 0, 0xffff);
	for (int i = 0; i < 1000; i++) {
		unsigned now;

		ticks(f, 16);
		in(f, 2);
		now = in(f, 2);
		assert_true(now == msb || now == msb - 1);
		steps += now != msb;
		msb = now;
	}
	assert_in_range(steps, 62, 63);
	program(f, 2, 0, PIT_HZ / 100);
	clock_advance(&f->clock, 9990 * NS_PER_US);
	assert_false(out2(f));
	clock_advance(&f->clock, 20 * NS_PER_US);
	assert_true(out2(f));
}

/* Whatever a guest writes: no crash, and the timer is set exactly when an edge will come. */
static void random_accesses_keep_the_invariants(void **state)
{
	struct fixture *f = *state;

	srandom(2);
	for (int i = 0; i < 300000; i++) {
		unsigned what = (unsigned)random() % 8;
		uint8_t v = (uint8_t)random();

		if (what < 3)
			out(f, (unsigned)random() % 4, v);
		else if (what < 5)
			in(f, (unsigned)random() % 4);
		else if (what == 5)
			speaker(f, v);
		else if (what == 6)
			speaker_in(f);
		else
			clock_advance(&f->clock, (uint64_t)random() % 300000);
		assert_int_equal(f->p.timer.armed, f->p.edge != INT64_MAX);
		if (f->p.timer.armed)
			assert_true(f->p.timer.deadline > clock_now(&f->clock));
		for (unsigned n = 0; n < PIT_COUNTERS; n++) {
			const struct pit_counter *c = &f->p.s.counters[n];

			assert_true(!c->loaded || (c->period >= 1 && c->period <= 65536));
			assert_true(c->latched <= 2);
		}
	}
}

/* The wave that output and next_edge describe is the same: each rising edge of counter 2's output,
 * looked for tick by tick, is one that counter 0, programmed the same, interrupts at. */
static void edges_and_output_agree(void **state)
{
	struct fixture *f = *state;

	srandom(3);
	speaker(f, SPEAKER_GATE);
	for (int round = 0; round < 400; round++) {
		static const unsigned modes[] = {0, 2, 3, 4};
		unsigned mode = modes[random() % 4];
		unsigned count = 2 + (unsigned)random() % 9;
		unsigned seen = 0;
		bool was;

		program(f, 0, mode, count);
		program(f, 2, mode, count);
		f->edges = 0;
		was = out2(f);
		for (int i = 0; i < 40; i++) {
			bool is;

			if (i % 13 == 5 && (mode == 2 || mode == 3)) {
				count = 2 + (unsigned)random() % 9;
				for (unsigned n = 0; n <= 2; n += 2) {
					out(f, n, (uint8_t)count);
					out(f, n, 0);
				}
			}
			ticks(f, 1);
			is = out2(f);
			seen += is && !was;
			was = is;
			if (seen != f->edges)
				fail_msg("mode %u count %u tick %d: %u seen, %u given", mode, count,
					 i, seen, f->edges);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(mode_0_rises_n_plus_1_ticks_after_the_count),
		TEST(mode_0_holds_while_the_gate_is_low),
		TEST(mode_1_is_a_one_shot_that_the_gate_starts_again),
		TEST(mode_2_is_low_for_the_last_tick_of_each_period),
		TEST(mode_3_is_a_square_wave_also_of_odd_counts),
		TEST(mode_4_and_5_strobe_once),
		TEST(modes_6_and_7_are_2_and_3),
		TEST(count_0_is_the_longest),
		TEST(bcd_counts_in_tens),
		TEST(one_byte_accesses),
		TEST(unlatched_reads_alternate_between_low_and_high),
		TEST(a_latch_holds_until_it_is_read),
		TEST(read_back_latches_status_and_count_of_several),
		TEST(counter_0_interrupts_at_its_rate),
		TEST(counter_0_once),
		TEST(a_control_word_stops_the_timer),
		TEST(edges_missed_are_one),
		TEST(port_61_keeps_four_bits_and_shows_refresh),
		TEST(linux_calibrates_by_counter_2),
		TEST(random_accesses_keep_the_invariants),
		TEST(edges_and_output_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
