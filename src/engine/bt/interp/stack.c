/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUSH and POP of registers, memory, immediates and flags; ENTER and LEAVE.
 *
 * The operand size says how much is pushed, the stack segment (cpu->sp_mask) how wide
 * the stack pointer is; the two are independent. What is popped is read and checked in
 * full before RSP moves.
 *
 * Sources: Intel SDM vol. 2 by mnemonic, vol. 3A 20.3 (virtual-8086 mode extensions);
 * AMD APM vol. 3 "POPF".
 */
#include "engine/bt/interp/alu.h"

static void push(struct cpu *cpu, const struct insn *insn)
{
	/* Of RSP, and of memory by RSP, the value before. */
	stack_push(cpu, insn->op_size, operand_read(cpu, insn, 0));
}

static void push_r8(struct cpu *cpu, const struct insn *insn)
{
	stack_push(cpu, 8, cpu->gpr[insn->operand[0].reg]);
}

static void pop(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *o = &insn->operand[0];
	unsigned size = insn->op_size;
	uint64_t value = stack_peek(cpu, 0, size);
	uint64_t rsp = cpu->gpr[GPR_RSP];
	uint64_t ea, linear;

	if (o->kind == OPERAND_GPR) {
		stack_move(cpu, size);
		reg_write(cpu, o->reg, size, false, value);
		return;
	}
	/* An address formed from RSP is formed after the pop; RSP stays if the write faults. */
	stack_move(cpu, size);
	ea = operand_ea(cpu, insn);
	cpu->gpr[GPR_RSP] = rsp;
	linear = seg_linear(cpu, insn->mem.seg, ea, size, SEG_WRITE);
	mmu_write(cpu, linear, size, value);
	stack_move(cpu, size);
}

/* RAX, RCX, RDX, RBX, the RSP from before, RBP, RSI, RDI. */
static void pusha(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;

	for (unsigned r = 0; r < 8; r++)
		stack_poke(cpu, size * (r + 1), size, cpu->gpr[r]);
	stack_move(cpu, -(int64_t)size * 8);
}

/* From the top, and so backwards. If one faults the registers before it have been loaded, as by an
 * AMD EPYC; RSP moves at the end, so that the instruction can be executed again. */
static void popa(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;

	for (unsigned n = 0; n < 8; n++) {
		uint64_t value = stack_peek(cpu, size * n, size);

		if (7 - n != GPR_RSP)
			reg_write(cpu, 7 - n, size, false, value);
	}
	stack_move(cpu, size * 8);
}

/* In virtual-8086 mode without I/O privilege 16-bit PUSHF and POPF work on the virtual interrupt
 * flag, if CR4.VME says so; true then. */
static bool virtual_if(struct cpu *cpu, unsigned size)
{
	if (cpu->mode != CPU_VM86 || cpu_iopl(cpu) == 3)
		return false;
	if (!(cpu->cr4 & CR4_VME) || size != 2)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	return true;
}

static void pushf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t flags = cpu->rflags & ~(RFLAGS_VM | RFLAGS_RF);

	if (virtual_if(cpu, insn->op_size)) {
		flags = (flags | RFLAGS_IOPL) & ~RFLAGS_IF;
		if (cpu->rflags & RFLAGS_VIF)
			flags |= RFLAGS_IF;
	}
	stack_push(cpu, insn->op_size, flags);
}

/* The flags that POPF may change; what else it pops is ignored, but RF, which it clears. */
static uint64_t popf_mask(const struct cpu *cpu, unsigned size)
{
	uint64_t mask = ALU_STATUS | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;

	if (size > 2)
		mask |= RFLAGS_AC | RFLAGS_ID;
	if (cpu->cpl == 0)
		mask |= RFLAGS_IOPL;
	if (cpu->cpl <= cpu_iopl(cpu))
		mask |= RFLAGS_IF;
	return mask;
}

static void popf(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;
	bool virtual = virtual_if(cpu, size);
	uint64_t flags = stack_peek(cpu, 0, size);
	uint64_t mask = popf_mask(cpu, size);

	if (virtual) {
		if ((flags & RFLAGS_TF) || ((flags & RFLAGS_IF) && (cpu->rflags & RFLAGS_VIP)))
			cpu_raise_error(cpu, VECTOR_GP, 0);
		flags = flags & RFLAGS_IF ? flags | RFLAGS_VIF : flags & ~RFLAGS_VIF;
		mask = (mask | RFLAGS_VIF) & ~(RFLAGS_IF | RFLAGS_IOPL);
	}
	stack_move(cpu, size);
	cpu_set_rflags(cpu, (cpu->rflags & ~(mask | RFLAGS_RF)) | (flags & mask));
}

/* The pointers to the frames of the enclosing procedures are copied from the frame that RBP points
 * to; then comes this frame's own pointer. All goes below the saved RBP; how deep. */
static unsigned push_display(struct cpu *cpu, unsigned size, unsigned level, uint64_t frame)
{
	unsigned depth = size;

	for (unsigned i = 1; i < level; i++) {
		uint64_t bp = (cpu->gpr[GPR_RBP] - size * i) & cpu->sp_mask;
		uint64_t linear = seg_linear(cpu, SEG_SS, bp, size, SEG_READ);
		uint64_t pointer = mmu_read(cpu, linear, size);

		depth += size;
		stack_poke(cpu, depth, size, pointer);
	}
	depth += size;
	stack_poke(cpu, depth, size, frame);
	return depth;
}

static void enter(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;
	unsigned level = insn->imm2 % 32;
	unsigned depth = size;
	uint64_t frame = cpu->gpr[GPR_RSP] - size;

	if (cpu->sp_mask == UINT16_MAX) /* RSP's upper part does not borrow */
		frame = (cpu->gpr[GPR_RSP] & ~(uint64_t)UINT16_MAX) | (uint16_t)frame;
	stack_poke(cpu, size, size, cpu->gpr[GPR_RBP]);
	if (level)
		depth = push_display(cpu, size, level, frame);
	depth += (uint16_t)insn->imm;
	/* The new top must be writable, and aligned, though nothing is written there. */
	stack_touch(cpu, depth, size);
	stack_move(cpu, -(int64_t)depth);
	reg_write(cpu, GPR_RBP, size, false, frame);
}

static void leave(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;
	uint64_t sp = cpu->gpr[GPR_RBP] & cpu->sp_mask;
	uint64_t value = mmu_read(cpu, seg_linear(cpu, SEG_SS, sp, size, SEG_READ), size);

	stack_set(cpu, sp + size);
	reg_write(cpu, GPR_RBP, size, false, value);
}

static const struct interp_entry handlers[] = {
	{OP_POP, pop},     {OP_PUSHA, pusha}, {OP_PUSHAD, pusha}, {OP_POPA, popa},
	{OP_POPAD, popa},  {OP_PUSHF, pushf}, {OP_PUSHFD, pushf}, {OP_PUSHFQ, pushf},
	{OP_POPF, popf},   {OP_POPFD, popf},  {OP_POPFQ, popf},   {OP_ENTER, enter},
	{OP_LEAVE, leave},
};

interp_fn interp_stack(const struct insn *insn)
{
	if (insn->op == OP_PUSH)
		return insn->operand[0].kind == OPERAND_GPR && insn->op_size == 8 ? push_r8 : push;
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
