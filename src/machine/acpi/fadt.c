/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FADT: the fixed hardware (ACPI 6.3, 5.2.9), constant but for two addresses
 * and whether there is an i8042.
 *
 * There is no SMI command port: ACPI is always on, SCI_EN reads as one. The power
 * button is the fixed one; there is no sleep button, and no sleep state but S5.
 */
#include "devices/acpi/pm.h"
#include "devices/acpi/reset.h"
#include "machine/acpi/tables_int.h"
#include "machine/layout.h"

#define FADT_REVISION       6
#define FADT_MINOR_REVISION 3

#define PM1A_EVENT   (LAYOUT_ACPI_PM + ACPI_PM_EVENT)
#define PM1A_CONTROL (LAYOUT_ACPI_PM + ACPI_PM_CONTROL)
#define PM_TIMER     (LAYOUT_ACPI_PM + ACPI_PM_TIMER)
#define GPE0         (LAYOUT_ACPI_PM + ACPI_PM_GPE0)

#define BOOT_LEGACY_DEVICES 0x0001
#define BOOT_8042           0x0002
#define BOOT_NO_VGA         0x0004

#define FLAG_WBINVD        BIT(0)
#define FLAG_PROC_C1       BIT(2)
#define FLAG_NO_SLP_BUTTON BIT(5) /* set: not a fixed feature */
#define FLAG_FIX_RTC       BIT(6) /* set: RTC wake status is not a fixed feature */
#define FLAG_TMR_VAL_EXT   BIT(8)
#define FLAG_RESET_REG_SUP BIT(10)

#define LATENCY_NO_C2 101 /* above 100 and 1000 us the states do not exist */
#define LATENCY_NO_C3 1001

/* ACPI 6.3, 5.2.3.2 "Generic Address Structure". */
struct gas {
	uint8_t space; /* 1: ports */
	uint8_t bits;
	uint8_t bit_offset;
	uint8_t access; /* 1 byte, 2 word, 3 doubleword */
	uint64_t address;
} __attribute__((packed));

struct fadt { /* from offset 36 */
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t pm_profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint32_t pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width;
	uint8_t day_alarm, month_alarm, century; /* CMOS indices, 0: none */
	uint16_t boot;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot;
	uint8_t minor;
	uint64_t x_facs; /* must be 0 where facs is given */
	uint64_t x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control;
	struct gas x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct gas sleep_control, sleep_status; /* of hardware-reduced ACPI */
	char hypervisor[8];
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276 - 36, "FADT");

#define PORT(at, width, size)                                                  \
	{                                                                      \
		.space = 1, .bits = (width), .access = (size), .address = (at) \
	}

static const struct fadt fadt = {
	.sci = LAYOUT_IRQ_SCI,
	.pm1a_event = PM1A_EVENT,
	.pm1a_control = PM1A_CONTROL,
	.pm_timer = PM_TIMER,
	.gpe0 = GPE0,
	.pm1_event_len = ACPI_PM_EVENT_LEN,
	.pm1_control_len = ACPI_PM_CONTROL_LEN,
	.pm_timer_len = ACPI_PM_TIMER_LEN,
	.gpe0_len = ACPI_PM_GPE0_LEN,
	.c2_latency = LATENCY_NO_C2,
	.c3_latency = LATENCY_NO_C3,
	.century = 0x32,
	.boot = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
	.flags = FLAG_WBINVD | FLAG_PROC_C1 | FLAG_NO_SLP_BUTTON | FLAG_FIX_RTC | FLAG_TMR_VAL_EXT |
		 FLAG_RESET_REG_SUP,
	.reset = PORT(LAYOUT_RESET, 8, 1),
	.reset_value = RESET_CONTROL_VALUE,
	.minor = FADT_MINOR_REVISION,
	.x_pm1a_event = PORT(PM1A_EVENT, 32, 2),
	.x_pm1a_control = PORT(PM1A_CONTROL, 16, 2),
	.x_pm_timer = PORT(PM_TIMER, 32, 3),
	.x_gpe0 = PORT(GPE0, ACPI_PM_GPE0_LEN * 8, 1),
	.hypervisor = "LODGE",
};

void acpi_fadt(struct acpi_area *area, const struct acpi_config *config, uint64_t facs,
	       uint64_t dsdt)
{
	size_t at = acpi_table_begin(area, "FACP", FADT_REVISION);
	struct fadt table = fadt;

	if (config->keyboard || config->mouse)
		table.boot |= BOOT_8042;
	table.facs = (uint32_t)facs;
	table.dsdt = (uint32_t)dsdt;
	table.x_dsdt = dsdt;
	aml_raw(&area->out, &table, sizeof(table));
	acpi_table_end_listed(area, at);
}
