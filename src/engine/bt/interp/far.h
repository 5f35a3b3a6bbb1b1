/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of interp_far that are not in far.c. */
#ifndef LODGE_ENGINE_BT_INTERP_FAR_H
#define LODGE_ENGINE_BT_INTERP_FAR_H

#include "engine/bt/interp/interp.h"

void interp_iret(struct cpu *cpu, const struct insn *insn); /* iret.c; all operand sizes */

/* soft.c */
void interp_int(struct cpu *cpu, const struct insn *insn);
void interp_int1(struct cpu *cpu, const struct insn *insn);
void interp_int3(struct cpu *cpu, const struct insn *insn);
void interp_into(struct cpu *cpu, const struct insn *insn);

#endif
