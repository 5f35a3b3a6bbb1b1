/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmitter. A byte written to THR goes straight to the chardev. "Empty again" is an event and
 * raises the THRE interrupt as after a real transmission: the interrupt pin falls and rises, for an
 * edge-triggered controller. With FIFOs that comes once for a burst of bytes, as it does where a
 * line has a speed: when the guest has written a FIFO's worth, when it looks at any other register
 * (so that it never sees the difference), or a millisecond later. Only when the chardev takes no
 * more do bytes stay in tx_bytes, and THRE and TEMT clear, until chardev calls back.
 *
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
#include "devices/legacy/uart.h"

#include <stddef.h>

#include "base/bits.h"
#include "base/time.h"

#define INPUT_HZ  1843200u /* of the divisor */
#define FIFO_MASK (UART_FIFO_SIZE - 1)

/* The longest burst whose end is one event lasts as long: some eleven characters at 115200 Bd. */
#define BURST_NS NS_PER_MS

/* LSR reads in a row, nothing between, that mean: the guest waits for input. Drivers that wait for
 * the transmitter stop at the first. */
#define POLLING_READS 16

static bool fifo_enabled(const struct uart_state *s)
{
	return s->fcr & UART_FCR_ENABLE;
}

static unsigned fifo_size(const struct uart_state *s)
{
	return fifo_enabled(s) ? UART_FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct uart_state *s)
{
	static const uint8_t levels[4] = {1, 4, 8, 14};

	return fifo_enabled(s) ? levels[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct uart_state *s)
{
	if (!(s->rx_count | s->errors | s->tx_count | s->rx_bad))
		return UART_LSR_THRE | UART_LSR_TEMT; /* as a guest that prints sees it */
	return (s->rx_count ? UART_LSR_DR : 0) | s->errors |
	       (s->tx_count ? 0 : UART_LSR_THRE | UART_LSR_TEMT) |
	       (fifo_enabled(s) && s->rx_bad ? UART_LSR_FIFO : 0);
}

/* The FIFO that bytes went through is empty: the event that a burst has put off. The caller
 * updates the pin. */
static void tx_settle(struct uart_state *s)
{
	if (!s->tx_burst)
		return;
	s->tx_burst = 0;
	s->thre_pending = true;
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
static void update_irq(struct uart *u)
{
	const struct uart_state *s = &u->s;
	bool open = (s->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;
	bool level = open && interrupt_id(s) != UART_IIR_NONE;

	if (level == u->irq_level)
		return;
	u->irq_level = level;
	irq_set(&u->irq, level);
}

/* Four characters' time, in ns: each is a start bit, 5 to 8 data bits, parity, stop bits. */
static uint64_t four_characters(const struct uart_state *s)
{
	unsigned divisor = s->dll | s->dlm << 8;
	unsigned bits = 1 + 5 + (s->lcr & UART_LCR_LENGTH) + (s->lcr & 8 ? 1 : 0) +
			(s->lcr & 4 ? 2 : 1);

	return time_scale(4ull * bits * 16 * MAX(divisor, 1u), NS_PER_SEC, INPUT_HZ);
}

/* A byte came or went: the four characters' time begins anew. */
static void restart_rx_timer(struct uart *u)
{
	u->rx_active = u->rx_timer_set;
	if (u->rx_timer_set)
		return;
	u->rx_timer_set = true;
	clock_timer_set(u->clock, &u->rx_timer, clock_now(u->clock) + four_characters(&u->s));
}

static void rx_timer_fired(void *opaque)
{
	struct uart *u = opaque;
	struct uart_state *s = &u->s;

	pthread_mutex_lock(&u->lock);
	if (u->rx_timer_set) {
		u->rx_timer_set = false;
		if (s->rx_count && fifo_enabled(s)) {
			if (u->rx_active)
				restart_rx_timer(u);
			else
				s->timeout = true;
		}
		update_irq(u);
	}
	pthread_mutex_unlock(&u->lock);
}

static void tx_timer_fired(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	u->tx_timer_set = false;
	tx_settle(&u->s);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

/* Makes the errors of the byte at the top of the FIFO visible. */
static void reveal_errors(struct uart_state *s)
{
	if (s->rx_count)
		s->errors |= s->rx_errors[s->rx_at];
}

/* A byte arrives on the line. */
static void rx_push(struct uart_state *s, uint8_t byte, uint8_t errors)
{
	unsigned at;

	if (s->rx_count >= fifo_size(s)) {
		s->errors |= UART_LSR_OE;
		if (fifo_enabled(s))
			return; /* the FIFO keeps what it has, the byte is lost */
		s->rx_count--;  /* the holding register is overwritten */
		s->rx_bad -= s->rx_errors[(s->rx_at + s->rx_count) & FIFO_MASK] != 0;
	}
	at = (s->rx_at + s->rx_count) & FIFO_MASK;
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
static void rx_pull(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t bytes[UART_FIFO_SIZE];
	size_t count;

	if (!u->chardev || !rx_listens(s) || s->rx_count >= fifo_size(s))
		return;
	count = chardev_read(u->chardev, bytes, fifo_size(s) - s->rx_count);
	for (size_t i = 0; i < count; i++)
		rx_push(s, bytes[i], 0);
	if (count && fifo_enabled(s))
		s->timeout = true;
}

static uint8_t read_rbr(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t byte = s->rx_bytes[s->rx_at];

	if (!s->rx_count)
		return byte; /* as it was left */
	s->rx_bad -= s->rx_errors[s->rx_at] != 0;
	s->rx_errors[s->rx_at] = 0;
	s->rx_at = (s->rx_at + 1) & FIFO_MASK;
	s->rx_count--;
	s->timeout = false;
	reveal_errors(s);
	update_irq(u);
	if (!s->rx_count) {
		rx_pull(u);
		update_irq(u);
	} else if (fifo_enabled(s)) {
		restart_rx_timer(u);
	}
	return byte;
}

static uint8_t read_iir(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t id = interrupt_id(s);

	if (id == UART_IIR_THRE) {
		s->thre_pending = false;
		update_irq(u);
	}
	return id | (fifo_enabled(s) ? UART_IIR_FIFOS : 0);
}

/* Reading shows the errors once. */
static void clear_errors(struct uart *u)
{
	struct uart_state *s = &u->s;

	s->errors = 0;
	if (s->rx_count && s->rx_errors[s->rx_at]) {
		s->rx_errors[s->rx_at] = 0;
		s->rx_bad--;
	}
	update_irq(u);
}

static uint8_t read_lsr(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t value = line_status(s);

	if (s->errors)
		clear_errors(u);
	if (value & UART_LSR_THRE)
		bus_posting_hint(&u->posting);
	if (value & UART_LSR_DR || !(value & UART_LSR_THRE)) {
		u->lsr_reads = 0;
	} else if (++u->lsr_reads >= POLLING_READS && !s->rx_polled) {
		s->rx_polled = true;
		rx_pull(u);
		update_irq(u);
	}
	return value;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t value = u->s.msr;

	u->s.msr &= 0xf0;
	update_irq(u);
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
		return dlab ? s->dll : read_rbr(u);
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
	tx_settle(&u->s);
	value = read_register(u, offset);
	update_irq(u);
	return value;
}

/* The holding register became empty. With the interrupt enabled the pin falls first: it was low
 * while the byte was on its way. */
static void tx_emptied(struct uart *u)
{
	u->s.thre_pending = true;
	if (u->s.ier & UART_IER_ETBEI) {
		u->s.thre_pending = false;
		update_irq(u);
		u->s.thre_pending = true;
		update_irq(u);
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
	update_irq(u);
	if (++s->tx_burst == UART_FIFO_SIZE) {
		tx_settle(s);
		update_irq(u);
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

	if (s->tx_count >= fifo_size(s)) {
		if (fifo_enabled(s))
			return;
		s->tx_count--;
	}
	s->tx_bytes[(s->tx_at + s->tx_count) & FIFO_MASK] = byte;
	s->tx_count++;
	s->tx_burst = 0;
	s->thre_pending = false;
	update_irq(u);
}

/* In loopback the transmitter's output is the receiver's input. */
static void tx_loop(struct uart *u, uint8_t byte)
{
	rx_push(&u->s, byte & MASK(5 + (u->s.lcr & UART_LCR_LENGTH)), 0);
	if (fifo_enabled(&u->s))
		restart_rx_timer(u);
	update_irq(u);
}

/* Gives a byte to the backend; false if it must wait. A break hides what is sent. */
static bool tx_send(struct uart *u, uint8_t byte)
{
	if (u->s.tx_count)
		return false;
	return !u->chardev || (u->s.lcr & UART_LCR_BREAK) || chardev_put(u->chardev, byte);
}

static void write_thr(struct uart *u, uint8_t byte)
{
	if (u->s.mcr & UART_MCR_LOOP) {
		tx_loop(u, byte);
		tx_emptied(u);
	} else if (!tx_send(u, byte)) {
		tx_push(u, byte);
	} else if (fifo_enabled(&u->s)) {
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

		s->tx_at = (s->tx_at + n) & FIFO_MASK;
		s->tx_count -= n;
		if (n < run)
			return false;
	}
	return true;
}

static void write_ier(struct uart *u, uint8_t value)
{
	struct uart_state *s = &u->s;
	uint8_t enabled = value & ~s->ier;

	s->ier = value & 0x0f;
	if ((enabled & UART_IER_ETBEI) && !s->tx_count)
		s->thre_pending = true;
	rx_pull(u);
	update_irq(u);
}

static void rx_reset(struct uart_state *s)
{
	if (!(s->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) && !s->rx_polled)
		return;
	for (unsigned i = 0; i < UART_FIFO_SIZE; i++)
		s->rx_errors[i] = 0;
	s->rx_count = 0;
	s->rx_bad = 0;
	s->timeout = false;
}

static void tx_reset(struct uart_state *s)
{
	if (s->tx_count)
		s->thre_pending = true;
	s->tx_count = 0;
}

/* Bit 0 must be set for the others to be programmed; changing it empties both FIFOs. */
static void write_fcr(struct uart *u, uint8_t value)
{
	struct uart_state *s = &u->s;
	bool enable = value & UART_FCR_ENABLE;
	bool change = enable != fifo_enabled(s);

	s->fcr = enable ? value & (UART_FCR_ENABLE | UART_FCR_DMA_MODE | UART_FCR_TRIGGER) : 0;
	if (change || (enable && (value & UART_FCR_RX_RESET)))
		rx_reset(s);
	if (change || (enable && (value & UART_FCR_TX_RESET)))
		tx_reset(s);
	s->timeout = enable && s->rx_count;
	rx_pull(u);
	update_irq(u);
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
	rx_pull(u);
	update_irq(u);
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
		write_thr(u, (uint8_t)value);
		return;
	}
	tx_settle(&u->s);
	write_register(u, offset, (uint8_t)value);
	if (burst)
		update_irq(u);
}

const struct bus_ops uart_ops = {
	.name = "uart",
	.width = 1,
	.read = uart_read,
	.write = uart_write,
};

static void chardev_readable(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	rx_pull(u);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static void chardev_writable(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	if (u->s.tx_count && tx_flush(u))
		tx_emptied(u);
	pthread_mutex_unlock(&u->lock);
}

void uart_send_break(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	if (!(u->s.mcr & UART_MCR_LOOP)) {
		rx_push(&u->s, 0, UART_LSR_BI | UART_LSR_FE);
		u->s.timeout = fifo_enabled(&u->s);
		update_irq(u);
	}
	pthread_mutex_unlock(&u->lock);
}

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
	const struct chardev_user user = {chardev_readable, chardev_writable, u};

	*u = (struct uart){.irq = irq, .clock = clock, .chardev = chardev};
	pthread_mutex_init(&u->lock, NULL);
	u->rx_timer = (struct clock_timer){.fired = rx_timer_fired, .opaque = u};
	u->tx_timer = (struct clock_timer){.fired = tx_timer_fired, .opaque = u};
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
