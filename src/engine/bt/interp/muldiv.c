/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiplication and division.
 *
 * Operands of 1 to 4 bytes widen into a number of 8 bytes; the host multiplies and
 * divides in the guest's size, so that the flags are its own. That a division fits is
 * known before: the host's never traps.
 *
 * Sources: Intel SDM vol. 2 "MUL", "IMUL", "DIV", "IDIV".
 */
#include "engine/bt/interp/alu.h"

/* The double-width number in AH:AL, DX:AX, EDX:EAX or RDX:RAX. */
struct wide {
	uint64_t lo;
	uint64_t hi;
};

typedef void (*wide_fn)(struct wide *w, uint64_t src, uint32_t *f);

/* clang-format off */

/* The host's MUL, IMUL, DIV and IDIV on registers of one size. AX carries flags around it. */
#define WIDE_SIZE(s, type, name)                                                \
	static void name##_##s(struct wide *w, uint64_t src, uint32_t *f)               \
	{                                                                               \
		uint64_t lo = w->lo, hi = w->hi;                                        \
											\
		asm(ALU_FLAGS_IN                                                        \
		    "mov %[lo], %%rax\n\t" #name #s " %[src]\n\tmov %%rax, %[lo]"       \
		    ALU_FLAGS_OUT                                                       \
		    : "+&a"(*f), [lo] "+r"(lo), "+d"(hi)                                 \
		    : [src] "r"((type)src)                                              \
		    : "cc");                                                            \
		w->lo = (type)lo;                                                       \
		w->hi = (type)hi;                                                       \
	}

/* Bytes have their upper half in AH. */
#define WIDE_BYTE(name)                                                                 \
	static void name##_b(struct wide *w, uint64_t src, uint32_t *f)                 \
	{                                                                               \
		uint64_t ax = w->hi << 8 | w->lo;                                       \
											\
		asm(ALU_FLAGS_IN                                                        \
		    "mov %[ax], %%rax\n\t" #name "b %[src]\n\tmov %%rax, %[ax]"         \
		    ALU_FLAGS_OUT                                                       \
		    : "+&a"(*f), [ax] "+r"(ax)                                           \
		    : [src] "r"((uint8_t)src)                                           \
		    : "cc");                                                            \
		w->lo = (uint8_t)ax;                                                    \
		w->hi = (uint8_t)(ax >> 8);                                             \
	}

#define WIDE(name)                                                                      \
	WIDE_BYTE(name)                                                                 \
	WIDE_SIZE(w, uint16_t, name)                                        \
	WIDE_SIZE(l, uint32_t, name)                                      \
	WIDE_SIZE(q, uint64_t, name)                                      \
	static const wide_fn name##_wide[4] = {name##_b, name##_w, name##_l, name##_q};

WIDE(mul)
WIDE(imul)
WIDE(div)
WIDE(idiv)

/* IMUL with two and three operands keeps the lower half. */
#define TRUNCATING_SIZE(s, type)                                                        \
	static uint64_t imul_low_##s(uint64_t a, uint64_t b, uint64_t *rflags)          \
	{                                                                               \
		uint32_t f = alu_flags_in(*rflags);                                     \
		type product = (type)a;                                                 \
											\
		asm(ALU_FLAGS_IN "imul" #s " %[b], %[product]" ALU_FLAGS_OUT            \
		    : "+&a"(f), [product] "+r"(product)                                  \
		    : [b] "r"((type)b)                                                  \
		    : "cc");                                                            \
		*rflags = alu_flags_out(*rflags, f);                                    \
		return product;                                                         \
	}

TRUNCATING_SIZE(w, uint16_t)
TRUNCATING_SIZE(l, uint32_t)
TRUNCATING_SIZE(q, uint64_t)

/* clang-format on */

static struct wide wide_read(const struct cpu *cpu, unsigned size)
{
	if (size == 1)
		return (struct wide){(uint8_t)cpu->gpr[GPR_RAX], (uint8_t)(cpu->gpr[GPR_RAX] >> 8)};
	return (struct wide){
		.lo = reg_read(cpu, GPR_RAX, size, false),
		.hi = reg_read(cpu, GPR_RDX, size, false),
	};
}

static void wide_write(struct cpu *cpu, unsigned size, const struct wide *w)
{
	if (size == 1) {
		reg_write(cpu, GPR_RAX, 2, false, w->hi << 8 | w->lo);
		return;
	}
	reg_write(cpu, GPR_RAX, size, false, w->lo);
	reg_write(cpu, GPR_RDX, size, false, w->hi);
}

static void wide_do(struct cpu *cpu, const struct insn *insn, const wide_fn fn[4],
		    bool (*fits)(const struct wide *w, uint64_t src, unsigned size))
{
	unsigned size = insn->operand[0].size;
	uint64_t src = operand_read(cpu, insn, 0);
	struct wide w = wide_read(cpu, size);
	uint32_t f = alu_flags_in(cpu->rflags);

	if (fits && !fits(&w, src, size))
		cpu_raise(cpu, VECTOR_DE);
	fn[alu_size_index(size)](&w, src, &f);
	wide_write(cpu, size, &w);
	cpu->rflags = alu_flags_out(cpu->rflags, f);
}

static bool div_fits(const struct wide *w, uint64_t src, unsigned size)
{
	(void)size;
	return w->hi < src; /* and so src is not 0 */
}

/* By magnitudes: the quotient is cut towards zero. */
static bool idiv_fits(const struct wide *w, uint64_t src, unsigned size)
{
	unsigned bits = 8 * size;
	unsigned __int128 dividend = (unsigned __int128)w->hi << bits | w->lo;
	uint64_t divisor = size_sign_extend(src, size);
	bool minus = w->hi >> (bits - 1);
	bool minus_divisor = divisor >> 63;
	uint64_t limit = BIT(bits - 1);

	if (!divisor)
		return false;
	if (minus) {
		if (size < 8)
			dividend |= ~(unsigned __int128)0 << 2 * bits;
		dividend = -dividend;
	}
	if (minus_divisor)
		divisor = -divisor;
	if (minus == minus_divisor)
		limit--;
	return dividend / divisor <= limit;
}

static void mul(struct cpu *cpu, const struct insn *insn)
{
	wide_do(cpu, insn, mul_wide, NULL);
}

static void div_unsigned(struct cpu *cpu, const struct insn *insn)
{
	wide_do(cpu, insn, div_wide, div_fits);
}

static void div_signed(struct cpu *cpu, const struct insn *insn)
{
	wide_do(cpu, insn, idiv_wide, idiv_fits);
}

static void imul_wide_form(struct cpu *cpu, const struct insn *insn)
{
	wide_do(cpu, insn, imul_wide, NULL);
}

static void imul_low(struct cpu *cpu, const struct insn *insn)
{
	/* r, r/m or r, r/m, imm */
	unsigned first = insn->operand[2].kind == OPERAND_IMM;
	uint64_t a = operand_read(cpu, insn, first);
	uint64_t b = operand_read(cpu, insn, first + 1);
	unsigned size = insn->operand[0].size;
	uint64_t product = size == 2   ? imul_low_w(a, b, &cpu->rflags)
			   : size == 4 ? imul_low_l(a, b, &cpu->rflags)
				       : imul_low_q(a, b, &cpu->rflags);

	operand_write(cpu, insn, 0, product);
}

interp_fn interp_muldiv(const struct insn *insn)
{
	switch (insn->op) {
	case OP_MUL:
		return mul;
	case OP_DIV:
		return div_unsigned;
	case OP_IDIV:
		return div_signed;
	case OP_IMUL:
		return insn->operands == 1 ? imul_wide_form : imul_low;
	default:
		return NULL;
	}
}
