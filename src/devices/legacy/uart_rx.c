/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiver. Bytes are taken from the chardev when there is room for them: when it calls back, and
 * when the guest has emptied the FIFO. None is ever taken that would overrun.
 *
 * When does a sender send? Before the guest has set up its end, a real one with hardware flow
 * control would not: a guest that initialises the UART resets the FIFO and throws a few bytes away,
 * and with them the start of what was piped in. So input is taken once the guest shows that it
 * listens: it asserts RTS, enables the receive interrupt, or reads LSR over and over on an idle
 * line. And as long as RTS is not asserted, resetting the FIFO does not throw away what a careful
 * sender would not have sent yet (Linux enables the interrupt before it resets the FIFO, and
 * asserts RTS after).
 *
 * Character timeout (PC16550D, 8.4 "FIFO interrupt mode operation"): bytes wait below the trigger
 * level and none came or went for four character times. A line without speed has used that time up
 * when the chardev has no more to give, so after an arrival the timeout is due at once. After the
 * guest took some bytes and left others it is a timer of four character times, which is not moved
 * at each access: rx_active tells it, when it fires, to wait once more.
 */
#include "devices/legacy/uart_int.h"

#include "base/bits.h"
#include "base/time.h"

#define INPUT_HZ 1843200u /* of the divisor */

/* Four characters' time, in ns: each is a start bit, 5 to 8 data bits, parity, stop bits. */
static uint64_t four_characters(const struct uart_state *s)
{
	unsigned divisor = s->dll | s->dlm << 8;
	unsigned bits = 1 + 5 + (s->lcr & UART_LCR_LENGTH) + (s->lcr & 8 ? 1 : 0) +
			(s->lcr & 4 ? 2 : 1);

	return time_scale(4ull * bits * 16 * MAX(divisor, 1u), NS_PER_SEC, INPUT_HZ);
}

/* A byte came or went: the four characters' time begins anew. */
void uart_rx_restart_timer(struct uart *u)
{
	u->rx_active = u->rx_timer_set;
	if (u->rx_timer_set)
		return;
	u->rx_timer_set = true;
	clock_timer_set(u->clock, &u->rx_timer, clock_now(u->clock) + four_characters(&u->s));
}

void uart_rx_timer_fired(void *opaque)
{
	struct uart *u = opaque;
	struct uart_state *s = &u->s;

	pthread_mutex_lock(&u->lock);
	if (u->rx_timer_set) {
		u->rx_timer_set = false;
		if (s->rx_count && uart_fifo_enabled(s)) {
			if (u->rx_active)
				uart_rx_restart_timer(u);
			else
				s->timeout = true;
		}
		uart_update_irq(u);
	}
	pthread_mutex_unlock(&u->lock);
}

/* Makes the errors of the byte at the top of the FIFO visible. */
static void reveal_errors(struct uart_state *s)
{
	if (s->rx_count)
		s->errors |= s->rx_errors[s->rx_at];
}

/* A byte arrives on the line. */
void uart_rx_push(struct uart_state *s, uint8_t byte, uint8_t errors)
{
	unsigned at;

	if (s->rx_count >= uart_fifo_size(s)) {
		s->errors |= UART_LSR_OE;
		if (uart_fifo_enabled(s))
			return; /* the FIFO keeps what it has, the byte is lost */
		s->rx_count--;  /* the holding register is overwritten */
		s->rx_bad -= s->rx_errors[(s->rx_at + s->rx_count) & UART_FIFO_MASK] != 0;
	}
	at = (s->rx_at + s->rx_count) & UART_FIFO_MASK;
	s->rx_bytes[at] = byte;
	s->rx_errors[at] = errors;
	s->rx_bad += errors != 0;
	if (!s->rx_count++)
		reveal_errors(s);
}

static bool rx_listens(const struct uart_state *s)
{
	if (s->mcr & UART_MCR_LOOP)
		return false;
	return (s->mcr & UART_MCR_RTS) || (s->ier & UART_IER_ERBFI) || s->rx_polled;
}

/* Takes what the chardev has and the FIFO has room for. */
void uart_rx_pull(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t bytes[UART_FIFO_SIZE];
	size_t count;

	if (!u->chardev || !rx_listens(s) || s->rx_count >= uart_fifo_size(s))
		return;
	count = chardev_read(u->chardev, bytes, uart_fifo_size(s) - s->rx_count);
	for (size_t i = 0; i < count; i++)
		uart_rx_push(s, bytes[i], 0);
	if (count && uart_fifo_enabled(s))
		s->timeout = true;
}

uint8_t uart_rx_read(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t byte = s->rx_bytes[s->rx_at];

	if (!s->rx_count)
		return byte; /* as it was left */
	s->rx_bad -= s->rx_errors[s->rx_at] != 0;
	s->rx_errors[s->rx_at] = 0;
	s->rx_at = (s->rx_at + 1) & UART_FIFO_MASK;
	s->rx_count--;
	s->timeout = false;
	reveal_errors(s);
	uart_update_irq(u);
	if (!s->rx_count) {
		uart_rx_pull(u);
		uart_update_irq(u);
	} else if (uart_fifo_enabled(s)) {
		uart_rx_restart_timer(u);
	}
	return byte;
}

/* Reading shows the errors once. */
void uart_rx_clear_errors(struct uart *u)
{
	struct uart_state *s = &u->s;

	s->errors = 0;
	if (s->rx_count && s->rx_errors[s->rx_at]) {
		s->rx_errors[s->rx_at] = 0;
		s->rx_bad--;
	}
	uart_update_irq(u);
}

void uart_rx_reset(struct uart_state *s)
{
	if (!(s->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) && !s->rx_polled)
		return;
	for (unsigned i = 0; i < UART_FIFO_SIZE; i++)
		s->rx_errors[i] = 0;
	s->rx_count = 0;
	s->rx_bad = 0;
	s->timeout = false;
}

void uart_rx_readable(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	uart_rx_pull(u);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

void uart_send_break(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	if (!(u->s.mcr & UART_MCR_LOOP)) {
		uart_rx_push(&u->s, 0, UART_LSR_BI | UART_LSR_FE);
		u->s.timeout = uart_fifo_enabled(&u->s);
		uart_update_irq(u);
	}
	pthread_mutex_unlock(&u->lock);
}
