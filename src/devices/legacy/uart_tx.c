/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmitter. A byte written to THR goes straight to the chardev. "Empty again" is an event and
 * raises the THRE interrupt as after a real transmission: the interrupt pin falls and rises, for an
 * edge-triggered controller. With FIFOs that comes once for a burst of bytes, as it does where a
 * line has a speed: when the guest has written a FIFO's worth, when it looks at any other register
 * (so that it never sees the difference), or a millisecond later. Only when the chardev takes no
 * more do bytes stay in tx_bytes, and THRE and TEMT clear, until chardev calls back.
 */
#include "devices/legacy/uart_int.h"

#include "base/bits.h"
#include "base/time.h"

/* The longest burst whose end is one event lasts as long: some eleven characters at 115200 Bd. */
#define BURST_NS NS_PER_MS

void uart_tx_timer_fired(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	u->tx_timer_set = false;
	uart_tx_settle(&u->s);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

/* The holding register became empty. With the interrupt enabled the pin falls first: it was low
 * while the byte was on its way. */
static void tx_emptied(struct uart *u)
{
	u->s.thre_pending = true;
	if (u->s.ier & UART_IER_ETBEI) {
		u->s.thre_pending = false;
		uart_update_irq(u);
		u->s.thre_pending = true;
		uart_update_irq(u);
	}
}

/* The same behind a FIFO, where more bytes may follow at once. */
static void tx_went(struct uart *u)
{
	struct uart_state *s = &u->s;

	if (!(s->ier & UART_IER_ETBEI)) {
		s->thre_pending = true;
		return;
	}
	s->thre_pending = false;
	uart_update_irq(u);
	if (++s->tx_burst == UART_FIFO_SIZE) {
		uart_tx_settle(s);
		uart_update_irq(u);
	} else if (!u->tx_timer_set) {
		u->tx_timer_set = true;
		clock_timer_set(u->clock, &u->tx_timer, clock_now(u->clock) + BURST_NS);
	}
}

/* The backend is busy: the byte waits. A guest that writes without being asked to overwrites the
 * holding register, or writes to a full FIFO in vain. */
static void tx_push(struct uart *u, uint8_t byte)
{
	struct uart_state *s = &u->s;

	if (s->tx_count >= uart_fifo_size(s)) {
		if (uart_fifo_enabled(s))
			return;
		s->tx_count--;
	}
	s->tx_bytes[(s->tx_at + s->tx_count) & UART_FIFO_MASK] = byte;
	s->tx_count++;
	s->tx_burst = 0;
	s->thre_pending = false;
	uart_update_irq(u);
}

/* In loopback the transmitter's output is the receiver's input. */
static void tx_loop(struct uart *u, uint8_t byte)
{
	uart_rx_push(&u->s, byte & MASK(5 + (u->s.lcr & UART_LCR_LENGTH)), 0);
	if (uart_fifo_enabled(&u->s))
		uart_rx_restart_timer(u);
	uart_update_irq(u);
}

/* Gives a byte to the backend; false if it must wait. A break hides what is sent. */
static bool tx_send(struct uart *u, uint8_t byte)
{
	if (u->s.tx_count)
		return false;
	return !u->chardev || (u->s.lcr & UART_LCR_BREAK) || chardev_put(u->chardev, byte);
}

void uart_tx_write(struct uart *u, uint8_t byte)
{
	if (u->s.mcr & UART_MCR_LOOP) {
		tx_loop(u, byte);
		tx_emptied(u);
	} else if (!tx_send(u, byte)) {
		tx_push(u, byte);
	} else if (uart_fifo_enabled(&u->s)) {
		tx_went(u);
	} else {
		tx_emptied(u);
	}
}

/* Sends what waits; true if that was all. */
static bool tx_flush(struct uart *u)
{
	struct uart_state *s = &u->s;

	while (s->tx_count) {
		size_t run = MIN(s->tx_count, UART_FIFO_SIZE - s->tx_at);
		size_t n = chardev_write(u->chardev, s->tx_bytes + s->tx_at, run);

		s->tx_at = (s->tx_at + n) & UART_FIFO_MASK;
		s->tx_count -= n;
		if (n < run)
			return false;
	}
	return true;
}

void uart_tx_reset(struct uart_state *s)
{
	if (s->tx_count)
		s->thre_pending = true;
	s->tx_count = 0;
}

void uart_tx_writable(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	if (u->s.tx_count && tx_flush(u))
		tx_emptied(u);
	pthread_mutex_unlock(&u->lock);
}
