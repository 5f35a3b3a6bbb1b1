/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT's part of devices that come and go: in the host bridge, registers
 * (devices/acpi/slots.h) and a device for each slot,
 *
 *	OperationRegion (SLOT, SystemIO, LAYOUT_SLOTS, 0x10)
 *	Field (SLOT, DWordAcc, NoLock, Preserve) {CAME, 32, ASKD, 32, EJCT, 32, ANSW, 32}
 *	Device (S001) {
 *		Name (_ADR, 0x10000)
 *		Name (_SUN, 1)
 *		Method (_EJ0, 1) {EJCT = 1 << 1}
 *		Method (_OST, 3) {If (Arg0 == 3) {ANSW = (Arg1 & 0xFF) | (1 << 16)}}
 *	}
 *
 * and the event's method. It is an edge: its status bit is cleared before the method
 * runs, so that what comes meanwhile has it run again.
 *
 *	Scope (\_GPE) {
 *		Method (_E01, 0, Serialized) {
 *			Local0 = \_SB.PCI0.CAME
 *			\_SB.PCI0.CAME = Local0
 *			If (Local0 & (1 << 1)) {Notify (\_SB.PCI0.S001, 1)}
 *			...
 *			the same with ASKD and 3
 *		}
 *	}
 *
 * There is no _STA: whether a device is there, its configuration space tells.
 *
 * Source: ACPI 6.3, 5.6.4 "General-Purpose Event Handling", 5.6.6 "Device Object
 * Notifications", 6.1.11 "_SUN", 6.3.3 "_EJx", 6.3.5 "_OST".
 */
#include "base/bits.h"
#include "devices/acpi/slots.h"
#include "machine/acpi/tables_int.h"
#include "machine/layout.h"

#define NOTIFY_DEVICE_CHECK  1
#define NOTIFY_EJECT_REQUEST 3

#define BRIDGE "\\_SB_.PCI0."

_Static_assert(ACPI_SLOTS_ARRIVED == 0 && ACPI_SLOTS_ASKED == 4 && ACPI_SLOTS_EJECT == 8 &&
		       ACPI_SLOTS_ANSWER == 12 && LAYOUT_GPE_SLOTS == 1,
	       "the registers are those of the fields, and the event is _E01");

/* The slot's device: four characters of path. */
static void set_name(char *name, unsigned slot)
{
	name[0] = 'S';
	name[1] = '0';
	name[2] = (char)('0' + slot / 10);
	name[3] = (char)('0' + slot % 10);
}

static void eject_method(struct aml *a, unsigned slot)
{
	size_t at = aml_method(a, "_EJ0", 1, false);

	aml_op(a, AML_STORE);
	aml_integer(a, BIT(slot));
	aml_path(a, "EJCT");
	aml_end(a, at);
}

static void answer_method(struct aml *a, unsigned slot)
{
	size_t at = aml_method(a, "_OST", 3, false);
	size_t inner = aml_if(a);

	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_ARG0);
	aml_integer(a, NOTIFY_EJECT_REQUEST);
	aml_op(a, AML_OR);
	aml_op(a, AML_AND);
	aml_op(a, AML_ARG1);
	aml_integer(a, 0xff);
	aml_op(a, AML_ZERO); /* no target */
	aml_integer(a, (uint64_t)slot << 16);
	aml_path(a, "ANSW");
	aml_end(a, inner);
	aml_end(a, at);
}

void acpi_dsdt_slots(struct aml *a, unsigned first, unsigned end)
{
	static const char *const fields[] = {"CAME", "ASKD", "EJCT", "ANSW"};
	char name[5] = "";
	size_t at;

	aml_ports(a, "SLOT", LAYOUT_SLOTS, ACPI_SLOTS_SIZE);
	at = aml_fields(a, "SLOT");
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		aml_field(a, fields[i], 32);
	aml_end(a, at);
	for (unsigned slot = first; slot < end; slot++) {
		set_name(name, slot);
		at = aml_device(a, name);
		aml_name_integer(a, "_ADR", (uint64_t)slot << 16);
		aml_name_integer(a, "_SUN", slot);
		eject_method(a, slot);
		answer_method(a, slot);
		aml_end(a, at);
	}
}

/* Takes the slots that a register names, and notifies each of their devices. */
static void notify(struct aml *a, const char *reg, unsigned value, unsigned first, unsigned end)
{
	char path[] = BRIDGE "S000";
	size_t at;

	aml_op(a, AML_STORE);
	aml_path(a, reg);
	aml_op(a, AML_LOCAL0);
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL0);
	aml_path(a, reg);
	for (unsigned slot = first; slot < end; slot++) {
		set_name(path + sizeof(BRIDGE) - 1, slot);
		at = aml_if(a);
		aml_op(a, AML_AND);
		aml_op(a, AML_LOCAL0);
		aml_integer(a, BIT(slot));
		aml_op(a, AML_ZERO); /* no target */
		aml_op(a, AML_NOTIFY);
		aml_path(a, path);
		aml_integer(a, value);
		aml_end(a, at);
	}
}

void acpi_dsdt_slot_events(struct aml *a, unsigned first, unsigned end)
{
	size_t scope = aml_scope(a, "_GPE");
	size_t at = aml_method(a, "_E01", 0, true);

	notify(a, BRIDGE "CAME", NOTIFY_DEVICE_CHECK, first, end);
	notify(a, BRIDGE "ASKD", NOTIFY_EJECT_REQUEST, first, end);
	aml_end(a, at);
	aml_end(a, scope);
}
