/* SPDX-License-Identifier: Apache-2.0 */
/* UART and character device together: a guest's thread, the loop's thread, and somebody slow at
 * the other end of the pipes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/legacy/uart.h"

#define BYTES 400000u

struct fixture {
	struct event_loop *loop;
	struct chardev *chardev;
	struct clock clock;
	struct uart u;
	struct bus pio;
	int out[2], in[2];
	_Atomic unsigned edges;
	bool level; /* the wire; the UART's lock guards it */
	size_t wrong;
};

static void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	(void)number;
	if (level && !f->level)
		atomic_fetch_add(&f->edges, 1);
	f->level = level;
}

static uint8_t in(struct fixture *f, unsigned reg)
{
	return (uint8_t)bus_read(&f->pio, 0x3f8 + reg, 1);
}

static void out(struct fixture *f, unsigned reg, uint8_t v)
{
	bus_write(&f->pio, 0x3f8 + reg, 1, v);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13);
}

static void *loop_main(void *opaque)
{
	struct fixture *f = opaque;

	event_loop_run(f->loop);
	return NULL;
}

static void *host_reader(void *opaque)
{
	struct fixture *f = opaque;
	uint8_t bytes[777];
	size_t done = 0;

	while (done < BYTES) {
		ssize_t n = read(f->out[0], bytes, sizeof(bytes));

		for (ssize_t i = 0; i < n; i++)
			f->wrong += bytes[i] != pattern(done + (size_t)i);
		done += (size_t)n;
	}
	return NULL;
}

static void *host_writer(void *opaque)
{
	struct fixture *f = opaque;
	uint8_t bytes[1000];
	size_t done = 0;

	while (done < BYTES) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern(done + i);
		if (write(f->in[1], bytes, sizeof(bytes)) != sizeof(bytes))
			abort();
		done += sizeof(bytes);
	}
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->loop = event_loop_new(NULL);
	if (pipe(f->out) || pipe(f->in))
		return -1;
	f->chardev = chardev_new(f->loop, f->in[0], f->out[1], NULL);
	clock_init_manual(&f->clock);
	uart_init(&f->u, &f->clock, (struct irq_line){pin, f, 4}, f->chardev);
	bus_init(&f->pio, "pio", 0x10000);
	bus_add(&f->pio, 0x3f8, UART_PORTS, &uart_ops, &f->u, &f->u.lock, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_release(&f->pio);
	uart_release(&f->u);
	clock_release(&f->clock);
	chardev_free(f->chardev, 0);
	event_loop_free(f->loop);
	for (int i = 0; i < 2; i++) {
		close(f->out[i]);
		close(f->in[i]);
	}
	free(f);
	return 0;
}

/* Both directions at once, polled, sixteen bytes at a time as drivers do. */
static void no_byte_is_lost_either_way(void **state)
{
	struct fixture *f = *state;
	pthread_t loop, reader, writer;
	size_t sent = 0, got = 0, wrong = 0;

	out(f, UART_LCR, 0x03);
	out(f, UART_FCR, UART_FCR_ENABLE | 0x80);
	out(f, UART_MCR, UART_MCR_RTS | UART_MCR_OUT2);
	out(f, UART_IER, 0x0f);
	pthread_create(&loop, NULL, loop_main, f);
	pthread_create(&reader, NULL, host_reader, f);
	pthread_create(&writer, NULL, host_writer, f);
	while (sent < BYTES || got < BYTES) {
		uint8_t lsr = in(f, UART_LSR);

		assert_false(lsr & UART_LSR_ERRORS);
		if (lsr & UART_LSR_DR && got < BYTES)
			wrong += in(f, UART_RBR) != pattern(got++);
		else if (!(lsr & UART_LSR_THRE) || sent == BYTES)
			sched_yield();
		if (lsr & UART_LSR_THRE)
			for (int i = 0; i < 16 && sent < BYTES; i++)
				out(f, UART_THR, pattern(sent++));
	}
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	event_loop_stop(f->loop);
	pthread_join(loop, NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(f->wrong, 0);
	assert_true(atomic_load(&f->edges) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_byte_is_lost_either_way, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
