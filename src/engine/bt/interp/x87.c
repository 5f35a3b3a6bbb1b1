/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x87's control instructions, which do not set its pointers. Those that begin with FN
 * do not wait: they execute while an unmasked exception is pending.
 *
 * Source: Intel SDM vol. 1 8.3.11 and 8.6, vol. 2A under each.
 */
#include "engine/bt/interp/vector.h"

#define FCW_MASKS   0x3fu
#define FSW_PENDING 0x8080u /* ES and B */

static enum fpu_format format_of(const struct cpu *cpu, const struct insn *insn)
{
	if (cpu->mode <= CPU_VM86)
		return insn->op_size == 2 ? FPU_REAL_16 : FPU_REAL_32;
	return insn->op_size == 2 ? FPU_PROTECTED_16 : FPU_PROTECTED_32;
}

/*
 * The image's address. It is accessed by parts, and which one faults shows: AMD's
 * processors try the first field and the last byte before the others.
 */
static uint64_t image_address(struct cpu *cpu, const struct insn *insn, bool with_registers,
			      enum seg_use use)
{
	unsigned size = fpu_image_size(format_of(cpu, insn), with_registers);
	unsigned field = insn->op_size == 2 ? 2 : 4;
	uint64_t linear = operand_linear(cpu, insn, field, use);
	uint64_t last = size_cut(operand_ea(cpu, insn) + size - 1, insn->addr_size);

	vector_align(cpu, linear, field);
	mmu_probe(cpu, linear, field, use == SEG_WRITE);
	mmu_probe(cpu, seg_linear(cpu, insn->mem.seg, last, 1, use), 1, use == SEG_WRITE);
	return operand_linear(cpu, insn, size, use);
}

static void store(struct cpu *cpu, const struct insn *insn, bool with_registers)
{
	uint64_t linear = image_address(cpu, insn, with_registers, SEG_WRITE);
	enum fpu_format format = format_of(cpu, insn);
	uint8_t image[FPU_SAVE_MAX];

	fpu_store_image(&cpu->fpu, format, with_registers, image);
	mmu_write_bytes(cpu, linear, image, fpu_image_size(format, with_registers));
}

static void load(struct cpu *cpu, const struct insn *insn, bool with_registers)
{
	uint64_t linear = image_address(cpu, insn, with_registers, SEG_READ);
	enum fpu_format format = format_of(cpu, insn);
	uint8_t image[FPU_SAVE_MAX];

	mmu_read_bytes(cpu, linear, image, fpu_image_size(format, with_registers));
	fpu_load_image(&cpu->fpu, format, with_registers, image);
}

static void fnstenv(struct cpu *cpu, const struct insn *insn)
{
	uint8_t *area = cpu->fpu.area;

	vector_require(cpu, UNIT_X87);
	store(cpu, insn, false);
	/* All exceptions are masked, so none is pending any more. */
	store_le(area + XSAVE_FCW, 2, load_le(area + XSAVE_FCW, 2) | FCW_MASKS);
	store_le(area + XSAVE_FSW, 2, load_le(area + XSAVE_FSW, 2) & ~FSW_PENDING);
}

static void fnsave(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, UNIT_X87);
	store(cpu, insn, true);
	fpu_fninit(&cpu->fpu);
}

static void fldenv(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, UNIT_X87);
	vector_wait(cpu);
	load(cpu, insn, false);
}

static void frstor(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, UNIT_X87);
	vector_wait(cpu);
	load(cpu, insn, true);
}

static void fninit(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	vector_require(cpu, UNIT_X87);
	fpu_fninit(&cpu->fpu);
}

static void fldcw(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, UNIT_X87);
	vector_wait(cpu);
	vector_execute(cpu, insn);
}

/* FNSTCW, FNSTSW, FNCLEX. */
static void without_waiting(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, UNIT_X87);
	vector_execute(cpu, insn);
}

static void fwait(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (cpu->cr0 & CR0_MP && cpu->cr0 & CR0_TS)
		cpu_raise(cpu, VECTOR_NM);
	vector_wait(cpu);
}

/* FENI, FDISI and FSETPM of the 8087 and 80287. */
static void nothing(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	vector_require(cpu, UNIT_X87);
}

static bool is_obsolete(const struct insn *insn)
{
	uint8_t modrm = insn->bytes[insn->at.modrm];

	return insn->op == OP_NATIVE && insn->unit == UNIT_X87 &&
	       insn->bytes[insn->at.opcode] == 0xdb &&
	       (modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4);
}

interp_fn vector_x87(const struct insn *insn)
{
	switch (insn->op) {
	case OP_FLDENV:
		return fldenv;
	case OP_FNSTENV:
		return fnstenv;
	case OP_FNSAVE:
		return fnsave;
	case OP_FRSTOR:
		return frstor;
	case OP_FNINIT:
		return fninit;
	case OP_FLDCW:
		return fldcw;
	case OP_FNSTCW:
	case OP_FNSTSW:
	case OP_FNCLEX:
		return without_waiting;
	case OP_FWAIT:
		return fwait;
	default:
		return is_obsolete(insn) ? nothing : NULL;
	}
}
