/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt wires. A device holds lines and message sinks that machine/pc.c
 * connected; it does not know to what.
 *
 * Lock order: device, then interrupt controller, then kick. Setting a line never
 * calls back into a device, so it may be done with the device's lock held.
 */
#ifndef LODGE_CORE_IRQ_H
#define LODGE_CORE_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One end of a wire; set is called with the pin's new level, also when it did not change. */
struct irq_line {
	void (*set)(void *opaque, unsigned pin, bool level);
	void *opaque;
	unsigned pin;
};

/* Drives the line; a line that is not connected (set == NULL) goes nowhere. Any thread. */
static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->opaque, line->pin, level);
}

/* An edge: high, then low again. */
static inline void irq_pulse(const struct irq_line *line)
{
	irq_set(line, true);
	irq_set(line, false);
}

/*
 * A message-signalled interrupt in the form of Intel SDM vol. 3A, 11.11 "Message Signalled
 * Interrupts": address 0xFEExxxxx with destination and mode, data with vector, delivery mode,
 * level and trigger.
 */
struct msi_msg {
	uint64_t addr;
	uint32_t data;
};

#define MSI_ADDR_BASE           0xfee00000u
#define MSI_ADDR_DEST_SHIFT     12
#define MSI_ADDR_REDIRECT_HINT  (1u << 3)
#define MSI_ADDR_LOGICAL        (1u << 2)
#define MSI_DATA_VECTOR         0xffu
#define MSI_DATA_DELIVERY_SHIFT 8
#define MSI_DATA_ASSERT         (1u << 14)
#define MSI_DATA_LEVEL          (1u << 15)

/* Where messages go: the engine's local APICs. */
struct msi_sink {
	void (*send)(void *opaque, const struct msi_msg *msg);
	void *opaque;
};

static inline void msi_send(const struct msi_sink *sink, const struct msi_msg *msg)
{
	if (sink->send)
		sink->send(sink->opaque, msg);
}

#endif
