/* SPDX-License-Identifier: Apache-2.0 */
/* How an instruction is translated, and which status flags it reads and writes. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_KIND_H
#define LODGE_ENGINE_BT_TRANSLATE_KIND_H

#include "engine/bt/decode/insn.h"

struct cpu;

enum kind {
	KIND_NONE, /* left to the interpreter */
	KIND_COPY, /* the same instruction, its memory operand addressed anew */
	KIND_NOP,
	KIND_LEA,
	KIND_DIVIDE,
	KIND_BIT,    /* BT and its kin, of memory, by a number in a register */
	KIND_VECTOR, /* copied, too, with the vector registers loaded; and LDMXCSR */
	KIND_X87,    /* and MMX: copied, with their registers loaded; and FLDCW */
	KIND_STRING, /* REP MOVS and STOS, in part; of others the handler */
	KIND_PUSH,
	KIND_POP,
	KIND_LEAVE,
	KIND_CLI,
	KIND_STI,
	KIND_PUSHF,
	KIND_RDTSC,
	KIND_RDTSCP,
	KIND_CLD,
	KIND_STD,
	KIND_POPF,
	KIND_SWAPGS,
	KIND_HANDLER,      /* the interpreter's handler, called from within the block */
	KIND_HANDLER_ONCE, /* the same, of one that cannot be done twice or taken back */
	KIND_JMP,
	KIND_JCC,
	KIND_CALL,
	KIND_RET,
	KIND_AC,         /* STAC and CLAC where they change it: another context */
	KIND_HANDLER_GO, /* the handler says where it goes on */
};

/* How insn is translated on this vCPU. Kinds from KIND_JMP on end a block. */
enum kind kind_of(const struct cpu *cpu, const struct insn *insn);

/* What of CR4 it depends on. */
#define KIND_CR4 (CR4_SMAP | CR4_TSD)

/* Status flags that it may read; that it writes in any case. What it may write or leave alone, or
 * leaves undefined, it counts as not written. */
unsigned kind_flags_read(const struct insn *insn);
unsigned kind_flags_written(const struct insn *insn);

/* Whether it writes flags at all. */
bool kind_changes_flags(const struct insn *insn);

#endif
