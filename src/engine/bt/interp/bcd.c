/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decimal adjustment. The host cannot execute these in 64-bit mode, so they are
 * written out. Flags that the manuals leave undefined are what an AMD EPYC has, measured
 * in 32-bit code: those of the addition or subtraction that the instruction consists of.
 *
 * Sources: Intel SDM vol. 2 "AAA", "AAS", "AAM", "AAD", "DAA", "DAS".
 */
#include "engine/bt/interp/alu.h"

static uint8_t al(const struct cpu *cpu)
{
	return (uint8_t)cpu->gpr[GPR_RAX];
}

static void set_ax(struct cpu *cpu, uint16_t value)
{
	reg_write(cpu, GPR_RAX, 2, false, value);
}

/* SF, ZF and PF of a byte. */
static uint64_t sign_flags(uint8_t value)
{
	uint64_t flags = value & 0x80 ? RFLAGS_SF : 0;

	if (!value)
		flags |= RFLAGS_ZF;
	if (!__builtin_parity(value))
		flags |= RFLAGS_PF;
	return flags;
}

static void set_status(struct cpu *cpu, uint64_t flags)
{
	cpu->rflags = (cpu->rflags & ~ALU_STATUS) | flags;
}

/* AAA and AAS: adjust is 6 added to or taken from AX, with 1 to AH. */
static void ascii_adjust(struct cpu *cpu, uint16_t adjust)
{
	bool carry = (al(cpu) & 0xf) > 9 || (cpu->rflags & RFLAGS_AF);
	uint16_t ax = (uint16_t)cpu->gpr[GPR_RAX];
	uint64_t flags;
	uint32_t f;

	if (!carry)
		adjust = 0;
	asm("addw %[adjust], %[ax]" ALU_FLAGS_OUT
	    : "=a"(f), [ax] "+r"(ax)
	    : [adjust] "r"(adjust)
	    : "cc");
	flags = alu_flags_out(0, f) & ~(RFLAGS_AF | RFLAGS_CF);
	if (carry)
		flags |= RFLAGS_AF | RFLAGS_CF;
	set_ax(cpu, ax & 0xff0f);
	set_status(cpu, flags);
}

static void aaa(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	ascii_adjust(cpu, 0x106);
}

static void aas(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	ascii_adjust(cpu, (uint16_t)-0x106);
}

static void aam(struct cpu *cpu, const struct insn *insn)
{
	uint8_t base = (uint8_t)insn->imm;

	if (!base)
		cpu_raise(cpu, VECTOR_DE);
	uint8_t rest = al(cpu) % base;

	set_ax(cpu, (uint16_t)(al(cpu) / base << 8 | rest));
	set_status(cpu, sign_flags(rest));
}

static void aad(struct cpu *cpu, const struct insn *insn)
{
	uint8_t ah = (uint8_t)(cpu->gpr[GPR_RAX] >> 8);
	uint8_t tens = (uint8_t)(ah * (uint8_t)insn->imm);
	uint8_t value = al(cpu);
	uint32_t f;

	asm("addb %[tens], %[value]" ALU_FLAGS_OUT
	    : "=a"(f), [value] "+r"(value)
	    : [tens] "r"(tens)
	    : "cc");
	set_ax(cpu, value);
	set_status(cpu, alu_flags_out(0, f));
}

/* DAA and DAS: sign is +1 or -1. */
static void decimal_adjust(struct cpu *cpu, int sign)
{
	uint8_t old = al(cpu), value = old;
	bool old_carry = cpu->rflags & RFLAGS_CF;
	uint64_t flags = 0;

	if ((old & 0xf) > 9 || (cpu->rflags & RFLAGS_AF)) {
		bool over = sign > 0 ? old > 0xff - 6 : old < 6;

		value = (uint8_t)(value + sign * 6);
		flags |= RFLAGS_AF;
		if (old_carry || over)
			flags |= RFLAGS_CF;
	}
	if (old > 0x99 || old_carry) {
		value = (uint8_t)(value + sign * 0x60);
		flags |= RFLAGS_CF;
	} else if (sign > 0) {
		flags &= ~RFLAGS_CF; /* DAS keeps the borrow of the lower digit */
	}
	if ((old ^ value) & (sign > 0 ? value : old) & 0x80)
		flags |= RFLAGS_OF;
	reg_write(cpu, GPR_RAX, 1, false, value);
	set_status(cpu, flags | sign_flags(value));
}

static void daa(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	decimal_adjust(cpu, 1);
}

static void das(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	decimal_adjust(cpu, -1);
}

static const struct interp_entry handlers[] = {
	{OP_AAA, aaa}, {OP_AAS, aas}, {OP_AAM, aam}, {OP_AAD, aad}, {OP_DAA, daa}, {OP_DAS, das},
};

interp_fn interp_bcd(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
