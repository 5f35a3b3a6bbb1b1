/* SPDX-License-Identifier: Apache-2.0 */
/* A UART on a manual clock, with a chardev of the test's own behind it: one test program each, for
 * this defines the functions of host/chardev.h. */
#ifndef LODGE_TESTS_DEVICES_UART_RIG_H
#define LODGE_TESTS_DEVICES_UART_RIG_H

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

static inline void host_sends(const char *text)
{
	memcpy(host.in + host.in_len, text, strlen(text));
	host.in_len += strlen(text);
	host.user.readable(host.user.opaque);
}

static inline void host_takes(size_t room)
{
	host.room = room;
	host.user.writable(host.user.opaque);
}

static inline void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(number, 4);
	f->edges += level && !f->level;
	f->level = level;
}

static inline uint8_t in(struct fixture *f, unsigned reg)
{
	uint64_t v;

	pthread_mutex_lock(&f->u.lock);
	v = uart_ops.read(&f->u, reg, 1);
	pthread_mutex_unlock(&f->u.lock);
	return (uint8_t)v;
}

static inline void out(struct fixture *f, unsigned reg, uint8_t value)
{
	pthread_mutex_lock(&f->u.lock);
	uart_ops.write(&f->u, reg, 1, value);
	pthread_mutex_unlock(&f->u.lock);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	host = (struct chardev){.room = sizeof(host.out)};
	clock_init_manual(&f->clock);
	uart_init(&f->u, &f->clock, (struct irq_line){pin, f, 4}, &host);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
