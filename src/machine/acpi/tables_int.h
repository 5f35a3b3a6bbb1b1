/* SPDX-License-Identifier: Apache-2.0 */
/* Private to machine/acpi: the area that the tables are written into, one after the other. */
#ifndef LODGE_MACHINE_ACPI_TABLES_INT_H
#define LODGE_MACHINE_ACPI_TABLES_INT_H

#include "machine/acpi/aml.h"
#include "machine/acpi/tables.h"

#define ACPI_OEM_ID       "LODGE "
#define ACPI_OEM_TABLE_ID "LODGEVM "
#define ACPI_CREATOR_ID   "LODG"

#define ACPI_XSDT_MAX 8

struct acpi_area {
	struct aml out;               /* AML's buffer serves the other tables as well */
	uint64_t gpa;                 /* where out.data lies in the guest */
	uint64_t xsdt[ACPI_XSDT_MAX]; /* tables that the XSDT lists */
	unsigned count;
};

/* Starts a table, on a multiple of 16, with the common header; its place in the area. */
size_t acpi_table_begin(struct acpi_area *area, const char *signature, unsigned revision);

/* Ends it: writes length and checksum; its guest physical address. */
uint64_t acpi_table_end(struct acpi_area *area, size_t at);

/* Like acpi_table_end, and the XSDT will list it. */
void acpi_table_end_listed(struct acpi_area *area, size_t at);

/* One table each; dsdt gives its address for the FADT. */
uint64_t acpi_dsdt(struct acpi_area *area, const struct acpi_config *config);
/* dsdt_slots.c: slots first to end - 1, within the host bridge, and at the end of the DSDT. */
void acpi_dsdt_slots(struct aml *a, unsigned first, unsigned end);
void acpi_dsdt_slot_events(struct aml *a, unsigned first, unsigned end);
void acpi_fadt(struct acpi_area *area, const struct acpi_config *config, uint64_t facs,
	       uint64_t dsdt);
void acpi_madt(struct acpi_area *area, const struct acpi_config *config);

#endif
