/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR and XRSTORS of x87, SSE and AVX state.
 *
 *	0    x87 without MXCSR       component 0
 *	24   MXCSR and its mask      component 1, in the standard format also 2
 *	32   ST0 to ST7              component 0
 *	160  XMM0 to XMM15           component 1
 *	512  header: XSTATE_BV, XCOMP_BV
 *	576  upper halves of YMM     component 2, in both formats
 *
 * XSAVEOPT and XSAVES always find a component modified since it was restored, which
 * the architecture allows. There are no supervisor components: IA32_XSS is 0.
 *
 * Source: Intel SDM vol. 1 chapter 13, vol. 2 under each instruction.
 */
#include <string.h>

#include "engine/bt/interp/vector.h"

#define COMPACTED BIT(63) /* of XCOMP_BV */
#define HEADER    XSAVE_XSTATE_BV

/* Must be zero: XCOMP_BV and 8 bytes more in the standard format, all behind it else. */
#define STANDARD_ZERO_FROM  XSAVE_XCOMP_BV
#define STANDARD_ZERO_TO    (HEADER + 24)
#define COMPACTED_ZERO_FROM (HEADER + 16)

/* The checks that all have; RFBM: which components are meant. */
static uint64_t begin(struct cpu *cpu, bool privileged)
{
	uint64_t wanted = (uint32_t)cpu->gpr[GPR_RAX] | cpu->gpr[GPR_RDX] << 32;

	if (!(cpu->cr4 & CR4_OSXSAVE))
		cpu_raise(cpu, VECTOR_UD);
	if (cpu->cr0 & CR0_TS)
		cpu_raise(cpu, VECTOR_NM);
	if (privileged && cpu->cpl)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	return wanted & cpu->xcr0;
}

/* Tries the byte at this offset in the area, which is cut to the address size. */
static uint64_t try(struct cpu *cpu, const struct insn *insn, unsigned offset, enum seg_use use)
{
	uint64_t ea = size_cut(operand_ea(cpu, insn) + offset, insn->addr_size);
	uint64_t linear = seg_linear(cpu, insn->mem.seg, ea, 1, use);

	mmu_probe(cpu, linear, 1, use == SEG_WRITE);
	return linear;
}

/* The area that has the components, of which it must be possible to use all. AMD's processors try
 * the first byte, to read the header, then the last byte and the others. So it may wrap at 4 GiB.
 */
static uint64_t area_address(struct cpu *cpu, const struct insn *insn, uint64_t components,
			     enum seg_use use)
{
	unsigned size = components & XSTATE_AVX ? FPU_AREA_SIZE : XSAVE_MIN_SIZE;
	uint64_t linear = vector_unchecked(cpu, insn);

	if (linear & 63)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	linear = try(cpu, insn, 0, use);
	if (use == SEG_READ)
		try(cpu, insn, HEADER, use);
	try(cpu, insn, size - 1, use);
	mmu_probe(cpu, linear, size, use == SEG_WRITE);
	return linear;
}

/* The linear address of an offset in the area. */
static uint64_t at(const struct cpu *cpu, uint64_t linear, unsigned offset)
{
	return cpu->mode == CPU_LONG ? linear + offset : (uint32_t)(linear + offset);
}

/* Writes these components; mxcsr: that too. */
static void write_components(struct cpu *cpu, const struct insn *insn, uint64_t linear,
			     uint64_t components, bool mxcsr)
{
	unsigned registers = vector_registers(cpu) * 16;
	uint8_t legacy[XSAVE_XMM];

	fpu_store_x87(&cpu->fpu, insn->op_size == 8, legacy);
	if (components & XSTATE_X87) {
		mmu_write_bytes(cpu, linear, legacy, XSAVE_MXCSR);
		mmu_write_bytes(cpu, at(cpu, linear, XSAVE_ST), legacy + XSAVE_ST,
				XSAVE_XMM - XSAVE_ST);
	}
	if (mxcsr)
		mmu_write_bytes(cpu, at(cpu, linear, XSAVE_MXCSR), legacy + XSAVE_MXCSR, 8);
	if (components & XSTATE_SSE)
		mmu_write_bytes(cpu, at(cpu, linear, XSAVE_XMM), cpu->fpu.area + XSAVE_XMM,
				registers);
	if (components & XSTATE_AVX)
		mmu_write_bytes(cpu, at(cpu, linear, FPU_YMM_HI), cpu->fpu.area + FPU_YMM_HI,
				registers);
}

static void save_standard(struct cpu *cpu, const struct insn *insn, bool optimised)
{
	uint64_t wanted = begin(cpu, false);
	uint64_t linear = area_address(cpu, insn, wanted, SEG_WRITE);
	uint64_t used = fpu_in_use(&cpu->fpu) & wanted;
	uint64_t header = mmu_read(cpu, at(cpu, linear, XSAVE_XSTATE_BV), 8);

	write_components(cpu, insn, linear, optimised ? used : wanted,
			 wanted & (XSTATE_SSE | XSTATE_AVX));
	mmu_write(cpu, at(cpu, linear, XSAVE_XSTATE_BV), 8, (header & ~wanted) | used);
}

static void save_compacted(struct cpu *cpu, const struct insn *insn, bool privileged)
{
	uint64_t wanted = begin(cpu, privileged);
	uint64_t linear = area_address(cpu, insn, wanted, SEG_WRITE);
	uint64_t used = fpu_in_use(&cpu->fpu);

	if (load_le(cpu->fpu.area + XSAVE_MXCSR, 4) != MXCSR_RESET)
		used |= XSTATE_SSE;
	used &= wanted;
	write_components(cpu, insn, linear, used, used & XSTATE_SSE);
	mmu_write(cpu, at(cpu, linear, XSAVE_XSTATE_BV), 8, used);
	mmu_write(cpu, at(cpu, linear, XSAVE_XCOMP_BV), 8, wanted | COMPACTED);
}

static void xsave(struct cpu *cpu, const struct insn *insn)
{
	save_standard(cpu, insn, false);
}

static void xsaveopt(struct cpu *cpu, const struct insn *insn)
{
	save_standard(cpu, insn, true);
}

static void xsavec(struct cpu *cpu, const struct insn *insn)
{
	save_compacted(cpu, insn, false);
}

static void xsaves(struct cpu *cpu, const struct insn *insn)
{
	save_compacted(cpu, insn, true);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* SDM vol. 1, 13.8.1 and 13.8.2; vol. 2 XRSTORS. */
static bool header_is_valid(const struct cpu *cpu, const uint8_t *area, bool compacted_only)
{
	uint64_t present = load_le(area + XSAVE_XSTATE_BV, 8);
	uint64_t layout = load_le(area + XSAVE_XCOMP_BV, 8);

	if (layout & COMPACTED)
		return !(layout & ~COMPACTED & ~cpu->xcr0) && !(present & ~layout) &&
		       is_zero(area + COMPACTED_ZERO_FROM, XSAVE_MIN_SIZE - COMPACTED_ZERO_FROM);
	return !compacted_only && !(present & ~cpu->xcr0) &&
	       is_zero(area + STANDARD_ZERO_FROM, STANDARD_ZERO_TO - STANDARD_ZERO_FROM);
}

/* MXCSR is a part of SSE state in the compacted format; in the standard format it is loaded
 * whatever XSTATE_BV says. */
static bool loads_mxcsr(const uint8_t *area, uint64_t wanted)
{
	if (load_le(area + XSAVE_XCOMP_BV, 8) & COMPACTED)
		return wanted & load_le(area + XSAVE_XSTATE_BV, 8) & XSTATE_SSE;
	return wanted & (XSTATE_SSE | XSTATE_AVX);
}

/* Takes over the components of area, which has been checked. */
static void take(struct cpu *cpu, const uint8_t *area, uint64_t wanted, bool wide)
{
	static const uint8_t zero[16 * 16];
	uint64_t present = wanted & load_le(area + XSAVE_XSTATE_BV, 8);
	unsigned registers = vector_registers(cpu) * 16;
	struct fpu *fpu = &cpu->fpu;

	if (loads_mxcsr(area, wanted))
		memcpy(fpu->area + XSAVE_MXCSR, area + XSAVE_MXCSR, 4);
	else if (wanted & XSTATE_SSE)
		store_le(fpu->area + XSAVE_MXCSR, 4, MXCSR_RESET);
	if (wanted & XSTATE_SSE)
		memcpy(fpu->area + XSAVE_XMM, present & XSTATE_SSE ? area + XSAVE_XMM : zero,
		       registers);
	if (wanted & XSTATE_AVX)
		memcpy(fpu->area + FPU_YMM_HI, present & XSTATE_AVX ? area + FPU_YMM_HI : zero,
		       registers);
	if (present & XSTATE_X87) {
		fpu_load_x87(fpu, wide, area);
	} else if (wanted & XSTATE_X87) {
		fpu_fninit(fpu);
		memset(fpu->area + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
	}
}

static void restore(struct cpu *cpu, const struct insn *insn, bool privileged)
{
	uint64_t wanted = begin(cpu, privileged);
	uint64_t linear = area_address(cpu, insn, 0, SEG_READ);
	uint8_t area[FPU_AREA_SIZE];

	mmu_read_bytes(cpu, linear, area, XSAVE_MIN_SIZE);
	if (!header_is_valid(cpu, area, privileged))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (wanted & load_le(area + XSAVE_XSTATE_BV, 8) & XSTATE_AVX) {
		area_address(cpu, insn, XSTATE_AVX, SEG_READ);
		mmu_read_bytes(cpu, at(cpu, linear, FPU_YMM_HI), area + FPU_YMM_HI,
			       sizeof(area) - FPU_YMM_HI);
	}
	if (loads_mxcsr(area, wanted) && load_le(area + XSAVE_MXCSR, 4) & ~cpu->fpu.host.mxcsr_mask)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	take(cpu, area, wanted, insn->op_size == 8);
}

static void xrstor(struct cpu *cpu, const struct insn *insn)
{
	restore(cpu, insn, false);
}

static void xrstors(struct cpu *cpu, const struct insn *insn)
{
	restore(cpu, insn, true);
}

interp_fn vector_xsave(const struct insn *insn)
{
	switch (insn->op) {
	case OP_XSAVE:
		return xsave;
	case OP_XSAVEOPT:
		return xsaveopt;
	case OP_XSAVEC:
		return xsavec;
	case OP_XSAVES:
		return xsaves;
	case OP_XRSTOR:
		return xrstor;
	case OP_XRSTORS:
		return xrstors;
	default:
		return NULL;
	}
}
