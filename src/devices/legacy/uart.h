/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A UART: National Semiconductor, "PC16550D Universal Asynchronous Receiver/Transmitter
 * with FIFOs" (1995), the register names and numbers of its table II. On a PC its interrupt pin
 * passes a gate that the modem control bit OUT2 opens.
 *
 * The line has no speed: a byte that the guest writes is with the host at once, the divisor and
 * the frame's form are remembered and do nothing. When the host's reader does not keep up, the
 * transmitter stays busy (THRE and TEMT clear) until it does.
 */
#ifndef LODGE_DEVICES_LEGACY_UART_H
#define LODGE_DEVICES_LEGACY_UART_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"
#include "host/chardev.h"

#define UART_PORTS     8 /* size of the range */
#define UART_FIFO_SIZE 16

/* Offsets. The first two are the divisor latch while UART_LCR_DLAB is set. */
enum uart_reg {
	UART_RBR = 0, /* receiver buffer, read only */
	UART_THR = 0, /* transmitter holding, write only */
	UART_DLL = 0,
	UART_IER = 1,
	UART_DLM = 1,
	UART_IIR = 2, /* read only */
	UART_FCR = 2, /* write only */
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCR = 7,
};

#define UART_IER_ERBFI 0x01 /* received data available, timeout */
#define UART_IER_ETBEI 0x02 /* transmitter holding register empty */
#define UART_IER_ELSI  0x04 /* receiver line status */
#define UART_IER_EDSSI 0x08 /* modem status */

#define UART_IIR_NONE    0x01
#define UART_IIR_MODEM   0x00
#define UART_IIR_THRE    0x02
#define UART_IIR_DATA    0x04
#define UART_IIR_LINE    0x06
#define UART_IIR_TIMEOUT 0x0c
#define UART_IIR_FIFOS   0xc0 /* FIFOs enabled */

#define UART_FCR_ENABLE   0x01
#define UART_FCR_RX_RESET 0x02
#define UART_FCR_TX_RESET 0x04
#define UART_FCR_DMA_MODE 0x08
#define UART_FCR_TRIGGER  0xc0

#define UART_LCR_LENGTH 0x03 /* 5 to 8 bits */
#define UART_LCR_BREAK  0x40
#define UART_LCR_DLAB   0x80

#define UART_MCR_DTR  0x01
#define UART_MCR_RTS  0x02
#define UART_MCR_OUT1 0x04
#define UART_MCR_OUT2 0x08
#define UART_MCR_LOOP 0x10

#define UART_LSR_DR     0x01
#define UART_LSR_OE     0x02
#define UART_LSR_PE     0x04
#define UART_LSR_FE     0x08
#define UART_LSR_BI     0x10
#define UART_LSR_THRE   0x20
#define UART_LSR_TEMT   0x40
#define UART_LSR_FIFO   0x80 /* a parity, framing or break error is in the FIFO */
#define UART_LSR_ERRORS (UART_LSR_OE | UART_LSR_PE | UART_LSR_FE | UART_LSR_BI)

#define UART_MSR_DCTS 0x01
#define UART_MSR_DDSR 0x02
#define UART_MSR_TERI 0x04
#define UART_MSR_DDCD 0x08
#define UART_MSR_CTS  0x10
#define UART_MSR_DSR  0x20
#define UART_MSR_RI   0x40
#define UART_MSR_DCD  0x80

/* What a snapshot keeps. */
struct uart_state {
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t errors;    /* UART_LSR_ERRORS that a read of LSR shows and clears */
	bool thre_pending; /* the THRE interrupt is due, enabled or not */
	bool timeout;      /* the character timeout is due */
	bool rx_polled;    /* the guest waits for input by reading LSR */
	uint8_t rx_at, rx_count;
	uint8_t rx_bad; /* bytes in the FIFO that have errors */
	uint8_t tx_at, tx_count;
	uint8_t tx_burst; /* bytes sent since the THRE event was last due */
	uint8_t rx_bytes[UART_FIFO_SIZE];
	uint8_t rx_errors[UART_FIFO_SIZE]; /* PE, FE, BI of the byte with that index */
	uint8_t tx_bytes[UART_FIFO_SIZE];  /* waiting because the backend is busy */
};

struct uart {
	pthread_mutex_t lock; /* guards all below */
	struct uart_state s;
	struct irq_line irq;
	bool irq_level;
	unsigned lsr_reads; /* in a row, of an idle line */
	struct clock *clock;
	struct clock_timer rx_timer; /* for the character timeout */
	bool rx_timer_set;
	struct clock_timer tx_timer; /* for the end of a burst */
	bool tx_timer_set;
	bool rx_active; /* a byte came or went since rx_timer was set */
	struct chardev *chardev;
	struct bus_posting posting; /* of writes to THR */
};

/* Makes a UART at power-on state and connects it to chardev (NULL: output is dropped, no input
 * comes). All wires outlive it. Before the loop of chardev runs. */
void uart_init(struct uart *u, struct clock *clock, struct irq_line irq, struct chardev *chardev);

/* Has posting told while the guest polls the transmitter: its writes to THR may then be posted.
 * Before the machine runs. */
void uart_set_posting(struct uart *u, struct bus_posting posting);

/* Back to power-on state. Any thread that does not hold the lock. */
void uart_reset(struct uart *u);

/* No vCPU, timer or chardev callback may come any more. */
void uart_release(struct uart *u);

/* A break condition from the host's end, as a terminal's break key sends. Any thread that does not
 * hold the lock. */
void uart_send_break(struct uart *u);

/* UART_PORTS bytes of registers, with the lock held. */
extern const struct bus_ops uart_ops;

#endif
