/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchange-and-add and compare-and-exchange.
 *
 * In memory they happen in place by the host's instruction, a locked one where the
 * guest's is: atomic among vCPUs, devices' accesses, and other processes that map the
 * RAM. Memory is written even if the comparison fails, as by the processor.
 *
 * Sources: Intel SDM vol. 2 "XADD", "CMPXCHG", "CMPXCHG8B/CMPXCHG16B"; vol. 3A 8.1.2.
 */
#include "engine/bt/interp/alu.h"

/* clang-format off */

/* The accumulator comes and goes by a register of its own: RAX carries the flags. */
#define CMPXCHG_ASM(lock, s, w, constraint, dst)                                        \
	asm volatile("mov %[acc], %%rax\n\t" lock "cmpxchg" #s " %" w "[src], %" w "[mem]\n\t" \
		     "mov %%rax, %[acc]" ALU_FLAGS_OUT                                  \
		     : "=&a"(f), [acc] "+&r"(acc), [mem] "+" constraint(dst)            \
		     : [src] "r"(src)                                                   \
		     : "cc", "memory")

#define XADD_ASM(lock, s, w, constraint, dst)                                           \
	asm volatile(lock "xadd" #s " %" w "[src], %" w "[mem]" ALU_FLAGS_OUT           \
		     : "=&a"(f), [src] "+r"(src), [mem] "+" constraint(dst)             \
		     :                                                                  \
		     : "cc", "memory")

#define MEMORY_SIZE(s, type, w)                                                         \
	static uint32_t cmpxchg_mem_##s(void *mem, uint64_t src, uint64_t *accumulator, \
					bool lock)                                      \
	{                                                                               \
		uint64_t acc = *accumulator;                                            \
		uint32_t f;                                                             \
											\
		if (lock)                                                               \
			CMPXCHG_ASM("lock ", s, w, "m", *(alu_##s *)mem);               \
		else                                                                    \
			CMPXCHG_ASM("", s, w, "m", *(alu_##s *)mem);                    \
		*accumulator = acc;                                                     \
		return f;                                                               \
	}                                                                               \
	static uint32_t cmpxchg_reg_##s(uint64_t *dst, uint64_t src, uint64_t *accumulator) \
	{                                                                               \
		uint64_t acc = *accumulator;                                            \
		uint32_t f;                                                             \
											\
		CMPXCHG_ASM("", s, w, "&r", *dst);                                      \
		*accumulator = acc;                                                     \
		return f;                                                               \
	}                                                                               \
	static uint32_t xadd_mem_##s(void *mem, uint64_t *source, bool lock)            \
	{                                                                               \
		uint64_t src = *source;                                                 \
		uint32_t f;                                                             \
											\
		if (lock)                                                               \
			XADD_ASM("lock ", s, w, "m", *(alu_##s *)mem);                  \
		else                                                                    \
			XADD_ASM("", s, w, "m", *(alu_##s *)mem);                       \
		*source = src;                                                          \
		return f;                                                               \
	}                                                                               \
	static uint32_t xadd_reg_##s(uint64_t *dst, uint64_t *source)                   \
	{                                                                               \
		uint64_t src = *source;                                                 \
		uint32_t f;                                                             \
											\
		XADD_ASM("", s, w, "r", *dst);                                          \
		*source = src;                                                          \
		return f;                                                               \
	}

MEMORY_SIZE(b, uint8_t, "b")
MEMORY_SIZE(w, uint16_t, "w")
MEMORY_SIZE(l, uint32_t, "k")
MEMORY_SIZE(q, uint64_t, "q")

#define BY_SIZE(name) {name##_b, name##_w, name##_l, name##_q}

/* clang-format on */

static uint32_t (*const cmpxchg_mem[4])(void *, uint64_t, uint64_t *, bool) = BY_SIZE(cmpxchg_mem);
static uint32_t (*const cmpxchg_reg[4])(uint64_t *, uint64_t, uint64_t *) = BY_SIZE(cmpxchg_reg);
static uint32_t (*const xadd_mem[4])(void *, uint64_t *, bool) = BY_SIZE(xadd_mem);
static uint32_t (*const xadd_reg[4])(uint64_t *, uint64_t *) = BY_SIZE(xadd_reg);

/* A register operand as the host's instruction is to see it: AH to BH are moved down for it. */
static uint64_t whole_read(const struct cpu *cpu, const struct insn_operand *o)
{
	return o->high ? cpu->gpr[o->reg] >> 8 : cpu->gpr[o->reg];
}

static void whole_write(struct cpu *cpu, const struct insn_operand *o, uint64_t value)
{
	if (o->high)
		reg_write(cpu, o->reg, 1, true, value);
	else
		cpu->gpr[o->reg] = value;
}

static void cmpxchg(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *o = &insn->operand[0];
	unsigned size = alu_size_index(o->size);
	uint64_t src = operand_read(cpu, insn, 1);
	uint64_t acc = cpu->gpr[GPR_RAX];
	struct mmu_rmw rmw;
	uint64_t dst;
	uint32_t f;

	if (o->kind == OPERAND_MEM) {
		bool lock = insn->prefixes & INSN_LOCK;

		operand_rmw_begin(cpu, insn, &rmw, o->size, lock);
		f = cmpxchg_mem[size](rmw.ptr, src, &acc, lock);
		mmu_rmw_end(cpu, &rmw);
		cpu->gpr[GPR_RAX] = acc;
	} else {
		dst = whole_read(cpu, o);
		f = cmpxchg_reg[size](&dst, src, &acc);
		/* Both may be RAX; then only one of them changed. */
		cpu->gpr[GPR_RAX] = acc;
		if (o->reg != GPR_RAX || (alu_flags_out(0, f) & RFLAGS_ZF))
			whole_write(cpu, o, dst);
	}
	cpu->rflags = alu_flags_out(cpu->rflags, f);
}

static void xadd(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *o = &insn->operand[0];
	const struct insn_operand *other = &insn->operand[1];
	unsigned size = alu_size_index(o->size);
	uint64_t src = whole_read(cpu, other);
	struct mmu_rmw rmw;
	uint64_t dst;
	uint32_t f;

	if (o->kind == OPERAND_MEM) {
		bool lock = insn->prefixes & INSN_LOCK;

		operand_rmw_begin(cpu, insn, &rmw, o->size, lock);
		f = xadd_mem[size](rmw.ptr, &src, lock);
		mmu_rmw_end(cpu, &rmw);
		whole_write(cpu, other, src);
	} else {
		dst = operand_read(cpu, insn, 0);
		f = xadd_reg[size](&dst, &src);
		/* The sum stays where both are one register. */
		operand_write(cpu, insn, 1, src);
		operand_write(cpu, insn, 0, dst);
	}
	cpu->rflags = alu_flags_out(cpu->rflags, f);
}

/* EDX:EAX against memory, ECX:EBX into it. Only ZF changes. */
static void cmpxchg8b(struct cpu *cpu, const struct insn *insn)
{
	bool lock = insn->prefixes & INSN_LOCK;
	uint32_t eax = (uint32_t)cpu->gpr[GPR_RAX], edx = (uint32_t)cpu->gpr[GPR_RDX];
	uint32_t ebx = (uint32_t)cpu->gpr[GPR_RBX], ecx = (uint32_t)cpu->gpr[GPR_RCX];
	struct mmu_rmw rmw;
	bool same;

	operand_rmw_begin(cpu, insn, &rmw, 8, lock);
	if (lock)
		asm volatile("lock cmpxchg8b %[mem]"
			     : "+a"(eax), "+d"(edx), [mem] "+m"(*(alu_q *)rmw.ptr), "=@ccz"(same)
			     : "b"(ebx), "c"(ecx)
			     : "memory");
	else
		asm volatile("cmpxchg8b %[mem]"
			     : "+a"(eax), "+d"(edx), [mem] "+m"(*(alu_q *)rmw.ptr), "=@ccz"(same)
			     : "b"(ebx), "c"(ecx)
			     : "memory");
	mmu_rmw_end(cpu, &rmw);
	cpu->rflags = (cpu->rflags & ~RFLAGS_ZF) | (same ? RFLAGS_ZF : 0);
	if (same)
		return;
	cpu->gpr[GPR_RAX] = eax;
	cpu->gpr[GPR_RDX] = edx;
}

/* RDX:RAX against memory, RCX:RBX into it. */
static void cmpxchg16b(struct cpu *cpu, const struct insn *insn)
{
	bool lock = insn->prefixes & INSN_LOCK;
	uint64_t rax = cpu->gpr[GPR_RAX], rdx = cpu->gpr[GPR_RDX];
	uint64_t base = insn->mem.seg >= SEG_FS ? cpu->seg[insn->mem.seg].base : 0, linear;
	struct mmu_rmw rmw;
	bool same;

	if ((operand_ea(cpu, insn) + base) % 16) /* also where it is not canonical, and #SS */
		cpu_raise_error(cpu, VECTOR_GP, 0);
	linear = operand_linear(cpu, insn, 16, SEG_WRITE);
	mmu_rmw_begin(cpu, &rmw, linear, 16, lock);
	/* Locked in any case: the host's other form is not faster. */
	asm volatile("lock cmpxchg16b %[mem]"
		     : "+a"(rax), "+d"(rdx), [mem] "+m"(*(unsigned __int128 *)rmw.ptr),
		       "=@ccz"(same)
		     : "b"(cpu->gpr[GPR_RBX]), "c"(cpu->gpr[GPR_RCX])
		     : "memory");
	mmu_rmw_end(cpu, &rmw);
	cpu->rflags = (cpu->rflags & ~RFLAGS_ZF) | (same ? RFLAGS_ZF : 0);
	if (same)
		return;
	cpu->gpr[GPR_RAX] = rax;
	cpu->gpr[GPR_RDX] = rdx;
}

static const struct interp_entry handlers[] = {
	{OP_XADD, xadd},
	{OP_CMPXCHG, cmpxchg},
	{OP_CMPXCHG8B, cmpxchg8b},
	{OP_CMPXCHG16B, cmpxchg16b},
};

interp_fn interp_atomic(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
