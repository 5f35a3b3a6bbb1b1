/* SPDX-License-Identifier: Apache-2.0 */
/* The UART's transmitter and its interrupt against the PC16550D datasheet. */
#include "uart_rig.h"

static void output_goes_out_at_once_and_in_order(void **state)
{
	struct fixture *f = *state;

	for (const char *p = "hello\n"; *p; p++) {
		out(f, UART_THR, (uint8_t)*p);
		assert_int_equal(in(f, UART_LSR) & 0x60, 0x60);
	}
	assert_int_equal(host.out_len, 6);
	assert_memory_equal(host.out, "hello\n", 6);
}

static void a_busy_host_keeps_the_transmitter_busy_and_no_byte_is_lost(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE, UART_IER_ETBEI);
	assert_int_equal(in(f, UART_IIR), 0xc2);
	assert_false(f->level);
	host.room = 3;
	for (int i = 0; i < 3 + 16; i++)
		out(f, UART_THR, (uint8_t)('a' + i));
	assert_int_equal(in(f, UART_LSR) & 0x60, 0);
	assert_false(f->level);
	assert_int_equal(in(f, UART_IIR), 0xc1);
	out(f, UART_THR, '!'); /* written to a full FIFO: lost, as the datasheet's chip does */
	host_takes(10);
	assert_int_equal(in(f, UART_LSR) & 0x60, 0);
	assert_false(f->level);
	host_takes(100);
	assert_int_equal(in(f, UART_LSR) & 0x60, 0x60);
	assert_true(f->level);
	assert_int_equal(in(f, UART_IIR), 0xc2);
	assert_int_equal(host.out_len, 19);
	assert_memory_equal(host.out, "abcdefghijklmnopqrs", 19);
	host_takes(100); /* a needless call is no event */
	assert_int_equal(in(f, UART_IIR), 0xc1);
}

static void without_fifos_the_holding_register_is_one_byte(void **state)
{
	struct fixture *f = *state;

	host.room = 0;
	out(f, UART_THR, 'a');
	assert_int_equal(in(f, UART_LSR) & 0x60, 0);
	out(f, UART_THR, 'b');
	host_takes(10);
	assert_int_equal(host.out_len, 1);
	assert_int_equal(host.out[0], 'b');
}

static void resetting_the_transmit_fifo_throws_away_what_waits(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE, 0);
	host.room = 0;
	out(f, UART_THR, 'a');
	out(f, UART_FCR, UART_FCR_ENABLE | UART_FCR_TX_RESET);
	assert_int_equal(in(f, UART_LSR) & 0x60, 0x60);
	host_takes(10);
	assert_int_equal(host.out_len, 0);
}

static void thre_interrupt_is_cleared_by_iir_and_raised_by_enabling(void **state)
{
	struct fixture *f = *state;

	listen(f, 0, 0);
	out(f, UART_IER, UART_IER_ETBEI);
	assert_true(f->level);
	assert_int_equal(in(f, UART_IIR), 0x02);
	assert_false(f->level);
	assert_int_equal(in(f, UART_IIR), 0x01);
	out(f, UART_IER, UART_IER_ETBEI); /* enabled already: nothing new */
	assert_int_equal(in(f, UART_IIR), 0x01);
	out(f, UART_IER, 0);
	out(f, UART_IER, UART_IER_ETBEI);
	assert_int_equal(in(f, UART_IIR), 0x02);
	out(f, UART_THR, 'x');
	assert_true(f->level);
	assert_int_equal(in(f, UART_IIR), 0x02);
}

static void without_fifos_each_byte_sent_gives_an_edge(void **state)
{
	struct fixture *f = *state;
	unsigned edges;

	listen(f, 0, UART_IER_ETBEI);
	edges = f->edges;
	out(f, UART_THR, 'x'); /* without having read IIR */
	out(f, UART_THR, 'y');
	assert_int_equal(f->edges, edges + 2);
}

/* Linux's handler: what it does between two looks at IIR costs no edge of the pin. */
static void a_burst_gives_one_thre_event_when_the_guest_looks(void **state)
{
	struct fixture *f = *state;
	unsigned edges;

	listen(f, UART_FCR_ENABLE, UART_IER_ETBEI);
	assert_int_equal(in(f, UART_IIR), 0xc2);
	edges = f->edges;
	for (int i = 0; i < 15; i++)
		out(f, UART_THR, 'x');
	assert_false(f->level);
	assert_int_equal(in(f, UART_IIR), 0xc2);
	assert_int_equal(in(f, UART_IIR), 0xc1);
	assert_int_equal(f->edges, edges);
	out(f, UART_THR, 'x');
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_true(f->level);
	assert_int_equal(f->edges, edges + 1);
}

static void a_full_fifo_gives_an_edge_by_itself(void **state)
{
	struct fixture *f = *state;
	unsigned edges;

	listen(f, UART_FCR_ENABLE, UART_IER_ETBEI);
	in(f, UART_IIR);
	edges = f->edges;
	for (int i = 0; i < 16; i++)
		out(f, UART_THR, 'x');
	assert_true(f->level);
	assert_int_equal(f->edges, edges + 1);
	for (int i = 0; i < 16; i++)
		out(f, UART_THR, 'x');
	assert_int_equal(f->edges, edges + 2);
}

static void a_short_burst_gives_an_edge_in_a_millisecond(void **state)
{
	struct fixture *f = *state;
	unsigned edges;

	listen(f, UART_FCR_ENABLE, UART_IER_ETBEI);
	in(f, UART_IIR);
	edges = f->edges;
	out(f, UART_THR, 'x');
	out(f, UART_THR, 'y');
	clock_advance(&f->clock, NS_PER_MS - 1);
	assert_false(f->level);
	clock_advance(&f->clock, 1);
	assert_true(f->level);
	assert_int_equal(f->edges, edges + 1);
	in(f, UART_IIR);
	clock_advance(&f->clock, 10 * NS_PER_MS);
	assert_false(f->level);
	out(f, UART_THR, 'z');
	clock_advance(&f->clock, NS_PER_MS);
	assert_true(f->level);
}

static void a_burst_ends_with_its_interrupt_disabled_or_its_reset(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE, UART_IER_ETBEI);
	in(f, UART_IIR);
	out(f, UART_THR, 'x');
	out(f, UART_IER, 0);
	clock_advance(&f->clock, 10 * NS_PER_MS);
	assert_false(f->level);
	out(f, UART_IER, UART_IER_ETBEI);
	assert_true(f->level);
	in(f, UART_IIR);
	out(f, UART_THR, 'x');
	uart_reset(&f->u);
	clock_advance(&f->clock, 10 * NS_PER_MS);
	assert_false(f->level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output_goes_out_at_once_and_in_order),
		TEST(a_busy_host_keeps_the_transmitter_busy_and_no_byte_is_lost),
		TEST(without_fifos_the_holding_register_is_one_byte),
		TEST(resetting_the_transmit_fifo_throws_away_what_waits),
		TEST(thre_interrupt_is_cleared_by_iir_and_raised_by_enabling),
		TEST(without_fifos_each_byte_sent_gives_an_edge),
		TEST(a_burst_gives_one_thre_event_when_the_guest_looks),
		TEST(a_full_fifo_gives_an_edge_by_itself),
		TEST(a_short_burst_gives_an_edge_in_a_millisecond),
		TEST(a_burst_ends_with_its_interrupt_disabled_or_its_reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
