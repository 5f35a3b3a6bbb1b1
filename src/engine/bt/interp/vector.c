/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that compute on vector and x87 registers.
 *
 *	checks: #UD, #NM, #MF -> address: #GP, #SS, #AC -> memory: #PF
 *	   -> fpu_run: #XM -> registers, flags, memory
 *
 * in that order: what may fault comes before anything changes. An operand that is
 * written is probed, and written when the instruction has been executed.
 *
 * Sources: Intel SDM vol. 1 11.5 and 11.6, vol. 2A 2.4 (exception classes), vol. 3A 2.5,
 * 6.15 (#MF, #XM), 13.1; AMD APM vol. 1 4.7, vol. 3 on each instruction.
 */
#include <string.h>

#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/vector.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define MXCSR_MM   BIT(17) /* AMD: misaligned SSE operands are allowed */
#define FSW_PE     0x20u
#define ALIGN_MOST 16u /* what alignment checks ask of larger operands */

int vector_refused(const struct cpu *cpu, enum insn_unit unit)
{
	const uint64_t avx = XSTATE_SSE | XSTATE_AVX;

	switch (unit) {
	case UNIT_X87:
		if (cpu->cr0 & CR0_EM)
			return VECTOR_NM;
		break;
	case UNIT_MMX:
		if (cpu->cr0 & CR0_EM)
			return VECTOR_UD;
		break;
	case UNIT_AVX:
		if (cpu->mode <= CPU_VM86 || !(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & avx) != avx)
			return VECTOR_UD;
		break;
	default:
		if (cpu->cr0 & CR0_EM || !(cpu->cr4 & CR4_OSFXSR))
			return VECTOR_UD;
	}
	return cpu->cr0 & CR0_TS ? VECTOR_NM : -1;
}

void vector_require(struct cpu *cpu, enum insn_unit unit)
{
	int vector = vector_refused(cpu, unit);

	if (vector >= 0)
		cpu_raise(cpu, (uint8_t)vector);
}

void vector_get(const struct cpu *cpu, unsigned reg, uint8_t value[VECTOR_MAX])
{
	memcpy(value, cpu->fpu.area + XSAVE_XMM + 16 * reg, 16);
	memcpy(value + 16, cpu->fpu.area + FPU_YMM_HI + 16 * reg, 16);
}

void vector_set(struct cpu *cpu, unsigned reg, const uint8_t *value, unsigned size)
{
	uint8_t *high = cpu->fpu.area + FPU_YMM_HI + 16 * reg;

	memcpy(cpu->fpu.area + XSAVE_XMM + 16 * reg, value, 16);
	if (size > 16)
		memcpy(high, value + 16, 16);
	else
		memset(high, 0, 16);
}

static const struct insn_operand *find_operand(const struct insn *insn, unsigned kind)
{
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == kind)
			return &insn->operand[i];
	return NULL;
}

/* CVTPI2PS of memory. */
static bool is_cvtpi2ps_memory(const struct insn *insn)
{
	unsigned at = insn->at.opcode;

	if (insn->unit != UNIT_SSE || !insn->has_mem || insn->bytes[at] != 0x2a ||
	    insn->bytes[at - 1] != 0x0f)
		return false;
	for (unsigned i = 0; i < at - 1; i++)
		if (insn->bytes[i] == 0x66 || insn->bytes[i] == 0xf2 || insn->bytes[i] == 0xf3)
			return false; /* CVTPI2PD, CVTSI2SD, CVTSI2SS */
	return true;
}

static bool has_x87(const struct insn *insn)
{
	return insn->unit == UNIT_X87 || insn->unit == UNIT_MMX || find_operand(insn, OPERAND_MMX);
}

static bool uses_x87(const struct cpu *cpu, const struct insn *insn)
{
	if (has_x87(insn))
		return true;
	/* Intel's goes over to MMX state even so (SDM vol. 2, CVTPI2PS; CVTPI2PD says otherwise of
	 * itself); AMD's does not, as tests/insn finds. */
	return !cpu->amd && is_cvtpi2ps_memory(insn);
}

/* MXCSR.MM does not free the moves that are called aligned. */
static bool explicitly_aligned(const struct insn *insn)
{
	switch (insn->bytes[insn->at.opcode]) {
	case 0x28: /* MOVAPS, MOVAPD */
	case 0x29:
	case 0x2a: /* MOVNTDQA */
	case 0x2b: /* MOVNTPS, MOVNTPD */
	case 0x6f: /* MOVDQA */
	case 0x7f:
	case 0xe7: /* MOVNTDQ */
		return true;
	default:
		return false;
	}
}

static void check_required_alignment(struct cpu *cpu, const struct insn *insn, uint64_t linear)
{
	uint32_t mxcsr;

	if (insn->aligned && linear & (insn->aligned - 1)) {
		mxcsr = load_le(cpu->fpu.area + XSAVE_MXCSR, 4);
		if (insn->unit != UNIT_SSE || !(mxcsr & MXCSR_MM) || explicitly_aligned(insn))
			cpu_raise_error(cpu, VECTOR_GP, 0);
	}
}

/* What the operand's segment adds. */
static uint64_t seg_base(const struct cpu *cpu, const struct insn *insn)
{
	bool based = cpu->mode != CPU_LONG || insn->mem.seg >= SEG_FS;

	return based ? cpu->seg[insn->mem.seg].base : 0;
}

/* The memory operand into fpu.operand, or its probe; its linear address. */
static uint64_t prepare_memory(struct cpu *cpu, const struct insn *insn,
			       const struct insn_operand *mem)
{
	uint64_t linear;

	/* A misaligned address is #GP(0) also where it is not canonical, or beyond the limit, and
	 * the segment is SS. */
	check_required_alignment(cpu, insn, seg_base(cpu, insn) + operand_ea(cpu, insn));
	if (mem->size == 10) { /* the significand comes before the exponent */
		linear = operand_linear(cpu, insn, 8, mem->write ? SEG_WRITE : SEG_READ);
		vector_align(cpu, linear, 8);
		mmu_probe(cpu, linear, 8, mem->write);
	}
	linear = operand_linear(cpu, insn, mem->size, mem->write ? SEG_WRITE : SEG_READ);
	check_required_alignment(cpu, insn, linear);
	vector_align(cpu, linear, mem->size == 10 ? 8 : MIN(mem->size, ALIGN_MOST));
	if (mem->write)
		mmu_probe(cpu, linear, mem->size, true);
	else
		mmu_read_bytes(cpu, linear, cpu->fpu.operand, mem->size);
	return linear;
}

/* An x87 instruction whose result raised an unmasked exception has not stored it; one that is only
 * inexact has (SDM vol. 1, 8.5). */
static bool was_stored(const struct cpu *cpu, const struct insn *insn)
{
	const uint8_t *area = cpu->fpu.area;
	unsigned raised = load_le(area + XSAVE_FSW, 1) & ~load_le(area + XSAVE_FCW, 1) & 0x3f;

	return insn->unit != UNIT_X87 || insn->op != OP_NATIVE || !(raised & ~FSW_PE);
}

static void run(struct cpu *cpu, const struct insn *insn, const struct insn_operand *gpr,
		bool memory)
{
	struct fpu *fpu = &cpu->fpu;
	const struct fpu_insn f = {
		.bytes = insn->bytes,
		.len = insn->len,
		.opcode = insn->at.opcode,
		.modrm = insn->at.modrm,
		.tail = insn->at.imm ? insn->at.imm : insn->len,
		.vex = insn->unit == UNIT_AVX,
		.long_mode = cpu->decode == DECODE_64,
		.x87 = uses_x87(cpu, insn),
		.memory = memory,
		.gpr = gpr != NULL,
	};

	memcpy(fpu->gpr, cpu->gpr, 3 * sizeof(fpu->gpr[0])); /* RAX, RCX, RDX: implicit ones */
	if (gpr)
		fpu->gpr[3] = cpu->gpr[gpr->reg];
	fpu->rflags = cpu->rflags;
	switch (fpu_run(fpu, &f)) {
	case FPU_DONE:
		break;
	case FPU_SIMD_EXCEPTION:
		cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
	case FPU_UNDEFINED:
		cpu_raise(cpu, VECTOR_UD);
	}
	memcpy(cpu->gpr, fpu->gpr, 3 * sizeof(fpu->gpr[0]));
	if (gpr && gpr->write)
		cpu->gpr[gpr->reg] = fpu->gpr[3];
	cpu->rflags = (cpu->rflags & ~STATUS_FLAGS) | fpu->rflags;
}

void vector_execute(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *mem = insn->has_mem ? find_operand(insn, OPERAND_MEM) : NULL;
	const struct insn_operand *gpr = insn->unit == UNIT_X87 ? NULL
								: find_operand(insn, OPERAND_GPR);
	uint64_t linear = 0;

	if (mem)
		linear = prepare_memory(cpu, insn, mem);
	run(cpu, insn, gpr, mem);
	if (mem && mem->write && was_stored(cpu, insn))
		mmu_write_bytes(cpu, linear, cpu->fpu.operand, mem->size);
}

static void compute(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, insn->unit);
	vector_execute(cpu, insn);
}

/* VZEROALL, VZEROUPPER: of the registers that the mode reaches. */
static void zero(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = vector_registers(cpu) * 16;

	vector_require(cpu, UNIT_AVX);
	memset(cpu->fpu.area + FPU_YMM_HI, 0, size);
	if (insn->op == OP_VZEROALL)
		memset(cpu->fpu.area + XSAVE_XMM, 0, size);
}

/* MMX instructions, and those between MMX and XMM registers. */
static void compute_mmx(struct cpu *cpu, const struct insn *insn)
{
	vector_require(cpu, insn->unit);
	if (uses_x87(cpu, insn))
		vector_wait(cpu);
	vector_execute(cpu, insn);
}

/* SDM vol. 1, 8.1.8: the pointers to a non-control instruction and its operand. */
static void compute_x87(struct cpu *cpu, const struct insn *insn)
{
	struct fpu_pointers p = {
		.opcode = (insn->bytes[insn->at.opcode] & 7) << 8 | insn->bytes[insn->at.modrm],
		.cs = cpu->seg[SEG_CS].selector,
		.ip = cpu->rip,
		.memory = insn->has_mem,
	};

	vector_require(cpu, UNIT_X87);
	vector_wait(cpu);
	if (insn->has_mem) {
		p.ds = cpu->seg[insn->mem.seg].selector;
		p.dp = operand_ea(cpu, insn);
	}
	vector_execute(cpu, insn);
	fpu_point(&cpu->fpu, &p);
}

static interp_fn native(const struct insn *insn)
{
	if (insn->op == OP_VZEROALL || insn->op == OP_VZEROUPPER)
		return zero;
	if (insn->op != OP_NATIVE && insn->op != OP_EMMS)
		return NULL;
	if (insn->unit == UNIT_X87)
		return compute_x87;
	return has_x87(insn) || is_cvtpi2ps_memory(insn) ? compute_mmx : compute;
}

interp_fn interp_vector(const struct insn *insn)
{
	interp_fn (*const files[])(const struct insn *) = {
		vector_x87, vector_fxsave, vector_xsave, vector_masked, vector_gather, native,
	};

	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		interp_fn fn = files[i](insn);

		if (fn)
			return fn;
	}
	return NULL;
}
