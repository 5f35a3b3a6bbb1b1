/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of handlers: each gives its handler of insn->op, or NULL where the operation is not
 * its own. interp_handler (dispatch.c) asks them in turn. */
#ifndef LODGE_ENGINE_BT_INTERP_HANDLERS_H
#define LODGE_ENGINE_BT_INTERP_HANDLERS_H

#include "engine/bt/interp/interp.h"

interp_fn interp_arithmetic(const struct insn *insn); /* ADD to NEG, shifts, MUL, DIV, BCD */
interp_fn interp_move(const struct insn *insn);       /* MOV, XCHG, PUSH, POP, LEA, flags */
interp_fn interp_bit(const struct insn *insn);        /* BT, BSF, BMI, POPCNT, CRC32 */
interp_fn interp_atomic(const struct insn *insn);     /* XADD, CMPXCHG and its wide forms */
interp_fn interp_branch(const struct insn *insn);     /* Jcc, near JMP, CALL, RET, LOOP */
interp_fn interp_string(const struct insn *insn);     /* MOVS to SCAS */
interp_fn interp_port(const struct insn *insn);       /* IN, OUT, INS, OUTS */
interp_fn interp_far(const struct insn *insn);        /* far JMP, CALL, RET, IRET, INT n */
interp_fn interp_segment(const struct insn *insn);    /* MOV and POP Sreg, LDS, LAR, ARPL, LGDT */
interp_fn interp_system(const struct insn *insn);     /* control registers, MSRs, SYSCALL, HLT */
interp_fn interp_vector(const struct insn *insn);     /* x87 to AVX, and their state */

/* A group's handlers, in no order. Not an array by operation: that would be mostly empty, and pages
 * of pointers are relocated, hence in memory, in each process from its start. */
struct interp_entry {
	uint16_t op;
	interp_fn fn;
};

/* op's handler among count entries, or NULL. */
interp_fn interp_find(const struct interp_entry *entries, unsigned count, unsigned op);

#endif
