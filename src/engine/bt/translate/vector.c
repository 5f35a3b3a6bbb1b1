/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSE and AVX instructions, which are copied. The first one of a block sees to it that the
 * guest's vector registers are the host's:
 *
 *	test byte gs:[vectors], unit
 *	jz   beside                    a gate loads them, or has the interpreter do it
 *
 * They stay there until translated code is left (runtime/vectors.h). With them comes MXCSR, which
 * has all exceptions masked, then.
 */
#include <assert.h>

#include "core/x86/regs.h"
#include "engine/bt/translate/lower.h"

#define MXCSR_MASKS  0x1f80
#define LDMXCSR_SIZE 4

void vector_want(struct lower *l, uint8_t unit)
{
	static const uint8_t test_byte[] = {0x65, 0xf6, 0x04, 0x25};
	struct vectors_wanted *w = &l->wanted[l->wanted_count++];

	assert(l->wanted_count <= WANTED_MAX);
	flags_clobber(l, flags_live_before(l));
	emit_bytes(l->e, test_byte, sizeof(test_byte));
	emit_le(l->e, 4, (uint32_t)CTX(native.vectors));
	emit_byte(l->e, unit);
	l->held = NULL; /* the gate needs its register */
	w->distance = emit_jcc(l->e, EMIT_EQUAL);
	w->retry = emit_here(l->e);
	w->rip = l->i->linear;
	w->unit = unit;
	l->vectors |= unit;
}

/* What would raise an exception, now or later, is the interpreter's. The value is looked at and
 * loaded from a place that nobody else writes. */
static void load_mxcsr(struct lower *l)
{
	static const uint8_t ldmxcsr_gs[] = {0x65, 0x0f, 0xae, 0x14, 0x25};
	struct emit *e = l->e;

	address_operand(l);
	address_check(l, LDMXCSR_SIZE, false);
	emit_mem(e, EMIT_MOV, 4, HOST_ADDRESS, HOST_ADDRESS);
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, MXCSR_MASKS);
	emit_imm(e, EMIT_CMP_IMM, 4, HOST_SPARE, MXCSR_MASKS);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, (int32_t)~l->t->cpu->fpu.host.mxcsr_mask);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	emit_ctx(e, EMIT_MOV_TO, 4, HOST_ADDRESS, CTX(native.scratch));
	emit_bytes(e, ldmxcsr_gs, sizeof(ldmxcsr_gs));
	emit_le(e, 4, (uint32_t)CTX(native.scratch));
}

void lower_vector(struct lower *l)
{
	uint8_t unit = l->i->insn.unit == UNIT_AVX ? VECTORS_AVX : VECTORS_SSE;

	if (!(l->vectors & unit))
		vector_want(l, unit);
	if (l->i->insn.op == OP_LDMXCSR)
		load_mxcsr(l);
	else
		lower_copy(l);
}
