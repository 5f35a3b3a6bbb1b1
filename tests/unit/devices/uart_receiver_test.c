/* SPDX-License-Identifier: Apache-2.0 */
/* The UART's receiver, its errors and its interrupts against the PC16550D datasheet. */
#include "uart_rig.h"

static void trigger_levels(void **state)
{
	static const struct {
		uint8_t fcr;
		unsigned level;
	} levels[] = {{0x00, 1}, {0x40, 4}, {0x80, 8}, {0xc0, 14}};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(levels); i++) {
		uart_reset(&f->u);
		host.in_at = host.in_len = 0;
		listen(f, UART_FCR_ENABLE | levels[i].fcr, UART_IER_ERBFI);
		for (unsigned n = 1; n <= 16; n++) {
			host_sends("x");
			assert_int_equal(in(f, UART_IIR) & 0x0f,
					 n >= levels[i].level ? UART_IIR_DATA : UART_IIR_TIMEOUT);
		}
		for (unsigned n = 16; n >= levels[i].level; n--) {
			assert_int_equal(in(f, UART_IIR) & 0x0f, UART_IIR_DATA);
			in(f, UART_RBR);
		}
		assert_int_equal(in(f, UART_IIR) & 0x0f, UART_IIR_NONE);
		assert_false(f->level);
	}
}

static void timeout_comes_again_four_characters_after_the_last_access(void **state)
{
	struct fixture *f = *state;
	const uint64_t four = 4 * 10 * 1000000000ull / 115200;

	listen(f, UART_FCR_ENABLE | 0xc0, UART_IER_ERBFI);
	host_sends("abc");
	assert_int_equal(in(f, UART_IIR), 0xcc);
	assert_int_equal(in(f, UART_RBR), 'a');
	assert_int_equal(in(f, UART_IIR), 0xc1);
	assert_false(f->level);
	clock_advance(&f->clock, four - 10);
	assert_int_equal(in(f, UART_IIR), 0xc1);
	clock_advance(&f->clock, 20);
	assert_int_equal(in(f, UART_IIR), 0xcc);
	assert_true(f->level);
	assert_int_equal(in(f, UART_RBR), 'b');
	assert_false(f->level);
	clock_advance(&f->clock, four / 2);
	assert_int_equal(in(f, UART_RBR), 'c');
	clock_advance(&f->clock, 10 * four);
	assert_int_equal(in(f, UART_IIR), 0xc1); /* nothing waits */
}

static void input_is_taken_only_as_there_is_room(void **state)
{
	struct fixture *f = *state;
	char text[101] = "";

	for (int i = 0; i < 100; i++)
		text[i] = (char)(' ' + i % 90);
	listen(f, UART_FCR_ENABLE, UART_IER_ERBFI);
	host_sends(text);
	assert_int_equal(host.in_at, 16);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(in(f, UART_LSR), 0x61);
		assert_int_equal(in(f, UART_RBR), text[i]);
	}
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_false(f->level);
}

static void without_fifos_input_comes_byte_by_byte_each_with_its_edge(void **state)
{
	struct fixture *f = *state;
	unsigned edges;

	listen(f, 0, UART_IER_ERBFI);
	edges = f->edges;
	host_sends("abc");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f->edges, edges + (unsigned)i + 1);
		assert_int_equal(in(f, UART_IIR), UART_IIR_DATA);
		assert_int_equal(in(f, UART_RBR), 'a' + i);
	}
	assert_int_equal(in(f, UART_LSR), 0x60);
}

/* What Linux does from probing the port to having it open, with input waiting all the time. */
static void what_was_piped_in_survives_the_guests_initialisation(void **state)
{
	struct fixture *f = *state;

	host_sends("reboot\n");
	assert_int_equal(in(f, UART_LSR), 0x60);
	out(f, UART_IER, 0);
	in(f, UART_RBR);
	out(f, UART_FCR, UART_FCR_ENABLE);
	out(f, UART_FCR, UART_FCR_ENABLE | UART_FCR_RX_RESET | UART_FCR_TX_RESET);
	out(f, UART_FCR, 0);
	in(f, UART_LSR);
	in(f, UART_RBR);
	in(f, UART_IIR);
	in(f, UART_MSR);
	out(f, UART_LCR, 0x03);
	out(f, UART_MCR, UART_MCR_OUT2);
	out(f, UART_IER, UART_IER_ELSI | UART_IER_ERBFI);
	out(f, UART_FCR, UART_FCR_ENABLE);
	out(f, UART_FCR, UART_FCR_ENABLE | 0x80);
	out(f, UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	assert_true(f->level);
	for (const char *p = "reboot\n"; *p; p++)
		assert_int_equal(in(f, UART_RBR), *p);
	assert_int_equal(in(f, UART_LSR), 0x60);
}

static void a_guest_that_polls_gets_its_input(void **state)
{
	struct fixture *f = *state;
	int reads = 0;

	host_sends("k");
	while (!(in(f, UART_LSR) & UART_LSR_DR))
		assert_true(reads++ < 100);
	assert_int_equal(in(f, UART_RBR), 'k');
}

static void resetting_the_receive_fifo_empties_it(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE, UART_IER_ERBFI);
	host_sends("abc");
	out(f, UART_FCR, UART_FCR_ENABLE | UART_FCR_RX_RESET);
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_int_equal(in(f, UART_IIR), 0xc1);
	host_sends("d");
	out(f, UART_FCR, 0); /* changing the mode does it as well */
	assert_int_equal(in(f, UART_LSR), 0x60);
	assert_int_equal(in(f, UART_IIR), 0x01);
}

static void fcr_bits_need_bit_0(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE | 0xc0, UART_IER_ERBFI);
	out(f, UART_FCR, 0xc0);
	assert_int_equal(in(f, UART_IIR) & 0xc0, 0);
	host_sends("a");
	assert_int_equal(in(f, UART_IIR), UART_IIR_DATA); /* no trigger level */
}

static void break_is_revealed_with_its_byte_and_counted_in_lsr_7(void **state)
{
	struct fixture *f = *state;

	listen(f, UART_FCR_ENABLE, UART_IER_ELSI);
	host_sends("a");
	uart_send_break(&f->u);
	assert_int_equal(in(f, UART_LSR), 0xe1); /* not yet at the top */
	assert_false(f->level);
	assert_int_equal(in(f, UART_RBR), 'a');
	assert_true(f->level);
	assert_int_equal(in(f, UART_IIR), 0xc6);
	assert_int_equal(in(f, UART_LSR), 0xe1 | UART_LSR_BI | UART_LSR_FE);
	assert_false(f->level);
	assert_int_equal(in(f, UART_LSR), 0x61);
	assert_int_equal(in(f, UART_RBR), 0);
	assert_int_equal(in(f, UART_LSR), 0x60);
}

static void overrun_keeps_the_fifo_and_replaces_the_holding_register(void **state)
{
	struct fixture *f = *state;

	out(f, UART_LCR, 0x03);
	out(f, UART_MCR, UART_MCR_LOOP);
	out(f, UART_THR, 1);
	out(f, UART_THR, 2);
	assert_int_equal(in(f, UART_LSR), 0x61 | UART_LSR_OE);
	assert_int_equal(in(f, UART_LSR), 0x61);
	assert_int_equal(in(f, UART_RBR), 2);
	out(f, UART_FCR, UART_FCR_ENABLE);
	for (int i = 0; i < 20; i++)
		out(f, UART_THR, (uint8_t)i);
	assert_int_equal(in(f, UART_LSR), 0x61 | UART_LSR_OE);
	for (int i = 0; i < 16; i++)
		assert_int_equal(in(f, UART_RBR), i);
	assert_int_equal(in(f, UART_LSR), 0x60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trigger_levels),
		TEST(timeout_comes_again_four_characters_after_the_last_access),
		TEST(input_is_taken_only_as_there_is_room),
		TEST(without_fifos_input_comes_byte_by_byte_each_with_its_edge),
		TEST(what_was_piped_in_survives_the_guests_initialisation),
		TEST(a_guest_that_polls_gets_its_input),
		TEST(resetting_the_receive_fifo_empties_it),
		TEST(fcr_bits_need_bit_0),
		TEST(break_is_revealed_with_its_byte_and_counted_in_lsr_7),
		TEST(overrun_keeps_the_fifo_and_replaces_the_holding_register),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
