/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far JMP, CALL and RET. What lies behind a selector decides: a code segment, or a
 * call gate (gate.c), a task gate or TSS (task.c).
 *
 * Source: Intel SDM vol. 2 (JMP, CALL, RET), whose order of checks is kept.
 */
#include "engine/bt/interp/far.h"

#include "engine/bt/interp/frame.h"
#include "engine/bt/interp/gate.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/target.h"
#include "engine/bt/interp/task.h"

/* A far pointer, and how it is used. */
struct far_pointer {
	uint16_t selector;
	uint64_t offset;
	uint8_t size; /* operand size: of the offset, and of what CALL pushes */
	bool call;
};

/* AMD processors have no 64-bit offsets in far pointers. */
static unsigned pointer_size(const struct cpu *cpu, const struct insn *insn)
{
	return cpu->amd && insn->op_size == 8 ? 4 : insn->op_size;
}

static void read_pointer(struct cpu *cpu, const struct insn *insn, struct far_pointer *p)
{
	unsigned size = pointer_size(cpu, insn);
	uint64_t linear;

	p->size = insn->op_size;
	if (insn->operand[0].kind == OPERAND_FAR) {
		p->offset = size_cut(insn->imm, p->size);
		p->selector = insn->imm2;
		return;
	}
	if (cpu->amd) /* the offset's faults come before those of the whole */
		mmu_read(cpu, operand_linear(cpu, insn, size, SEG_READ), size);
	linear = operand_linear(cpu, insn, size + 2, SEG_READ);
	p->offset = mmu_read(cpu, linear, size);
	p->selector = mmu_read(cpu, linear + size, 2);
}

static bool unprotected(const struct cpu *cpu)
{
	return cpu->mode == CPU_REAL || cpu->mode == CPU_VM86;
}

/* CS and RIP of the instruction after this one, on the current stack. AMD's processors load CS
 * first, push then, by the new mode's stack, and look at the target's offset last (APM vol. 3,
 * "CALL (Far)"; seen by tests/insn). */
static void push_return(struct cpu *cpu, struct frame *f, unsigned size, bool to_long)
{
	frame_on_current(f, cpu, size, 0);
	frame_push(f, cpu->seg[SEG_CS].selector);
	frame_push(f, cpu->next_rip);
	if (cpu->amd && to_long != f->flat)
		frame_change_mode(f, to_long);
	frame_check(cpu, f);
	if (cpu->amd)
		frame_write_current(cpu, f);
}

/* The rest of a CALL, which faults no more after its pushes. */
static void finish_push(struct cpu *cpu, const struct frame *f)
{
	if (!cpu->amd)
		frame_write_current(cpu, f);
	cpu->gpr[GPR_RSP] = frame_rsp(f, cpu->gpr[GPR_RSP]);
}

static void transfer_real(struct cpu *cpu, const struct far_pointer *p)
{
	struct frame f;

	if (p->call)
		push_return(cpu, &f, p->size, false);
	if (p->offset > cpu->seg[SEG_CS].limit)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (p->call)
		finish_push(cpu, &f);
	segment_load_real(cpu, SEG_CS, p->selector);
	cpu->next_rip = p->offset;
	cpu_update_mode(cpu);
}

static void transfer_code(struct cpu *cpu, const struct far_pointer *p, struct target *t)
{
	unsigned dpl = descriptor_dpl(&t->code);
	unsigned rpl = p->selector & SELECTOR_RPL;
	bool allowed = descriptor_conforming(&t->code) ? dpl <= cpu->cpl
						       : dpl == cpu->cpl && rpl <= cpu->cpl;
	struct frame f;

	if (!descriptor_is_code(&t->code) || !allowed)
		raise_selector(cpu, VECTOR_GP, p->selector, 0);
	target_check_code(cpu, t, 0);
	t->rip = p->offset;
	t->cpl = cpu->cpl;
	if (p->call)
		push_return(cpu, &f, p->size, target_is_long(cpu, t));
	target_check_rip(cpu, t, 0);
	descriptor_set_accessed(cpu, &t->code);
	if (p->call)
		finish_push(cpu, &f);
	target_commit(cpu, t);
}

static void transfer_system(struct cpu *cpu, const struct far_pointer *p, struct descriptor *d)
{
	enum task_source source = p->call ? TASK_CALL : TASK_JMP;
	unsigned type = descriptor_type(d);
	bool legacy = !cpu_long_active(cpu);

	if (type == SYSTEM_CALL || (legacy && type == SYSTEM_CALL16))
		gate_transfer(cpu, d, p->call);
	else if (legacy && type == SYSTEM_TASK_GATE)
		task_by_gate(cpu, d, source);
	else if (legacy && (type == SYSTEM_TSS || type == SYSTEM_TSS16))
		task_by_selector(cpu, d, source);
	else
		raise_selector(cpu, VECTOR_GP, p->selector, 0);
}

static void transfer(struct cpu *cpu, const struct insn *insn, bool call)
{
	struct far_pointer p = {.call = call};
	struct target t;

	read_pointer(cpu, insn, &p);
	if (unprotected(cpu)) {
		transfer_real(cpu, &p);
		return;
	}
	if (selector_null(p.selector))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	descriptor_get(cpu, p.selector, VECTOR_GP, 0, &t.code);
	if (descriptor_is_segment(&t.code))
		transfer_code(cpu, &p, &t);
	else
		transfer_system(cpu, &p, &t.code);
}

static void jmp_far(struct cpu *cpu, const struct insn *insn)
{
	transfer(cpu, insn, false);
}

static void call_far(struct cpu *cpu, const struct insn *insn)
{
	transfer(cpu, insn, true);
}

static void ret_real(struct cpu *cpu, unsigned size, unsigned release)
{
	uint64_t rip = stack_peek(cpu, 0, size);
	uint16_t selector = stack_peek(cpu, size, size);

	if (rip > cpu->seg[SEG_CS].limit)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	stack_move(cpu, 2 * size + release);
	segment_load_real(cpu, SEG_CS, selector);
	cpu->next_rip = rip;
	cpu_update_mode(cpu);
}

/* To an outer level: its stack pointer lies above the parameters, which both stacks hold. */
static void ret_outer(struct cpu *cpu, struct target *t, unsigned size, unsigned release)
{
	unsigned above = 2 * size + release;
	unsigned from = cpu->cpl;
	struct return_stack s;

	s.rsp = stack_peek(cpu, above, size) + release;
	return_get_stack(cpu, stack_peek(cpu, above + size, size), t, &s);
	target_check_rip(cpu, t, 0);
	descriptor_set_accessed(cpu, &t->code);
	if (!s.null)
		descriptor_set_accessed(cpu, &s.ss);
	target_commit(cpu, t);
	return_commit(cpu, &s, from);
}

static void ret_far(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op_size;
	unsigned release = insn->operand[0].kind == OPERAND_IMM ? (uint16_t)insn->imm : 0;
	uint16_t selector;
	struct target t;

	if (unprotected(cpu)) {
		ret_real(cpu, size, release);
		return;
	}
	if (cpu->amd)
		stack_peek(cpu, size, size); /* CS is the first to fault */
	t.rip = stack_peek(cpu, 0, size);
	selector = stack_peek(cpu, size, size);
	if (cpu->amd && (selector & SELECTOR_RPL) != cpu->cpl) {
		/* The outer stack is read before the selector is looked at. */
		stack_peek(cpu, 3 * size + release, size);
		stack_peek(cpu, 2 * size + release, size);
	}
	return_get_code(cpu, selector, &t);
	if (t.cpl > cpu->cpl) {
		ret_outer(cpu, &t, size, release);
		return;
	}
	target_check_rip(cpu, &t, 0);
	descriptor_set_accessed(cpu, &t.code);
	stack_move(cpu, 2 * size + release);
	target_commit(cpu, &t);
}

interp_fn interp_far(const struct insn *insn)
{
	static const struct interp_entry handlers[] = {
		{OP_JMP_FAR, jmp_far},  {OP_CALL_FAR, call_far}, {OP_RET_FAR, ret_far},
		{OP_IRET, interp_iret}, {OP_IRETD, interp_iret}, {OP_IRETQ, interp_iret},
		{OP_INT, interp_int},   {OP_INT1, interp_int1},  {OP_INT3, interp_int3},
		{OP_INTO, interp_into},
	};

	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
