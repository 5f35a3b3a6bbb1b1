/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations that the interpreter tells apart, by their mnemonics.
 *
 * Integer and system instructions each have one. Of x87, MMX, SSE and AVX instructions
 * only those have one that do more than compute on their operands (saving state,
 * masked and gathered memory accesses, control words); all others are OP_NATIVE: the
 * host's processor executes them on the guest's values.
 */
#ifndef LODGE_ENGINE_BT_DECODE_OPS_H
#define LODGE_ENGINE_BT_DECODE_OPS_H

#define INSN_OPS(X) X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP)

enum insn_op {
	OP_NATIVE,
#define X(name) OP_##name,
	INSN_OPS(X)
#undef X
		OP_COUNT
};

/* What a CPU model has or has not, as far as instructions depend on it. A processor without the
 * feature gives #UD. */
enum insn_feature {
	FEATURE_BASE, /* every x86-64 processor */
	FEATURE_COUNT
};

#endif
