/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH, POP, LEAVE, of a word. RSP changes after the access went well. */
#include "engine/bt/translate/lower.h"

static void move_rsp(struct lower *l, int32_t bytes)
{
	emit_lea_disp(l->e, l->word, GPR_RSP, GPR_RSP, bytes);
}

/* [HOST_ADDRESS + disp] = a guest register. */
static void store(struct lower *l, int32_t disp, unsigned reg)
{
	if (is_stolen(reg)) {
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, ctx_gpr(reg));
		reg = HOST_SPARE;
	}
	emit_mem_disp(l->e, EMIT_MOV_TO, l->word, reg, HOST_ADDRESS, disp);
}

void stack_store_imm(struct lower *l, int32_t disp, uint64_t value)
{
	if (l->narrow || value == (uint64_t)(int32_t)value) {
		emit_mem_set(l->e, l->word, HOST_ADDRESS, disp, (int32_t)value);
		return;
	}
	emit_set(l->e, HOST_SPARE, value);
	emit_mem_disp(l->e, EMIT_MOV_TO, l->word, HOST_SPARE, HOST_ADDRESS, disp);
}

void lower_push(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_operand *o = &insn->operand[0];
	int32_t disp;

	if (o->kind == OPERAND_MEM) {
		disp = address_reach_operand(l);
		emit_mem_disp(l->e, EMIT_MOV, l->word, HOST_SPARE, HOST_ADDRESS, disp);
		emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.scratch));
	}
	disp = address_reach_stack(l, GPR_RSP, -l->word);
	switch (o->kind) {
	case OPERAND_MEM:
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
		emit_mem_disp(l->e, EMIT_MOV_TO, l->word, HOST_SPARE, HOST_ADDRESS, disp);
		break;
	case OPERAND_GPR:
		store(l, disp, o->reg);
		break;
	default:
		stack_store_imm(l, disp, insn->imm);
	}
	move_rsp(l, -l->word);
}

void lower_pop(struct lower *l)
{
	unsigned reg = l->i->insn.operand[0].reg;
	int32_t disp = address_reach_stack(l, GPR_RSP, 0);

	if (is_stolen(reg)) {
		emit_mem_disp(l->e, EMIT_MOV, l->word, HOST_SPARE, HOST_ADDRESS, disp);
		emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, ctx_gpr(reg));
	} else {
		emit_mem_disp(l->e, EMIT_MOV, l->word, reg, HOST_ADDRESS, disp);
	}
	if (reg != GPR_RSP)
		move_rsp(l, l->word);
}

void lower_leave(struct lower *l)
{
	int32_t disp = address_reach_stack(l, GPR_RBP, 0);

	emit_lea_disp(l->e, l->word, GPR_RSP, GPR_RBP, l->word);
	emit_mem_disp(l->e, EMIT_MOV, l->word, GPR_RBP, HOST_ADDRESS, disp);
}
