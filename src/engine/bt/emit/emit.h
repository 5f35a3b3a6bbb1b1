/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host instructions, written one after the other into code memory (code_memory.h).
 *
 * The functions take register numbers as the encoding has them (GPR_* of
 * core/x86/vcpu_state.h) and sizes of 4 or 8 bytes. The vCPU, struct cpu, is addressed by the
 * GS segment: "ctx" operands are offsets in it.
 *
 * When the memory is used up, what is written is lost and full is set; who asked for
 * a piece of code looks at that once, at its end.
 *
 * Source: Intel SDM vol. 2A chapter 2, vol. 2 by mnemonic.
 */
#ifndef LODGE_ENGINE_BT_EMIT_EMIT_H
#define LODGE_ENGINE_BT_EMIT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emit {
	uint8_t *at;    /* where the next byte is written */
	uint8_t *end;   /* of the room */
	intptr_t shift; /* a byte written at p is executed at p + shift */
	bool full;
};

/* Opcodes of the form "op r/m, r" or "op r, r/m", of instructions with one-byte opcodes. */
enum emit_op {
	EMIT_ADD = 0x03,
	EMIT_OR = 0x0b,
	EMIT_AND = 0x23,
	EMIT_SUB = 0x2b,
	EMIT_XOR = 0x33,
	EMIT_CMP = 0x3b,
	EMIT_MOV = 0x8b,
	EMIT_MOV_TO = 0x89, /* the register is the source */
	EMIT_XCHG = 0x87,
	EMIT_TEST = 0x85,
};

/* The digits of the group of instructions with an immediate (81, 83). */
enum emit_group { EMIT_ADD_IMM, EMIT_OR_IMM, EMIT_AND_IMM = 4, EMIT_SUB_IMM, EMIT_CMP_IMM = 7 };

/* Conditions, as in Jcc's opcode. */
enum emit_cond {
	EMIT_BELOW = 2,
	EMIT_NOT_BELOW = 3,
	EMIT_EQUAL = 4,
	EMIT_NOT_EQUAL = 5,
	EMIT_NOT_ABOVE = 6,
	EMIT_ABOVE = 7,
};

void emit_byte(struct emit *e, uint8_t byte);
void emit_bytes(struct emit *e, const void *bytes, size_t len);
void emit_le(struct emit *e, unsigned size, uint64_t value);

/* op reg, rm (or rm, reg: by the opcode), both registers. */
void emit_reg(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned rm);
/* op reg, gs:[disp]; size may also be 1 or 2 for EMIT_MOV_TO of a register below RSP. */
void emit_ctx(struct emit *e, enum emit_op op, unsigned size, unsigned reg, int32_t disp);
/* op reg, gs:[index + disp]; index is not RSP or R12. */
void emit_ctx_index(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned index,
		    int32_t disp);
/* op reg, gs:[index * 8 + disp]. */
void emit_ctx_scaled(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned index,
		     int32_t disp);
/* RORX reg, rm, count, of registers of 32 bits. */
void emit_rorx(struct emit *e, unsigned reg, unsigned rm, unsigned count);
/* op reg, [base], which is not RSP, RBP, R12 or R13: these have other encodings. */
void emit_mem(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned base);
/* op reg, [base + disp]; base is not RSP or R12. */
void emit_mem_disp(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned base,
		   int32_t disp);
/* mov size [base + disp], imm (sign-extended); base as there. */
void emit_mem_set(struct emit *e, unsigned size, unsigned base, int32_t disp, int32_t imm);
/* op rm, imm. */
void emit_imm(struct emit *e, enum emit_group op, unsigned size, unsigned rm, int32_t imm);
/* op size gs:[disp], imm, the immediate always four bytes long (so that it can be changed). */
void emit_ctx_imm32(struct emit *e, enum emit_group op, unsigned size, int32_t disp, int32_t imm);
/* mov size gs:[disp], imm (sign-extended). */
void emit_ctx_set(struct emit *e, unsigned size, int32_t disp, int32_t imm);
/* MOV reg, imm in the shortest form. */
void emit_set(struct emit *e, unsigned reg, uint64_t imm);
/* SHR and SHL by imm. */
void emit_shift(struct emit *e, bool left, unsigned size, unsigned reg, unsigned count);
/* LEA reg, [base + (index << shift) + disp]. */
#define EMIT_NONE 0xffu /* a register that is not there */
struct emit_address {
	unsigned base, index; /* EMIT_NONE: none */
	unsigned shift;
	int32_t disp;
};
void emit_lea(struct emit *e, unsigned size, unsigned reg, const struct emit_address *a);
/* The same of [base + disp]. */
void emit_lea_disp(struct emit *e, unsigned size, unsigned reg, unsigned base, int32_t disp);
void emit_jmp_ctx(struct emit *e, int32_t disp);                       /* JMP gs:[disp] */
void emit_jmp_ctx_index(struct emit *e, unsigned index, int32_t disp); /* JMP gs:[index + disp] */

/* Jumps, of which the four bytes that hold the distance are returned, to be filled in by
 * emit_patch. emit_jcc's distance is from the next instruction, like JMP's. */
uint8_t *emit_jcc(struct emit *e, unsigned cond);
uint8_t *emit_jmp(struct emit *e);
/* The jump with this distance goes to the next instruction written; or to an address, as executed.
 */
void emit_patch(struct emit *e, uint8_t *distance);
void emit_patch_to(uint8_t *distance, intptr_t shift, const uint8_t *target);
void emit_jmp_to(struct emit *e, const uint8_t *target);
void emit_jcc_to(struct emit *e, unsigned cond, const uint8_t *target);

/* The address at which the next byte will be executed. */
static inline const uint8_t *emit_here(const struct emit *e)
{
	return e->at + e->shift;
}

#endif
