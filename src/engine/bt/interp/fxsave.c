/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FXSAVE and FXRSTOR, and MXCSR by itself.
 *
 * The image is written in parts: what the processor leaves alone in memory (reserved
 * bytes, registers that the mode does not reach) is not touched.
 *
 * Sources: Intel SDM vol. 1 10.5, vol. 2A FXSAVE; AMD APM vol. 2 11.4.4 (fast FXSAVE).
 */
#include <string.h>

#include "engine/bt/interp/vector.h"

#define IMAGE_SIZE XSAVE_LEGACY_SIZE

/* Whether XMM registers belong to the image: not in AMD's fast form, nor, there, without
 * CR4.OSFXSR. */
static bool with_xmm(const struct cpu *cpu)
{
	if (cpu->amd && !(cpu->cr4 & CR4_OSFXSR))
		return false;
	return !(cpu->efer & EFER_FFXSR && cpu->mode == CPU_LONG && cpu->cpl == 0);
}

/* In the order of AMD's processors: whether the first bytes are within the segment, alignment, the
 * last byte, whose offset is cut to the address size, then the others. So an image may wrap at 4
 * GiB. */
static uint64_t image_address(struct cpu *cpu, const struct insn *insn, enum seg_use use)
{
	uint64_t ea = operand_ea(cpu, insn), linear, last;

	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, VECTOR_NM);
	linear = seg_linear(cpu, insn->mem.seg, ea, 4, SEG_ANY);
	vector_align(cpu, linear, 4);
	if (linear & 15)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	last = size_cut(ea + IMAGE_SIZE - 1, insn->addr_size);
	last = seg_linear(cpu, insn->mem.seg, last, 1, use);
	mmu_probe(cpu, last, 1, use == SEG_WRITE);
	mmu_probe(cpu, linear, IMAGE_SIZE, use == SEG_WRITE);
	return linear;
}

static void fxsave(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = image_address(cpu, insn, SEG_WRITE);
	unsigned xmm = with_xmm(cpu) ? vector_registers(cpu) * 16 : 0;
	uint8_t image[XSAVE_XMM + 16 * 16];

	fpu_store_x87(&cpu->fpu, insn->op_size == 8, image);
	memcpy(image + XSAVE_XMM, cpu->fpu.area + XSAVE_XMM, xmm);
	mmu_write_bytes(cpu, linear, image, XSAVE_XMM + xmm);
}

static void fxrstor(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = image_address(cpu, insn, SEG_READ);
	struct fpu *fpu = &cpu->fpu;
	uint8_t image[IMAGE_SIZE];

	mmu_read_bytes(cpu, linear, image, sizeof(image));
	if (load_le(image + XSAVE_MXCSR, 4) & ~fpu->host.mxcsr_mask)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (!cpu->amd || cpu->cr4 & CR4_OSFXSR)
		memcpy(fpu->area + XSAVE_MXCSR, image + XSAVE_MXCSR, 4);
	fpu_load_x87(fpu, insn->op_size == 8, image);
	if (with_xmm(cpu))
		memcpy(fpu->area + XSAVE_XMM, image + XSAVE_XMM, vector_registers(cpu) * 16);
}

static void ldmxcsr(struct cpu *cpu, const struct insn *insn)
{
	uint32_t mxcsr;

	vector_require(cpu, insn->unit);
	mxcsr = mmu_read(cpu, operand_linear(cpu, insn, 4, SEG_READ), 4);
	if (mxcsr & ~cpu->fpu.host.mxcsr_mask)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	store_le(cpu->fpu.area + XSAVE_MXCSR, 4, mxcsr);
}

static void stmxcsr(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, insn->unit);
	mmu_write(cpu, operand_linear(cpu, insn, 4, SEG_WRITE), 4,
		  load_le(cpu->fpu.area + XSAVE_MXCSR, 4));
}

interp_fn vector_fxsave(const struct insn *insn)
{
	switch (insn->op) {
	case OP_FXSAVE:
		return fxsave;
	case OP_FXRSTOR:
		return fxrstor;
	case OP_LDMXCSR:
		return ldmxcsr;
	case OP_STMXCSR:
		return stmxcsr;
	default:
		return NULL;
	}
}
