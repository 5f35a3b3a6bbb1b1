/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers, each of 8 bytes; an action of the guest's table is one write or read
 * of a register, or a write followed by a read:
 *
 *	0x00  command     an action that begins, executes or ends, or asks for an id
 *	0x08  offset      of the record in the exchange buffer
 *	0x10  id          of the record to read or to clear
 *	0x18  scratch     keeps what is written
 *	0x20  busy        always 0: an operation is done when its command was written
 *	0x28  status      of the last operation
 *	0x30  next id     what the last ERST_GET_RECORD_ID command found
 *	0x38  count       of records kept
 *	0x40  length      of the exchange buffer
 *	0x48  attributes  of it: 0, it is plain memory and not slow
 *	0x50  timings     of an operation, in microseconds: most 63:32, usual 31:0
 *
 * The last seven are read-only. The action that asks for the buffer's address has
 * the table write that address to scratch and read it back, because the device
 * does not know where it lies. Reads have no side effects: a guest may make two of
 * one.
 *
 * The exchange buffer is private to the device and reached by accesses only, so a
 * record does not change while it is looked at.
 */
#include "devices/acpi/erst.h"

#include <string.h>

#include "base/bits.h"
#include "base/checked.h"

enum {
	REG_COMMAND,
	REG_OFFSET,
	REG_ID,
	REG_SCRATCH,
	REG_BUSY,
	REG_STATUS,
	REG_NEXT_ID,
	REG_COUNT,
	REG_LENGTH,
	REG_ATTRIBUTES,
	REG_TIMINGS,
	REGS,
};

#define REG_SIZE 8
#define TIMINGS  (1000ULL << 32 | 10)

/* Record header (UEFI 2.8, table N-1). */
#define CPER_SIGNATURE "CPER"
#define CPER_LENGTH    20
#define CPER_ID        96
#define CPER_MIN       128 /* the header's own length */

/* Identifiers that name no record: none given, and the end of the store. */
#define ID_UNSPECIFIED 0
#define ID_END         UINT64_MAX

static unsigned count(const struct erst_state *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ERST_RECORDS_MAX; i++)
		n += s->records[i].len != 0;
	return n;
}

static uint8_t *bytes_of(struct erst_state *s, const struct erst_record *r)
{
	return s->bytes[r - s->records];
}

/* The kept record with this id; NULL if there is none. */
static struct erst_record *find(struct erst_state *s, uint64_t id)
{
	for (unsigned i = 0; i < ERST_RECORDS_MAX; i++)
		if (s->records[i].len && s->records[i].id == id)
			return &s->records[i];
	return NULL;
}

static struct erst_record *find_free(struct erst_state *s)
{
	for (unsigned i = 0; i < ERST_RECORDS_MAX; i++)
		if (!s->records[i].len)
			return &s->records[i];
	return NULL;
}

/* Steps through the records; at their end gives ID_END once, and begins anew. */
static uint64_t next_id(struct erst_state *s)
{
	while (s->cursor < ERST_RECORDS_MAX) {
		const struct erst_record *r = &s->records[s->cursor++];

		if (r->len)
			return r->id;
	}
	s->cursor = 0;
	return ID_END;
}

static enum erst_status do_write(struct erst *e)
{
	struct erst_state *s = &e->state;
	const uint8_t *bytes;
	struct erst_record *r;
	uint64_t id;
	uint32_t len;

	if (!range_within(s->offset, CPER_MIN, ERST_BUFFER_SIZE))
		return ERST_FAILED;
	bytes = s->buffer + s->offset;
	len = load_le(bytes + CPER_LENGTH, 4);
	id = load_le(bytes + CPER_ID, 8);
	if (memcmp(bytes, CPER_SIGNATURE, 4) != 0 || len < CPER_MIN ||
	    !range_within(s->offset, len, ERST_BUFFER_SIZE))
		return ERST_FAILED;
	if (id == ID_UNSPECIFIED || id == ID_END)
		return ERST_FAILED;
	if (e->record)
		e->record(e->opaque, bytes, len);
	r = find(s, id);
	if (!r)
		r = find_free(s);
	if (!r)
		return ERST_NOT_ENOUGH_SPACE;
	memcpy(bytes_of(s, r), bytes, len);
	r->id = id;
	r->len = len;
	return ERST_SUCCESS;
}

static enum erst_status do_read(struct erst_state *s)
{
	const struct erst_record *r;

	if (!count(s))
		return ERST_STORE_EMPTY;
	if (s->id == ID_UNSPECIFIED) {
		s->cursor = 0;
		s->id = next_id(s);
	}
	r = find(s, s->id);
	if (!r) {
		s->cursor = 0;
		return ERST_RECORD_NOT_FOUND;
	}
	if (!range_within(s->offset, r->len, ERST_BUFFER_SIZE))
		return ERST_FAILED;
	memcpy(s->buffer + s->offset, bytes_of(s, r), r->len);
	return ERST_SUCCESS;
}

static enum erst_status do_clear(struct erst_state *s)
{
	struct erst_record *r = find(s, s->id);

	if (!r)
		return count(s) ? ERST_RECORD_NOT_FOUND : ERST_STORE_EMPTY;
	r->len = 0;
	return ERST_SUCCESS;
}

static enum erst_status execute(struct erst *e)
{
	switch (e->state.operation) {
	case ERST_BEGIN_WRITE:
		return do_write(e);
	case ERST_BEGIN_READ:
		return do_read(&e->state);
	case ERST_BEGIN_CLEAR:
		return do_clear(&e->state);
	case ERST_BEGIN_DUMMY_WRITE:
		return ERST_SUCCESS;
	default:
		return ERST_FAILED;
	}
}

static void command(struct erst *e, uint64_t value)
{
	struct erst_state *s = &e->state;

	switch (value) {
	case ERST_BEGIN_WRITE:
	case ERST_BEGIN_READ:
	case ERST_BEGIN_CLEAR:
	case ERST_BEGIN_DUMMY_WRITE:
	case ERST_END:
		s->operation = value;
		break;
	case ERST_EXECUTE:
		s->status = execute(e);
		break;
	case ERST_GET_RECORD_ID:
		s->next_id = next_id(s);
		s->status = ERST_SUCCESS;
		break;
	}
}

static void load_registers(const struct erst_state *s, uint64_t regs[REGS])
{
	regs[REG_COMMAND] = 0;
	regs[REG_OFFSET] = s->offset;
	regs[REG_ID] = s->id;
	regs[REG_SCRATCH] = s->scratch;
	regs[REG_BUSY] = 0;
	regs[REG_STATUS] = s->status;
	regs[REG_NEXT_ID] = s->next_id;
	regs[REG_COUNT] = count(s);
	regs[REG_LENGTH] = ERST_BUFFER_SIZE;
	regs[REG_ATTRIBUTES] = 0;
	regs[REG_TIMINGS] = TIMINGS;
}

static uint64_t erst_read(void *dev, uint64_t offset, unsigned size)
{
	struct erst *e = dev;
	uint64_t regs[REGS];

	if (offset >= ERST_BUFFER)
		return load_le(e->state.buffer + (offset - ERST_BUFFER), size);
	if (!range_within(offset, size, sizeof(regs)))
		return 0;
	load_registers(&e->state, regs);
	return load_le((uint8_t *)regs + offset, size);
}

static void erst_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct erst *e = dev;
	struct erst_state *s = &e->state;
	uint64_t regs[REGS];

	if (offset >= ERST_BUFFER) {
		store_le(s->buffer + (offset - ERST_BUFFER), size, value);
		return;
	}
	if (!range_within(offset, size, sizeof(regs)))
		return;
	load_registers(s, regs);
	store_le((uint8_t *)regs + offset, size, value);
	s->offset = regs[REG_OFFSET];
	s->id = regs[REG_ID];
	s->scratch = regs[REG_SCRATCH];
	if (offset == REG_COMMAND * REG_SIZE)
		command(e, regs[REG_COMMAND]);
}

const struct bus_ops erst_ops = {"erst", 8, erst_read, erst_write};

struct step {
	uint8_t action;
	uint8_t instruction;
	uint8_t reg;
	uint8_t reg_width;
	uint64_t value;
};

static const struct step steps[] = {
	{ERST_BEGIN_WRITE, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_BEGIN_WRITE},
	{ERST_BEGIN_READ, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_BEGIN_READ},
	{ERST_BEGIN_CLEAR, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_BEGIN_CLEAR},
	{ERST_END, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_END},
	{ERST_SET_RECORD_OFFSET, ERST_WRITE_REGISTER, REG_OFFSET, 64, 0},
	{ERST_EXECUTE, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_EXECUTE},
	{ERST_CHECK_BUSY, ERST_READ_REGISTER_VALUE, REG_BUSY, 32, 1},
	{ERST_GET_STATUS, ERST_READ_REGISTER, REG_STATUS, 32, 0},
	{ERST_GET_RECORD_ID, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32, ERST_GET_RECORD_ID},
	{ERST_GET_RECORD_ID, ERST_READ_REGISTER, REG_NEXT_ID, 64, 0},
	{ERST_SET_RECORD_ID, ERST_WRITE_REGISTER, REG_ID, 64, 0},
	{ERST_GET_RECORD_COUNT, ERST_READ_REGISTER, REG_COUNT, 32, 0},
	{ERST_BEGIN_DUMMY_WRITE, ERST_WRITE_REGISTER_VALUE, REG_COMMAND, 32,
	 ERST_BEGIN_DUMMY_WRITE},
	/* the value is the buffer's address */
	{ERST_GET_RANGE, ERST_WRITE_REGISTER_VALUE, REG_SCRATCH, 64, 0},
	{ERST_GET_RANGE, ERST_READ_REGISTER, REG_SCRATCH, 64, 0},
	{ERST_GET_RANGE_LENGTH, ERST_READ_REGISTER, REG_LENGTH, 64, 0},
	{ERST_GET_RANGE_ATTRIBUTES, ERST_READ_REGISTER, REG_ATTRIBUTES, 64, 0},
	{ERST_GET_TIMINGS, ERST_READ_REGISTER, REG_TIMINGS, 64, 0},
};

_Static_assert(ARRAY_LEN(steps) <= ERST_INSTRUCTIONS_MAX, "the table fits its callers' arrays");

unsigned erst_instructions(uint64_t base,
			   struct erst_instruction instructions[ERST_INSTRUCTIONS_MAX])
{
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		const struct step *s = &steps[i];

		instructions[i] = (struct erst_instruction){
			.action = s->action,
			.instruction = s->instruction,
			.reg_width = s->reg_width,
			.reg = base + s->reg * REG_SIZE,
			.value = s->value,
			.mask = MASK(s->reg_width),
		};
		if (s->action == ERST_GET_RANGE && s->instruction == ERST_WRITE_REGISTER_VALUE)
			instructions[i].value = base + ERST_BUFFER;
	}
	return ARRAY_LEN(steps);
}

static void power_on(struct erst_state *s)
{
	s->operation = ERST_END;
	s->status = ERST_SUCCESS;
	s->cursor = 0;
	s->offset = 0;
	s->id = 0;
	s->next_id = 0;
	s->scratch = 0;
	memset(s->buffer, 0, sizeof(s->buffer));
}

void erst_init(struct erst *e, void (*record)(void *opaque, const uint8_t *record, size_t len),
	       void *opaque)
{
	/* The records' bytes are left alone: most VMs never touch their memory. */
	pthread_mutex_init(&e->lock, NULL);
	e->record = record;
	e->opaque = opaque;
	power_on(&e->state);
	for (unsigned i = 0; i < ERST_RECORDS_MAX; i++)
		e->state.records[i].len = 0;
}

void erst_reset(struct erst *e)
{
	pthread_mutex_lock(&e->lock);
	power_on(&e->state);
	pthread_mutex_unlock(&e->lock);
}

void erst_release(struct erst *e)
{
	pthread_mutex_destroy(&e->lock);
}
