/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A builder of AML, the byte code of ACPI's definition blocks: ACPI 6.3 chapter 20
 * "ACPI Machine Language Specification", resource descriptors chapter 6.4.
 *
 * Code is appended in the order in which it stands in ASL:
 *
 *	at = aml_device(a, "COM1");
 *	aml_name(a, "_HID");
 *	aml_eisa_id(a, "PNP0501");
 *	...
 *	aml_end(a, at);
 *
 * Whatever has a PkgLength is a block: the function that opens it returns a mark
 * that aml_end takes, innermost first. A buffer that is too small is remembered
 * (a->overflow), later appends do nothing, and the user asks once at the end.
 * The code appended is the caller's: nothing here checks that it makes sense.
 * One thread at a time; no allocation.
 */
#ifndef LODGE_MACHINE_ACPI_AML_H
#define LODGE_MACHINE_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t len;
	size_t room;
	bool overflow;
};

/* Opcodes that stand for themselves; ACPI 6.3, 20.3 "AML Byte Stream Byte Values". */
enum aml_op {
	AML_ZERO = 0x00,
	AML_LOCAL0 = 0x60,
	AML_ARG0 = 0x68,
	AML_ARG1 = 0x69,
	AML_ARG2 = 0x6a,
	AML_ARG3 = 0x6b,
	AML_STORE = 0x70,              /* source, target */
	AML_AND = 0x7b,                /* operand, operand, target */
	AML_OR = 0x7d,                 /* operand, operand, target */
	AML_NOTIFY = 0x86,             /* object, value */
	AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, byte index, name */
	AML_LNOT = 0x92,
	AML_LEQUAL = 0x93,
	AML_RETURN = 0xa4,
};

/* Appends to the room bytes at data. */
void aml_init(struct aml *a, void *data, size_t room);

/* A byte, or size bytes of a little-endian number, or len bytes, as they are. */
void aml_op(struct aml *a, uint8_t op);
void aml_raw_le(struct aml *a, uint64_t v, unsigned size);
void aml_raw(struct aml *a, const void *p, size_t len);

/* A name or path: segments of four characters each with dots between, "\\" first for the root:
 * "_HID", "\\_SB_.PCI0", "\\". A bug asserts. */
void aml_path(struct aml *a, const char *path);

/* Data: an integer in its shortest form; a string; a seven-character EISA id as DWord; a buffer of
 * the bytes; a UUID in text form as the buffer that ToUUID gives. */
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisa_id(struct aml *a, const char *id);
void aml_buffer(struct aml *a, const void *p, size_t len);
void aml_uuid(struct aml *a, const char *uuid);

/* Name(path, ...): the value follows. */
void aml_name(struct aml *a, const char *path);

/* Name(path, v) and Name(path, EISAID(id)) in one. */
void aml_name_integer(struct aml *a, const char *path, uint64_t v);
void aml_name_eisa_id(struct aml *a, const char *path, const char *id);

/* Blocks; aml_end closes them. */
size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *path);
size_t aml_method(struct aml *a, const char *path, unsigned args, bool serialized);
size_t aml_package(struct aml *a, unsigned elements); /* up to 255 */
size_t aml_if(struct aml *a);                         /* the predicate follows */
size_t aml_else(struct aml *a);
void aml_end(struct aml *a, size_t mark);

/* OperationRegion (name, SystemIO, base, len). */
void aml_ports(struct aml *a, const char *name, uint16_t base, uint8_t len);
/* Field (region, DWordAcc, NoLock, Preserve): aml_field follows, for each; a block. */
size_t aml_fields(struct aml *a, const char *region);
void aml_field(struct aml *a, const char *name, unsigned bits); /* up to 63 */

/* ResourceTemplate() { ... }: descriptors between the two calls. */
size_t aml_resources(struct aml *a);
void aml_resources_end(struct aml *a, size_t mark);

/* IO (Decode16, base, base, 1, len). */
void aml_res_io(struct aml *a, uint16_t base, uint8_t len);
/* IRQNoFlags () {irq}: an ISA interrupt, 0 to 15, edge-triggered, active high. */
void aml_res_irq(struct aml *a, unsigned irq);
/* Interrupt (ResourceConsumer, Edge or Level, ActiveHigh, Exclusive) {gsi}. */
void aml_res_gsi(struct aml *a, uint32_t gsi, bool edge);
/* Memory32Fixed (ReadWrite, base, len). */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len);

/* The windows of a host bridge, first to last: ResourceProducer, MinFixed, MaxFixed, PosDecode;
 * memory NonCacheable, ReadWrite. */
void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory32_window(struct aml *a, uint32_t first, uint32_t last);
void aml_res_memory64_window(struct aml *a, uint64_t first, uint64_t last);

#endif
