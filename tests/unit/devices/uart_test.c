/* SPDX-License-Identifier: Apache-2.0 */
/* The UART against the PC16550D datasheet, with a chardev of the test's own behind it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"
#include "devices/legacy/uart.h"

struct fixture {
	struct clock clock;
	struct uart u;
	bool level;
	unsigned edges; /* low to high */
};

/* The other side of the wire, instead of host/chardev.c. */
struct chardev {
	struct chardev_user user;
	uint8_t out[4096];
	size_t out_len;
	size_t room; /* how many more bytes it takes */
	uint8_t in[4096];
	size_t in_at, in_len;
};

static struct chardev host;

void chardev_connect(struct chardev *c, const struct chardev_user *user)
{
	c->user = *user;
}

size_t chardev_write(struct chardev *c, const void *bytes, size_t len)
{
	len = MIN(len, c->room);
	len = MIN(len, sizeof(c->out) - c->out_len);
	memcpy(c->out + c->out_len, bytes, len);
	c->out_len += len;
	c->room -= len;
	return len;
}

bool chardev_put(struct chardev *c, uint8_t byte)
{
	return chardev_write(c, &byte, 1);
}

size_t chardev_read(struct chardev *c, void *bytes, size_t len)
{
	len = MIN(len, c->in_len - c->in_at);
	memcpy(bytes, c->in + c->in_at, len);
	c->in_at += len;
	return len;
}

static void host_sends(const char *text)
{
	memcpy(host.in + host.in_len, text, strlen(text));
	host.in_len += strlen(text);
	host.user.readable(host.user.opaque);
}

static void host_takes(size_t room)
{
	host.room = room;
	host.user.writable(host.user.opaque);
}

static void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(number, 4);
	f->edges += level && !f->level;
	f->level = level;
}

static uint8_t in(struct fixture *f, unsigned reg)
{
	uint64_t v;

	pthread_mutex_lock(&f->u.lock);
	v = uart_ops.read(&f->u, reg, 1);
	pthread_mutex_unlock(&f->u.lock);
	return (uint8_t)v;
}

static void out(struct fixture *f, unsigned reg, uint8_t value)
{
	pthread_mutex_lock(&f->u.lock);
	uart_ops.write(&f->u, reg, 1, value);
	pthread_mutex_unlock(&f->u.lock);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	host = (struct chardev){.room = sizeof(host.out)};
	clock_init_manual(&f->clock);
	uart_init(&f->u, &f->clock, (struct irq_line){pin, f, 4}, &host);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uart_release(&f->u);
	clock_release(&f->clock);
	free(f);
	return 0;
}

/* DTR, RTS, OUT2; 8N1 at 115200. */
static void listen(struct fixture *f, uint8_t fcr, uint8_t ier)
{
	out(f, UART_LCR, 0x83);
	out(f, UART_DLL, 1);
	out(f, UART_DLM, 0);
	out(f, UART_LCR, 0x03);
	out(f, UART_FCR, fcr);
	out(f, UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(f, UART_IER, ier);
}

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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(power_on_state_is_table_1),
		TEST(registers_hold_what_they_have_bits_for),
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
		TEST(iir_names_the_highest_priority_first),
		TEST(out2_gates_the_pin),
		TEST(trigger_levels),
		TEST(timeout_comes_again_four_characters_after_the_last_access),
		TEST(input_is_taken_only_as_there_is_room),
		TEST(without_fifos_input_comes_byte_by_byte_each_with_its_edge),
		TEST(what_was_piped_in_survives_the_guests_initialisation),
		TEST(a_guest_that_polls_gets_its_input),
		TEST(resetting_the_receive_fifo_empties_it),
		TEST(fcr_bits_need_bit_0),
		TEST(break_is_revealed_with_its_byte_and_counted_in_lsr_7),
		TEST(loopback_passes_bytes_and_modem_lines),
		TEST(msr_deltas_show_changes_once),
		TEST(overrun_keeps_the_fifo_and_replaces_the_holding_register),
		TEST(linux_finds_a_16550a),
		TEST(reset_is_power_on),
		TEST(random_accesses_keep_the_invariants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
