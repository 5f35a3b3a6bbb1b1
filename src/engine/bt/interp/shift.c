/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shifts and rotations. The host's instruction masks the count and leaves the flags
 * alone for a count of 0, as the guest's does; it is given the guest's flags before.
 *
 * Sources: Intel SDM vol. 2 "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD".
 */
#include "engine/bt/interp/alu.h"

/* The handlers of an operation, by size. */
struct forms {
	interp_fn mem[4];
	interp_fn reg[4];
};

/* clang-format off */

#define SHIFT_SIZE(s, type, name)                                                       \
	static void name##_reg_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		uint8_t count = (uint8_t)operand_read(cpu, insn, 1);                    \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		asm(ALU_FLAGS_IN #name #s " %%cl, %[dst]" ALU_FLAGS_OUT                 \
		    : "+&a"(f), [dst] "+r"(dst)                                          \
		    : "c"(count)                                                        \
		    : "cc");                                                            \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
		operand_write(cpu, insn, 0, dst);                                       \
	}                                                                               \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		uint8_t count = (uint8_t)operand_read(cpu, insn, 1);                    \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		struct mmu_rmw rmw;                                                     \
											\
		operand_rmw_begin(cpu, insn, &rmw, sizeof(type), false);                    \
		asm volatile(ALU_FLAGS_IN #name #s " %%cl, %[dst]" ALU_FLAGS_OUT        \
			     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)                 \
			     : "c"(count)                                               \
			     : "cc", "memory");                                         \
		mmu_rmw_end(cpu, &rmw);                                                 \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
	}

#define SHIFT(name)                                                                     \
	ALU_SIZES(SHIFT_SIZE, name)                                                     \
	static const struct forms name##_forms = {                                      \
		{name##_mem_b, name##_mem_w, name##_mem_l, name##_mem_q},               \
		{name##_reg_b, name##_reg_w, name##_reg_l, name##_reg_q},               \
	};

SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

/* Two registers' worth of bits. */
#define DOUBLE_SIZE(s, type, name)                                                      \
	static void name##_reg_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		type src = (type)operand_read(cpu, insn, 1);                            \
		uint8_t count = (uint8_t)operand_read(cpu, insn, 2);                    \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		asm(ALU_FLAGS_IN #name #s " %%cl, %[src], %[dst]" ALU_FLAGS_OUT         \
		    : "+&a"(f), [dst] "+r"(dst)                                          \
		    : "c"(count), [src] "r"(src)                                        \
		    : "cc");                                                            \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
		operand_write(cpu, insn, 0, dst);                                       \
	}                                                                               \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type src = (type)operand_read(cpu, insn, 1);                            \
		uint8_t count = (uint8_t)operand_read(cpu, insn, 2);                    \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		struct mmu_rmw rmw;                                                     \
											\
		operand_rmw_begin(cpu, insn, &rmw, sizeof(type), false);                    \
		asm volatile(ALU_FLAGS_IN #name #s " %%cl, %[src], %[dst]"              \
			     ALU_FLAGS_OUT                                              \
			     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)                 \
			     : "c"(count), [src] "r"(src)                               \
			     : "cc", "memory");                                         \
		mmu_rmw_end(cpu, &rmw);                                                 \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
	}

#define DOUBLE_SHIFT(name)                                                              \
	DOUBLE_SIZE(w, uint16_t, name)                                                  \
	DOUBLE_SIZE(l, uint32_t, name)                                                  \
	DOUBLE_SIZE(q, uint64_t, name)                                                  \
	static const struct forms name##_forms = {                                      \
		{NULL, name##_mem_w, name##_mem_l, name##_mem_q},                       \
		{NULL, name##_reg_w, name##_reg_l, name##_reg_q},                       \
	};

DOUBLE_SHIFT(shld)
DOUBLE_SHIFT(shrd)

/* clang-format on */

/* By operation; they stand in a row. */
#define FORMS_FIRST OP_ROL
static const struct forms *const forms[] = {
	[OP_ROL - FORMS_FIRST] = &rol_forms,   [OP_ROR - FORMS_FIRST] = &ror_forms,
	[OP_RCL - FORMS_FIRST] = &rcl_forms,   [OP_RCR - FORMS_FIRST] = &rcr_forms,
	[OP_SHL - FORMS_FIRST] = &shl_forms,   [OP_SHR - FORMS_FIRST] = &shr_forms,
	[OP_SAR - FORMS_FIRST] = &sar_forms,   [OP_SHLD - FORMS_FIRST] = &shld_forms,
	[OP_SHRD - FORMS_FIRST] = &shrd_forms,
};

static const struct forms *find_forms(const struct insn *insn)
{
	unsigned i = insn->op - FORMS_FIRST;

	return i < ARRAY_LEN(forms) ? forms[i] : NULL;
}

interp_fn interp_shift(const struct insn *insn)
{
	const struct forms *f = find_forms(insn);
	const struct insn_operand *dst = &insn->operand[0];

	if (!f)
		return NULL;
	return (dst->kind == OPERAND_MEM ? f->mem : f->reg)[alu_size_index(dst->size)];
}
