/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the integer handlers compute: with the host's own instruction, so that results
 * and flags, those too that the manuals leave undefined, are the host processor's.
 *
 * The six status flags travel through an asm statement in AX, as LAHF leaves them in
 * AH and SETO in AL: ALU_FLAGS_IN makes them the host's (adding 127 to 1 overflows),
 * ALU_FLAGS_OUT takes them back. Moves between the two change no flag.
 */
#ifndef LODGE_ENGINE_BT_INTERP_ALU_H
#define LODGE_ENGINE_BT_INTERP_ALU_H

#include "base/bits.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/operand.h"

#define ALU_FLAGS_IN  "addb $0x7f, %%al\n\tsahf\n\t"
#define ALU_FLAGS_OUT "\n\tlahf\n\tseto %%al"

#define ALU_AH_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF)
#define ALU_STATUS   (ALU_AH_FLAGS | RFLAGS_OF)

/* Types of guest operands where they lie in memory, at any address. */
typedef uint8_t alu_b;
typedef uint16_t alu_w __attribute__((aligned(1)));
typedef uint32_t alu_l __attribute__((aligned(1)));
typedef uint64_t alu_q __attribute__((aligned(1)));

/* For each operand size: its suffix in names and in the assembler, its type in C. */
#define ALU_SIZES(X, ...)           \
	X(b, uint8_t, __VA_ARGS__)  \
	X(w, uint16_t, __VA_ARGS__) \
	X(l, uint32_t, __VA_ARGS__) \
	X(q, uint64_t, __VA_ARGS__)

/* 0 to 3 for a size of 1, 2, 4 or 8 bytes. */
static inline unsigned alu_size_index(unsigned size)
{
	return (unsigned)__builtin_ctz(size);
}

/* RFLAGS' status flags for ALU_FLAGS_IN, and the ones of ALU_FLAGS_OUT put into rflags. */
static inline uint32_t alu_flags_in(uint64_t rflags)
{
	return (uint32_t)((rflags & ALU_AH_FLAGS) << 8 | (rflags >> 11 & 1));
}

static inline uint64_t alu_flags_out(uint64_t rflags, uint32_t ax)
{
	return (rflags & ~ALU_STATUS) | (ax >> 8 & ALU_AH_FLAGS) | (uint64_t)(ax & 1) << 11;
}

/* The condition of Jcc, SETcc and CMOVcc; cond is the low 4 bits of the opcode. */
static inline bool alu_condition(uint64_t rflags, unsigned cond)
{
	bool holds;

	switch (cond >> 1) {
	case 0:
		holds = rflags & RFLAGS_OF;
		break;
	case 1:
		holds = rflags & RFLAGS_CF;
		break;
	case 2:
		holds = rflags & RFLAGS_ZF;
		break;
	case 3:
		holds = rflags & (RFLAGS_CF | RFLAGS_ZF);
		break;
	case 4:
		holds = rflags & RFLAGS_SF;
		break;
	case 5:
		holds = rflags & RFLAGS_PF;
		break;
	case 6:
		holds = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
		break;
	default:
		holds = (rflags & RFLAGS_ZF) || !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
	}
	return holds != (cond & 1);
}

/* The parts of the groups (interp/handlers.h) that have a file of their own. */
interp_fn interp_shift(const struct insn *insn);  /* of interp_arithmetic */
interp_fn interp_muldiv(const struct insn *insn); /* of interp_arithmetic */
interp_fn interp_bcd(const struct insn *insn);    /* of interp_arithmetic */
interp_fn interp_stack(const struct insn *insn);  /* of interp_move */
interp_fn interp_flags(const struct insn *insn);  /* of interp_move */
interp_fn interp_bmi(const struct insn *insn);    /* of interp_bit */

#endif
