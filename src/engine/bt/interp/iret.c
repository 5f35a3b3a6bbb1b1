/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRET, in all modes and to all modes.
 *
 *	real mode                      IP CS FLAGS
 *	virtual-8086, IOPL 3           the same; IOPL stays
 *	virtual-8086, VME, IOPL < 3    the same, 16 bits only; IF goes to VIF
 *	protected, NT                  back to the task of the back link (task.c)
 *	level 0, VM in the image       to virtual-8086 mode, with all segments
 *	same level, outer level        IP CS FLAGS, and SP SS for the outer one
 *	64-bit mode                    SP SS always
 *
 * Source: Intel SDM vol. 2 (IRET), vol. 3A 6.12.1; 20.3.3.4 for VME; AMD APM vol. 3.
 */
#include "engine/bt/interp/far.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/target.h"
#include "engine/bt/interp/task.h"

/* What IRET pops first. */
struct image {
	uint64_t rip;
	uint16_t cs;
	uint64_t rflags;
	uint8_t size; /* bytes a value */
};

static void peek_image(struct cpu *cpu, unsigned size, struct image *i)
{
	i->size = size;
	if (cpu->amd) { /* the last is the first to fault */
		stack_peek(cpu, 2 * size, size);
		stack_peek(cpu, size, size);
	}
	i->rip = stack_peek(cpu, 0, size);
	i->cs = stack_peek(cpu, size, size);
	i->rflags = stack_peek(cpu, 2 * size, size);
}

#define FLAGS_ALL                                                                            \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_DF | \
	 RFLAGS_OF | RFLAGS_NT)
#define FLAGS_ALL_32 (RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)

/* RFLAGS from the image, as far as level cpl may change them. */
static void load_flags(struct cpu *cpu, const struct image *i, unsigned cpl)
{
	bool wide = i->size > 2;
	uint64_t mask = FLAGS_ALL | (wide ? FLAGS_ALL_32 : 0);

	if (cpl <= cpu_iopl(cpu))
		mask |= RFLAGS_IF;
	if (cpl == 0)
		mask |= RFLAGS_IOPL;
	if (cpl == 0 && wide && cpu->mode != CPU_REAL)
		mask |= RFLAGS_VIF | RFLAGS_VIP;
	cpu_set_rflags(cpu, (cpu->rflags & ~mask) | (i->rflags & mask));
}

/* CS:IP without descriptors. */
static void go_real(struct cpu *cpu, const struct image *i)
{
	stack_move(cpu, 3 * i->size);
	segment_load_real(cpu, SEG_CS, i->cs);
	cpu->next_rip = i->rip;
	cpu_update_mode(cpu);
}

static void iret_real(struct cpu *cpu, unsigned size)
{
	struct image i;

	peek_image(cpu, size, &i);
	if (i.rip > cpu->seg[SEG_CS].limit)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	go_real(cpu, &i);
	load_flags(cpu, &i, cpu->cpl);
}

/* IOPL below 3: the program's IF is VIF, and it must not take an interrupt that waits. */
static void iret_vme(struct cpu *cpu)
{
	struct image i;
	uint64_t vif;

	peek_image(cpu, 2, &i);
	if (i.rip > cpu->seg[SEG_CS].limit || (i.rflags & RFLAGS_TF) ||
	    ((i.rflags & RFLAGS_IF) && (cpu->rflags & RFLAGS_VIP)))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	go_real(cpu, &i);
	load_flags(cpu, &i, cpu->cpl);
	vif = i.rflags & RFLAGS_IF ? RFLAGS_VIF : 0;
	cpu_set_rflags(cpu, (cpu->rflags & ~RFLAGS_VIF) | vif);
}

static void iret_vm86(struct cpu *cpu, unsigned size)
{
	if (cpu_iopl(cpu) == 3)
		iret_real(cpu, size);
	else if (size == 2 && (cpu->cr4 & CR4_VME))
		iret_vme(cpu);
	else
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* Level 0 hands over to an 8086 program: its stack and all its segments lie above the image. */
static void to_vm86(struct cpu *cpu, const struct image *i)
{
	static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	uint64_t esp = stack_peek(cpu, 12, 4);
	uint16_t selector[ARRAY_LEN(order)];

	for (unsigned n = 0; n < ARRAY_LEN(order); n++)
		selector[n] = stack_peek(cpu, 16 + 4 * n, 4);
	if (i->rip > 0xffff)
		cpu_raise_error(cpu, VECTOR_GP, 0);

	load_flags(cpu, i, 0);
	cpu->rflags |= RFLAGS_VM;
	cpu->cpl = 3;
	segment_load_real(cpu, SEG_CS, i->cs);
	for (unsigned n = 0; n < ARRAY_LEN(order); n++)
		segment_load_real(cpu, order[n], selector[n]);
	cpu->gpr[GPR_RSP] = esp;
	cpu->next_rip = i->rip;
	cpu_update_mode(cpu);
}

static void to_level(struct cpu *cpu, const struct image *i)
{
	unsigned from = cpu->cpl;
	struct return_stack s;
	struct target t;
	bool stack;

	t.rip = i->rip;
	if (cpu->amd && (cpu->mode == CPU_LONG || (i->cs & SELECTOR_RPL) != from)) {
		/* The outer stack is read before the selector is looked at, SS first. */
		stack_peek(cpu, 4 * i->size, i->size);
		stack_peek(cpu, 3 * i->size, i->size);
	}
	return_get_code(cpu, i->cs, &t);
	stack = t.cpl > from || cpu->mode == CPU_LONG;
	if (cpu->amd)
		target_check_rip(cpu, &t, 0); /* before the stack's selector */
	if (stack) {
		s.rsp = stack_peek(cpu, 3 * i->size, i->size);
		return_get_stack(cpu, stack_peek(cpu, 4 * i->size, i->size), &t, &s);
	}
	target_check_rip(cpu, &t, 0);
	descriptor_set_accessed(cpu, &t.code);
	if (stack && !s.null)
		descriptor_set_accessed(cpu, &s.ss);

	if (!stack)
		stack_move(cpu, 3 * i->size);
	load_flags(cpu, i, from);
	target_commit(cpu, &t);
	if (stack)
		return_commit(cpu, &s, from);
}

static void iret_protected(struct cpu *cpu, unsigned size)
{
	struct image i;

	if (cpu->rflags & RFLAGS_NT) {
		if (cpu_long_active(cpu))
			cpu_raise_error(cpu, VECTOR_GP, 0);
		task_return(cpu);
		return;
	}
	peek_image(cpu, size, &i);
	if ((i.rflags & RFLAGS_VM) && size == 4 && cpu->cpl == 0 && !cpu_long_active(cpu))
		to_vm86(cpu, &i);
	else
		to_level(cpu, &i);
}

void interp_iret(struct cpu *cpu, const struct insn *insn)
{
	/* Intel's processors let NMIs through again even where IRET faults (SDM vol. 3A, 6.7.1),
	 * AMD's when it has succeeded (APM vol. 2, 8.5.1). */
	if (!cpu->amd)
		cpu_unmask_nmi(cpu);
	if (cpu->mode == CPU_REAL)
		iret_real(cpu, insn->op_size);
	else if (cpu->mode == CPU_VM86)
		iret_vm86(cpu, insn->op_size);
	else
		iret_protected(cpu, insn->op_size);
	cpu_unmask_nmi(cpu);
}
