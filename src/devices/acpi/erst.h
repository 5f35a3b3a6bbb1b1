/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error record serialization device: where a guest's kernel leaves its last
 * words. A Linux with pstore writes its log here when it panics or has an oops;
 * the monitor is told, and the record is kept over the guest's reset, to be read
 * and cleared by the next kernel.
 *
 * Source: ACPI 6.4, 18.5 "Error Serialization". The device is described to the
 * guest by a table of instructions (ERST), which erst_instructions gives: nothing
 * but that table knows the registers. Records are those of UEFI 2.8, appendix N
 * "Common Platform Error Record".
 *
 * erst_ops covers ERST_SIZE bytes of memory, with dev = the struct erst and lock =
 * its lock: a page of registers, then the exchange buffer, through which a record
 * goes in or comes out.
 */
#ifndef LODGE_DEVICES_ACPI_ERST_H
#define LODGE_DEVICES_ACPI_ERST_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bus.h"

#define ERST_BUFFER      0x1000 /* offset of the exchange buffer */
#define ERST_BUFFER_SIZE 0x2000 /* a record's greatest length */
#define ERST_SIZE        (ERST_BUFFER + ERST_BUFFER_SIZE)
#define ERST_RECORDS_MAX 16

#define ERST_INSTRUCTIONS_MAX 24

/* A kept record, whose bytes are in erst_state.bytes; len 0: a free place, of which they are
 * undefined. */
struct erst_record {
	uint64_t id;
	uint32_t len;
};

struct erst_state {
	uint8_t operation; /* ERST_BEGIN_* action under way, or ERST_END */
	uint8_t status;    /* of the last operation */
	uint8_t cursor;    /* the place from which the next record's id is looked for */
	uint64_t offset;   /* of the record in the exchange buffer */
	uint64_t id;       /* the record to read or to clear */
	uint64_t next_id;  /* what GET_RECORD_IDENTIFIER found */
	uint64_t scratch;
	uint8_t buffer[ERST_BUFFER_SIZE];
	struct erst_record records[ERST_RECORDS_MAX];
	uint8_t bytes[ERST_RECORDS_MAX][ERST_BUFFER_SIZE]; /* mostly never touched */
};

struct erst {
	pthread_mutex_t lock; /* guards state */
	struct erst_state state;
	void (*record)(void *opaque, const uint8_t *record, size_t len);
	void *opaque;
};

/* Serialization actions (ACPI 6.4, table 18.26). */
enum erst_action {
	ERST_BEGIN_WRITE = 0x00,
	ERST_BEGIN_READ = 0x01,
	ERST_BEGIN_CLEAR = 0x02,
	ERST_END = 0x03,
	ERST_SET_RECORD_OFFSET = 0x04,
	ERST_EXECUTE = 0x05,
	ERST_CHECK_BUSY = 0x06,
	ERST_GET_STATUS = 0x07,
	ERST_GET_RECORD_ID = 0x08,
	ERST_SET_RECORD_ID = 0x09,
	ERST_GET_RECORD_COUNT = 0x0a,
	ERST_BEGIN_DUMMY_WRITE = 0x0b,
	ERST_GET_RANGE = 0x0d,
	ERST_GET_RANGE_LENGTH = 0x0e,
	ERST_GET_RANGE_ATTRIBUTES = 0x0f,
	ERST_GET_TIMINGS = 0x10,
};

/* Command status (table 18.27). */
enum erst_status {
	ERST_SUCCESS = 0,
	ERST_NOT_ENOUGH_SPACE = 1,
	ERST_FAILED = 3,
	ERST_STORE_EMPTY = 4,
	ERST_RECORD_NOT_FOUND = 5,
};

/* Serialization instructions (table 18.29): those that the device's table uses. */
enum erst_opcode {
	ERST_READ_REGISTER = 0x00,
	ERST_READ_REGISTER_VALUE = 0x01,
	ERST_WRITE_REGISTER = 0x02,
	ERST_WRITE_REGISTER_VALUE = 0x03,
};

/* A serialization instruction entry (table 18.28) as data. Its register lies in system memory,
 * from bit 0 of its address. */
struct erst_instruction {
	uint8_t action;
	uint8_t instruction;
	uint8_t flags;
	uint8_t reg_width; /* in bits: 32 or 64; it is accessed as a whole */
	uint64_t reg;      /* its guest physical address */
	uint64_t value;
	uint64_t mask;
};

/* Fills instructions with the table of a device whose range lies at base; returns how many there
 * are. They are in the order that the table needs. */
unsigned erst_instructions(uint64_t base,
			   struct erst_instruction instructions[ERST_INSTRUCTIONS_MAX]);

/*
 * Makes a device that keeps no records. record (may be NULL) is told each record that the guest
 * writes, also one for which there is no place left; it is called on the vCPU thread with the lock
 * held, and the bytes are its own for the call only.
 */
void erst_init(struct erst *e, void (*record)(void *opaque, const uint8_t *record, size_t len),
	       void *opaque);

/* The guest's reset: registers to their power-on state; the records stay. Any thread. */
void erst_reset(struct erst *e);
void erst_release(struct erst *e);

extern const struct bus_ops erst_ops;

#endif
