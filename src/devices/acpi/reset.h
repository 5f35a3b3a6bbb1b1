/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reset control register at port 0xCF9, which the FADT names as RESET_REG
 * and kernels also try unasked.
 *
 * Source: Intel ICH9 datasheet, 13.7.5 "RST_CNT - Reset Control Register". FADT
 * RESET_VALUE is RESET_CONTROL_VALUE.
 *
 * The port lies among those of PCI configuration mechanism #1 (0xCF8-0xCFF):
 * reset_control_ops is given to pci_host_set_cf9, not to the bus.
 */
#ifndef LODGE_DEVICES_ACPI_RESET_H
#define LODGE_DEVICES_ACPI_RESET_H

#include <pthread.h>
#include <stdint.h>

#include "core/bus.h"

#define RESET_CONTROL_SYSTEM 0x02 /* SYS_RST: the whole system, not the processors only */
#define RESET_CONTROL_NOW    0x04 /* RST_CPU: a change to 1 resets */
#define RESET_CONTROL_FULL   0x08 /* FULL_RST: with a power cycle */
#define RESET_CONTROL_VALUE  0x06

struct reset_control_state {
	uint8_t value;
};

struct reset_control {
	pthread_mutex_t lock; /* guards state */
	struct reset_control_state state;
	void (*reset)(void *opaque);
	void *opaque;
};

/* reset is called on the vCPU thread with the lock held: it asks for the reset and returns. */
void reset_control_init(struct reset_control *r, void (*reset)(void *opaque), void *opaque);
void reset_control_reset(struct reset_control *r);
void reset_control_release(struct reset_control *r);

extern const struct bus_ops reset_control_ops;

#endif
