/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of an instruction: effective addresses, segmentation, registers and
 * memory, for the handlers.
 *
 * Sources: Intel SDM vol. 1 3.7 (operands), vol. 3A 5.3 (limits), 3.3.7.1 (canonical).
 */
#ifndef LODGE_ENGINE_BT_INTERP_OPERAND_H
#define LODGE_ENGINE_BT_INTERP_OPERAND_H

#include "engine/bt/cpu.h"
#include "engine/bt/decode/insn.h"
#include "engine/bt/mmu/mmu.h"

/* The effective address (the offset in its segment) of insn's memory operand, modulo its address
 * size. RIP-relative: of cpu->next_rip. */
uint64_t operand_ea(const struct cpu *cpu, const struct insn *insn);

/* How a segment is going to be used. */
enum seg_use { SEG_READ, SEG_WRITE, SEG_EXEC };

/* The linear address of [offset, offset + len) in segment seg, after the checks of the mode: limit,
 * type, null selector, canonical. Raises #GP(0), or #SS(0) for SS. */
uint64_t seg_linear(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len, enum seg_use use);

/* Of insn's memory operand: operand_ea and seg_linear. */
uint64_t operand_linear(struct cpu *cpu, const struct insn *insn, unsigned len, enum seg_use use);

/* A general register as a number of size bytes. A 4-byte write clears the upper half, 1- and
 * 2-byte writes leave the rest alone. high: AH, CH, DH, BH. */
uint64_t reg_read(const struct cpu *cpu, unsigned reg, unsigned size, bool high);
void reg_write(struct cpu *cpu, unsigned reg, unsigned size, bool high, uint64_t value);

/* Operand n of insn, a register, memory or an immediate of at most 8 bytes, zero-extended. */
uint64_t operand_read(struct cpu *cpu, const struct insn *insn, unsigned n);
void operand_write(struct cpu *cpu, const struct insn *insn, unsigned n, uint64_t value);

/* The stack: size is 2, 4 or 8; SS's checks. push and pop change RSP by the stack's width after
 * the access went well. */
void stack_push(struct cpu *cpu, unsigned size, uint64_t value);
uint64_t stack_pop(struct cpu *cpu, unsigned size);
/* Reads what lies offset bytes above the top, and moves the top, separately: for handlers that
 * must check all before they change anything. */
uint64_t stack_peek(struct cpu *cpu, unsigned offset, unsigned size);
void stack_move(struct cpu *cpu, int64_t bytes);

/* Sets next_rip, cut to the mode and operand size; #GP(0) where it lies beyond CS's limit or is
 * not canonical. Near branches. */
void branch_near(struct cpu *cpu, uint64_t target, unsigned op_size);

#endif
