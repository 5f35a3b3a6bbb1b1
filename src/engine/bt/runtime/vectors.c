/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upper halves of YMM that are all zero are not loaded: the processor knows them as clean after
 * VZEROUPPER, and legacy-encoded instructions are slow while they are not (SDM vol. 1, 14.3.2;
 * Intel's optimization manual on transitions between AVX and SSE).
 */
#include "engine/bt/runtime/vectors.h"

#include "core/x86/regs.h"
#include "engine/bt/interp/vector.h"
#include "engine/bt/runtime/x87.h"
#include "engine/bt/translate/lower.h"

#define REGISTERS   16
#define MXCSR_MASKS 0x1f80u

static const uint8_t vzeroupper[] = {0xc5, 0xf8, 0x77};
static const uint8_t ret = 0xc3;

/* ModRM, SIB and displacement of GS:[disp]. */
static void emit_place(struct emit *e, unsigned reg, int32_t disp)
{
	emit_byte(e, (uint8_t)((reg & 7) << 3 | 4));
	emit_byte(e, 0x25);
	emit_le(e, 4, (uint32_t)disp);
}

enum mxcsr { MXCSR_LOAD = 2, MXCSR_STORE = 3 };

static void emit_mxcsr(struct emit *e, enum mxcsr which, int32_t disp)
{
	static const uint8_t opcode[] = {0x65, 0x0f, 0xae};

	emit_bytes(e, opcode, sizeof(opcode));
	emit_place(e, which, disp);
}

/* MOVAPS or VMOVAPS of an XMM register. */
static void emit_lower(struct emit *e, bool avx, bool store, unsigned reg)
{
	emit_byte(e, 0x65);
	if (avx) {
		emit_byte(e, 0xc5);
		emit_byte(e, reg & 8 ? 0x78 : 0xf8);
	} else {
		emit_byte(e, reg & 8 ? 0x44 : 0x40);
		emit_byte(e, 0x0f);
	}
	emit_byte(e, store ? 0x29 : 0x28);
	emit_place(e, reg, CTX(fpu.area) + XSAVE_XMM + 16 * (int32_t)reg);
}

/* VINSERTF128 or VEXTRACTF128 of the upper half. */
static void emit_upper(struct emit *e, bool store, unsigned reg)
{
	unsigned vvvv = store ? 15 : ~reg & 15;

	emit_byte(e, 0x65);
	emit_byte(e, 0xc4);
	emit_byte(e, reg & 8 ? 0x63 : 0xe3);
	emit_byte(e, (uint8_t)(vvvv << 3 | 5));
	emit_byte(e, store ? 0x19 : 0x18);
	emit_place(e, reg, CTX(fpu.area) + FPU_YMM_HI + 16 * (int32_t)reg);
	emit_byte(e, 1);
}

static void emit_load(struct emit *e, bool avx)
{
	uint8_t *clean;

	emit_mxcsr(e, MXCSR_STORE, CTX(fpu.host_mxcsr));
	emit_mxcsr(e, MXCSR_LOAD, CTX(fpu.area) + XSAVE_MXCSR);
	if (avx)
		emit_bytes(e, vzeroupper, sizeof(vzeroupper));
	for (unsigned reg = 0; reg < REGISTERS; reg++)
		emit_lower(e, avx, false, reg);
	if (avx) {
		clean = vectors_emit_test(e, VECTORS_UPPER);
		for (unsigned reg = 0; reg < REGISTERS; reg++)
			emit_upper(e, false, reg);
		emit_patch(e, clean);
	}
	emit_byte(e, ret);
}

static void emit_store(struct emit *e, bool avx)
{
	for (unsigned reg = 0; reg < REGISTERS; reg++) {
		emit_lower(e, avx, true, reg);
		if (avx)
			emit_upper(e, true, reg);
	}
	if (avx)
		emit_bytes(e, vzeroupper, sizeof(vzeroupper));
	emit_mxcsr(e, MXCSR_STORE, CTX(fpu.area) + XSAVE_MXCSR);
	emit_mxcsr(e, MXCSR_LOAD, CTX(fpu.host_mxcsr));
	emit_byte(e, ret);
}

uint8_t *vectors_emit_test(struct emit *e, uint8_t units)
{
	static const uint8_t test_byte[] = {0x65, 0xf6, 0x04, 0x25};

	emit_bytes(e, test_byte, sizeof(test_byte));
	emit_le(e, 4, (uint32_t)CTX(native.vectors));
	emit_byte(e, units);
	return emit_jcc(e, EMIT_EQUAL);
}

/* Both kinds, each where it is there. */
static const uint8_t *emit_all(struct emit *e, void (*x87)(struct emit *e), const uint8_t *xmm)
{
	const uint8_t *here = emit_here(e);
	uint8_t *none = vectors_emit_test(e, VECTORS_X87);

	x87(e);
	emit_patch(e, none);
	none = vectors_emit_test(e, VECTORS_XMM);
	emit_jmp_to(e, xmm);
	emit_patch(e, none);
	emit_byte(e, ret);
	return here;
}

void vectors_emit(struct emit *e, const struct cpu *cpu, struct vectors_code *code)
{
	code->load_xmm = emit_here(e);
	emit_load(e, cpu->fpu.host.avx);
	code->store_xmm = emit_here(e);
	emit_store(e, cpu->fpu.host.avx);
	code->load = emit_all(e, x87_emit_load, code->load_xmm);
	code->store = emit_all(e, x87_emit_store, code->store_xmm);
}

void vectors_look(struct cpu *cpu)
{
	const uint8_t *upper = cpu->fpu.area + FPU_YMM_HI;
	uint64_t some = 0;

	for (unsigned n = 0; n < REGISTERS * 16; n += 8)
		some |= load_le(upper + n, 8);
	cpu->native.vectors &= (uint8_t)~VECTORS_UPPER;
	if (some)
		cpu->native.vectors |= VECTORS_UPPER;
}

bool vectors_enable(struct cpu *cpu, uint32_t unit)
{
	uint32_t mxcsr = load_le(cpu->fpu.area + XSAVE_MXCSR, 4);
	uint8_t units = 0;

	if ((mxcsr & MXCSR_MASKS) != MXCSR_MASKS || mxcsr & ~cpu->fpu.host.mxcsr_mask)
		return false;
	if (vector_refused(cpu, UNIT_SSE) < 0)
		units |= VECTORS_SSE;
	if (cpu->fpu.host.avx && vector_refused(cpu, UNIT_AVX) < 0)
		units |= VECTORS_AVX;
	if (!(units & unit))
		return false;
	cpu->native.vectors |= units;
	vectors_look(cpu);
	return true;
}
