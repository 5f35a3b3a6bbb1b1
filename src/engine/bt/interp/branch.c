/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near branches, and BOUND. A target is checked before anything is pushed or counted.
 *
 * Sources: Intel SDM vol. 2 by mnemonic; AMD APM vol. 3 (operand size in 64-bit mode,
 * which the decoder has put into op_size).
 */
#include "engine/bt/interp/alu.h"

static void jump_relative(struct cpu *cpu, const struct insn *insn)
{
	branch_near(cpu, cpu->next_rip + insn->imm, insn->op_size);
}

static void jmp(struct cpu *cpu, const struct insn *insn)
{
	branch_near(cpu, operand_read(cpu, insn, 0), insn->op_size);
}

/* clang-format off */

/* A handler for each condition, which the compiler then knows. */
#define JCC(n)                                                                          \
	static void jcc_##n(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                               \
		if (alu_condition(cpu->rflags, n))                                      \
			jump_relative(cpu, insn);                                       \
	}

JCC(0) JCC(1) JCC(2) JCC(3) JCC(4) JCC(5) JCC(6) JCC(7)
JCC(8) JCC(9) JCC(10) JCC(11) JCC(12) JCC(13) JCC(14) JCC(15)

	/* clang-format on */

	static const interp_fn jcc[16] = {
		jcc_0, jcc_1, jcc_2,  jcc_3,  jcc_4,  jcc_5,  jcc_6,  jcc_7,
		jcc_8, jcc_9, jcc_10, jcc_11, jcc_12, jcc_13, jcc_14, jcc_15,
};

static void call(struct cpu *cpu, const struct insn *insn)
{
	uint64_t target = operand_read(cpu, insn, 0);

	if (insn->operand[0].kind == OPERAND_REL)
		target += cpu->next_rip;
	target = size_cut(target, insn->op_size);
	if (!branch_valid(cpu, target)) {
		stack_touch(cpu, insn->op_size, insn->op_size); /* its faults come first */
		cpu_raise_error(cpu, VECTOR_GP, 0);
	}
	stack_push(cpu, insn->op_size, cpu->next_rip);
	cpu->next_rip = target;
}

static void ret(struct cpu *cpu, const struct insn *insn)
{
	bool drops = insn->operands && insn->operand[0].kind == OPERAND_IMM;

	branch_near(cpu, stack_peek(cpu, 0, insn->op_size), insn->op_size);
	stack_move(cpu, insn->op_size + (drops ? (uint16_t)insn->imm : 0));
}

/* CX, ECX or RCX, by the address size. */
static uint64_t counter(const struct cpu *cpu, const struct insn *insn)
{
	return reg_read(cpu, GPR_RCX, insn->addr_size, false);
}

static void loop_if(struct cpu *cpu, const struct insn *insn, bool condition)
{
	uint64_t count = size_cut(counter(cpu, insn) - 1, insn->addr_size);

	if (count && condition)
		jump_relative(cpu, insn);
	reg_write(cpu, GPR_RCX, insn->addr_size, false, count);
}

static void loop(struct cpu *cpu, const struct insn *insn)
{
	loop_if(cpu, insn, true);
}

/* On AMD's processors F3 and F2 decide over the opcode's condition (seen on Zen 4; no manual tells
 * of it). */
static bool loop_wants_zero(const struct cpu *cpu, const struct insn *insn)
{
	if (cpu->amd && insn->prefixes & INSN_REP)
		return true;
	if (cpu->amd && insn->prefixes & INSN_REPNE)
		return false;
	return insn->op == OP_LOOPE;
}

static void loop_on_zero(struct cpu *cpu, const struct insn *insn)
{
	loop_if(cpu, insn, !!(cpu->rflags & RFLAGS_ZF) == loop_wants_zero(cpu, insn));
}

static void jcxz(struct cpu *cpu, const struct insn *insn)
{
	if (!counter(cpu, insn))
		jump_relative(cpu, insn);
}

/* The signed bounds lie in memory, the lower first. */
static void bound(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;
	uint64_t index = size_sign_extend(operand_read(cpu, insn, 0), size);
	uint64_t linear = operand_linear(cpu, insn, size, SEG_READ);
	uint64_t lower = size_sign_extend(mmu_read(cpu, linear, size), size);
	uint64_t upper;

	linear = operand_linear(cpu, insn, 2 * size, SEG_READ);
	upper = size_sign_extend(mmu_read(cpu, linear + size, size), size);

	if ((int64_t)index < (int64_t)lower || (int64_t)index > (int64_t)upper)
		cpu_raise(cpu, VECTOR_BR);
}

static const struct interp_entry handlers[] = {
	{OP_CALL, call},           {OP_RET, ret},   {OP_LOOP, loop},  {OP_LOOPE, loop_on_zero},
	{OP_LOOPNE, loop_on_zero}, {OP_JCXZ, jcxz}, {OP_JECXZ, jcxz}, {OP_JRCXZ, jcxz},
	{OP_BOUND, bound},
};

interp_fn interp_branch(const struct insn *insn)
{
	switch (insn->op) {
	case OP_JCC:
		return jcc[insn->cond & 15];
	case OP_JMP:
		return insn->operand[0].kind == OPERAND_REL ? jump_relative : jmp;
	default:
		return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
	}
}
