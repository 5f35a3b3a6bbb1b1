/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded instruction in a compact form: what the interpreter executes and the
 * translator reads. It holds no address and no register value, so it is the same
 * wherever its bytes lie, and is cached with the page that they lie in.
 *
 * Sources: Intel SDM vol. 2A chapter 2 (instruction format), vol. 2 appendix A (opcode map).
 */
#ifndef LODGE_ENGINE_BT_DECODE_INSN_H
#define LODGE_ENGINE_BT_DECODE_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bt/decode/ops.h"

#define INSN_BYTES_MAX 15

/* The shape of an operand. */
enum insn_operand_kind {
	OPERAND_NONE,
	OPERAND_GPR,      /* reg: GPR_*; high: AH, CH, DH or BH (reg 0 to 3, then) */
	OPERAND_MEM,      /* insn->mem */
	OPERAND_IMM,      /* insn->imm, the second one insn->imm2 */
	OPERAND_REL,      /* insn->imm: the distance from the next instruction */
	OPERAND_FAR,      /* ptr16:16/32: insn->imm the offset, insn->imm2 the selector */
	OPERAND_SEG,      /* reg: SEG_* */
	OPERAND_CR,       /* reg: its number */
	OPERAND_DR,       /* reg: its number */
	OPERAND_VECTOR,   /* XMM or YMM number reg, by size */
	OPERAND_MMX,      /* reg: its number */
	OPERAND_X87,      /* ST(reg) */
	OPERAND_IMPLICIT, /* fixed by the opcode, of a kind not listed */
};

struct insn_operand {
	uint8_t kind; /* enum insn_operand_kind */
	uint8_t reg;
	uint8_t size; /* bytes; 0: without a size (LEA's, INVLPG's), or over 255 */
	bool high : 1;
	bool read : 1;
	bool write : 1;
};

/* Register numbers in struct insn_mem beyond GPR_*. */
#define MEM_REG_NONE 16
#define MEM_REG_RIP  17

/* Memory operand: seg:[base + (index << shift) + disp], computed modulo addr_size. */
struct insn_mem {
	uint8_t seg;   /* SEG_*, overrides and default applied (in 64-bit mode overrides of ES, CS,
			  SS and DS are ignored, as there); of string instructions, without
			  has_mem, the source's */
	uint8_t base;  /* GPR_*, MEM_REG_NONE or MEM_REG_RIP (of the next instruction) */
	uint8_t index; /* GPR_* or MEM_REG_NONE; a vector register's number where vsib */
	uint8_t shift; /* 0 to 3 */
	bool vsib;
	int64_t disp; /* sign-extended; of MOV moffs the whole address */
};

/* Prefixes that stand before the opcode and are not part of it (a mandatory prefix is not here). */
#define INSN_LOCK  (1u << 0)
#define INSN_REP   (1u << 1) /* F3: REP, REPE */
#define INSN_REPNE (1u << 2) /* F2 */

/* What executes it, and so which state has to be enabled: #NM, #UD of CR0.EM, CR4.OSFXSR, XCR0. */
enum insn_unit {
	UNIT_INTEGER, /* also VEX-encoded ones on general registers (BMI): see vex */
	UNIT_X87,
	UNIT_MMX,
	UNIT_SSE, /* legacy-encoded, on XMM registers (also those that use MMX registers too) */
	UNIT_AVX, /* VEX-encoded, on XMM and YMM registers */
};

/* Where the parts of the instruction lie in its bytes. 0: it has no such part; of rex and vex,
 * which may come first, INSN_AT_NONE. */
#define INSN_AT_NONE 0xff
struct insn_layout {
	uint8_t opcode; /* last opcode byte */
	uint8_t rex;
	uint8_t vex; /* the C4, C5 or 8F byte */
	uint8_t modrm;
	uint8_t disp;
	uint8_t imm;
};

#define INSN_OPERANDS_MAX 4

struct insn {
	uint16_t op;       /* enum insn_op */
	uint8_t len;       /* bytes */
	uint8_t unit;      /* enum insn_unit */
	uint8_t feature;   /* enum insn_feature: the CPUID feature that has it */
	uint8_t op_size;   /* effective operand size: 2, 4 or 8 (64-bit defaults applied; for
			     byte instructions see the operands' own sizes) */
	uint8_t addr_size; /* effective address size: 2, 4 or 8 */
	uint8_t prefixes;  /* INSN_LOCK | INSN_REP | INSN_REPNE */
	uint8_t cond;      /* of Jcc, SETcc, CMOVcc: the low 4 bits of the opcode */
	uint8_t operands;  /* how many are in operand, explicit ones first, in Intel's order */
	struct insn_operand operand[INSN_OPERANDS_MAX];
	/* Status flags, as bits of RFLAGS: read; given a value in any case where the instruction
	 * does its work (a shift by 0 does not); and given one, perhaps, or left undefined. */
	uint16_t flags_read;
	uint16_t flags_written;
	uint16_t flags_touched;
	struct insn_mem mem; /* where has_mem */
	uint64_t imm;        /* sign- or zero-extended to 64 bits, as the instruction uses it */
	uint32_t imm2;       /* ENTER's level, a far pointer's selector, EXTRQ's second */
	bool imm_signed;
	bool has_mem;    /* a memory operand by ModRM, moffs, or implicit (strings have none:
				their handler knows) */
	bool vex_l;      /* VEX.L: 256 bits */
	uint8_t aligned; /* the memory operand must be aligned to so many bytes, or #GP; 0: no */
	struct insn_layout at;
	uint8_t bytes[INSN_BYTES_MAX];
};

#endif
