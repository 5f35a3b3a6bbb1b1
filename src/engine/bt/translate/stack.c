/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH, POP, LEAVE, of 64 bits. RSP changes after the access went well. */
#include "engine/bt/translate/lower.h"

#define WIDTH 8

static void move_rsp(struct lower *l, int32_t bytes)
{
	emit_lea_disp(l->e, 8, GPR_RSP, GPR_RSP, bytes);
}

/* [HOST_ADDRESS] = a guest register. */
static void store(struct lower *l, unsigned reg)
{
	if (is_stolen(reg)) {
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, ctx_gpr(reg));
		reg = HOST_SPARE;
	}
	emit_mem(l->e, EMIT_MOV_TO, 8, reg, HOST_ADDRESS);
}

/* MOV qword [HOST_ADDRESS], imm, or by way of HOST_SPARE. */
void stack_store_imm(struct lower *l, uint64_t value)
{
	emit_set(l->e, HOST_SPARE, value);
	emit_mem(l->e, EMIT_MOV_TO, 8, HOST_SPARE, HOST_ADDRESS);
}

void lower_push(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_operand *o = &insn->operand[0];

	if (o->kind == OPERAND_MEM) {
		address_operand(l);
		address_check(l, WIDTH, false);
		emit_mem(l->e, EMIT_MOV, 8, HOST_SPARE, HOST_ADDRESS);
		emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.scratch));
	}
	address_stack(l, GPR_RSP, -WIDTH);
	address_check(l, WIDTH, true);
	switch (o->kind) {
	case OPERAND_MEM:
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
		emit_mem(l->e, EMIT_MOV_TO, 8, HOST_SPARE, HOST_ADDRESS);
		break;
	case OPERAND_GPR:
		store(l, o->reg);
		break;
	default:
		stack_store_imm(l, insn->imm);
	}
	move_rsp(l, -WIDTH);
}

void lower_pop(struct lower *l)
{
	unsigned reg = l->i->insn.operand[0].reg;

	address_stack(l, GPR_RSP, 0);
	address_check(l, WIDTH, false);
	if (is_stolen(reg)) {
		emit_mem(l->e, EMIT_MOV, 8, HOST_SPARE, HOST_ADDRESS);
		emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, ctx_gpr(reg));
	} else {
		emit_mem(l->e, EMIT_MOV, 8, reg, HOST_ADDRESS);
	}
	if (reg != GPR_RSP)
		move_rsp(l, WIDTH);
}

void lower_leave(struct lower *l)
{
	address_stack(l, GPR_RBP, 0);
	address_check(l, WIDTH, false);
	emit_lea_disp(l->e, 8, GPR_RSP, GPR_RBP, WIDTH);
	emit_mem(l->e, EMIT_MOV, 8, GPR_RBP, HOST_ADDRESS);
}
