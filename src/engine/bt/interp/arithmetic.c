/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addition, logic and comparison.
 *
 * For each operation and size there is a handler of each form of operands: memory as
 * the destination (changed in place, by a locked host instruction where the guest's
 * is), two registers, register and immediate, and a register with anything.
 *
 * Sources: Intel SDM vol. 2; vol. 1 appendix A for the flags.
 */
#include "engine/bt/interp/alu.h"

/* The handlers of an operation, by size. */
struct forms {
	interp_fn mem[4]; /* destination in memory */
	interp_fn rr[4];
	interp_fn ri[4];
	interp_fn any[4]; /* destination in a register */
};

/* clang-format off */

/* Computes on values: dst, src, &rflags -> result. */
#define COMPUTE(s, type, name, load)                                                    \
	static inline type name##_##s(type dst, type src, uint64_t *rflags)             \
	{                                                                               \
		uint32_t f = alu_flags_in(*rflags);                                     \
		asm(load #name #s " %[src], %[dst]" ALU_FLAGS_OUT                       \
		    : "+&a"(f), [dst] "+r"(dst)                                          \
		    : [src] "r"(src)                                                    \
		    : "cc");                                                            \
		*rflags = alu_flags_out(*rflags, f);                                    \
		return dst;                                                             \
	}

/* Handlers with a register as destination; store is 0 for CMP and TEST. */
#define REGISTER_FORMS(s, type, name, store)                                            \
	static void name##_rr_##s(struct cpu *cpu, const struct insn *insn)             \
	{                                                                               \
		uint8_t dst = insn->operand[0].reg;                                     \
		type src = (type)cpu->gpr[insn->operand[1].reg];                        \
		type value = name##_##s((type)cpu->gpr[dst], src, &cpu->rflags);        \
		if (store)                                                              \
			reg_write(cpu, dst, sizeof(type), false, value);                \
	}                                                                               \
	static void name##_ri_##s(struct cpu *cpu, const struct insn *insn)             \
	{                                                                               \
		uint8_t dst = insn->operand[0].reg;                                     \
		type value = name##_##s((type)cpu->gpr[dst], (type)insn->imm,           \
					&cpu->rflags);                                  \
		if (store)                                                              \
			reg_write(cpu, dst, sizeof(type), false, value);                \
	}                                                                               \
	static void name##_any_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		type src = (type)operand_read(cpu, insn, 1);                            \
		type value = name##_##s(dst, src, &cpu->rflags);                        \
		if (store)                                                              \
			operand_write(cpu, insn, 0, value);                             \
	}

/* The handler with memory as destination. */
#define MEMORY_FORM(s, type, name, load)                                                \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		bool lock = insn->prefixes & INSN_LOCK;                                 \
		type src = (type)operand_read(cpu, insn, 1);                            \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		struct mmu_rmw rmw;                                                     \
											\
		operand_rmw_begin(cpu, insn, &rmw, sizeof(type), lock);                     \
		if (lock)                                                               \
			asm volatile(load "lock " #name #s " %[src], %[dst]"            \
				     ALU_FLAGS_OUT                                      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)         \
				     : [src] "r"(src)                                   \
				     : "cc", "memory");                                 \
		else                                                                    \
			asm volatile(load #name #s " %[src], %[dst]" ALU_FLAGS_OUT      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)         \
				     : [src] "r"(src)                                   \
				     : "cc", "memory");                                 \
		mmu_rmw_end(cpu, &rmw);                                                 \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
	}

#define BY_SIZE(name, form) {name##_##form##_b, name##_##form##_w, name##_##form##_l, \
			     name##_##form##_q}

#define BINARY(name, load)                                                              \
	ALU_SIZES(COMPUTE, name, load)                                                  \
	ALU_SIZES(REGISTER_FORMS, name, 1)                                              \
	ALU_SIZES(MEMORY_FORM, name, load)                                              \
	static const struct forms name##_forms = {BY_SIZE(name, mem), BY_SIZE(name, rr),\
						  BY_SIZE(name, ri), BY_SIZE(name, any)};

/* They write nothing, so memory is only read. */
#define COMPARISON(name)                                                                \
	ALU_SIZES(COMPUTE, name, "")                                                    \
	ALU_SIZES(REGISTER_FORMS, name, 0)                                              \
	static const struct forms name##_forms = {BY_SIZE(name, any), BY_SIZE(name, rr),\
						  BY_SIZE(name, ri), BY_SIZE(name, any)};

BINARY(add, "")
BINARY(or, "")
BINARY(adc, ALU_FLAGS_IN)
BINARY(sbb, ALU_FLAGS_IN)
BINARY(and, "")
BINARY(sub, "")
BINARY(xor, "")
COMPARISON(cmp)
COMPARISON(test)

/* One operand. NOT leaves all flags alone, INC and DEC leave CF. */
#define UNARY_SIZE(s, type, name)                                                       \
	static void name##_reg_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		asm(ALU_FLAGS_IN #name #s " %[dst]" ALU_FLAGS_OUT                       \
		    : "+&a"(f), [dst] "+r"(dst)                                          \
		    :                                                                   \
		    : "cc");                                                            \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
		operand_write(cpu, insn, 0, dst);                                       \
	}                                                                               \
	static void name##_mem_##s(struct cpu *cpu, const struct insn *insn)            \
	{                                                                               \
		bool lock = insn->prefixes & INSN_LOCK;                                 \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		struct mmu_rmw rmw;                                                     \
											\
		operand_rmw_begin(cpu, insn, &rmw, sizeof(type), lock);                     \
		if (lock)                                                               \
			asm volatile(ALU_FLAGS_IN "lock " #name #s " %[dst]"            \
				     ALU_FLAGS_OUT                                      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)         \
				     :                                                  \
				     : "cc", "memory");                                 \
		else                                                                    \
			asm volatile(ALU_FLAGS_IN #name #s " %[dst]" ALU_FLAGS_OUT      \
				     : "+&a"(f), [dst] "+m"(*(alu_##s *)rmw.ptr)         \
				     :                                                  \
				     : "cc", "memory");                                 \
		mmu_rmw_end(cpu, &rmw);                                                 \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
	}

#define UNARY(name)                                                                     \
	ALU_SIZES(UNARY_SIZE, name)                                                     \
	static const struct forms name##_forms = {BY_SIZE(name, mem), BY_SIZE(name, reg), \
						  BY_SIZE(name, reg), BY_SIZE(name, reg)};

UNARY(inc)
UNARY(dec)
UNARY(neg)
UNARY(not)

/* ADCX and ADOX: registers of 4 and 8 bytes only, the source may be memory. */
#define CARRY_CHAIN(s, type, name)                                                      \
	static void name##_##s(struct cpu *cpu, const struct insn *insn)                \
	{                                                                               \
		type dst = (type)operand_read(cpu, insn, 0);                            \
		type src = (type)operand_read(cpu, insn, 1);                            \
		uint32_t f = alu_flags_in(cpu->rflags);                                 \
		asm(ALU_FLAGS_IN #name #s " %[src], %[dst]" ALU_FLAGS_OUT               \
		    : "+&a"(f), [dst] "+r"(dst)                                          \
		    : [src] "r"(src)                                                    \
		    : "cc");                                                            \
		cpu->rflags = alu_flags_out(cpu->rflags, f);                            \
		operand_write(cpu, insn, 0, dst);                                       \
	}

#define LONG_ONLY(name) {NULL, NULL, name##_l, name##_q}
#define CARRY_FORMS(name)                                                               \
	CARRY_CHAIN(l, uint32_t, name)                                                  \
	CARRY_CHAIN(q, uint64_t, name)                                                  \
	static const struct forms name##_forms = {.rr = LONG_ONLY(name), .ri = LONG_ONLY(name), \
						  .any = LONG_ONLY(name)};

CARRY_FORMS(adcx)
CARRY_FORMS(adox)

/* clang-format on */

/* By operation; they stand in a row. */
#define FORMS_FIRST OP_ADD
static const struct forms *const forms[] = {
	[OP_ADD - FORMS_FIRST] = &add_forms,   [OP_OR - FORMS_FIRST] = &or_forms,
	[OP_ADC - FORMS_FIRST] = &adc_forms,   [OP_SBB - FORMS_FIRST] = &sbb_forms,
	[OP_AND - FORMS_FIRST] = &and_forms,   [OP_SUB - FORMS_FIRST] = &sub_forms,
	[OP_XOR - FORMS_FIRST] = &xor_forms,   [OP_CMP - FORMS_FIRST] = &cmp_forms,
	[OP_TEST - FORMS_FIRST] = &test_forms, [OP_INC - FORMS_FIRST] = &inc_forms,
	[OP_DEC - FORMS_FIRST] = &dec_forms,   [OP_NEG - FORMS_FIRST] = &neg_forms,
	[OP_NOT - FORMS_FIRST] = &not_forms,   [OP_ADCX - FORMS_FIRST] = &adcx_forms,
	[OP_ADOX - FORMS_FIRST] = &adox_forms,
};

static const struct forms *find_forms(const struct insn *insn)
{
	unsigned i = insn->op - FORMS_FIRST;

	return i < ARRAY_LEN(forms) ? forms[i] : NULL;
}

/* AH, CH, DH and BH are for the form that takes anything. */
static interp_fn choose(const struct forms *f, const struct insn *insn)
{
	const struct insn_operand *dst = &insn->operand[0];
	const struct insn_operand *src = &insn->operand[1];
	unsigned size = alu_size_index(dst->size);

	if (dst->kind == OPERAND_MEM)
		return f->mem[size];
	if (dst->high || src->high)
		return f->any[size];
	if (src->kind == OPERAND_GPR)
		return f->rr[size];
	if (src->kind == OPERAND_IMM)
		return f->ri[size];
	return f->any[size];
}

interp_fn interp_arithmetic(const struct insn *insn)
{
	const struct forms *f = find_forms(insn);
	interp_fn fn;

	if (f)
		return choose(f, insn);
	fn = interp_shift(insn);
	if (!fn)
		fn = interp_muldiv(insn);
	if (!fn)
		fn = interp_bcd(insn);
	return fn;
}
