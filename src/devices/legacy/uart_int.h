/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the UART share: not for others. With the lock held, but for callbacks. */
#ifndef LODGE_DEVICES_LEGACY_UART_INT_H
#define LODGE_DEVICES_LEGACY_UART_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/legacy/uart.h"

#define UART_FIFO_MASK (UART_FIFO_SIZE - 1)

static inline bool uart_fifo_enabled(const struct uart_state *s)
{
	return s->fcr & UART_FCR_ENABLE;
}

static inline unsigned uart_fifo_size(const struct uart_state *s)
{
	return uart_fifo_enabled(s) ? UART_FIFO_SIZE : 1;
}

/* The FIFO that bytes went through is empty: the event that a burst has put off. The caller
 * updates the pin. */
static inline void uart_tx_settle(struct uart_state *s)
{
	if (!s->tx_burst)
		return;
	s->tx_burst = 0;
	s->thre_pending = true;
}

/* Gives the interrupt pin the level that the state asks for. */
void uart_update_irq(struct uart *u);

/* Transmitter: THR is written. */
void uart_tx_write(struct uart *u, uint8_t byte);

/* Throws away what waits for the chardev. The caller updates the pin. */
void uart_tx_reset(struct uart_state *s);

/* Receiver: RBR is read. */
uint8_t uart_rx_read(struct uart *u);

/* A byte arrives on the line, with these of UART_LSR_ERRORS. The caller updates the pin. */
void uart_rx_push(struct uart_state *s, uint8_t byte, uint8_t errors);

/* Takes what the chardev has and the FIFO has room for, if the guest listens. The caller updates
 * the pin. */
void uart_rx_pull(struct uart *u);

/* A byte came or went: the four characters' time begins anew. */
void uart_rx_restart_timer(struct uart *u);

/* LSR is read, which shows the errors once. */
void uart_rx_clear_errors(struct uart *u);

/* Throws away what was received, unless a careful sender would not have sent it yet. The caller
 * updates the pin. */
void uart_rx_reset(struct uart_state *s);

/* Callbacks of the timers and of the chardev, opaque being the UART; they take the lock. */
void uart_tx_timer_fired(void *opaque);
void uart_rx_timer_fired(void *opaque);
void uart_tx_writable(void *opaque);
void uart_rx_readable(void *opaque);

#endif
