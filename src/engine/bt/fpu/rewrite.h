/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's instruction rewritten for a stub. */
#ifndef LODGE_ENGINE_BT_FPU_REWRITE_H
#define LODGE_ENGINE_BT_FPU_REWRITE_H

#include "engine/bt/fpu/fpu.h"

#define REWRITE_MAX 16

/* Writes insn in the form in which a stub executes it: 64-bit code, memory operand at [RSI],
 * general register RBX. Returns its length. */
unsigned rewrite(const struct fpu_insn *insn, uint8_t out[REWRITE_MAX]);

/* Whether insn may read or write status flags; true too often is only slower. */
bool rewrite_uses_flags(const struct fpu_insn *insn);

#endif
