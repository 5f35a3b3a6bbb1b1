/* SPDX-License-Identifier: Apache-2.0 */
/* The UART as a whole against the PC16550D datasheet: registers, interrupts, modem lines. */
#include "uart_rig.h"

static void power_on_state_is_table_1(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f, UART_IER), 0);
	assert_int_equal(in(f, UART_IIR), 0x01);
	assert_int_equal(in(f, UART_LCR), 0);
	assert_int_equal(in(f, UART_MCR), 0);
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_int_equal(in(f, UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
	assert_false(f->level);
}

static void registers_hold_what_they_have_bits_for(void **state)
{
	struct fixture *f = *state;

	out(f, UART_SCR, 0xa5);
	out(f, UART_IER, 0xff);
	out(f, UART_MCR, 0xef);
	assert_int_equal(in(f, UART_SCR), 0xa5);
	assert_int_equal(in(f, UART_IER), 0x0f);
	assert_int_equal(in(f, UART_MCR), 0x0f);
	out(f, UART_LCR, 0xff);
	out(f, UART_DLL, 0x12);
	out(f, UART_DLM, 0x34);
	assert_int_equal(in(f, UART_DLL), 0x12);
	assert_int_equal(in(f, UART_DLM), 0x34);
	out(f, UART_LCR, 0x7f);
	assert_int_equal(in(f, UART_LCR), 0x7f);
	assert_int_equal(in(f, UART_IER), 0x0f);
	out(f, UART_LSR, 0xff);
	out(f, UART_MSR, 0xff);
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_int_equal(host.out_len, 0);
}

static void iir_names_the_highest_priority_first(void **state)
{
	struct fixture *f = *state;

	listen(f, 0, 0x0f);
	host_sends("a");
	uart_send_break(&f->u); /* overruns: the holding register is taken */
	out(f, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
	out(f, UART_MCR, UART_MCR_OUT2);
	assert_int_equal(in(f, UART_IIR), UART_IIR_LINE);
	assert_int_equal(in(f, UART_LSR) & UART_LSR_ERRORS,
			 UART_LSR_OE | UART_LSR_BI | UART_LSR_FE);
	assert_int_equal(in(f, UART_IIR), UART_IIR_DATA);
	assert_int_equal(in(f, UART_RBR), 0);
	assert_int_equal(in(f, UART_IIR), UART_IIR_THRE);
	assert_int_equal(in(f, UART_IIR), UART_IIR_MODEM);
	assert_true(f->level);
	in(f, UART_MSR);
	assert_int_equal(in(f, UART_IIR), UART_IIR_NONE);
	assert_false(f->level);
}

static void out2_gates_the_pin(void **state)
{
	struct fixture *f = *state;

	out(f, UART_IER, UART_IER_ETBEI);
	assert_false(f->level);
	out(f, UART_MCR, UART_MCR_OUT2);
	assert_true(f->level);
	out(f, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
	assert_false(f->level);
	out(f, UART_MCR, 0);
	assert_false(f->level);
	assert_int_equal(in(f, UART_IIR), UART_IIR_THRE);
}

static void loopback_passes_bytes_and_modem_lines(void **state)
{
	static const uint8_t lines[][2] = {
		{UART_MCR_DTR, UART_MSR_DSR},         {UART_MCR_RTS, UART_MSR_CTS},
		{UART_MCR_OUT1, UART_MSR_RI},         {UART_MCR_OUT2, UART_MSR_DCD},
		{UART_MCR_RTS | UART_MCR_OUT2, 0x90}, /* Linux's test */
	};
	struct fixture *f = *state;

	out(f, UART_LCR, 0x03);
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
		out(f, UART_MCR, UART_MCR_LOOP | lines[i][0]);
		assert_int_equal(in(f, UART_MSR) & 0xf0, lines[i][1]);
	}
	out(f, UART_THR, 0x5a);
	assert_int_equal(in(f, UART_LSR), 0x61);
	assert_int_equal(in(f, UART_RBR), 0x5a);
	out(f, UART_LCR, 0x00); /* five bits */
	out(f, UART_THR, 0xff);
	assert_int_equal(in(f, UART_RBR), 0x1f);
	assert_int_equal(host.out_len, 0);
	host_sends("x"); /* the receiver is disconnected from the line */
	out(f, UART_IER, UART_IER_ERBFI);
	assert_int_equal(in(f, UART_LSR), 0x60);
	out(f, UART_MCR, UART_MCR_RTS);
	assert_int_equal(in(f, UART_LSR), 0x61);
	assert_int_equal(in(f, UART_RBR), 'x');
}

static void msr_deltas_show_changes_once(void **state)
{
	struct fixture *f = *state;

	out(f, UART_MCR, UART_MCR_LOOP);
	assert_int_equal(in(f, UART_MSR), UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
	out(f, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	assert_int_equal(in(f, UART_MSR), UART_MSR_RI); /* the leading edge of RI is no event */
	out(f, UART_MCR, UART_MCR_LOOP);
	assert_int_equal(in(f, UART_MSR), UART_MSR_TERI);
	assert_int_equal(in(f, UART_MSR), 0);
	out(f, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	out(f, UART_MCR, UART_MCR_LOOP); /* back again: both are remembered */
	assert_int_equal(in(f, UART_MSR), UART_MSR_DCTS);
}

/* The sequence of Linux's autoconfig and serial8250_do_startup (drivers/tty/serial/8250/
 * 8250_port.c), as far as it decides what the port is. */
static void linux_finds_a_16550a(void **state)
{
	struct fixture *f = *state;
	unsigned count = 0;
	uint8_t iir1, iir2;

	out(f, UART_IER, 0);
	assert_int_equal(in(f, UART_IER) & 0x0f, 0);
	out(f, UART_IER, 0x0f);
	assert_int_equal(in(f, UART_IER) & 0x0f, 0x0f);
	out(f, UART_IER, 0);
	out(f, UART_LCR, 0xbf);
	out(f, 2, 0); /* EFR of other chips */
	out(f, UART_LCR, 0);
	out(f, UART_FCR, UART_FCR_ENABLE);
	assert_int_equal(in(f, UART_IIR) >> 6, 3);
	out(f, UART_LCR, UART_LCR_DLAB);
	assert_int_not_equal(in(f, 2), 0); /* no 16650 */
	out(f, UART_LCR, 0xbf);
	assert_int_not_equal(in(f, 2), 0);
	out(f, UART_LCR, 0xe0);
	assert_int_equal(in(f, 2) & 0x10, 0); /* no National Semiconductor SuperIO */
	out(f, UART_LCR, 0);
	out(f, UART_FCR, 0x21);
	iir1 = in(f, UART_IIR) >> 5;
	out(f, UART_FCR, UART_FCR_ENABLE);
	out(f, UART_LCR, UART_LCR_DLAB);
	out(f, UART_FCR, 0x21);
	iir2 = in(f, UART_IIR) >> 5;
	assert_int_equal(iir1, 6);
	assert_int_equal(iir2, 6); /* no TI16750 */
	out(f, UART_LCR, 0);
	out(f, UART_IER, 0x40);
	assert_int_equal(in(f, UART_IER), 0); /* no Xscale */
	/* The size of the FIFO. */
	out(f, UART_FCR, 0x07);
	out(f, UART_MCR, UART_MCR_LOOP);
	out(f, UART_LCR, 0x03);
	for (int i = 0; i < 256; i++)
		out(f, UART_THR, (uint8_t)i);
	for (; in(f, UART_LSR) & UART_LSR_DR; count++)
		in(f, UART_RBR);
	assert_int_equal(count, 16);
	/* THRE is asserted again each time it is enabled. */
	out(f, UART_MCR, UART_MCR_OUT2);
	for (int i = 0; i < 3; i++) {
		out(f, UART_IER, UART_IER_ETBEI);
		assert_int_equal(in(f, UART_LSR) & 0x40, 0x40);
		assert_int_equal(in(f, UART_IIR) & 1, 0);
		out(f, UART_IER, 0);
	}
}

static void reset_is_power_on(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE | 0xc0, 0x0f);
	host.room = 0;
	out(f, UART_THR, 'a');
	host_sends("abc");
	in(f, UART_RBR);
	assert_true(f->u.rx_timer.armed);
	uart_reset(&f->u);
	assert_false(f->u.rx_timer.armed);
	assert_false(f->level);
	power_on_state_is_table_1(state);
	host_takes(10);
	assert_int_equal(host.out_len, 0);
}

/* Whatever a guest does: counts stay in their arrays, and the pin says what IIR says. */
static void random_accesses_keep_the_invariants(void **state)
{
	struct fixture *f = *state;
	const struct uart_state *s = &f->u.s;

	srandom(1);
	for (int i = 0; i < 300000; i++) {
		unsigned reg = (unsigned)random() % 8;
		unsigned what = (unsigned)random() % 16;
		unsigned bad = 0;
		uint8_t value = (uint8_t)random();

		if (what < 6)
			out(f, reg, value);
		else if (what < 12)
			in(f, reg);
		else if (what == 12)
			uart_send_break(&f->u);
		else if (what == 13)
			host_takes(value % 4);
		else if (what == 14)
			clock_advance(&f->clock, (uint64_t)random() % 10000000);
		else if (host.in_len < sizeof(host.in) - 8)
			host_sends("abcdefg");
		if (host.out_len > sizeof(host.out) / 2)
			host.out_len = 0;
		if (host.in_at == host.in_len)
			host.in_at = host.in_len = 0;
		assert_true(s->rx_count <= UART_FIFO_SIZE && s->rx_at < UART_FIFO_SIZE);
		assert_true(s->tx_count <= UART_FIFO_SIZE && s->tx_at < UART_FIFO_SIZE);
		for (unsigned n = 0; n < s->rx_count; n++)
			bad += s->rx_errors[(s->rx_at + n) % UART_FIFO_SIZE] != 0;
		assert_int_equal(bad, s->rx_bad);
		if (!(s->mcr & UART_MCR_OUT2) || (s->mcr & UART_MCR_LOOP))
			assert_false(f->level);
		assert_true(!f->level || s->ier);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(power_on_state_is_table_1),
		TEST(registers_hold_what_they_have_bits_for),
		TEST(iir_names_the_highest_priority_first),
		TEST(out2_gates_the_pin),
		TEST(loopback_passes_bytes_and_modem_lines),
		TEST(msr_deltas_show_changes_once),
		TEST(linux_finds_a_16550a),
		TEST(reset_is_power_on),
		TEST(random_accesses_keep_the_invariants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
