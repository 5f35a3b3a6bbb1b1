/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading and storing segment registers: MOV, POP, LDS and the like.
 *
 * A load is prepared, with all that may fault, and then committed. The group's table is
 * here; the instructions on descriptors and their tables are in selector.c and table.c.
 *
 * Sources: Intel SDM vol. 2 (MOV, POP, LDS), vol. 3A 3.4.4, 5.4.1.1 (null selectors in 64-bit
 * mode), 6.8.3 (the shadow of a load of SS).
 */
#include "engine/bt/interp/segment.h"

#include "engine/bt/interp/descriptor.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/operand.h"

/* A checked load of a segment register. */
struct load {
	unsigned seg;
	uint16_t selector;
	bool real;
	bool null;
	struct segment segment; /* where neither */
};

static void prepare_descriptor(struct cpu *cpu, struct load *load)
{
	struct descriptor d;

	if (load->seg == SEG_SS)
		descriptor_get_stack(cpu, load->selector, cpu->cpl, VECTOR_GP, 0, &d);
	else
		descriptor_get_data(cpu, load->selector, cpu->cpl, VECTOR_GP, 0, &d);
	descriptor_set_accessed(cpu, &d);
	load->segment = descriptor_segment(&d);
}

static void prepare(struct cpu *cpu, struct load *load, unsigned seg, uint16_t selector)
{
	*load = (struct load){.seg = seg, .selector = selector};
	load->real = cpu->mode == CPU_REAL || cpu->mode == CPU_VM86;
	if (load->real)
		return;
	load->null = selector_null(selector);
	if (!load->null) {
		prepare_descriptor(cpu, load);
		return;
	}
	/* 64-bit mode needs no stack segment below CPL 3. */
	if (seg == SEG_SS && (cpu->mode != CPU_LONG || cpu->cpl == 3 || selector != cpu->cpl))
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

static void commit(struct cpu *cpu, const struct load *load)
{
	if (load->real)
		segment_load_real(cpu, load->seg, load->selector);
	else if (!load->null)
		cpu->seg[load->seg] = load->segment;
	else if (load->seg == SEG_SS)
		cpu->seg[SEG_SS] = segment_null_stack(load->selector, cpu->cpl);
	else
		segment_load_null(cpu, load->seg, load->selector);
	if (load->seg == SEG_SS)
		cpu_update_mode(cpu);
}

/* MOV SS and POP SS hold off interrupts and debug traps until the next instruction is executed. */
static void hold_interrupts(struct cpu *cpu)
{
	cpu->shadow_mov_ss = true;
	cpu_attention(cpu, ATTENTION_SHADOW);
}

uint16_t selector_operand(struct cpu *cpu, const struct insn *insn, unsigned n)
{
	const struct insn_operand *o = &insn->operand[n];

	if (o->kind == OPERAND_GPR)
		return (uint16_t)cpu->gpr[o->reg];
	return mmu_read(cpu, operand_linear(cpu, insn, 2, SEG_READ), 2);
}

void selector_store(struct cpu *cpu, const struct insn *insn, uint16_t selector)
{
	const struct insn_operand *o = &insn->operand[0];

	if (o->kind == OPERAND_GPR)
		reg_write(cpu, o->reg, insn->op_size, false, selector);
	else
		mmu_write(cpu, operand_linear(cpu, insn, 2, SEG_WRITE), 2, selector);
}

static void mov_seg(struct cpu *cpu, const struct insn *insn)
{
	struct load load;

	if (insn->operand[0].kind != OPERAND_SEG) {
		selector_store(cpu, insn, cpu->seg[insn->operand[1].reg].selector);
		return;
	}
	if (insn->operand[0].reg == SEG_CS)
		cpu_raise(cpu, VECTOR_UD);
	prepare(cpu, &load, insn->operand[0].reg, selector_operand(cpu, insn, 1));
	commit(cpu, &load);
	if (load.seg == SEG_SS)
		hold_interrupts(cpu);
}

/* Intel's newer processors write 16 bits where the operand has 32 (SDM vol. 2, PUSH); AMD's write
 * zeroes above. */
static void push_seg(struct cpu *cpu, const struct insn *insn)
{
	uint16_t selector = cpu->seg[insn->operand[0].reg].selector;
	uint64_t offset = (cpu->gpr[GPR_RSP] - 4) & cpu->sp_mask;

	if (cpu->amd || insn->op_size != 4) {
		stack_push(cpu, insn->op_size, selector);
		return;
	}
	mmu_write(cpu, seg_linear(cpu, SEG_SS, offset, 2, SEG_WRITE), 2, selector);
	stack_move(cpu, -4);
}

static void pop_seg(struct cpu *cpu, const struct insn *insn)
{
	struct load load;

	prepare(cpu, &load, insn->operand[0].reg, stack_peek(cpu, 0, insn->op_size));
	stack_move(cpu, insn->op_size); /* by the width of the stack that it came from */
	commit(cpu, &load);
	if (load.seg == SEG_SS)
		hold_interrupts(cpu);
}

/* LDS and the like: a far pointer into a segment register and a general one. */
static void load_pointer(struct cpu *cpu, const struct insn *insn, unsigned seg)
{
	unsigned size = insn->op_size;
	uint64_t linear, offset;
	struct load load;

	if (cpu->amd) /* the offset's faults come before those of the whole */
		mmu_read(cpu, operand_linear(cpu, insn, size, SEG_READ), size);
	linear = operand_linear(cpu, insn, size + 2, SEG_READ);
	offset = mmu_read(cpu, linear, size);

	prepare(cpu, &load, seg, mmu_read(cpu, linear + size, 2));
	commit(cpu, &load);
	reg_write(cpu, insn->operand[0].reg, size, false, offset);
}

static void lds(struct cpu *cpu, const struct insn *insn)
{
	load_pointer(cpu, insn, SEG_DS);
}

static void les(struct cpu *cpu, const struct insn *insn)
{
	load_pointer(cpu, insn, SEG_ES);
}

static void lfs(struct cpu *cpu, const struct insn *insn)
{
	load_pointer(cpu, insn, SEG_FS);
}

static void lgs(struct cpu *cpu, const struct insn *insn)
{
	load_pointer(cpu, insn, SEG_GS);
}

static void lss(struct cpu *cpu, const struct insn *insn)
{
	load_pointer(cpu, insn, SEG_SS);
}

interp_fn interp_segment(const struct insn *insn)
{
	static const struct interp_entry handlers[] = {
		{OP_MOV_SEG, mov_seg},  {OP_PUSH_SEG, push_seg}, {OP_POP_SEG, pop_seg},
		{OP_LDS, lds},          {OP_LES, les},           {OP_LFS, lfs},
		{OP_LGS, lgs},          {OP_LSS, lss},           {OP_LAR, interp_lar},
		{OP_LSL, interp_lsl},   {OP_VERR, interp_verr},  {OP_VERW, interp_verw},
		{OP_ARPL, interp_arpl}, {OP_LGDT, interp_lgdt},  {OP_LIDT, interp_lidt},
		{OP_SGDT, interp_sgdt}, {OP_SIDT, interp_sidt},  {OP_LLDT, interp_lldt},
		{OP_LTR, interp_ltr},   {OP_SLDT, interp_sldt},  {OP_STR, interp_str},
	};

	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
