/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIV and IDIV, done by the host where it is certain beforehand that the quotient fits: the host's
 * instruction must not raise #DE. What may not fit is the interpreter's, which knows for certain.
 *
 *	DIV     the upper half of the dividend is below the divisor: exactly when it fits
 *	IDIV    the upper half is but the sign of the lower one, as compilers have it, and the
 *	        divisor is neither 0 nor -1
 *
 * A divisor in memory is read once, since another vCPU may be writing it.
 */
#include "engine/bt/translate/lower.h"

#define REX   0x40
#define REX_W 0x08
#define REX_R 0x04
#define REX_B 0x01

#define PREFIX_16 0x66

/* MOVZX or MOVSX of 1 or 2 bytes to 32 bits; mod: 3 of a register, 0 of [from]. */
static void extend(struct emit *e, bool sign, unsigned size, unsigned to, unsigned mod,
		   unsigned from)
{
	emit_byte(e, REX | (to & 8 ? REX_R : 0) | (from & 8 ? REX_B : 0));
	emit_byte(e, 0x0f);
	emit_byte(e, 0xb6 | (sign ? 8 : 0) | (size == 2 ? 1 : 0));
	emit_byte(e, (uint8_t)(mod << 6 | (to & 7) << 3 | (from & 7)));
}

static void shift_sign(struct emit *e, unsigned size)
{
	emit_byte(e, REX | REX_B | (size == 8 ? REX_W : 0));
	emit_byte(e, 0xc1);
	emit_byte(e, 0xc0 | 7 << 3 | (HOST_SPARE & 7)); /* SAR */
	emit_byte(e, size == 8 ? 63 : 31);
}

/* The host's register that has the divisor, extended to 32 bits where it is shorter. */
static unsigned divisor(struct lower *l, const struct insn_operand *o, bool sign)
{
	struct emit *e = l->e;
	bool mem = o->kind == OPERAND_MEM;

	if (mem) {
		address_operand(l);
		address_check(l, o->size, false);
		if (o->size >= 4)
			emit_mem(e, EMIT_MOV, o->size, HOST_ADDRESS, HOST_ADDRESS);
		else
			extend(e, sign, o->size, HOST_ADDRESS, 0, HOST_ADDRESS);
		return HOST_ADDRESS;
	}
	flags_clobber(l, flags_live_before(l));
	if (is_stolen(o->reg)) {
		emit_ctx(e, EMIT_MOV, 8, HOST_ADDRESS, ctx_gpr(o->reg));
	} else if (o->size >= 4) {
		return o->reg;
	} else {
		emit_reg(e, EMIT_MOV, 8, HOST_ADDRESS, o->reg);
		if (o->high)
			emit_shift(e, false, 8, HOST_ADDRESS, 8);
	}
	if (o->size < 4)
		extend(e, sign, o->size, HOST_ADDRESS, 3, HOST_ADDRESS);
	return HOST_ADDRESS;
}

static void check_unsigned(struct lower *l, unsigned size, unsigned divisor)
{
	struct emit *e = l->e;
	unsigned high = GPR_RDX;

	if (size == 1) {
		emit_reg(e, EMIT_MOV, 4, HOST_SPARE, GPR_RAX);
		emit_shift(e, false, 4, HOST_SPARE, 8);
		extend(e, false, 1, HOST_SPARE, 3, HOST_SPARE);
		high = HOST_SPARE;
	} else if (size == 2) {
		extend(e, false, 2, HOST_SPARE, 3, GPR_RDX);
		high = HOST_SPARE;
	}
	emit_reg(e, EMIT_CMP, size == 8 ? 8 : 4, high, divisor);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_BELOW));
}

/* CWD, CDQ or CQO, of this size, is the instruction before. */
static bool is_extended(const struct lower *l, unsigned size)
{
	const unsigned op = size == 8 ? OP_CQO : size == 4 ? OP_CDQ : OP_CWD;

	return size > 1 && l->i != l->r->insn && l->i[-1].insn.op == op;
}

static void check_dividend(struct lower *l, unsigned size)
{
	struct emit *e = l->e;

	if (size >= 4)
		emit_reg(e, EMIT_MOV, size, HOST_SPARE, GPR_RAX);
	else
		extend(e, true, size, HOST_SPARE, 3, GPR_RAX);
	if (size >= 2)
		shift_sign(e, size);
	if (size < 4)
		emit_byte(e, PREFIX_16);
	emit_reg(e, EMIT_CMP, size == 8 ? 8 : 4, HOST_SPARE, size == 1 ? GPR_RAX : GPR_RDX);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
}

static void check_signed(struct lower *l, unsigned size, unsigned divisor)
{
	unsigned wide = size == 8 ? 8 : 4;

	if (!is_extended(l, size))
		check_dividend(l, size);
	emit_lea_disp(l->e, wide, HOST_SPARE, divisor, 1);
	emit_imm(l->e, EMIT_CMP_IMM, wide, HOST_SPARE, 1);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_ABOVE));
}

/* By HOST_ADDRESS. */
static void divide(struct emit *e, bool sign, unsigned size)
{
	if (size == 2)
		emit_byte(e, PREFIX_16);
	emit_byte(e, REX | REX_B | (size == 8 ? REX_W : 0));
	emit_byte(e, size == 1 ? 0xf6 : 0xf7);
	emit_byte(e, (uint8_t)(0xc0 | (sign ? 7 : 6) << 3 | (HOST_ADDRESS & 7)));
}

void lower_divide(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_operand *o = &insn->operand[0];
	bool sign = insn->op == OP_IDIV;
	unsigned by = divisor(l, o, sign);

	if (sign)
		check_signed(l, o->size, by);
	else
		check_unsigned(l, o->size, by);
	flags_before_copy(l);
	if (o->kind == OPERAND_GPR && !is_stolen(o->reg))
		emit_bytes(l->e, insn->bytes, insn->len);
	else
		divide(l->e, sign, o->size);
	flags_after_copy(l);
}
