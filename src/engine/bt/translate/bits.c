/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BT, BTS, BTR and BTC of memory with the bit's number in a register, which is signed and reaches
 * beyond the operand: the unit that holds the bit is addressed, and the host's instruction
 * executed on it with the number cut to the unit's bits.
 */
#include "engine/bt/translate/lower.h"

#define REX        0x40
#define REX_W      0x08
#define REX_R      0x04
#define REX_B      0x01
#define PREFIX_16  0x66
#define LOCK       0xf0
#define CACHE_LINE 64

/* 1, 2 or 3. */
static unsigned shift_of(unsigned size)
{
	return size == 8 ? 3 : size == 4 ? 2 : 1;
}

static void load_number(struct lower *l)
{
	unsigned reg = l->i->insn.operand[1].reg;

	if (is_stolen(reg))
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, ctx_gpr(reg));
	else
		emit_reg(l->e, EMIT_MOV, 8, HOST_SPARE, reg);
}

/* HOST_SPARE: the number of units from the operand to the one that holds the bit. */
static void units_away(struct emit *e, unsigned size)
{
	static const uint8_t movsxd_r11_r11d[] = {0x4d, 0x63, 0xdb};
	static const uint8_t movsx_r11_r11w[] = {0x4d, 0x0f, 0xbf, 0xdb};
	static const uint8_t sar_r11[] = {0x49, 0xc1, 0xfb};

	if (size == 4)
		emit_bytes(e, movsxd_r11_r11d, sizeof(movsxd_r11_r11d));
	else if (size == 2)
		emit_bytes(e, movsx_r11_r11w, sizeof(movsx_r11_r11w));
	emit_bytes(e, sar_r11, sizeof(sar_r11));
	emit_byte(e, (uint8_t)(shift_of(size) + 3));
}

/* A locked access across a cache line's end is the interpreter's. */
static void check_line(struct lower *l, unsigned size)
{
	emit_reg(l->e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(l->e, EMIT_AND_IMM, 4, HOST_SPARE, CACHE_LINE - 1);
	emit_imm(l->e, EMIT_CMP_IMM, 4, HOST_SPARE, (int32_t)(CACHE_LINE - size));
	lower_leaves(l, emit_jcc(l->e, EMIT_ABOVE));
}

static void put(struct emit *e, const struct insn *insn, unsigned size)
{
	if (insn->prefixes & INSN_LOCK)
		emit_byte(e, LOCK);
	if (size == 2)
		emit_byte(e, PREFIX_16);
	emit_byte(e, REX | REX_R | REX_B | (size == 8 ? REX_W : 0));
	emit_byte(e, 0x0f);
	emit_byte(e, insn->bytes[insn->at.opcode]);
	emit_byte(e, (HOST_SPARE & 7) << 3 | (HOST_ADDRESS & 7));
}

void lower_bit(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	unsigned size = insn->operand[0].size;
	struct emit *e = l->e;

	address_operand(l);
	load_number(l);
	units_away(e, size);
	emit_lea(e, l->word, HOST_ADDRESS,
		 &(struct emit_address){HOST_ADDRESS, HOST_SPARE, shift_of(size), 0});
	address_check(l, size, insn->op != OP_BT);
	if (insn->prefixes & INSN_LOCK)
		check_line(l, size);
	load_number(l);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, (int32_t)(8 * size - 1));
	if (flags_wanted(l)) {
		emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.scratch));
		flags_before_copy(l);
		emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
	}
	put(e, insn, size);
	flags_after_copy(l);
}
