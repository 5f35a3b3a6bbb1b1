/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT: what no bus finds by itself, and what the PCI host bridge decodes.
 *
 * Motherboard resources (PNP0C02) hold the PCIe configuration space, without which
 * Linux distrusts MCFG, and the ports of fixed hardware. Ports below 0x100 belong
 * to every PC and need no reservation. _CBA is for bridges that MCFG does not
 * list: there is none. The power button is in the FADT.
 */
#include "devices/acpi/pm.h"
#include "devices/acpi/slots.h"
#include "machine/acpi/tables_int.h"
#include "machine/layout.h"

#define DSDT_REVISION 2 /* 64-bit integers */

/* PCI Firmware Specification 3.3, 4.5 "_OSC". */
#define OSC_UUID          "33DB4D5B-1FF7-401C-9657-7441C03DD766"
#define OSC_REVISION      1
#define OSC_BAD_UUID      0x04
#define OSC_BAD_REVISION  0x08
#define OSC_MASKED        0x10
#define OSC_CONTROL_KNOWN 0xbf /* bits 0-5 and 7: hot plug, SHPC, PME, AER, PCIe, LTR, DPC */

/* Name(_CRS, ResourceTemplate() {...}); aml_resources_end takes the mark. */
static size_t crs(struct aml *a)
{
	aml_name(a, "_CRS");
	return aml_resources(a);
}

static void sleep_states(struct aml *a)
{
	size_t at;

	aml_name(a, "_S5_");
	at = aml_package(a, 4);
	aml_integer(a, ACPI_PM_SLP_TYP_S5);
	aml_integer(a, 0); /* SLP_TYPb: there is no PM1b */
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_end(a, at);
}

/* The _UID is the processor UID of its MADT entry. */
static void processor(struct aml *a, unsigned id)
{
	static const char hex[] = "0123456789ABCDEF";
	const char name[] = {'C', '0', hex[id >> 4 & 0xf], hex[id & 0xf], 0};
	size_t at = aml_device(a, name);

	aml_name(a, "_HID");
	aml_string(a, "ACPI0007");
	aml_name_integer(a, "_UID", id);
	aml_end(a, at);
}

/* Or(CDW1, bits, CDW1) */
static void osc_status(struct aml *a, unsigned bits)
{
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_integer(a, bits);
	aml_path(a, "CDW1");
}

/* CreateDWordField(Arg3, offset, name) */
static void osc_field(struct aml *a, unsigned offset, const char *name)
{
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_op(a, AML_ARG3);
	aml_integer(a, offset);
	aml_path(a, name);
}

/*
 * Method(_OSC, 4): the operating system may control everything it knows how to; no firmware runs
 * that could keep anything for itself.
 *
 *	CreateDWordField(Arg3, 0, CDW1)
 *	If (Arg0 == UUID) {
 *		CreateDWordField(Arg3, 8, CDW3)
 *		Local0 = CDW3 & known
 *		If (Local0 != CDW3) { CDW1 |= masked; CDW3 = Local0 }
 *		If (Arg1 != 1) { CDW1 |= bad revision }
 *	} Else { CDW1 |= bad UUID }
 *	Return (Arg3)
 */
static void osc(struct aml *a)
{
	size_t method = aml_method(a, "_OSC", 4, true);
	size_t outer, inner;

	osc_field(a, 0, "CDW1");
	outer = aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_ARG0);
	aml_uuid(a, OSC_UUID);
	osc_field(a, 8, "CDW3");
	aml_op(a, AML_AND);
	aml_path(a, "CDW3");
	aml_integer(a, OSC_CONTROL_KNOWN);
	aml_op(a, AML_LOCAL0);

	inner = aml_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_LOCAL0);
	aml_path(a, "CDW3");
	osc_status(a, OSC_MASKED);
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL0);
	aml_path(a, "CDW3");
	aml_end(a, inner);

	inner = aml_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_ARG1);
	aml_integer(a, OSC_REVISION);
	osc_status(a, OSC_BAD_REVISION);
	aml_end(a, inner);
	aml_end(a, outer);

	outer = aml_else(a);
	osc_status(a, OSC_BAD_UUID);
	aml_end(a, outer);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_ARG3);
	aml_end(a, method);
}

/* Name(_PRT, ...): ACPI 6.3, 6.2.13; a GSI where the source is zero. */
static void routing(struct aml *a, unsigned slots)
{
	size_t table, entry;

	aml_name(a, "_PRT");
	table = aml_package(a, slots * 4);
	for (unsigned slot = 0; slot < slots; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			entry = aml_package(a, 4);
			aml_integer(a, (uint64_t)slot << 16 | 0xffff); /* any function */
			aml_integer(a, pin);
			aml_integer(a, 0);
			aml_integer(a, layout_pci_gsi(slot, pin));
			aml_end(a, entry);
		}
	}
	aml_end(a, table);
}

static void host_bridge(struct aml *a, const struct acpi_config *config)
{
	size_t at = aml_device(a, "PCI0");
	size_t res;

	aml_name_eisa_id(a, "_HID", "PNP0A08");
	aml_name_eisa_id(a, "_CID", "PNP0A03");
	aml_name_integer(a, "_UID", 0);
	aml_name_integer(a, "_SEG", 0);
	aml_name_integer(a, "_BBN", 0);
	res = crs(a);
	aml_res_bus_window(a, 0, LAYOUT_ECAM_BUSES - 1);
	aml_res_io(a, LAYOUT_PCI_CONFIG, 8);
	aml_res_io_window(a, 0, LAYOUT_PCI_CONFIG - 1);
	aml_res_io_window(a, LAYOUT_PCI_CONFIG + 8, 0xffff);
	aml_res_memory32_window(a, LAYOUT_PCI32, LAYOUT_PCI32 + LAYOUT_PCI32_SIZE - 1);
	if (config->pci64_size > 0)
		aml_res_memory64_window(a, config->pci64_base,
					config->pci64_base + config->pci64_size - 1);
	aml_resources_end(a, res);
	if (config->pci_slots > 0)
		routing(a, config->pci_slots);
	osc(a);
	if (config->eject_slots)
		acpi_dsdt_slots(a, config->eject_slots, config->pci_slots);
	aml_end(a, at);
}

static void motherboard(struct aml *a)
{
	size_t at = aml_device(a, "MRES");
	size_t res;

	aml_name_eisa_id(a, "_HID", "PNP0C02");
	aml_name_integer(a, "_UID", 0);
	res = crs(a);
	aml_res_memory32(a, LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
	aml_res_io(a, LAYOUT_PIC_ELCR, 2);
	aml_res_io(a, LAYOUT_ACPI_PM, ACPI_PM_SIZE);
	aml_res_io(a, LAYOUT_SLOTS, ACPI_SLOTS_SIZE);
	aml_resources_end(a, res);
	aml_end(a, at);
}

/* An ISA device with a range of ports and an interrupt. */
static void isa_device(struct aml *a, const char *name, const char *hid, uint16_t base, uint8_t len,
		       unsigned irq)
{
	size_t at = aml_device(a, name);
	size_t res;

	aml_name_eisa_id(a, "_HID", hid);
	aml_name_integer(a, "_UID", 0);
	res = crs(a);
	aml_res_io(a, base, len);
	aml_res_irq(a, irq);
	aml_resources_end(a, res);
	aml_end(a, at);
}

/* The ports belong to the keyboard, as PNP0F13 shares them. */
static void keyboard(struct aml *a)
{
	size_t at = aml_device(a, "KBD_");
	size_t res;

	aml_name_eisa_id(a, "_HID", "PNP0303");
	res = crs(a);
	aml_res_io(a, LAYOUT_I8042, 1);
	aml_res_io(a, LAYOUT_I8042 + 4, 1);
	aml_res_irq(a, LAYOUT_IRQ_KEYBOARD);
	aml_resources_end(a, res);
	aml_end(a, at);
}

static void mouse(struct aml *a)
{
	size_t at = aml_device(a, "MOU_");
	size_t res;

	aml_name_eisa_id(a, "_HID", "PNP0F13");
	res = crs(a);
	aml_res_irq(a, LAYOUT_IRQ_MOUSE);
	aml_resources_end(a, res);
	aml_end(a, at);
}

static void pvpanic(struct aml *a)
{
	size_t at = aml_device(a, "PEVT");
	size_t res;

	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");
	aml_name_integer(a, "_STA", 0xb); /* present, enabled, working; not shown */
	res = crs(a);
	aml_res_io(a, LAYOUT_PVPANIC, 1);
	aml_resources_end(a, res);
	aml_end(a, at);
}

static void mmio_device(struct aml *a, const struct acpi_mmio_device *d)
{
	size_t at = aml_device(a, d->name);
	size_t res;

	aml_name(a, "_HID");
	aml_string(a, d->hid);
	aml_name_integer(a, "_UID", d->uid);
	aml_name_integer(a, "_CCA", 1); /* its DMA is coherent */
	res = crs(a);
	aml_res_memory32(a, d->base, d->size);
	aml_res_gsi(a, d->gsi, d->edge);
	aml_resources_end(a, res);
	aml_end(a, at);
}

uint64_t acpi_dsdt(struct acpi_area *area, const struct acpi_config *config)
{
	size_t table = acpi_table_begin(area, "DSDT", DSDT_REVISION);
	struct aml *a = &area->out;
	size_t scope;

	sleep_states(a);
	scope = aml_scope(a, "_SB_");
	for (unsigned id = 0; id < config->cpus; id++)
		processor(a, id);
	host_bridge(a, config);
	motherboard(a);
	isa_device(a, "COM1", "PNP0501", LAYOUT_COM1, 8, LAYOUT_IRQ_COM1);
	isa_device(a, "RTC_", "PNP0B00", LAYOUT_RTC, 2, LAYOUT_IRQ_RTC);
	if (config->keyboard)
		keyboard(a);
	if (config->mouse)
		mouse(a);
	if (config->pvpanic)
		pvpanic(a);
	for (unsigned i = 0; i < config->device_count; i++)
		mmio_device(a, &config->devices[i]);
	aml_end(a, scope);
	if (config->eject_slots)
		acpi_dsdt_slot_events(a, config->eject_slots, config->pci_slots);
	return acpi_table_end(area, table);
}
