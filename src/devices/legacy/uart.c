/* SPDX-License-Identifier: Apache-2.0 */
/* Registers and interrupts; uart_tx.c and uart_rx.c are what stands behind them. */
#include "devices/legacy/uart_int.h"

#include <stddef.h>

#include "base/bits.h"

/* LSR reads in a row, nothing between, that mean: the guest waits for input. Drivers that wait for
 * the transmitter stop at the first. */
#define POLLING_READS 16

static unsigned rx_trigger(const struct uart_state *s)
{
	static const uint8_t levels[4] = {1, 4, 8, 14};

	return uart_fifo_enabled(s) ? levels[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct uart_state *s)
{
	if (!(s->rx_count | s->errors | s->tx_count | s->rx_bad))
		return UART_LSR_THRE | UART_LSR_TEMT; /* as a guest that prints sees it */
	return (s->rx_count ? UART_LSR_DR : 0) | s->errors |
	       (s->tx_count ? 0 : UART_LSR_THRE | UART_LSR_TEMT) |
	       (uart_fifo_enabled(s) && s->rx_bad ? UART_LSR_FIFO : 0);
}

/* The interrupt of highest priority, as IIR's low four bits (PC16550D table IV). */
static uint8_t interrupt_id(const struct uart_state *s)
{
	if ((s->ier & UART_IER_ELSI) && s->errors)
		return UART_IIR_LINE;
	if ((s->ier & UART_IER_ERBFI) && s->rx_count >= rx_trigger(s))
		return UART_IIR_DATA;
	if ((s->ier & UART_IER_ERBFI) && s->timeout)
		return UART_IIR_TIMEOUT;
	if ((s->ier & UART_IER_ETBEI) && s->thre_pending)
		return UART_IIR_THRE;
	if ((s->ier & UART_IER_EDSSI) && (s->msr & 0x0f))
		return UART_IIR_MODEM;
	return UART_IIR_NONE;
}

/* Loopback forces the OUT2 pin to its inactive state, so it closes the gate as well. */
void uart_update_irq(struct uart *u)
{
	const struct uart_state *s = &u->s;
	bool open = (s->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;
	bool level = open && interrupt_id(s) != UART_IIR_NONE;

	if (level == u->irq_level)
		return;
	u->irq_level = level;
	irq_set(&u->irq, level);
}

static uint8_t read_iir(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t id = interrupt_id(s);

	if (id == UART_IIR_THRE) {
		s->thre_pending = false;
		uart_update_irq(u);
	}
	return id | (uart_fifo_enabled(s) ? UART_IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t value = line_status(s);

	if (s->errors)
		uart_rx_clear_errors(u);
	if (value & UART_LSR_THRE)
		bus_posting_hint(&u->posting);
	if (value & UART_LSR_DR || !(value & UART_LSR_THRE)) {
		u->lsr_reads = 0;
	} else if (++u->lsr_reads >= POLLING_READS && !s->rx_polled) {
		s->rx_polled = true;
		uart_rx_pull(u);
		uart_update_irq(u);
	}
	return value;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t value = u->s.msr;

	u->s.msr &= 0xf0;
	uart_update_irq(u);
	return value;
}

static uint64_t read_register(struct uart *u, uint64_t offset)
{
	const struct uart_state *s = &u->s;
	bool dlab = s->lcr & UART_LCR_DLAB;

	if (offset == UART_LSR)
		return read_lsr(u);
	u->lsr_reads = 0;
	switch (offset) {
	case UART_RBR:
		return dlab ? s->dll : uart_rx_read(u);
	case UART_IER:
		return dlab ? s->dlm : s->ier;
	case UART_IIR:
		return read_iir(u);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_MSR:
		return read_msr(u);
	default:
		return s->scr;
	}
}

static uint64_t uart_read(void *dev, uint64_t offset, unsigned size)
{
	struct uart *u = dev;
	uint64_t value;

	(void)size;
	if (!u->s.tx_burst)
		return read_register(u, offset);
	uart_tx_settle(&u->s);
	value = read_register(u, offset);
	uart_update_irq(u);
	return value;
}

static void write_ier(struct uart *u, uint8_t value)
{
	struct uart_state *s = &u->s;
	uint8_t enabled = value & ~s->ier;

	s->ier = value & 0x0f;
	if ((enabled & UART_IER_ETBEI) && !s->tx_count)
		s->thre_pending = true;
	uart_rx_pull(u);
	uart_update_irq(u);
}

/* Bit 0 must be set for the others to be programmed; changing it empties both FIFOs. */
static void write_fcr(struct uart *u, uint8_t value)
{
	struct uart_state *s = &u->s;
	bool enable = value & UART_FCR_ENABLE;
	bool change = enable != uart_fifo_enabled(s);

	s->fcr = enable ? value & (UART_FCR_ENABLE | UART_FCR_DMA_MODE | UART_FCR_TRIGGER) : 0;
	if (change || (enable && (value & UART_FCR_RX_RESET)))
		uart_rx_reset(s);
	if (change || (enable && (value & UART_FCR_TX_RESET)))
		uart_tx_reset(s);
	s->timeout = enable && s->rx_count;
	uart_rx_pull(u);
	uart_update_irq(u);
}

/* What the modem's lines are: a terminal that is there, or in loopback our own outputs. */
static uint8_t modem_lines(const struct uart_state *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	return (s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static void write_mcr(struct uart *u, uint8_t value)
{
	struct uart_state *s = &u->s;
	uint8_t lines, changed;

	s->mcr = value & 0x1f;
	lines = modem_lines(s);
	changed = (lines ^ s->msr) & 0xf0;
	if (lines & UART_MSR_RI)
		changed &= ~UART_MSR_RI; /* TERI: the trailing edge only */
	s->msr = lines | (s->msr & 0x0f) | changed >> 4;
	uart_rx_pull(u);
	uart_update_irq(u);
}

static void write_register(struct uart *u, uint64_t offset, uint8_t v)
{
	struct uart_state *s = &u->s;
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_DLL:
		s->dll = v;
		break;
	case UART_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(u, v);
		break;
	case UART_FCR:
		write_fcr(u, v);
		break;
	case UART_LCR:
		s->lcr = v;
		break;
	case UART_MCR:
		write_mcr(u, v);
		break;
	case UART_SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR: for factory tests, ignored */
		break;
	}
}

static void uart_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct uart *u = dev;
	bool burst = u->s.tx_burst;

	(void)size;
	u->lsr_reads = 0;
	if (offset == UART_THR && !(u->s.lcr & UART_LCR_DLAB)) {
		uart_tx_write(u, (uint8_t)value);
		return;
	}
	uart_tx_settle(&u->s);
	write_register(u, offset, (uint8_t)value);
	if (burst)
		uart_update_irq(u);
}

const struct bus_ops uart_ops = {
	.name = "uart",
	.width = 1,
	.read = uart_read,
	.write = uart_write,
};

static void power_on(struct uart *u)
{
	u->s = (struct uart_state){.msr = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD};
	u->lsr_reads = 0;
	u->rx_timer_set = false;
	u->rx_active = false;
	u->tx_timer_set = false;
	u->irq_level = false;
}

void uart_init(struct uart *u, struct clock *clock, struct irq_line irq, struct chardev *chardev)
{
	const struct chardev_user user = {uart_rx_readable, uart_tx_writable, u};

	*u = (struct uart){.irq = irq, .clock = clock, .chardev = chardev};
	pthread_mutex_init(&u->lock, NULL);
	u->rx_timer = (struct clock_timer){.fired = uart_rx_timer_fired, .opaque = u};
	u->tx_timer = (struct clock_timer){.fired = uart_tx_timer_fired, .opaque = u};
	power_on(u);
	if (chardev)
		chardev_connect(chardev, &user);
}

void uart_set_posting(struct uart *u, struct bus_posting posting)
{
	u->posting = posting;
}

void uart_reset(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	clock_timer_cancel(u->clock, &u->rx_timer);
	clock_timer_cancel(u->clock, &u->tx_timer);
	power_on(u);
	irq_set(&u->irq, false);
	pthread_mutex_unlock(&u->lock);
}

void uart_release(struct uart *u)
{
	clock_timer_cancel(u->clock, &u->rx_timer);
	clock_timer_cancel(u->clock, &u->tx_timer);
	pthread_mutex_destroy(&u->lock);
}
