/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MADT: processors and interrupt controllers (ACPI 6.3, 5.2.12).
 *
 * ISA interrupts are I/O APIC pins of the same number, but for the PIT, which is
 * wired to pin 2 as on every PC, and the SCI, which is a level. Up to id 254 a
 * processor has a local APIC entry; x2APIC entries are for ids above.
 */
#include "machine/acpi/tables_int.h"
#include "machine/layout.h"

#define MADT_REVISION    5
#define MADT_PCAT_COMPAT 1 /* there are two 8259s as well */

#define TYPE_LOCAL_APIC     0
#define TYPE_IO_APIC        1
#define TYPE_OVERRIDE       2
#define TYPE_LOCAL_APIC_NMI 4

#define LOCAL_APIC_ENABLED 1
#define ALL_PROCESSORS     0xff
#define PIT_GSI            2

/* MPS INTI flags: polarity in bits 0-1, trigger mode in bits 2-3. */
#define INTI_BUS_DEFAULT       0x0
#define INTI_ACTIVE_HIGH_EDGE  0x5
#define INTI_ACTIVE_HIGH_LEVEL 0xd

static void local_apic(struct aml *out, unsigned id)
{
	const uint8_t entry[8] = {TYPE_LOCAL_APIC, 8, (uint8_t)id, (uint8_t)id, LOCAL_APIC_ENABLED};

	aml_raw(out, entry, sizeof(entry));
}

static void io_apic(struct aml *out)
{
	aml_op(out, TYPE_IO_APIC);
	aml_op(out, 12);
	aml_op(out, LAYOUT_IOAPIC_ID);
	aml_op(out, 0);
	aml_raw_le(out, LAYOUT_IOAPIC, 4);
	aml_raw_le(out, 0, 4); /* its first GSI */
}

static void override(struct aml *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_op(out, TYPE_OVERRIDE);
	aml_op(out, 10);
	aml_op(out, 0); /* the ISA bus */
	aml_op(out, irq);
	aml_raw_le(out, gsi, 4);
	aml_raw_le(out, flags, 2);
}

void acpi_madt(struct acpi_area *area, const struct acpi_config *config)
{
	static const uint8_t nmi[6] = {TYPE_LOCAL_APIC_NMI,   6, ALL_PROCESSORS,
				       INTI_ACTIVE_HIGH_EDGE, 0, 1 /* LINT1 */};
	size_t at = acpi_table_begin(area, "APIC", MADT_REVISION);
	struct aml *out = &area->out;

	aml_raw_le(out, LAYOUT_LAPIC, 4);
	aml_raw_le(out, MADT_PCAT_COMPAT, 4);
	for (unsigned id = 0; id < config->cpus; id++)
		local_apic(out, id);
	io_apic(out);
	override(out, LAYOUT_IRQ_PIT, PIT_GSI, INTI_BUS_DEFAULT);
	override(out, LAYOUT_IRQ_SCI, LAYOUT_IRQ_SCI, INTI_ACTIVE_HIGH_LEVEL);
	aml_raw(out, nmi, sizeof(nmi));
	acpi_table_end_listed(area, at);
}
