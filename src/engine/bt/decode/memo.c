/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/decode/memo.h"

#include <string.h>

#include "base/bits.h"

/* The bytes that an entry is chosen by: prefixes (up to three), opcode and ModRM, but not what
 * follows the opcode of branches. A wrong guess costs a needless decoding, nothing else. */
static unsigned key_bytes(const uint8_t *b)
{
	unsigned n = 0;

	while (n < 3 && ((b[n] & 0xf0) == 0x40 || b[n] == 0x66 || (b[n] & 0xfe) == 0x64 ||
			 (b[n] & 0xfe) == 0xf2))
		n++;
	if (b[n] == 0x0f)
		return (b[n + 1] & 0xf0) == 0x80 ? n + 2 : n + 3;
	if ((b[n] & 0xf0) == 0x70 || (b[n] & 0xfc) == 0xe8 || (b[n] & 0xf0) == 0x50 ||
	    (b[n] & 0xf0) == 0xb0)
		return n + 1;
	return n + 2;
}

static struct decode_memo_entry *entry_of(struct decode_memo *m, const uint8_t *bytes)
{
	uint64_t key = load_le(bytes, 8) & MASK(8 * key_bytes(bytes));

	return &m->entry[(key * 0x9e3779b97f4a7c15ULL) >> 40 & (DECODE_MEMO - 1)];
}

static uint64_t load_signed(const uint8_t *p, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(load_le(p, size) << shift) >> shift);
}

/* What bytes of the instruction say, at [at, at + size), is value and nothing but value. */
static unsigned displacement_size(const struct insn *insn)
{
	unsigned end = insn->at.imm ? insn->at.imm : insn->len;
	unsigned size = end - insn->at.disp;

	if (!insn->at.disp || !insn->at.modrm || !insn->has_mem || (size != 1 && size != 4))
		return 0;
	return load_signed(insn->bytes + insn->at.disp, size) == (uint64_t)insn->mem.disp ? size
											  : 0;
}

static uint64_t immediate(const struct insn *insn, unsigned size)
{
	const uint8_t *p = insn->bytes + insn->at.imm;

	return insn->imm_signed ? load_signed(p, size) : load_le(p, size);
}

static unsigned immediate_size(const struct insn *insn)
{
	unsigned size = insn->len - insn->at.imm;
	bool is_operand = false;

	for (unsigned n = 0; n < insn->operands; n++)
		is_operand |= insn->operand[n].kind == OPERAND_REL ||
			      insn->operand[n].kind == OPERAND_IMM;
	if (!insn->at.imm || !is_operand || insn->unit != UNIT_INTEGER || insn->imm2)
		return 0;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return 0;
	return immediate(insn, size) == insn->imm ? size : 0;
}

static void clear(uint8_t *mask, unsigned at, unsigned size)
{
	memset(mask + at, 0, size);
}

static void remember(struct decode_memo_entry *e, const struct insn *insn, enum decode_mode mode)
{
	uint8_t mask[DECODE_MEMO_BYTES] = {0}, bytes[DECODE_MEMO_BYTES] = {0};

	e->insn = *insn;
	e->mode = (uint8_t)mode;
	e->disp_size = (uint8_t)displacement_size(insn);
	e->imm_size = (uint8_t)immediate_size(insn);
	memset(mask, 0xff, insn->len);
	clear(mask, insn->at.disp, e->disp_size);
	clear(mask, insn->at.imm, e->imm_size);
	memcpy(bytes, insn->bytes, insn->len);
	for (unsigned n = 0; n < 2; n++) {
		e->mask[n] = load_le(mask + 8 * n, 8);
		e->value[n] = load_le(bytes + 8 * n, 8) & e->mask[n];
	}
}

/* What may differ in the instruction, which is the entry's otherwise. */
static void recall(const struct decode_memo_entry *e, const uint8_t *bytes, struct insn *insn)
{
	unsigned len = insn->len;

	store_le(insn->bytes, 8, load_le(bytes, 8) & MASK(8 * MIN(len, 8)));
	store_le(insn->bytes + 8, 7, load_le(bytes + 8, 8) & MASK(8 * (len - MIN(len, 8))));
	if (e->disp_size)
		insn->mem.disp = (int64_t)load_signed(bytes + insn->at.disp, e->disp_size);
	if (e->imm_size)
		insn->imm = immediate(insn, e->imm_size);
}

static bool is_remembered(const struct decode_memo_entry *e, enum decode_mode mode,
			  const uint8_t *bytes)
{
	return e->insn.len && e->mode == mode && (load_le(bytes, 8) & e->mask[0]) == e->value[0] &&
	       (load_le(bytes + 8, 8) & e->mask[1]) == e->value[1];
}

static bool is_memorable(enum decode_mode mode, size_t len)
{
	return len >= DECODE_MEMO_BYTES && mode >= DECODE_32;
}

enum decode_status decode_memo(struct decode_memo *m, const struct decoder *d,
			       enum decode_mode mode, const uint8_t *bytes, size_t len,
			       struct insn *insn)
{
	struct decode_memo_entry *e;
	enum decode_status status;

	if (!is_memorable(mode, len))
		return decode(d, mode, bytes, len, insn);
	e = entry_of(m, bytes);
	if (is_remembered(e, mode, bytes)) {
		*insn = e->insn;
		recall(e, bytes, insn);
		return DECODE_OK;
	}
	status = decode(d, mode, bytes, len, insn);
	if (status == DECODE_OK)
		remember(e, insn, mode);
	return status;
}

const struct insn *decode_memo_look(struct decode_memo *m, const struct decoder *d,
				    enum decode_mode mode, const uint8_t *bytes, size_t len)
{
	struct decode_memo_entry *e = is_memorable(mode, len) ? entry_of(m, bytes) : NULL;

	if (e && is_remembered(e, mode, bytes)) {
		recall(e, bytes, &e->insn);
		return &e->insn;
	}
	if (decode_memo(m, d, mode, bytes, len, &m->other) != DECODE_OK)
		return NULL;
	return &m->other;
}
