/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of 32-bit code as 64-bit host code has them. Private to translate/. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_NARROW_H
#define LODGE_ENGINE_BT_TRANSLATE_NARROW_H

#include "engine/bt/decode/insn.h"

/* Whether an instruction of 32-bit code can be translated as one of 64-bit code is: its bytes mean
 * the same there, with the opcode that narrow_opcode gives, and its memory operand, if any, is one
 * that flat segments (enum block_context) let be accessed, or FS or GS. */
bool narrow_takes(const struct insn *insn);

/* The last opcode byte of the same instruction in 64-bit code; of those without a ModRM that are
 * not there (narrow_is_short, MOV moffs), the opcode with one. */
uint8_t narrow_opcode(const struct insn *insn);

/* INC and DEC of one byte, which are REX prefixes in 64-bit code. */
bool narrow_is_short(const struct insn *insn);

#endif
