/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of the descriptor tables and the task: LGDT, LIDT, LLDT, LTR and
 * what stores them.
 *
 * Sources: Intel SDM vol. 2 (the instructions), vol. 3A 2.4 (the registers), 7.2.3 (TSS descriptor
 * in 64-bit mode).
 */
#include "engine/bt/interp/descriptor.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/segment.h"

static void need_privilege(struct cpu *cpu)
{
	if (cpu->cpl)
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* User-mode instruction prevention: what tells where the tables are is privileged. */
static void check_umip(struct cpu *cpu)
{
	if (cpu->cr4 & CR4_UMIP)
		need_privilege(cpu);
}

static void load_table(struct cpu *cpu, const struct insn *insn, struct descriptor_table *table)
{
	bool wide = cpu->mode == CPU_LONG;
	uint8_t buf[10];
	uint64_t base;

	need_privilege(cpu);
	mmu_read_bytes(cpu, operand_linear(cpu, insn, wide ? 10 : 6, SEG_READ), buf, wide ? 10 : 6);
	base = load_le(buf + 2, wide ? 8 : 4);
	if (!wide && insn->op_size == 2)
		base &= 0xffffff;
	if (wide && !linear_canonical(cpu, base))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	table->limit = load_le(buf, 2);
	table->base = base;
}

/* Processors since the 386 store all 32 bits of the base also with a 16-bit operand. */
static void store_table(struct cpu *cpu, const struct insn *insn,
			const struct descriptor_table *table)
{
	unsigned len = cpu->mode == CPU_LONG ? 10 : 6;
	uint8_t buf[10];

	check_umip(cpu);
	store_le(buf, 2, table->limit);
	store_le(buf + 2, 8, table->base);
	mmu_write_bytes(cpu, operand_linear(cpu, insn, len, SEG_WRITE), buf, len);
}

void interp_lgdt(struct cpu *cpu, const struct insn *insn)
{
	load_table(cpu, insn, &cpu->gdt);
}

void interp_lidt(struct cpu *cpu, const struct insn *insn)
{
	load_table(cpu, insn, &cpu->idt);
}

void interp_sgdt(struct cpu *cpu, const struct insn *insn)
{
	store_table(cpu, insn, &cpu->gdt);
}

void interp_sidt(struct cpu *cpu, const struct insn *insn)
{
	store_table(cpu, insn, &cpu->idt);
}

/* The descriptor of an LDT or TSS, of one of two types, for a register that holds it. */
static void get_system(struct cpu *cpu, uint16_t selector, uint32_t types, struct descriptor *d)
{
	if (selector & SELECTOR_LOCAL)
		raise_selector(cpu, VECTOR_GP, selector, 0);
	descriptor_get(cpu, selector, VECTOR_GP, 0, d);
	if (descriptor_is_segment(d) || !(types & BIT(descriptor_type(d))))
		raise_selector(cpu, VECTOR_GP, selector, 0);
	if (cpu_long_active(cpu) && !descriptor_extend(cpu, d))
		raise_selector(cpu, VECTOR_GP, selector, 0);
	if (!descriptor_present(d))
		raise_selector(cpu, VECTOR_NP, selector, 0);
	if (!linear_canonical(cpu, descriptor_segment(d).base))
		raise_selector(cpu, VECTOR_GP, selector, 0);
}

void interp_lldt(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor d;
	uint16_t selector;

	segment_need_protected(cpu);
	need_privilege(cpu);
	selector = selector_operand(cpu, insn, 0);
	if (selector_null(selector)) {
		cpu->ldtr = segment_null();
		cpu->ldtr.selector = selector;
		return;
	}
	get_system(cpu, selector, BIT(SYSTEM_LDT), &d);
	cpu->ldtr = descriptor_segment(&d);
}

void interp_ltr(struct cpu *cpu, const struct insn *insn)
{
	uint32_t types = BIT(SYSTEM_TSS) | (cpu_long_active(cpu) ? 0 : BIT(SYSTEM_TSS16));
	struct descriptor d;
	uint16_t selector;

	segment_need_protected(cpu);
	need_privilege(cpu);
	selector = selector_operand(cpu, insn, 0);
	if (selector_null(selector))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	get_system(cpu, selector, types, &d);
	descriptor_set_busy(cpu, d.linear, true);
	cpu->tr = descriptor_segment(&d);
	cpu->tr.attr |= 2; /* busy */
}

void interp_sldt(struct cpu *cpu, const struct insn *insn)
{
	segment_need_protected(cpu);
	check_umip(cpu);
	selector_store(cpu, insn, cpu->ldtr.selector);
}

void interp_str(struct cpu *cpu, const struct insn *insn)
{
	segment_need_protected(cpu);
	check_umip(cpu);
	selector_store(cpu, insn, cpu->tr.selector);
}
