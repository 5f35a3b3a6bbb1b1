/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware: PM1a event and control registers, the power management
 * timer, and one general-purpose event block.
 *
 * Source: ACPI 6.4, 4.8 "ACPI Register Model". The machine is always in ACPI mode:
 * SCI_EN is fixed to 1, the FADT's SMI_CMD is 0, and nothing is to be enabled.
 *
 * acpi_pm_ops covers ACPI_PM_SIZE ports with dev = the struct acpi_pm and lock =
 * its lock; the blocks lie at the offsets below, which the FADT repeats:
 *
 *	+0x00  PM1a event: status (2 bytes), enable (2 bytes)
 *	+0x04  PM1a control (2 bytes)
 *	+0x08  PM timer (4 bytes, all 32 bits count: FADT flag TMR_VAL_EXT)
 *	+0x10  GPE0: status (2 bytes), enable (2 bytes)
 */
#ifndef LODGE_DEVICES_ACPI_PM_H
#define LODGE_DEVICES_ACPI_PM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"

#define ACPI_PM_EVENT       0x00
#define ACPI_PM_EVENT_LEN   4
#define ACPI_PM_CONTROL     0x04
#define ACPI_PM_CONTROL_LEN 2
#define ACPI_PM_TIMER       0x08
#define ACPI_PM_TIMER_LEN   4
#define ACPI_PM_GPE0        0x10
#define ACPI_PM_GPE0_LEN    4
#define ACPI_PM_SIZE        0x14

/* The counter's frequency in Hz. */
#define ACPI_PM_TIMER_HZ 3579545

/* SLP_TYP of the soft-off state, for \_S5 in the DSDT. Other sleep types do nothing. */
#define ACPI_PM_SLP_TYP_S5 7

/* Events in PM1 status and enable. */
#define ACPI_PM_TMR    (1u << 0)
#define ACPI_PM_BM     (1u << 4) /* status only */
#define ACPI_PM_GBL    (1u << 5)
#define ACPI_PM_PWRBTN (1u << 8)
#define ACPI_PM_SLPBTN (1u << 9)
#define ACPI_PM_RTC    (1u << 10)
#define ACPI_PM_WAK    (1u << 15) /* status only */

struct acpi_pm_state {
	uint16_t pm1_status;
	uint16_t pm1_enable;
	uint16_t pm1_control;
	uint16_t gpe0_status;
	uint16_t gpe0_enable;
	uint64_t carries; /* of the timer's bit 31, that TMR_STS has seen */
};

struct acpi_pm {
	pthread_mutex_t lock; /* guards state */
	struct acpi_pm_state state;
	struct clock *clock;
	struct clock_timer timer; /* armed only while TMR_EN is set */
	struct irq_line sci;
	void (*poweroff)(void *opaque);
	void *opaque;
};

/*
 * Makes the registers in their power-on state. sci is the system control interrupt, level-
 * triggered. poweroff is called when the guest enters S5, on the vCPU thread with the lock held:
 * it asks for the end and returns.
 */
void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, struct irq_line sci,
		  void (*poweroff)(void *opaque), void *opaque);

/* Power-on state; SCI is released. Any thread. */
void acpi_pm_reset(struct acpi_pm *pm);
void acpi_pm_release(struct acpi_pm *pm);

/* The user pressed the power or the sleep button. Any thread. */
void acpi_pm_power_button(struct acpi_pm *pm);
void acpi_pm_sleep_button(struct acpi_pm *pm);

/* General-purpose event n (0-15) happened. Any thread. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned n);

/* Drives SCI and arms the timer after state was set from a snapshot. Any thread. */
void acpi_pm_resume(struct acpi_pm *pm);

extern const struct bus_ops acpi_pm_ops;

#endif
