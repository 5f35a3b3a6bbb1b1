/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BMI1 and BMI2: VEX-encoded, on registers of 4 and 8 bytes. The host has them if the
 * guest does; the assembler knows them whatever the compiler may use.
 *
 * Sources: Intel SDM vol. 2 by mnemonic.
 */
#include "engine/bt/interp/alu.h"

typedef uint64_t (*bmi_fn)(uint64_t a, uint64_t b, uint64_t *rflags);

/* clang-format off */

/* name first, second, dst in the assembler's order; flags follow. */
#define TWO_SIZE(s, type, name, operands)                                               \
	static uint64_t name##_##s(uint64_t a, uint64_t b, uint64_t *rflags)            \
	{                                                                               \
		uint32_t f = alu_flags_in(*rflags);                                     \
		type dst;                                                               \
											\
		asm(ALU_FLAGS_IN #name #s " " operands ", %[dst]" ALU_FLAGS_OUT         \
		    : "+&a"(f), [dst] "=r"(dst)                                         \
		    : [a] "r"((type)a), [b] "r"((type)b)                                \
		    : "cc");                                                            \
		*rflags = alu_flags_out(*rflags, f);                                    \
		return dst;                                                             \
	}

/* dst, a, b of the manual: a is operand 1, b operand 2. */
#define TWO(name, operands)                                                             \
	TWO_SIZE(l, uint32_t, name, operands)                                           \
	TWO_SIZE(q, uint64_t, name, operands)                                           \
	static void name(struct cpu *cpu, const struct insn *insn)                      \
	{                                                                               \
		two(cpu, insn, insn->operand[0].size == 8 ? name##_q : name##_l);       \
	}

/* dst, a: no second source. */
#define ONE(name)                                                                       \
	TWO_SIZE(l, uint32_t, name, "%[a]")                                             \
	TWO_SIZE(q, uint64_t, name, "%[a]")                                             \
	static void name(struct cpu *cpu, const struct insn *insn)                      \
	{                                                                               \
		one(cpu, insn, insn->operand[0].size == 8 ? name##_q : name##_l);       \
	}

/* clang-format on */

static void two(struct cpu *cpu, const struct insn *insn, bmi_fn fn)
{
	uint64_t a = operand_read(cpu, insn, 1);
	uint64_t b = operand_read(cpu, insn, 2);

	operand_write(cpu, insn, 0, fn(a, b, &cpu->rflags));
}

static void one(struct cpu *cpu, const struct insn *insn, bmi_fn fn)
{
	operand_write(cpu, insn, 0, fn(operand_read(cpu, insn, 1), 0, &cpu->rflags));
}

TWO(andn, "%[b], %[a]")
TWO(pdep, "%[b], %[a]")
TWO(pext, "%[b], %[a]")
/* In these the first source is the one that may be memory. */
TWO(bextr, "%[b], %[a]")
TWO(bzhi, "%[b], %[a]")
TWO(sarx, "%[b], %[a]")
TWO(shlx, "%[b], %[a]")
TWO(shrx, "%[b], %[a]")
ONE(blsi)
ONE(blsmsk)
ONE(blsr)

/* RORX: the count is an immediate, no flag changes. */
static void rorx(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = operand_read(cpu, insn, 1);
	unsigned bits = 8 * insn->operand[0].size;
	unsigned count = insn->imm % bits;

	if (count)
		value = value >> count | value << (bits - count);
	operand_write(cpu, insn, 0, value);
}

/* MULX hi, lo, src: RDX times src, no flag changes. Where hi and lo are one register it gets hi. */
static void mulx(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t src = operand_read(cpu, insn, 2);
	uint64_t rdx = reg_read(cpu, GPR_RDX, size, false);
	unsigned __int128 product = (unsigned __int128)src * rdx;

	operand_write(cpu, insn, 1, (uint64_t)product);
	operand_write(cpu, insn, 0, (uint64_t)(product >> 8 * size));
}

static const struct interp_entry handlers[] = {
	{OP_ANDN, andn}, {OP_BEXTR, bextr}, {OP_BLSI, blsi}, {OP_BLSMSK, blsmsk}, {OP_BLSR, blsr},
	{OP_BZHI, bzhi}, {OP_MULX, mulx},   {OP_PDEP, pdep}, {OP_PEXT, pext},     {OP_RORX, rorx},
	{OP_SARX, sarx}, {OP_SHLX, shlx},   {OP_SHRX, shrx},
};

interp_fn interp_bmi(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
