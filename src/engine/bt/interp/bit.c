/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single bits, and counting and finding them.
 *
 * A bit offset in a register is signed and reaches beyond the operand in memory: the
 * unit of the operand's size that holds the bit is accessed. An offset in an immediate
 * stays within it.
 *
 * Sources: Intel SDM vol. 2 "BT", "BSF", "LZCNT", "POPCNT", "CRC32"; vol. 1 3.7.
 */
#include "engine/bt/interp/alu.h"

/* The linear address of the unit of memory that holds the bit. */
static uint64_t bit_linear(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t bit,
			   enum seg_use use)
{
	uint64_t ea = operand_ea(cpu, insn);

	if (insn->operand[1].kind == OPERAND_GPR) {
		unsigned shift = alu_size_index(size) + 3;
		int64_t unit = (int64_t)size_sign_extend(bit, size) >> shift;

		ea = size_cut(ea + (uint64_t)unit * size, insn->addr_size);
	}
	return seg_linear(cpu, insn->mem.seg, ea, size, use);
}

/* clang-format off */

#define BIT_SIZE(s, type, name)                                                         \
	static type name##_##s(type dst, type bit, uint64_t *rflags)                    \
	{                                                                               \
		uint32_t f = alu_flags_in(*rflags);                                     \
		asm(ALU_FLAGS_IN #name #s " %[bit], %[dst]" ALU_FLAGS_OUT               \
		    : "+&a"(f), [dst] "+r"(dst)                                         \
		    : [bit] "r"(bit)                                                    \
		    : "cc");                                                            \
		*rflags = alu_flags_out(*rflags, f);                                    \
		return dst;                                                             \
	}                                                                               \
	static void name##_reg_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type bit = (type)operand_read(cpu, insn, 1);                            \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		dst = name##_##s(dst, bit, &cpu->rflags);                               \
		if (insn->op != OP_BT)                                                  \
			operand_write(cpu, insn, 0, dst);                               \
	}

/* In memory; the bit offset is within the operand then. */
#define BIT_MEMORY(s, type, name)                                                       \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		bool lock = insn->prefixes & INSN_LOCK;                                 \
		type bit = (type)operand_read(cpu, insn, 1);                            \
		type inside = bit % (8 * sizeof(type));                                 \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		uint64_t linear;                                                        \
		struct mmu_rmw rmw;                                                     \
											\
		linear = bit_linear(cpu, insn, sizeof(type), bit, SEG_WRITE);           \
		mmu_rmw_begin(cpu, &rmw, linear, sizeof(type), lock);                   \
		if (lock)                                                               \
			asm volatile(ALU_FLAGS_IN "lock " #name #s " %[bit], %[dst]"    \
				     ALU_FLAGS_OUT                                      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)        \
				     : [bit] "r"(inside)                                \
				     : "cc", "memory");                                 \
		else                                                                    \
			asm volatile(ALU_FLAGS_IN #name #s " %[bit], %[dst]"            \
				     ALU_FLAGS_OUT                                      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)        \
				     : [bit] "r"(inside)                                \
				     : "cc", "memory");                                 \
		mmu_rmw_end(cpu, &rmw);                                                 \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
	}

/* BT only reads. */
#define BIT_TEST_MEMORY(s, type, name)                                                  \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type bit = (type)operand_read(cpu, insn, 1);                            \
		uint64_t linear = bit_linear(cpu, insn, sizeof(type), bit, SEG_READ);   \
		type value = (type)mmu_read(cpu, linear, sizeof(type));                 \
											\
		name##_##s(value, bit, &cpu->rflags);                                   \
	}

struct forms {
	interp_fn mem[4];
	interp_fn reg[4];
};

#define LARGE_SIZES(X, ...)         \
	X(w, uint16_t, __VA_ARGS__) \
	X(l, uint32_t, __VA_ARGS__) \
	X(q, uint64_t, __VA_ARGS__)

#define BIT_FORMS(name)                                                                 \
	static const struct forms name##_forms = {                                      \
		{NULL, name##_mem_w, name##_mem_l, name##_mem_q},                       \
		{NULL, name##_reg_w, name##_reg_l, name##_reg_q},                       \
	};

LARGE_SIZES(BIT_SIZE, bt)
LARGE_SIZES(BIT_SIZE, bts)
LARGE_SIZES(BIT_SIZE, btr)
LARGE_SIZES(BIT_SIZE, btc)
LARGE_SIZES(BIT_TEST_MEMORY, bt)
LARGE_SIZES(BIT_MEMORY, bts)
LARGE_SIZES(BIT_MEMORY, btr)
LARGE_SIZES(BIT_MEMORY, btc)
BIT_FORMS(bt)
BIT_FORMS(bts)
BIT_FORMS(btr)
BIT_FORMS(btc)

/* Counting and finding. The destination is the whole register: BSF and BSR leave it alone if the
 * source is 0, how far is the host's affair. */
#define COUNT_SIZE(s, type, name)                                                       \
	static void name##_##s(uint64_t *dst, uint64_t src, uint64_t *rflags)           \
	{                                                                               \
		uint32_t f = alu_flags_in(*rflags);                                     \
		asm(ALU_FLAGS_IN #name #s " %[src], %" COUNT_DST_##s "[dst]"            \
		    ALU_FLAGS_OUT                                                       \
		    : "+&a"(f), [dst] "+r"(*dst)                                        \
		    : [src] "r"((type)src)                                              \
		    : "cc");                                                            \
		*rflags = alu_flags_out(*rflags, f);                                    \
	}

#define COUNT_DST_w "w"
#define COUNT_DST_l "k"
#define COUNT_DST_q "q"

#define COUNT(name)                                                                     \
	LARGE_SIZES(COUNT_SIZE, name)                                                   \
	static void name(struct cpu *cpu, const struct insn *insn)                      \
	{                                                                               \
		uint64_t *dst = &cpu->gpr[insn->operand[0].reg];                        \
		uint64_t src = operand_read(cpu, insn, 1);                              \
											\
		switch (insn->operand[0].size) {                                        \
		case 2:                                                                 \
			name##_w(dst, src, &cpu->rflags);                               \
			break;                                                          \
		case 4:                                                                 \
			name##_l(dst, src, &cpu->rflags);                               \
			break;                                                          \
		default:                                                                \
			name##_q(dst, src, &cpu->rflags);                               \
		}                                                                       \
	}

COUNT(bsf)
COUNT(bsr)
COUNT(lzcnt)
COUNT(tzcnt)
COUNT(popcnt)

/* clang-format on */

/* Without the feature the prefix means nothing. */
static void lzcnt_or_bsr(struct cpu *cpu, const struct insn *insn)
{
	(cpu->features[FEATURE_LZCNT] ? lzcnt : bsr)(cpu, insn);
}

static void tzcnt_or_bsf(struct cpu *cpu, const struct insn *insn)
{
	(cpu->features[FEATURE_BMI1] ? tzcnt : bsf)(cpu, insn);
}

static void crc32(struct cpu *cpu, const struct insn *insn)
{
	uint64_t sum = operand_read(cpu, insn, 0);
	uint64_t src = operand_read(cpu, insn, 1);

	switch (insn->operand[1].size) {
	case 1:
		asm("crc32b %b1, %k0" : "+r"(sum) : "r"(src));
		break;
	case 2:
		asm("crc32w %w1, %k0" : "+r"(sum) : "r"(src));
		break;
	case 4:
		asm("crc32l %k1, %k0" : "+r"(sum) : "r"(src));
		break;
	default:
		asm("crc32q %1, %0" : "+r"(sum) : "r"(src));
	}
	operand_write(cpu, insn, 0, sum);
}

/* By operation; they stand in a row. */
#define FORMS_FIRST OP_BT
static const struct forms *const forms[] = {
	[OP_BT - FORMS_FIRST] = &bt_forms,
	[OP_BTS - FORMS_FIRST] = &bts_forms,
	[OP_BTR - FORMS_FIRST] = &btr_forms,
	[OP_BTC - FORMS_FIRST] = &btc_forms,
};

static const struct forms *find_forms(const struct insn *insn)
{
	unsigned i = insn->op - FORMS_FIRST;

	return i < ARRAY_LEN(forms) ? forms[i] : NULL;
}

static const struct interp_entry handlers[] = {
	{OP_BSF, bsf},       {OP_BSR, bsr},     {OP_LZCNT, lzcnt_or_bsr}, {OP_TZCNT, tzcnt_or_bsf},
	{OP_POPCNT, popcnt}, {OP_CRC32, crc32},
};

interp_fn interp_bit(const struct insn *insn)
{
	const struct insn_operand *dst = &insn->operand[0];
	const struct forms *f = find_forms(insn);
	interp_fn fn;

	if (f)
		return (dst->kind == OPERAND_MEM ? f->mem : f->reg)[alu_size_index(dst->size)];
	fn = interp_find(handlers, ARRAY_LEN(handlers), insn->op);
	return fn ? fn : interp_bmi(insn);
}
